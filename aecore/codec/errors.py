"""What is raised where a file is none of ours, is damaged, or belongs to another model."""

from __future__ import annotations


class CodecError(ValueError):
    """A file cannot be decoded; the message says what is wrong with it."""
