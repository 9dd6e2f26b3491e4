"""The benchmarks measure the same work, and the page says what was measured."""

import copy
import dataclasses
import itertools
import json
import os
import re
import sys

import pytest
import torch
from PIL import Image as Picture

from aecore import files, machine
from aecore.models import LinearAutoencoder, StridedConvAutoencoder
from benchmarks import cases, contestants, environment, measure, report, steps, worker
from benchmarks.__main__ import main
from benchmarks.cases import CASES, Case, Task, check_tasks, random_images
from benchmarks.claims import AIM, CLAIMS, Claim
from benchmarks.contestants import CONTESTANTS, FLOOR, Contestant
from chapters import ROOT

PAGE = (ROOT / "book" / "speed.md").read_text(encoding="utf-8")
RESULTS = report.load()
PEERS = {"accelerate", "lightning-fabric", "pytorch-lightning"}
# Whether two loops do the same work shows in models of any size; those of the cases are for measuring.
LINEAR = Case("linear", "tiny", lambda: LinearAutoencoder((1, 6, 6), 3), convolutional=False, images=0, epochs=0)
CONV = Case(
    "conv", "tiny", lambda: StridedConvAutoencoder((3, 8, 8), 6, width=4), convolutional=True, images=0, epochs=0
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    # For tensors as small as these a second thread is only waited for, long where other programs compute as well.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _full_profile(monkeypatch):
    # Under the quick profile fit would train one epoch, whatever it is asked for.
    monkeypatch.setenv("AECORE_PROFILE", "full")
    monkeypatch.setenv("AECORE_PROGRESS", "0")


def trained(contestant, task):
    """Return the weights, in one row, that a contestant ends with."""
    with worker.full_float32():
        return measure.flat(contestant.prepare(task)().state_dict())


def published(only_real=False):
    """Return the results files as parameters; a quick one proves nothing, and another test refuses it."""
    chosen = {slug: result for slug, result in RESULTS.items() if not (only_real and result["quick"])}
    return [pytest.param(slug, result, id=slug) for slug, result in chosen.items()]


# ---- the same work ----


def off_the_way(contestant, task):
    """Return how far from the bare step's weights a contestant ends, over the way that they have come."""
    start, wanted = measure.flat(task.model().state_dict()), trained(CONTESTANTS[FLOOR], task)
    return measure.share_of_way(trained(contestant, task), wanted, start)


def exact_contestants():
    """Return all that compute in float32 with each case; one whose packages are missing is skipped and says so."""
    for one, case in itertools.product(CONTESTANTS.values(), (LINEAR, CONV)):
        # The loop with two workers is the tutorial's again, and its processes take their time to start.
        if one.exact and not (one.name == "tutorial loop, 2 workers" and case is CONV):
            why = one.hindrance(machine.device())
            skip = pytest.mark.skipif(why is not None, reason=str(why))
            yield pytest.param(one, case, id=f"{one.name}, {case.name}", marks=skip)


@pytest.mark.parametrize(("contestant", "case"), list(exact_contestants()))
def test_contestant_ends_with_the_weights_of_the_bare_step(contestant, case):
    off = [off_the_way(contestant, task) for task in check_tasks(case, machine.device())]
    assert max(off) <= measure.SAME_WAY


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fit_ends_with_the_weights_of_the_bare_step_in_every_case(case):
    assert off_the_way(CONTESTANTS["fit"], Task(case, random_images(case, 2), 1, 2, machine.device())) <= 1e-2


def test_fit_in_bfloat16_rounds_on_every_machine_and_does_the_same_work():
    # Without a trial, which would take float32 where there are no instructions, or for so small a model.
    off = off_the_way(CONTESTANTS["fit, bfloat16"], check_tasks(CONV, machine.device())[0])
    assert 1e-4 < off <= measure.SAME_WAY_ROUNDED


def test_check_tasks_have_the_steps_that_their_images_and_epochs_ask_for():
    # 32 images in batches of 32, 3 epochs; 72 images in batches of 16, which is 4 and a smaller one, 2 epochs.
    assert [task.steps for task in check_tasks(CASES["linear"], torch.device("cpu"))] == [3, 10]


def test_no_case_has_a_smaller_last_batch():
    counts = [count for case in CASES.values() for count in (case.images, case.quick_images)]
    assert [count for count in counts if count % cases.BATCH_SIZE] == []


def test_colour_model_has_about_ten_million_multiply_adds():
    from aecore.models import summary

    assert 9.5e6 <= summary(CASES["colour"].build()).macs <= 10.5e6


def less_work(task):
    return CONTESTANTS[FLOOR].prepare(dataclasses.replace(task, epochs=task.epochs - 1))


def drops_last_batch(task):
    whole = len(task.pixels) // task.batch_size * task.batch_size
    return CONTESTANTS["tutorial loop"].prepare(dataclasses.replace(task, pixels=task.pixels[:whole]))


def leaves_out_an_image(task):
    return CONTESTANTS["tutorial loop"].prepare(dataclasses.replace(task, pixels=task.pixels[1:]))


def other_first_weights(task):
    train = CONTESTANTS[FLOOR].prepare(task)
    weight = next(train.__closure__[i].cell_contents for i, n in enumerate(train.__code__.co_freevars) if n == "model")
    with torch.no_grad():
        next(weight.parameters()).mul_(1.01)
    return train


def checked(case, *entrants, folder):
    """Let the bare step and others train the check tasks, and compare as the benchmark does."""
    folders = {}
    for number, one in enumerate([CONTESTANTS[FLOOR], *entrants]):
        folders[one] = folder / str(number)
        folders[one].mkdir()
        for task_number, task in enumerate(check_tasks(case, machine.device())):
            with worker.full_float32():
                worker.store_weights(one.prepare(task)(), folders[one] / f"{task_number}.safetensors")
    measure.check_same_work(case, folders)


def test_honest_contestants_are_admitted(tmp_path):
    checked(CONV, CONTESTANTS["fit"], CONTESTANTS["fit, bfloat16"], folder=tmp_path)


@pytest.mark.parametrize("prepare", [less_work, drops_last_batch, leaves_out_an_image, other_first_weights])
def test_contestant_that_does_other_work_is_refused(prepare, tmp_path):
    with pytest.raises(measure.OtherWork, match=r"cheat: after \d+ steps of linear it is .* wanted at most 0.01"):
        checked(LINEAR, Contestant("cheat", prepare), folder=tmp_path)


def test_contestant_that_rounds_and_does_less_is_refused(tmp_path):
    def less(task):
        return CONTESTANTS["fit, bfloat16"].prepare(dataclasses.replace(task, epochs=task.epochs - 1))

    with pytest.raises(measure.OtherWork, match="of the way from where the bare step ends, wanted at most 0.25"):
        checked(CONV, Contestant("cheat", less, exact=False), folder=tmp_path)


# ---- the measurement ----


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A measurement of the bare step alone, in a real process in which the peers' packages cannot be imported."""
    folder = tmp_path_factory.mktemp("no-peers")
    for package in PEERS:
        (folder / f"{package.replace('-', '_')}.py").write_text("raise SystemExit('imported where it is not needed')")
    settings = measure.Settings(cases=("linear",), contestants=(FLOOR,), repetitions=2, quick=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        patch.setenv("OMP_NUM_THREADS", "1")
        return measure.measure(settings, tell=lambda line: None)


def test_results_hold_every_repetition(result):
    seconds = result["cases"]["linear"]["contestants"][FLOOR]["seconds"]
    assert (len(seconds), min(seconds) > 0) == (2, True)


def test_a_slow_contestant_takes_part_in_some_rounds_only(monkeypatch):
    class Counted:
        def __init__(self, spec):
            self.name = spec.contestant

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def train(self):
            return {"seconds": 1.0}

    monkeypatch.setattr(measure, "Worker", Counted)
    monkeypatch.setattr(measure, "check_same_work", lambda case, folders: None)
    two = [CONTESTANTS[FLOOR], CONTESTANTS["tutorial loop"]]
    found = measure._rounds(CASES["linear"], two, 128, 1, 7, lambda line: None)
    assert [answer is not None for answer in found[FLOOR]] == 7 * [True]
    assert [answer is not None for answer in found["tutorial loop"]] == [True, *4 * [False], True, False]


def test_results_hold_the_memory_of_the_process(result):
    assert result["cases"]["linear"]["contestants"][FLOOR]["memory_mb"] > 50  # PyTorch alone takes more


def test_results_hold_the_versions_and_the_machine(result):
    assert result["machine"] == environment.facts()
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]


def test_results_of_a_smoke_test_say_so(result):
    assert result["quick"] is True


@pytest.mark.parametrize("count", [1, 7, 8])
def test_every_round_begins_with_another_contestant_and_holds_all(count):
    rounds = [measure.in_turn(list(range(count)), round_) for round_ in range(count)]
    assert sorted(order[0] for order in rounds) == list(range(count))
    assert all(sorted(order) == list(range(count)) for order in rounds)


def test_contestants_have_changing_neighbours():
    # Eight contestants, eight rounds: each runs once right after each other one.
    rounds = [measure.in_turn(list(range(8)), round_) for round_ in range(8)]
    assert len({pair for order in rounds for pair in itertools.pairwise(order)}) == 8 * 7


def test_no_repetitions_are_refused_and_not_taken_for_the_usual_number():
    with pytest.raises(SystemExit, match="repetitions: wanted at least 1, got 0"):
        main(["--repetitions", "0", "--quick"])


@pytest.fixture
def left_out(monkeypatch):
    """Measure a case with the bare step and one more, without timing anything; return what was left out, and why."""

    def measured(case, name):
        entered, told = [], []
        monkeypatch.setattr(measure, "_rounds", lambda case, present, *rest: entered.extend(present) or {})
        found = measure.measure_case(CASES[case], measure.Settings(contestants=(FLOOR, name)), told.append)
        assert entered == [CONTESTANTS[FLOOR]]
        assert told == [f"{case}: {name} is left out, {found['left_out'][name]}"]
        return found["left_out"]

    return measured


def test_contestant_without_its_package_is_left_out_and_named(monkeypatch, left_out):
    absent = Contestant("absent", contestants.bare_step, packages=("no-such-package-here",))
    monkeypatch.setitem(CONTESTANTS, "absent", absent)
    assert left_out("linear", "absent") == {"absent": "not installed: no-such-package-here"}


def test_bfloat16_is_left_out_where_the_processor_has_no_instructions_for_it(monkeypatch, left_out):
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: False)
    assert left_out("conv", "fit, bfloat16") == {"fit, bfloat16": "no instructions for bfloat16 here"}


