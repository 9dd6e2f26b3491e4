"""`distributed`: two processes train what one does. Real ones, over gloo on the CPU, as torchrun starts them.

To start Python and PyTorch costs more than all that is done here. So there is one job of torchrun, in which a process
is killed, and one start of tests/campaigns/two_processes.py, which forks the pairs for all else.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aecore import distributed
from aecore.cli import main
from aecore.data import Images, Provenance, Splits, cache

CAMPAIGNS = Path(__file__).parents[1] / "campaigns"
SCRIPT = CAMPAIGNS / "two_processes.py"
# One thread for each process: two share two cores, and one alone must add up in the same order.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "AECORE_PROGRESS": "0"}
SCORES = r"mnist-standin-test \(20 images\): MSE .*"


def environment(**changes):
    """Return the environment for a new process, without what this session may have set."""
    named = {"AECORE_RETRAIN", "AECORE_JOURNAL", "WORLD_SIZE", "RANK"}
    return {name: value for name, value in os.environ.items() if name not in named} | ONE_THREAD | changes


class TestOneProcess:
    """Without torchrun nothing here does anything."""

    def test_is_one(self):
        assert (distributed.world_size(), distributed.rank()) == (1, 0)

    def test_joins_nothing(self, monkeypatch):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        with distributed.process_group():
            assert not torch.distributed.is_initialized()

    def test_has_all_of_the_work(self):
        assert list(distributed.shard(3)) == [0, 1, 2]

    def test_keeps_its_values(self):
        values = torch.tensor([1.0, 2.0])
        assert distributed.all_reduce_sum_on_cpu(distributed.all_reduce_sum(values)) is values

    def test_decides_by_itself(self):
        assert distributed.broadcast(7) == 7

    def test_does_what_comes_first(self):
        done = []
        with distributed.first_rank_first():
            done.append(1)
        assert done == [1]

    def test_agrees_with_itself(self):
        assert distributed.check_agreement("the training", "anything", "no hint") is None


class TestWork:
    """Which pieces a process takes, its number and theirs made up."""

    @pytest.mark.parametrize(("rank", "pieces"), [(0, [0, 3, 6]), (1, [1, 4]), (2, [2, 5])])
    def test_is_every_third_piece_of_three_processes(self, monkeypatch, rank, pieces):
        monkeypatch.setattr(distributed, "world_size", lambda: 3)
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        assert list(distributed.shard(7)) == pieces


class TestJoining:
    @pytest.fixture
    def started(self, monkeypatch):
        """As torchrun starts the second of two processes on one machine."""
        for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
            monkeypatch.setenv(name, value)

    def test_more_processes_than_gpus_are_refused_with_both_numbers(self, started, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with (
            pytest.raises(ValueError, match="--nproc-per-node: wanted at most 1, the GPUs here, got at least 2"),
            distributed.process_group(),
        ):
            pass

    @pytest.mark.parametrize(("gpus", "wanted"), [(0, "gloo"), (2, "nccl")])
    def test_the_way_to_talk_is_that_of_the_device(self, started, monkeypatch, gpus, wanted):
        seen = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", seen.append)
        monkeypatch.setattr(torch.distributed, "init_process_group", seen.append)
        monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
        with distributed.process_group():
            assert seen == ([1] if gpus else []) + [wanted]

    def test_processes_that_do_not_meet_are_told_so(self, started, monkeypatch):
        def alone(backend):
            raise torch.distributed.DistStoreError("waited for 1 of 2")

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.distributed, "init_process_group", alone)
        with (
            pytest.raises(distributed.ProcessLost, match="did not find each other: waited for 1 of 2"),
            distributed.process_group(),
        ):
            pass


@pytest.fixture(scope="module")
def script():
    """What both processes run, as a module: run here, it is what one process does."""
    modules = {}
    for name in ("tiny", "two_processes"):  # the first is imported by the second
        spec = importlib.util.spec_from_file_location(name, CAMPAIGNS / f"{name}.py")
        modules[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    return modules["two_processes"]


# 400 images of noise in batches of 8: fifty steps, with a checkpoint after each.
COMMAND = ["train", "--stand-in", "--epochs", "1", "--batch-size", "8", "--code-size", "8", "--name", "mine"]


def settings(folder, runs):
    """Return the variables under which the command finds its data, and keeps its runs in a folder of that name."""
    return {
        "AECORE_PROFILE": "full", "AECORE_DATA": str(folder / "data"), "AECORE_RUNS": str(folder / runs),
        "AECORE_CHECKPOINT_SECONDS": "0",
    }  # fmt: skip


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A job of torchrun whose second process is killed after 20 steps: its folder, status, output and errors."""
    folder = tmp_path_factory.mktemp("lost")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (440, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = Images(pixels, provenance=Provenance("noise", stand_in=True))
    cache.write(folder / "data", cache.Key("mnist", stand_in=True), Splits(images[:400], images[400:420], images[420:]))
    job = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(SCRIPT), str(folder), "killed", *COMMAND,
        ],
        capture_output=True, text=True, env=environment(**settings(folder, "runs")),
    )  # fmt: skip
    return folder, job.returncode, job.stdout, job.stderr


