"""What the world does to a training: `kill -9`, SIGTERM, a full disk, a folder that cannot be written.

Each happens for real, to processes that tests/campaigns/outages.py forks; one start of Python serves all tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS = Path(__file__).parents[1] / "campaigns"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked: Linux or macOS")
ALL_STEPS = [1, 2, 3, 4, 5, 6]  # two epochs of 24 images in batches of 10
STORED = ["run.json", "weights.safetensors"]
SCENES, ON_DISKS = ["kills", "file-limit", "sigterm"], ["small-disk", "read-only"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What all scenes did. Those on small file systems need leave to mount one, which some machines give to nobody."""
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "trial", str(tmp_path_factory.mktemp("trial"))]
    mounts = bool(shutil.which("unshare")) and subprocess.run(trial, capture_output=True).returncode == 0
    command = [sys.executable, str(CAMPAIGNS / "outages.py"), *SCENES]
    command = ["unshare", "-rm", *command, *ON_DISKS] if mounts else command
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture
def mounted(world):
    if ON_DISKS[0] not in world:
        pytest.skip("this machine lets no ordinary program mount a file system (unshare -rm); see TestFileLimit")
    return world


@pytest.mark.parametrize(
    ("where", "least", "resumed"), [("at random moments", 5, 3), ("at calls that touch a file", 10, 6)]
)
class TestKills:
    """The short version of `make campaign`."""

    @pytest.fixture
    def tally(self, world, where):
        return world["kills"][where]

    def test_every_training_ends_as_if_it_had_not_been_killed(self, tally, least, resumed):
        assert tally["problems"] == []

    def test_were_so_many(self, tally, least, resumed):
        assert tally["kills"] >= least

    def test_were_survived_by_checkpoints_from_which_most_went_on(self, tally, least, resumed):
        assert tally["resumed"] >= resumed


def test_some_were_killed_while_a_file_was_being_written(world):
    assert world["kills"]["at calls that touch a file"]["in_a_write"] >= 3


class TestSigterm:
    """In step 4, as a scheduler sends it before it takes the machine away."""

    def test_ends_the_process_by_that_signal(self, world):
        assert world["sigterm"]["told to end"]["status"] == -15

    def test_leaves_a_checkpoint_of_that_step(self, world):
        (path,) = world["sigterm"]["told to end"]["files"]
        assert path.startswith("checkpoints/00001-0000001-")  # the first of the second epoch

    def test_the_same_call_makes_the_steps_that_are_left(self, world):
        assert world["sigterm"]["again"]["steps"] == [5, 6]

    def test_the_same_call_ends_with_the_same_weights(self, world):
        assert world["sigterm"]["again"]["weights"] == world["undisturbed"]["weights"]


class TestFileLimit:
    """The system lets no file grow beyond some length, and says so as it does of a full disk."""

    @pytest.fixture(params=["nothing fits", "only weights fit"])
    def scene(self, request, world):
        return world["file-limit"][request.param]

    def test_training_goes_on_to_its_end(self, scene, world):
        found = scene["status"], scene["error"], scene["steps"], scene["weights"]
        assert found == (0, None, ALL_STEPS, world["undisturbed"]["weights"])

    def test_each_checkpoint_that_fails_is_told(self, scene):
        lines = [line for line in scene["said"] if "could not be written to" in line and "File too large" in line]
        assert len(lines) == 8  # one after each of six steps and two epochs

    def test_a_run_that_does_not_fit_is_told_and_leaves_no_half_file(self, world):
        scene = world["file-limit"]["nothing fits"]
        told = "could not be stored in" in scene["said"][-1] and "File too large" in scene["said"][-1]
        assert (told, scene["files"]) == (True, [])

    def test_a_run_that_fits_is_stored_though_no_checkpoint_did(self, world):
        assert world["file-limit"]["only weights fit"]["files"] == STORED

    def test_when_there_is_room_again_the_same_call_trains_and_stores(self, world):
        scene = world["file-limit"]["then there is room"]
        assert (scene["files"], scene["weights"]) == (STORED, world["undisturbed"]["weights"])


class TestSmallDisk:
    """A file system that is full."""

    @pytest.fixture(params=["nothing fits", "one checkpoint fits"])
    def scene(self, request, mounted):
        return mounted["small-disk"][request.param]

    def test_training_goes_on_to_its_end(self, scene, mounted):
        found = scene["status"], scene["error"], scene["steps"], scene["weights"]
        assert found == (0, None, ALL_STEPS, mounted["undisturbed"]["weights"])

    def test_the_reason_is_told_with_the_folder(self, scene):
        assert re.match(r"mine: the checkpoint .* to .*/mine-.*/checkpoints: .*No space left", scene["said"][0])

    def test_a_run_that_does_not_fit_is_told_and_leaves_no_half_file(self, mounted):
        scene = mounted["small-disk"]["nothing fits"]
        told = "could not be stored in" in scene["said"][-1] and "No space left on device" in scene["said"][-1]
        assert (told, scene["files"]) == (True, [])

    def test_a_run_that_fits_beside_its_checkpoint_is_stored(self, mounted):
        assert mounted["small-disk"]["one checkpoint fits"]["files"] == STORED


class TestReadOnlyDisk:
    def test_that_becomes_so_does_not_end_the_training(self, mounted):
        scene = mounted["read-only"]["from the fourth step on"]
        assert (scene["steps"], scene["weights"]) == (ALL_STEPS, mounted["undisturbed"]["weights"])

    def test_that_becomes_so_keeps_the_checkpoints_from_before(self, mounted):
        """After the third step, and after the epoch that it ends."""
        files = mounted["read-only"]["from the fourth step on"]["files"]
        assert [path[:25] for path in files] == ["checkpoints/00000-0000003", "checkpoints/00001-0000000"]

    def test_from_the_beginning_is_refused_before_the_first_step(self, mounted):
        assert mounted["read-only"]["from the beginning"]["steps"] == []

    @pytest.mark.parametrize("words", [r"cannot write \S+ in /\S*/mine-", "Read-only file system", "AECORE_RUNS"])
    def test_from_the_beginning_is_refused_with_the_folder_and_the_way_out(self, mounted, words):
        assert re.search(words, mounted["read-only"]["from the beginning"]["error"])
