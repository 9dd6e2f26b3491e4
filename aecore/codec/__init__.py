"""What makes files of whole numbers: tables of frequencies, an entropy coder, the file format. It knows no model."""

from __future__ import annotations

from . import album, container, fraction
from .coder import Decoder, Tables, encode
from .container import Container
from .errors import CodecError
from .tables import Table, frequencies, logistic_table, table_of

__all__ = [
    "CodecError",
    "Container",
    "Decoder",
    "Table",
    "Tables",
    "album",
    "container",
    "encode",
    "fraction",
    "frequencies",
    "logistic_table",
    "table_of",
]
