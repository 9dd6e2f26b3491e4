"""What can go wrong with data, each with a name of its own."""

from __future__ import annotations


class DataNotFound(OSError):
    """A set could be had from none of its sources; the message lists what was tried."""


class DamagedData(OSError):
    """A file or folder is there, but it does not hold what its name promises. Nothing was deleted."""


class DownloadFailed(OSError):
    """A download broke off, or what came is not the right file."""


class StandInRefused(ValueError):
    """Data lie where an official set belongs but are not that set, and nobody said `stand_in=True`."""
