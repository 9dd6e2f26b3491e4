"""Which browser is here, and how it is started: for the printed book and for the tests of the pages."""

from __future__ import annotations

import os
import shutil

# In a container there is neither a sandbox for root nor a GPU, and /dev/shm is small; QUIC would look for a network.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Return the path of the browser: `AECORE_CHROMIUM`, or the first that is installed."""
    return os.environ.get("AECORE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
