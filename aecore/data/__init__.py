"""Data: `load` a set by its name, or make `Images` from your own array."""

from .array import from_array
from .errors import DamagedData, DataNotFound, DownloadFailed, StandInRefused
from .images import Images, Provenance, Splits
from .sources import available, load

__all__ = [
    "DamagedData",
    "DataNotFound",
    "DownloadFailed",
    "Images",
    "Provenance",
    "Splits",
    "StandInRefused",
    "available",
    "from_array",
    "load",
]
