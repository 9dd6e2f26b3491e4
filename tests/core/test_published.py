"""The runs that are published with the package, read as a reader's process reads them.

Every other test works with an empty folder of published runs. Here a process of its own looks at the real one, once,
and tells what it found; and another runs the command `aecore doctor`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aecore.runs import store

REAL = Path(store.__file__).parent.parent / "published"
CHAPTERS = sorted(path.name for path in REAL.glob("[0-9][0-9]"))

LOOK = """
import hashlib, json, logging, math, sys
from collections import Counter
import torch
from safetensors.torch import load
from aecore import config, evaluate, fit, Images, Plan
from aecore.data import Splits
from aecore.models import LinearAutoencoder, UpsamplingAutoencoder
from aecore.runs import NoWeights, store
from aecore.training import History

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
config.log.addHandler(handler)
config.log.setLevel("INFO")


class Holder:
    "Stands for any model: it takes over what fits its float32 values."

    def __init__(self, weights):
        self.values = {name: torch.full(w.shape, math.nan if w.is_floating_point() else 0,
                                        dtype=torch.float32 if w.is_floating_point() else w.dtype)
                       for name, w in weights.items()}

    def named_buffers(self):
        return {}.items()

    def state_dict(self):
        return self.values

    def load_state_dict(self, weights):
        for name, value in weights.items():
            self.values[name].copy_(value)

    def eval(self):
        pass


def weights(name, line):
    path = store.PUBLISHED / name[:2] / "weights" / (name + ".safetensors")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != line["weights_sha256"]:
        return {"sha256": False, "dtypes": [], "finite": True}
    holder = Holder(load(content))
    store.load_weights(path, line["weights_sha256"], holder)
    return {
        "sha256": True,
        "dtypes": sorted({str(value.dtype) for value in holder.values.values()}),
        "finite": all(bool(value.isfinite().all()) for value in holder.values.values()),
    }


def run(line):
    measured = store._all_measured(line)
    found = store._run_of(store.PUBLISHED, line, NoWeights(line["name"]), measured)
    places = Counter((e.what, e.images, e.count) for e in measured.values())
    return {
        "name": found.name,
        "history": History.from_dict(line["history"]).as_dict() == line["history"],
        "epochs": (len(found.history), found.plan.epochs, found.plan.patience),
        "parts": sorted(found.parts),
        "twice": [" ".join(map(str, place)) for place, times in places.items() if times > 1],
        "numbers": len(measured),
    }


def reader():
    "Somebody who has other pictures than the authors, and no others than these."
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = Splits(*(Images(pixels, name=f"mnist-{part}") for part in ("train", "valid", "test")))
    linear = LinearAutoencoder((1, 28, 28), 32)
    decoder = UpsamplingAutoencoder((1, 28, 28), 128, up="nearest", width=16)
    plans = {name: Plan(**lines[name]["plan"]) for name in ("01-linear-32", "03-nearest-0")}
    found = [
        fit(linear, images, plans["01-linear-32"], name="01-linear-32"),
        fit(decoder, images, plans["03-nearest-0"], name="03-nearest-0", weights=False),
    ]
    return {"other data": [run.other_data for run in found], "mse": evaluate(found[0], images.test).mse}


lines = {line["name"]: line for line in store.published()}
answer = {
    "lines": {path.parent.name: len(path.read_text().splitlines()) for path in store.PUBLISHED.glob("*/runs.jsonl")},
    "runs": {name: run(line) for name, line in lines.items()},
    "weights": {name: weights(name, line) for name, line in lines.items() if "weights_sha256" in line},
    "files": sorted(store.published_weights()),
    "data": {chapter: store.data_of_page(chapter) for chapter in sys.argv[1:]},
    "damage": list(said),
}
answer["reader"] = reader()
answer["said"] = said
print(json.dumps(answer))
"""


def run_python(folder, *arguments):
    environment = {
        **os.environ,
        "AECORE_PROFILE": "full", "AECORE_PROGRESS": "0", "AECORE_DATA": str(folder / "data"),
        "AECORE_RUNS": str(folder / "runs"),
    }  # fmt: skip
    for name in ("AECORE_RETRAIN", "AECORE_JOURNAL"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    answer = run_python(tmp_path_factory.mktemp("reader"), "-c", LOOK, *CHAPTERS)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    return run_python(tmp_path_factory.mktemp("reader"), "-m", "aecore", "doctor")


def test_there_are_some():
    assert CHAPTERS


def test_doctor_succeeds(doctor):
    assert (doctor.returncode, doctor.stderr) == (0, "")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_doctor_counts_the_runs_of(doctor, found, chapter):
    count = sum(name[:2] == chapter for name in found["runs"])
    assert (f"\n  chapter {chapter}: {count} run" if count else "\n  chapter 01") in doctor.stdout
    assert count or f"chapter {chapter}" not in doctor.stdout


def test_no_damage_is_reported(found):
    assert found["damage"] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_line_is_a_run_of(found, chapter):
    assert found["lines"][chapter] == sum(name[:2] == chapter for name in found["runs"])


def test_every_run_has_the_name_of_its_line(found):
    assert {name: run["name"] for name, run in found["runs"].items()} == {name: name for name in found["runs"]}


def test_every_history_comes_back_as_it_is(found):
    assert [name for name, run in found["runs"].items() if not run["history"]] == []


def test_every_run_was_trained_to_its_end(found):
    def is_whole(done, planned, patience):
        return done == planned or (patience is not None and patience < done < planned)

    assert [name for name, run in found["runs"].items() if not is_whole(*run["epochs"])] == []


def test_every_run_knows_the_parts_of_its_fingerprint(found):
    assert {tuple(run["parts"]) for run in found["runs"].values()} == {
        ("format", "loss", "model", "plan", "start", "train", "valid")
    }


def test_every_file_of_weights_belongs_to_a_line_and_every_line_has_its_file(found):
    assert found["files"] == sorted(found["weights"])


def test_every_file_of_weights_is_the_one_that_its_line_names(found):
    assert [name for name, weights in found["weights"].items() if not weights["sha256"]] == []


def test_every_file_of_weights_loads_into_float32(found):
    dtypes = {dtype for weights in found["weights"].values() for dtype in weights["dtypes"]}
    assert "torch.float32" in dtypes
    assert dtypes <= {"torch.float32", "torch.int64"}  # BatchNorm counts its batches


def test_no_weight_became_infinite_in_float16(found):
    assert [name for name, weights in found["weights"].items() if not weights["finite"]] == []


def test_what_was_measured_can_be_told_by_function_and_images(found):
    """Else a reader with other data could be shown the one for the other."""
    assert {name: run["twice"] for name, run in found["runs"].items() if run["twice"]} == {}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_page_says_which_data_it_was_made_from(found, chapter):
    data = found["data"][chapter]
    assert data
    assert all(len(fingerprint) == 12 for fingerprint in data.values())


def test_a_reader_with_other_data_gets_the_pages_runs(found):
    assert found["reader"]["other data"] == [True, True]


def test_a_reader_with_other_data_can_use_a_model_that_is_shipped(found):
    assert 0 < found["reader"]["mse"] < 1


def test_a_reader_with_other_data_is_told_so(found):
    told = [line for line in found["said"] if line.endswith("AECORE_RETRAIN=1 trains on yours)")]
    assert [line.split(":")[0] for line in told] == ["loaded 01-linear-32", "loaded 03-nearest-0"]
