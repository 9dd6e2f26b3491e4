"""`machine`: what computes here, and the versions that a result may depend on."""

import pytest
import torch

from aecore import machine


def test_the_version_of_torch_comes_without_its_build():
    assert machine.versions()["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize(("cuda", "mps", "wanted"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_device_is_the_fastest_at_hand(monkeypatch, cuda, mps, wanted):
    monkeypatch.undo()  # the fixture of all tests replaces `device`
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: cuda)
        patch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert machine.device().type == wanted


def test_the_versions_in_words():
    found = machine.versions()
    assert machine.versions_line() == f"Python {found['python']} · torch {found['torch']}"


@pytest.mark.parametrize(("threads", "words"), [(1, "1 thread"), (2, "2 threads")])
def test_the_processor_comes_with_its_threads(monkeypatch, threads, words):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.description().startswith("CPU ")
    assert machine.description().endswith(f", {words}")