def test_bfloat16_takes_part_where_the_processor_has_instructions_for_it(monkeypatch):
    monkeypatch.setattr(machine, "has_bfloat16", lambda device: True)
    assert CONTESTANTS["fit, bfloat16"].hindrance(torch.device("cpu")) is None


def test_worker_that_breaks_down_says_why(monkeypatch):
    monkeypatch.setattr(measure, "COMMAND", (sys.executable, "-c", "raise KeyError('nothing here')"))
    spec = worker.Spec("linear", FLOOR, images=128, epochs=1, batch_size=128, weights="")
    with pytest.raises(measure.WorkerFailed, match=r"(?s)bare step: its process ended with status 1.*nothing here"):
        measure.Worker(spec).__enter__()


def test_peers_name_the_packages_of_the_extra():
    assert {package for one in CONTESTANTS.values() for package in one.packages} == PEERS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cases": ("lunar",)}, "cases: wanted some of 'linear', 'conv', 'colour', got 'lunar'"),
        ({"contestants": ("fit",)}, "contestants: wanted 'bare step' among them"),
        ({"repetitions": 0}, "repetitions: wanted at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        measure.Settings(**settings)


def test_two_contestants_cannot_have_one_name():
    with pytest.raises(ValueError, match="there is a contestant 'fit' already"):
        contestants.contestant("fit")


@pytest.mark.parametrize(
    ("capability", "words"), [("AVX2", "Chip with AVX2, 2 threads"), ("DEFAULT", "Chip, 2 threads")]
)
def test_processor_is_named_with_its_vector_instructions(monkeypatch, capability, words):
    monkeypatch.setattr(environment, "processor_name", lambda: "Chip")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert environment.facts()["processor"] == words


@pytest.mark.parametrize(
    ("facts", "slug"),
    [
        ({"device": "cpu", "threads": 2, "name": "AMD EPYC, 2 threads"}, "cpu-2-threads"),
        ({"device": "cpu", "threads": 1, "name": "x"}, "cpu-1-thread"),
        ({"device": "cuda", "threads": 16, "name": "NVIDIA H200"}, "nvidia-h200"),
    ],
)
def test_file_is_named_after_the_machine(facts, slug):
    assert environment.slug(facts) == slug


# ---- the report ----


@pytest.fixture
def case():
    """Three rounds on a machine that halves its speed in the second, and where `fit` is lucky in the third."""
    return {
        "title": "A case", "macs": 1000, "weights": 10, "images": 600, "epochs": 2,
        "contestants": {
            FLOOR: {"seconds": [2.0, 4.0, 2.2], "memory_mb": 100.4, "gpu_memory_mb": None},
            "fit": {"seconds": [2.5, 5.0, 2.2], "memory_mb": 1100.6, "gpu_memory_mb": None},
        },
        "left_out": {"Fabric": "not installed: lightning-fabric"},
    }  # fmt: skip


def test_speed_compares_within_each_round(case):
    # 2/2.5, 4/5, 2.2/2.2. The medians of the seconds, 2.2 and 2.5, would say 0.88.
    assert report.speed_ratios(case, "fit", FLOOR) == [0.8, 0.8, 1.0]
    assert report.speed_ratio(case, "fit", FLOOR) == 0.8


def test_a_round_in_which_one_took_no_part_is_passed_over(case):
    case["contestants"]["fit"]["seconds"][1] = None
    assert report.seconds_per_epoch(case, "fit") == [1.25, 1.1]
    assert report.speed_ratios(case, "fit", FLOOR) == [0.8, 1.0]
    assert "| `fit` (2) | 1.18 |" in report.table(case, with_gpu=False)


def test_drift_between_rounds_does_not_change_the_speed(case):
    slower = copy.deepcopy(case)
    for found in slower["contestants"].values():
        found["seconds"][0] *= 3
    assert report.speed_ratio(slower, "fit", FLOOR) == pytest.approx(report.speed_ratio(case, "fit", FLOOR))


def test_table_shows_what_was_measured(case):
    # 2.5 s for 2 epochs of 600 images: 1.25 s each, 480 images a second. The floor: 1.1 s, 545.
    assert report.table(case, with_gpu=False).splitlines() == [
        "| Loop | Seconds per epoch | Range | Images per second | Speed, floor = 100 % | Memory, MB |",
        "| :-- | --: | --: | --: | --: | --: |",
        "| bare step | 1.10 | 1.00–\u20602.00 | 545 | 100 | 100 |",
        "| `fit` | 1.25 | 1.10–\u20602.50 | 480 | 80.0 | 1,101 |",
        "| Fabric | not installed: lightning-fabric |  |  |  |  |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.012345, "0.0123"), (1.999, "2.00"), (99.96, "100"), (123456, "123,000"), (9.5, "9.50")]
)
def test_numbers_have_three_figures_and_no_exponent(value, text):
    assert report._figures(value) == text


def test_caption_says_between_which_speeds_fit_lies(case):
    fast = copy.deepcopy(case)
    fast["contestants"]["fit"]["seconds"] = [2.0, 4.0, 2.2]
    caption = report.picture("slug", {"cases": {"one": case, "two": fast}})
    assert "On this machine `fit` is 80.0 to 100 % as fast as the bare step." in caption


def test_caption_says_nothing_of_fit_where_it_was_left_out(case):
    del case["contestants"]["fit"]
    assert "`fit`" not in report.picture("slug", {"cases": {"one": case}})


def test_claim_finds_the_case_that_breaks_it(case):
    claim = Claim("words", 0.9, (FLOOR,), ("linear", "conv"))
    good = copy.deepcopy(case)
    good["contestants"]["fit"]["seconds"] = [2.0, 4.0, 2.2]
    assert claim.broken_by({"cases": {"linear": good, "conv": case}}) == [
        "conv: fit is 0.800 times as fast as bare step"
    ]


def test_claim_about_a_contestant_that_was_not_measured_is_broken(case):
    assert Claim("words", 1, ("Fabric",), ("conv",)).broken_by({"cases": {"conv": case}}) == [
        "conv: Fabric was not measured"
    ]


# ---- what is published ----


def test_there_are_results():
    assert RESULTS


@pytest.mark.parametrize(("slug", "result"), published())
def test_published_results_are_those_of_a_whole_measurement(slug, result):
    assert result["quick"] is False, f"{slug}.json is a smoke test: delete it, run `make bench` on a quiet machine"
    assert result["settings"]["repetitions"] >= 5


@pytest.mark.parametrize(("slug", "result"), published())
def test_published_results_hold_every_case_and_contestant(slug, result):
    repetitions = result["settings"]["repetitions"]
    assert list(result["cases"]) == list(CASES)
    for name, found in result["cases"].items():
        there = {*found["contestants"], *found["left_out"]}
        assert there == {one.name for one in CONTESTANTS.values() if one.suits(CASES[name])}
        assert {len(one["seconds"]) for one in found["contestants"].values()} == {repetitions}


@pytest.mark.parametrize(("slug", "result"), published())
def test_published_results_say_machine_and_versions(slug, result):
    took_part = {name for found in result["cases"].values() for name in found["contestants"]}
    needed = {package for name in took_part for package in CONTESTANTS[name].packages}
    assert {"python", "torch", "torchvision", *needed} <= result["versions"].keys()
    assert {"device", "name", "processor", "threads", "system"} <= result["machine"].keys()
    assert environment.slug(result["machine"]) == slug
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])


