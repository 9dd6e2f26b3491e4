"""`memory`: what a step frees stays with the program."""

import sys

import pytest

from aecore.training import memory

COUNT = """
import resource, torch
from aecore.training.memory import keep_memory
if {keep}:
    assert keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(16_000_000).sum()  # 64 MB: 15,625 pages of 4 kB
for _ in range(8):  # the first steps take what is kept afterwards
    step()
before = faults()
for _ in range(4):
    step()
print((faults() - before) // 4)
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the setting is of Linux's C library; this is another")


@on_linux
def test_the_case_is_what_it_says_without_it_large_blocks_are_fetched_anew_at_each_step(python):
    # Fewer than 15,625 where the system hands out huge pages of 2 MB: 64 MB are 31 of them.
    assert int(python(COUNT.format(keep=False), OMP_NUM_THREADS="1")) >= 31


@on_linux
def test_with_it_they_are_not(python):
    assert int(python(COUNT.format(keep=True), OMP_NUM_THREADS="1")) < 31


@on_linux
def test_it_can_be_switched_off(python):
    code = "from aecore.training.memory import keep_memory; print(keep_memory())"
    assert python(code, AECORE_KEEP_MEMORY="0") == "False"


def test_elsewhere_it_does_nothing(monkeypatch):
    monkeypatch.setattr(memory, "_gnu_library", lambda: None)
    assert memory.keep_memory.__wrapped__() is False
