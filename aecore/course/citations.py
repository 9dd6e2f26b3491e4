"""Citations as linked text: "Shi et al., 2016" with the address of the paper, from the bibliography of the book."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pybtex.database import BibliographyData, Entry, parse_file

from ..suggest import did_you_mean


class Citations:
    """The works of a bibliography, as a text names them."""

    def __init__(self, works: BibliographyData) -> None:
        self._works = works.entries

    @classmethod
    def read(cls, path: Path) -> Citations:
        """Return the works of a BibTeX file."""
        return cls(parse_file(str(path), "bibtex"))

    def in_brackets(self, keys: str) -> str:
        """Return "[[Shi et al., 2016](https://…)]" for keys that commas separate.

        Raises:
            ValueError: a key is not in the bibliography.
        """
        works = [self._work(key) for key in keys.split(",")]
        return f"[{'; '.join(_linked(f'{_authors(work)}, {_year(work)}', work) for work in works)}]"

    def in_text(self, keys: str) -> str:
        """Return "[Shi et al. (2016)](https://…)" for keys that commas separate.

        Raises:
            ValueError: a key is not in the bibliography.
        """
        works = [self._work(key) for key in keys.split(",")]
        return ", ".join(_linked(f"{_authors(work)} ({_year(work)})", work) for work in works)

    def _work(self, key: str) -> Entry:
        key = key.strip()
        if key not in self._works:
            raise ValueError(f"no work of the bibliography is called {key!r}.{did_you_mean(key, self._works)}")
        return self._works[key]


def _authors(work: Entry) -> str:
    """Return the last names of one or two authors, or the first with "et al.", as the pages of the book do."""
    names = [
        " ".join(str(part) for part in (*person.rich_prelast_names, *person.rich_last_names))
        for person in work.persons["author"]
    ]
    if len(names) > 2:
        return f"{names[0]} et al."
    return " and ".join(names)


def _year(work: Entry) -> str:
    return work.fields["year"]


def _linked(text: str, work: Entry) -> str:
    address = _address(work.fields)
    return f"[{text}]({address})" if address else text


def _address(fields) -> str:
    """Return where a work can be read, or "". Brackets would end the link, so they are written as codes."""
    if "doi" in fields:
        return f"https://doi.org/{quote(fields['doi'])}"
    if "url" in fields:
        return fields["url"]
    if fields.get("archiveprefix", "").lower() == "arxiv":
        return f"https://arxiv.org/abs/{fields['eprint']}"
    return ""