@pytest.mark.parametrize(("slug", "result"), published())
def test_published_results_name_no_folder(slug, result):
    assert re.findall(r"(?:/|\\)(?:home|root|Users|work|tmp)\b", json.dumps(result)) == []


def test_tables_are_made_from_the_results():
    written = (report.RESULTS / report.TABLES).read_bytes()
    assert written == report.markdown(RESULTS).encode(), "run `python -m benchmarks --report`"


@pytest.mark.parametrize(("slug", "result"), published())
def test_plot_is_made_from_the_results(slug, result):
    stamp = Picture.open(report.PICTURES / report.picture_name(slug)).info["Description"]
    assert stamp == files.sha256(report.RESULTS / f"{slug}.json"), "run `python -m benchmarks --report`"


def test_there_is_no_plot_without_results():
    plots = {path.name for path in report.PICTURES.glob("speed*.png")}
    assert plots == {report.picture_name(slug) for slug in RESULTS}


@pytest.mark.parametrize("with_gpu", [False, True])
def test_page_says_that_a_gpu_is_missing_only_while_it_is(with_gpu):
    result = copy.deepcopy(next(iter(RESULTS.values())))
    result["machine"]["device"] = "cuda" if with_gpu else "cpu"
    assert (report.NO_GPU in report.markdown({"one": result})) is not with_gpu


