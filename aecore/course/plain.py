"""MyST as plain Markdown, which every notebook shows: quotations for notes, names for labels, links for citations.

A note that the page folds is folded in a notebook too, by the HTML elements that Jupyter and Colab let through.

What plain Markdown has too (text, lists, formulas between dollars, code) stays byte for byte as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import NamedTuple

from markdown_it.token import Token

from . import myst
from .book import Book
from .questions import Questions

SOLUTIONS = frozenset({"solution", "solution-start", "solution-end"})
# What a notebook shows as it stands. All other kinds of tokens are MyST's, and either handled here or an error.
_PLAIN_BLOCKS = (
    "blockquote", "bullet_list", "heading", "list_item", "ordered_list", "paragraph", "table", "tbody", "td", "th",
    "thead", "tr",
)  # fmt: skip
_PLAIN = frozenset(
    {f"{name}_{end}" for name in (*_PLAIN_BLOCKS, "em", "link", "strong") for end in ("open", "close")}
    | {"amsmath", "code_block", "fence", "hr", "html_block", "inline", "math_block"}
    | {"code_inline", "hardbreak", "html_inline", "image", "math_inline", "math_inline_double", "softbreak", "text"}
)
_UNSEEN = frozenset({"myst_block_break", "myst_line_comment", "myst_target"})  # remarks and labels, which no page shows


class _Change(NamedTuple):
    """What to write in place of the characters from `start` to before `end`."""

    start: int
    end: int
    text: str


class Translator:
    """Turns the text of one chapter into plain Markdown.

    Args:
        book: what the chapter may point at.
        chapter: its name, "05_pixel_shuffle".
        questions: how the exercises are asked.
    """

    def __init__(self, book: Book, chapter: str, questions: Questions) -> None:
        self.book = book
        self.chapter = chapter
        self._questions = questions

    def parts(self, source: str) -> list[str | myst.Directive]:
        """Return the text of a cell as plain Markdown, cut where solutions begin and end.

        Returns:
            Texts without empty lines around them, and between them the directives that belong to solutions.

        Raises:
            ValueError: the text holds something that has no plain form, or a label or link that leads nowhere.
        """
        lines = source.split("\n")
        marks = [
            myst.directive(token)
            for token in self.book.parser.parse(source)
            if token.level == 0 and myst.name(token) in SOLUTIONS
        ]
        borders = [(0, 0), *(mark.lines for mark in marks), (len(lines), len(lines))]
        texts = [
            self.plain("\n".join(lines[before[1] : behind[0]])).strip("\n") for before, behind in pairwise(borders)
        ]
        found: list[str | myst.Directive] = [texts[0]]
        for mark, text in zip(marks, texts[1:], strict=True):
            found += [mark, text]
        return [part for part in found if part != ""]

    def plain(self, source: str) -> str:
        """Return a text as plain Markdown; it may hold no solution.

        Raises:
            ValueError: as `parts`.
        """
        changes = sorted(self._changes(source))
        for change in reversed(changes):  # from the end, so that the places of the others stay right
            source = source[: change.start] + change.text + source[change.end :]
        return source

    def _changes(self, source: str) -> Iterator[_Change]:
        lines = _Lines(source)
        for token in self.book.parser.parse(source):
            if myst.is_directive(token):
                _check_level(token)
                text = self._block(myst.directive(token))
                yield lines.change(token.map, text and text + lines.gap_below(token.map))
            elif token.type == "math_block_label":
                yield lines.change(token.map, self._equation(token.info, lines.text(token.map)))
            elif token.type in _UNSEEN:
                _check_level(token)
                yield lines.change(token.map, "")
            elif token.type == "inline":
                yield from self._inline_changes(token, lines)
            elif token.type not in _PLAIN:
                raise ValueError(f"{token.type} has no plain form: {token.content.strip()[:60]!r}")

    def _block(self, found: myst.Directive) -> str:
        if found.name == "exercise":
            return self._exercise(found)
        if found.name in myst.NOTES or found.name == "admonition":
            title = self.plain(found.argument) or found.name.capitalize()
            if "dropdown" in found.options.get("class", "").split():
                return _folded(self._words(title), self.plain(found.body))
            return _quoted(f"**{title}**\n\n{self.plain(found.body)}".strip())
        if found.name == "div":
            return self.plain(found.body)
        if found.name == "image":
            return self._image(found)
        raise ValueError(f"the directive {{{found.name}}} stands in another one")

    def _words(self, title: str) -> str:
        """Return the title of a folded note, which holds words alone."""
        # A summary is HTML, in which no Markdown is read; and on the page, a click on markup would not open the note.
        tokens = self.book.parser.parseInline(title)[0].children
        if markup := [token.type for token in tokens if token.type != "text"]:
            raise ValueError(f"the title of a folded note may hold words alone, not {markup[0]}: {title[:60]!r}")
        return "".join(token.content for token in tokens)

    def _exercise(self, found: myst.Directive) -> str:
        label = found.options["label"]
        name = self.book.target(label).name
        title = f"{name}: {self.plain(found.argument)}" if found.argument else name
        parts = [f"**{title}**", self._questions.note(label), self.plain(self._questions.text(label, found.body))]
        return "\n\n".join(part for part in parts if part).rstrip()

    def _image(self, found: myst.Directive) -> str:
        """Return a picture; of the two that a page has for its light and its dark theme, the light one."""
        if "only-dark" in found.options.get("class", "").split():
            return ""
        return f"![{found.options.get('alt', '')}]({self.book.picture(found.argument)})"

    def _equation(self, label: str, text: str) -> str:
        number = self.book.target(label).name.strip("()")
        return f"{text[: text.rindex('$$')]}\\tag{{{number}}}$$"

    def _inline_changes(self, paragraph: Token, lines: _Lines) -> Iterator[_Change]:
        place_of = lines.places(paragraph)
        for token in paragraph.children:
            if token.type == "myst_role":
                yield place_of(token.meta[myst.PLACE], self._role(token.meta["name"], token.content))
            elif token.type not in _PLAIN:
                raise ValueError(f"{token.type} has no plain form: {paragraph.content[:60]!r}")
            elif unknown := token.attrs.keys() - {"alt", "href", "src", "title"}:
                raise ValueError(f"{', '.join(unknown)} in braces has no plain form: {paragraph.content[:60]!r}")
            elif token.type in ("link_open", "image"):
                yield from self._link_changes(token, place_of)

    def _role(self, name: str, content: str) -> str:
        if name in ("cite", "cite:p"):
            return self.book.citations.in_brackets(content)
        if name == "cite:t":
            return self.book.citations.in_text(content)
        if name == "term":
            return _title(content)
        if name in ("numref", "eq"):
            target = self.book.target(content)
            here = target.chapter == self.chapter
            return target.name if here else f"[{target.name}]({self.book.chapter_address(target.chapter)})"
        raise ValueError(f"the role {{{name}}}`{content}` is unknown here")

    def _link_changes(self, token: Token, place_of) -> Iterator[_Change]:
        is_picture = token.type == "image"
        old = token.attrs["src" if is_picture else "href"]
        new = self.book.picture(old) if is_picture else self.book.address(old)
        if new == old:
            return
        if not token.meta.get(myst.PLACE):
            raise ValueError(f"the address {old!r} stands apart from its link; write it into the brackets")
        yield place_of(token.meta[myst.PLACE], new)


class _Lines:
    """The lines of a text, to find where in the whole text something stands."""

    def __init__(self, source: str) -> None:
        self._lines = source.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._read = [0] * len(self._lines)  # up to where the paragraphs before have taken each line: cells of a table

    def text(self, lines: tuple[int, int]) -> str:
        """Return the lines from the first to before the last."""
        return "\n".join(self._lines[lines[0] : lines[1]])

    def change(self, lines: tuple[int, int], text: str) -> _Change:
        """Return the change of the lines from the first to before the last; without a text, the empty ones behind them
        go too."""
        first, last = lines
        while not text and last < len(self._lines) and not self._lines[last].strip():
            last += 1
        end = self._starts[last] if not text else self._starts[last] - 1
        return _Change(self._starts[first], min(end, self._starts[-1] - 1), text)

    def gap_below(self, lines: tuple[int, int]) -> str:
        """Return the empty line that a quotation or HTML needs where text follows it at once; else ""."""
        return "\n" if "".join(self._lines[lines[1] : lines[1] + 1]).strip() else ""

    def places(self, paragraph: Token):
        """Return a function that turns a place in a paragraph's text, and a new text for it, into a change."""
        origins: list[int] = []  # of each character of the paragraph, in the whole text
        for number, line in enumerate(paragraph.content.split("\n"), start=paragraph.map[0]):
            column = self._lines[number].find(line, self._read[number])
            if column < 0:  # only a table with \| in it differs from its paragraphs
                raise ValueError(f"the text {line[:60]!r} was not found in its line")
            self._read[number] = column + len(line)
            begin = self._starts[number] + column
            origins += range(begin, begin + len(line) + 1)

        def change(place: tuple[int, int], text: str) -> _Change:
            return _Change(origins[place[0]], origins[place[1]], text)

        return change


def _check_level(token: Token) -> None:
    if token.level:
        raise ValueError(f"{token.info.strip() or token.type} stands in a list or a quotation; move it out")


def _title(content: str) -> str:
    """Return the words of a role such as "codes" or "codes <code>", which name what they point at or only mean it."""
    words, bracket, _ = content.rpartition("<")
    return words.strip() if bracket and content.endswith(">") else content


def _folded(title: str, text: str) -> str:
    """Return a title that shows a text when it is opened; the empty lines let the text be Markdown between HTML."""
    return f"<details>\n<summary>{escape(title, quote=False)}</summary>\n\n{text}\n\n</details>"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))
