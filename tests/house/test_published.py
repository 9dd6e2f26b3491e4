"""The published runs, each against the chapter that trained it: plan, model, objective and start, on other data.

A reader whose data are not the page's must find every run. It is found only where all but the data are told by the same
fingerprints as when it was published, so this also holds the promise that old fingerprints stay valid.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aecore.runs import store
from chapters import ROOT, chapters

SCRIPT = Path(__file__).with_name("page_on_other_data.py")
NAMES = {facts["name"] for facts in store.published()}


@pytest.mark.parametrize("chapter", [name for name in chapters() if any(run[:2] == name[:2] for run in NAMES)])
def test_every_run_of_the_chapter_is_found_though_the_data_differ(chapter, tmp_path):
    env = {**os.environ, "AECORE_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, SCRIPT, ROOT / "chapters" / f"{chapter}.md"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missing"] == []
    assert set(found["taken"]) >= {name for name in NAMES if name[:2] == chapter[:2]}
    # MNIST is official, so chapters about it alone may compare its numbers by an assert; stand-ins are another matter.
    assert chapter[:2] in ("01", "02") or found["stopped"] == []