# ---- the page ----

PROSE = " ".join(re.sub(r"^```.*?^```|^:::\{include\}.*?^:::", "", PAGE, flags=re.M | re.S).split())


def test_page_includes_the_tables():
    assert f":::{{include}} ../benchmarks/results/{report.TABLES}\n" in PAGE


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words)
def test_claim_stands_on_the_page(claim):
    assert claim.words in PROSE


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words)
@pytest.mark.parametrize(("slug", "result"), published(only_real=True))
def test_claim_is_borne_out_by_the_results(claim, slug, result):
    assert claim.broken_by(result) == []


def test_page_names_no_number_or_ratio_but_those_claimed():
    rest = PROSE.replace(AIM, " ")
    for claim in CLAIMS:
        rest = rest.replace(claim.words, " ")
    rest = re.sub(r"\{doc\}`[^`]*`|float32|float16", " ", rest)
    ratio = r"\d|%|per ?cent|\btwice\b|\bthrice\b|\bhalf\b|\bdouble|times (?:as|more|the)|-fold\b"
    assert re.findall(rf"(?i).{{0,20}}(?:{ratio}).{{0,20}}", rest) == []


class TestSteps:
    """The table of recorded steps: what stands in it was measured."""

    def test_the_table_is_the_one_of_the_results(self):
        assert steps.TABLE.read_text(encoding="utf-8") == steps.markdown(steps.load())
        assert ":::{include} ../benchmarks/results/steps/table.md\n" in PAGE

    def test_the_page_says_by_how_much_recording_pays(self):
        """About three to five times, says the page of settings."""
        found = [gain for result in steps.load().values() for gain in steps.gains(result).values()]
        assert (round(min(found)), round(max(found))) == (3, 5)

    def test_a_gain_is_that_of_the_medians(self):
        """300, 200, 100 µs one by one against 60, 50, 20 recorded: 200 / 50."""
        rounds = {"`fit`, steps started one by one": [300, 200, 100], "`fit`, recorded steps": [60, 50, 20]}
        assert steps.gains({"steps": {"A case": rounds}}) == {"A case": 4}

    def test_without_a_gpu_it_says_what_is_missing(self, monkeypatch):
        monkeypatch.setattr(steps.machine, "device", lambda: torch.device("cpu"))
        with pytest.raises(SystemExit, match="wanted an NVIDIA GPU"):
            steps.main()

    def test_a_gpu_trains_on_more_images_where_a_case_says_so(self):
        case = Case("c", "t", lambda: None, convolutional=True, images=10, epochs=1, gpu_images=30)
        assert [case.images_on(torch.device(kind)) for kind in ("cpu", "cuda")] == [10, 30]
        assert dataclasses.replace(case, gpu_images=None).images_on(torch.device("cuda")) == 10