@pytest.fixture(scope="module")
def folder(lost):
    """What two processes found and said, after the job with the killed one; they went on with it as well."""
    if not hasattr(os, "fork"):
        pytest.skip("needs processes that can be forked: Linux or macOS")
    folder = lost[0]
    shutil.copytree(folder / "runs", folder / "for two")
    (folder / "go-on.json").write_text(
        json.dumps({"arguments": COMMAND, "environment": settings(folder, "for two")}), encoding="utf-8"
    )
    job = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, env=environment()
    )  # fmt: skip
    assert job.returncode == 0, job.stderr
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """What each of the two found."""
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


# The objectives that draw nothing at random, or can do without.
DETERMINISTIC = (
    "Reconstruction", "Classification", "FeatureLoss", "RateDistortion", "Distillation", "CodeMatching",
    "DecoderTransfer", "JointResolutions",
)  # fmt: skip


def test_every_objective_that_can_be_compared_is(script):
    drawn = {"ELBO", "VariableRate", "FeatureRateDistortion"}  # the last is two of the others, added up
    assert set(DETERMINISTIC) == script.OBJECTIVES.keys() == script.tiny.OBJECTIVES.keys() - drawn


def difference(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


class TestTwoProcesses:
    def test_are_two(self, two):
        assert [facts["count"] for facts in two] == [2, 2]

    # Six steps. The sums of a batch are taken in another order, which changes last digits. On networks with ReLU and
    # pooling such differences grow: after some hundred steps two runs of one process would differ as much whose
    # images stood in another order inside each batch. So the convolutional network is compared after few steps too.
    @pytest.mark.parametrize("model", ["linear", "conv"])
    def test_train_the_weights_of_one(self, two, script, model):
        """101 images in batches of 20: of the last one, a single image, the second process gets nothing."""
        assert difference(two[0]["weights"][model], script.weights_after_one_epoch(model)) < 1e-6

    @pytest.mark.parametrize("model", ["linear", "conv"])
    def test_have_the_same_weights_to_the_last_bit(self, two, model):
        assert two[0]["weights"][model] == two[1]["weights"][model]

    def test_note_the_losses_of_one(self, two, script):
        assert two[1]["losses"] == pytest.approx(script.losses_of_one_epoch("linear"), rel=1e-6)  # float32

    @pytest.mark.parametrize("name", DETERMINISTIC)
    def test_train_every_objective_to_the_weights_of_one(self, two, script, name):
        """With labels, windows, mirrors, clipping and an average of the weights; 41 images in batches of 10."""
        assert difference(two[0]["objectives"][name]["weights"], script.of_objective(name)["weights"]) < 1e-6

    @pytest.mark.parametrize("name", DETERMINISTIC)
    def test_note_every_objectives_values_of_one(self, two, script, name):
        assert two[1]["objectives"][name]["values"] == pytest.approx(script.of_objective(name)["values"], rel=1e-5)

    @pytest.mark.parametrize("name", DETERMINISTIC)
    def test_find_the_same_for_every_objective_to_the_last_bit(self, two, name):
        assert two[0]["objectives"][name] == two[1]["objectives"][name]

    def test_train_on_batches_of_which_the_second_gets_nothing(self, two, script):
        """It has no values of its own from which to know how many there are."""
        assert difference(two[0]["single images"], script.of_single_images()) < 1e-6

    @pytest.mark.parametrize("rank", [0, 1])
    def test_go_on_with_a_batch_of_which_the_second_gets_nothing(self, two, script, tmp_path, rank):
        assert difference(two[rank]["interrupted"], script.interrupted_before_the_last_batch(tmp_path)) < 1e-6

    @pytest.mark.parametrize("rank", [0, 1])
    def test_find_the_very_validation_loss_of_one(self, two, script, rank):
        assert two[rank]["validation"] == script.validation()

    @pytest.mark.parametrize("name", ["means", "mse", "mae", "psnr", "ssim"])
    @pytest.mark.parametrize("rank", [0, 1])
    def test_find_the_very_scores_of_one(self, two, script, rank, name):
        assert two[rank]["scores"][name] == script.scores()[name]

    @pytest.mark.parametrize(
        "words", [r"os.rename \S*checkpoints/\.0", r"os.rename \S*/\.run\.json", r"open \S*/journal$"]
    )
    def test_write_files_from_the_first(self, two, words):
        assert any(re.match(words, line) for line in two[0]["written"])

    def test_write_no_file_from_the_second(self, two):
        assert two[1]["written"] == []

    def test_let_the_first_speak(self, two):
        assert re.fullmatch("trained mine: .*\nloaded mine: .*\n", two[0]["said"])

    def test_keep_the_second_silent(self, two):
        assert two[1]["said"] == ""

    @pytest.mark.parametrize("rank", [0, 1])
    def test_refuse_batch_normalisation(self, two, rank):
        assert "model: BatchNorm1d would see only its own process's part of each batch" in two[rank]["batch norm"]

    @pytest.mark.parametrize("difference", ["other plan", "other images"])
    @pytest.mark.parametrize("rank", [0, 1])
    def test_refuse_to_train_two_things(self, two, rank, difference):
        start = "ValueError: the training is not the same in all 2 processes"
        assert two[rank][difference].startswith(start)
        assert two[rank][difference].endswith("Start every process with the same command and the same data.")

    @pytest.mark.parametrize("rank", [0, 1])
    def test_both_stop_when_the_loss_of_one_is_no_number(self, two, rank):
        assert two[rank]["nan"].startswith("TrainingDiverged: the loss became nan in step 2 (epoch 0)")

    def test_train_in_the_precision_that_the_first_found_faster(self, two):
        assert [facts["precision"] for facts in two] == ["bfloat16", "bfloat16"]

    def test_take_a_number_from_the_first(self, two):
        assert [facts["from the first"] for facts in two] == [7, 7]

    def test_let_the_first_go_first(self, two):
        """Each counts who has been there, itself included."""
        assert two[0]["in turn"] == [1, 2]


def alone(folder, runs, monkeypatch, capsys):
    """Run the same command in this process; return the lines that it prints."""
    for name, value in settings(folder, runs).items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(list(COMMAND)) == 0
    return capsys.readouterr().out.splitlines()


class TestAKilledProcess:
    def test_ends_the_job_with_a_status_that_is_not_zero(self, lost):
        assert lost[1] != 0

    def test_is_told_once_in_plain_words_with_what_to_do(self, lost):
        words = "aecore train: another process of this training has ended; its own message says why. Start the same"
        assert lost[3].count(words) == 1

    def test_causes_no_traceback_of_ours(self, lost):
        assert "aecore/" not in re.sub(r".*\.venv/|.*site-packages/", "", lost[3])

    def test_leaves_no_run_that_looks_finished(self, lost):
        assert list(lost[0].glob("runs/*/run.json")) == []

    def test_lets_one_process_go_on_to_the_scores_of_a_training_that_was_not_disturbed(self, lost, monkeypatch, capsys):
        shutil.copytree(lost[0] / "runs", lost[0] / "for one")
        lines = alone(lost[0], "for one", monkeypatch, capsys)
        assert any(re.fullmatch(r"mine: going on from epoch 0, step (19|20)", line) for line in lines)
        assert lines[-1] == alone(lost[0], "undisturbed", monkeypatch, capsys)[-1]

    def test_lets_two_processes_go_on_to_the_scores_of_one_that_was_not_disturbed(self, folder, monkeypatch, capsys):
        """Printed once, by the first of them."""
        said = (folder / "go-on.txt").read_text()
        assert re.search(r"^mine: going on from epoch 0, step (19|20)$", said, re.M)
        assert re.findall(SCORES, said) == alone(folder, "undisturbed", monkeypatch, capsys)[-1:]
