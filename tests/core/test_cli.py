"""The command `aecore`, and `import aecore`."""

import importlib.metadata
import re
import signal
import subprocess
import sys

import pytest

import aecore
from aecore import config, distributed, experiment, models
from aecore.cli import main
from aecore.data import Splits, sample
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.runs import store
from aecore.training import Plan
from aecore.training.plan import PRECISIONS, SCHEDULES


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setenv("AECORE_PROFILE", "quick")


@pytest.fixture
def small(monkeypatch):
    """The full profile, which stores what it trains, on a few images of the sample."""
    whole = sample.build("mnist")
    few = Splits(whole.train[:300], whole.valid[:20], whole.test[:20])
    monkeypatch.setattr("aecore.data.load", lambda name, **options: few)


class TestDoctor:
    def test_succeeds_where_there_is_nothing(self):
        assert main(["doctor"]) == 0

    @pytest.mark.parametrize(
        "words", ["torch", "profile: full", "writable", "mnist", "kodak", "Published runs\n  none"]
    )
    def test_says(self, capsys, words):
        main(["doctor"])
        assert words in capsys.readouterr().out

    def publish(self, splits, names, weights):
        found = []
        for name in names:
            run = fit(LinearAutoencoder((1, 4, 4), 3), splits, Plan(epochs=1), name=name)
            found.append(store.record(name, run.fingerprint))
        store.publish(names[0][:2], found, weights, {})

    def test_counts_published_runs_by_chapter_and_those_with_weights(self, capsys, splits):
        self.publish(splits, ["00-a", "00-b"], ["00-a"])
        self.publish(splits, ["01-a"], [])
        main(["doctor"])
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"  chapter 00: 2 runs of \d{4}-\d\d-\d\d, 1 with weights, 0.00 MB", lines[-2])
        assert re.fullmatch(r"  chapter 01: 1 run of \d{4}-\d\d-\d\d, numbers only", lines[-1])

    def test_goes_on_where_a_published_line_is_damaged(self, capsys, splits):
        self.publish(splits, ["00-a", "00-b"], [])
        path = store.PUBLISHED / "00" / "runs.jsonl"
        path.write_text(path.read_text().replace("mse", "mae", 1))
        assert main(["doctor"]) == 0
        assert "  chapter 00: 1 run of " in capsys.readouterr().out

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_ends_quietly_when_its_reader_has_seen_enough(self, monkeypatch, unbuffered):
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)  # whether lines are written at once, or all at the end
        # The reader is gone before a word is written, so that no race decides.
        command = [sys.executable, "-m", "aecore", "doctor"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)

    def test_makes_no_folder(self):
        main(["doctor"])
        assert not config.runs_root().exists()


class TestData:
    def test_without_a_name_lists_all_sets(self, capsys):
        main(["data"])
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
            "mnist", "emnist", "cifar10", "stl10", "div2k", "kodak",
        ]  # fmt: skip

    def test_loads_what_is_named(self, capsys, quick):
        main(["data", "mnist"])
        assert capsys.readouterr().out.startswith("mnist: 1,050 train")

    def test_an_unknown_name_fails(self):
        assert main(["data", "mnst"]) == 1

    def test_an_unknown_name_is_explained_on_standard_error(self, capsys):
        main(["data", "mnst"])
        assert capsys.readouterr().err.startswith("aecore data: no data set is called 'mnst'. Did you mean 'mnist'?")


class TestTrain:
    def test_prints_the_scores_on_the_test_images(self, capsys, quick):
        main(["train", "--epochs", "1", "--code-size", "8"])
        assert "mnist-sample-test (25 images): MSE 0." in capsys.readouterr().out

    def test_stores_a_run_that_has_a_name(self, small):
        main(["train", "--epochs", "1", "--code-size", "8", "--name", "mine"])
        assert [path.name[:5] for path in config.runs_root().iterdir()] == ["mine-"]

    @pytest.mark.parametrize("model", models.MODELS)
    def test_trains_every_model_with_its_own_code_size(self, model, quick):
        """For conv, whose code is a grid, the default was one that does not fit."""
        assert main(["train", "--model", model]) == 0

    def test_a_joint_model_learns_both_sizes_of_its_windows(self, quick, monkeypatch):
        seen = self.seen_by_fit(monkeypatch)
        main(["train", "--model", "joint", "--data", "div2k", "--stride", "8", "--crop", "48", "--flip"])
        (model, _, plan), given = seen[0]
        assert (model.code_shape, given["objective"].sizes) == ((8, 16, 16), (48, 24))
        assert (plan.crop, plan.flip) == (48, True)

    def test_a_variational_model_learns_its_bound(self, quick, monkeypatch):
        seen = self.seen_by_fit(monkeypatch)
        main(["train", "--model", "variational", "--beta", "0.5"])
        assert (type(seen[0][1]["objective"]).__name__, seen[0][1]["objective"].beta) == ("ELBO", 0.5)

    @staticmethod
    def seen_by_fit(monkeypatch):
        """Note with what `fit` is called."""
        seen, real = [], experiment.fit

        def noted(*given, **named):
            seen.append((given, named))
            return real(*given, **named)

        monkeypatch.setattr(experiment, "fit", noted)
        return seen

    def test_the_help_names_all_that_there_are(self, capsys):
        with pytest.raises(SystemExit):
            main(["train", "--help"])
        told = " ".join(capsys.readouterr().out.split()).replace("- ", "-")  # a line may end within fully-conv
        assert [name for name in (*models.MODELS, *SCHEDULES, *PRECISIONS) if name not in told] == []

    @pytest.mark.parametrize("options", [["--model", "pca"], ["--epochs", "0"], ["--lr", "-1"]], ids=" ".join)
    def test_a_wrong_setting_is_found_before_anything_is_downloaded(self, options, monkeypatch):
        monkeypatch.setattr("aecore.data.load", None)  # would be an error
        assert main(["train", *options]) == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--model", "linaer"], "model: unknown name 'linaer'. Did you mean 'linear'?"),
            (["--data", "mnst"], "no data set is called 'mnst'. Did you mean 'mnist'?"),
            (["--code-size", "785"], "code_size: 785 values are more than the image's 784"),
            (["--model", "conv", "--code-size", "200"], "code_size: wanted a multiple of 49"),
            (["--epochs", "0"], "epochs: wanted a whole number from 1, got 0"),
            (["--schedule", "linear"], "schedule: wanted 'constant' or 'cosine' or 'onecycle', got 'linear'"),
            (["--data", "kodak"], "has no training images"),
            (["--lr", "1e30"], "the loss became"),
            (["--name", "../mine"], "name: wanted letters"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_explains_an_error_in_one_line(self, options, words, capsys, quick):
        status = main(["train", "--epochs", "1", *options])
        error = capsys.readouterr().err
        assert (status, error.count("\n"), words in error) == (1, 1, True)


class TestCtrlC:
    COMMAND = ("train", "--epochs", "1", "--code-size", "8", "--name", "mine")

    @pytest.fixture
    def stopped(self, small, monkeypatch):
        """The exit status of a training in whose second step Ctrl-C is pressed."""
        with monkeypatch.context() as patch:
            patch.setattr(
                experiment._Progress, "step", lambda self, done: done == 2 and signal.raise_signal(signal.SIGINT)
            )
            return main(list(self.COMMAND))

    def test_ends_with_the_status_that_a_shell_expects(self, stopped):
        assert stopped == 130

    def test_prints_no_scores(self, stopped, capsys):
        assert "MSE" not in capsys.readouterr().out

    def test_prints_how_to_go_on(self, small, monkeypatch, capsys):
        monkeypatch.setattr(
            experiment._Progress, "step", lambda self, done: done == 2 and signal.raise_signal(signal.SIGINT)
        )
        main(list(self.COMMAND))
        assert "stopped by SIGINT after 0 of 1 epochs; its state is in a checkpoint" in capsys.readouterr().out

    def test_the_same_command_goes_on(self, stopped, capsys):
        assert main(list(self.COMMAND)) == 0
        assert "mine: going on from epoch 0, step 2\n" in capsys.readouterr().out

    def test_the_same_command_ends_with_the_scores_of_one_that_was_not_stopped(self, stopped, capsys):
        main(list(self.COMMAND))
        scores = capsys.readouterr().out.splitlines()[-1]
        main([*self.COMMAND[:-1], "another"])
        assert scores == capsys.readouterr().out.splitlines()[-1]

    def test_pressed_twice_or_outside_of_training_it_ends_quietly(self, quick, monkeypatch, capsys):
        def interrupted(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(experiment, "train", interrupted)
        assert (main(list(self.COMMAND)), capsys.readouterr().err) == (130, "")


def test_a_lost_process_is_explained_in_one_line(quick, monkeypatch, capsys):
    def lost(*args, **options):
        raise distributed.ProcessLost("another process of this training has ended")

    monkeypatch.setattr(experiment, "train", lost)
    assert main(["train", "--epochs", "1", "--code-size", "8"]) == 1
    assert capsys.readouterr().err == "aecore train: another process of this training has ended\n"


def test_publishing_an_unknown_chapter_says_where_it_looked(capsys, tmp_path):
    main(["publish", "77", "--folder", str(tmp_path)])
    assert f"chapter: there is no {tmp_path}/77_….ipynb" in capsys.readouterr().err


def test_an_unknown_command_fails_with_the_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["trian"])
    assert (caught.value.code, capsys.readouterr().err[:13]) == (2, "usage: aecore")


def test_as_a_module_an_error_ends_without_a_traceback():
    answer = subprocess.run([sys.executable, "-m", "aecore", "data", "mnst"], capture_output=True, text=True)
    assert (answer.returncode, "Did you mean 'mnist'?" in answer.stderr, "Traceback" in answer.stderr) == (
        1,
        True,
        False,
    )


def test_importing_aecore_imports_nothing_heavy(python):
    heavy = "{'torch', 'matplotlib', 'sklearn', 'skimage', 'numpy', 'pandas', 'torchvision'}"
    assert python(f"import sys, aecore; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_what_trains_imports_nothing_that_it_does_not_need(python):
    heavy = "{'matplotlib', 'sklearn', 'skimage', 'pandas', 'torchvision'}"
    assert python(f"import sys, aecore; aecore.fit; print(sorted({heavy} & set(sys.modules)))") == "[]"


@pytest.mark.parametrize("name", aecore.__all__)
def test_every_name_of_aecore_is_there(name):
    assert getattr(aecore, name) is not None


@pytest.mark.parametrize("name", aecore.__all__)
def test_every_name_of_aecore_is_offered_to_completion(name):
    assert name in dir(aecore)


def test_an_unknown_name_of_aecore_lists_those_that_it_offers():
    with pytest.raises(AttributeError, match="module 'aecore' has no attribute 'fitt'; it offers Images, Plan, check"):
        aecore.fitt  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    assert importlib.metadata.version("aecore") == aecore.__version__
