"""MyST as its own parser reads it: directives with their lines, roles and links with their place in the text.

markdown-it says on which lines a block stands, and says nothing of where in a line a role or a link does. The parser
made here notes that too, so that a text can be changed in those places and stay as it is everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from docutils.parsers.rst import Directive as Docutils
from docutils.parsers.rst.directives import unchanged
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline, image, link
from markdown_it.token import Token
from mdit_py_plugins.myst_role.index import myst_role
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.directives import parse_directive_text
from myst_parser.parsers.mdit import create_md_parser

PLACE = "place"  # in the `meta` of an inline token: from where to where it stands in the text of its paragraph


@dataclass(frozen=True)
class Directive:
    """A directive: `:::{name} argument`, its options, its body, and the lines from the first to behind the last."""

    name: str
    argument: str
    options: dict[str, str]
    body: str
    lines: tuple[int, int]


class _WithTitle(Docutils):
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = dict.fromkeys(("class", "label"), unchanged)


class _WithoutTitle(_WithTitle):
    optional_arguments = 0


class _Image(_WithTitle):
    option_spec = dict.fromkeys(("align", "alt", "class", "height", "name", "scale", "width"), unchanged)


NOTES = frozenset({"attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip", "warning"})
_KINDS = {
    **dict.fromkeys(("admonition", "div", "exercise", "solution", "solution-start", "solution-end"), _WithTitle),
    **dict.fromkeys(NOTES, _WithoutTitle),
    "image": _Image,
}


def parser(settings: dict) -> MarkdownIt:
    """Return a parser of MyST that notes places.

    Args:
        settings: as in the part `parse` of a book's _config.yml, {"myst_enable_extensions": […], …}.
    """
    known = {name.removeprefix("myst_"): value for name, value in settings.items()}
    extensions = set(known.pop("enable_extensions", ()))
    md = create_md_parser(MdParserConfig(enable_extensions=extensions, **known), RendererHTML)
    md.inline.ruler.at("myst_role", _noting("myst_role", myst_role, _whole))
    md.inline.ruler.at("link", _noting("link_open", link, _destination))
    md.inline.ruler.at("image", _noting("image", image, _destination))
    return md


def name(token: Token) -> str:
    """Return the name of a directive, which has a fence of colons or backticks and a name in braces; "" of the rest."""
    info = token.info.strip() if token.type in ("colon_fence", "fence") else ""
    return info[1:].partition("}")[0] if info.startswith("{") else ""


def is_directive(token: Token) -> bool:
    """Tell a directive from other blocks. A fence of colons is always meant as one, though it may lack the name."""
    return token.type == "colon_fence" or name(token) != ""


def directive(token: Token) -> Directive:
    """Read a token of a directive.

    Raises:
        ValueError: the directive or one of its options is unknown.
    """
    known = name(token)
    if known not in _KINDS:
        raise ValueError(f"the directive {token.markup}{token.info.strip()} is unknown here")
    found = parse_directive_text(_KINDS[known], token.info.partition("}")[2].strip(), token.content)
    if found.warnings:
        raise ValueError(f"the directive {{{known}}}: {found.warnings[0].msg}")
    title = found.arguments[0] if found.arguments else ""
    return Directive(known, title, found.options, "\n".join(found.body), tuple(token.map))


def blocks(md: MarkdownIt, source: str) -> Iterator[Token]:
    """Yield the tokens of a text, and behind each directive those of its body."""
    for token in md.parse(source):
        yield token
        if is_directive(token):
            yield from blocks(md, directive(token).body)


def _noting(kind: str, rule: Callable, place: Callable) -> Callable:
    """Return a rule of the parser that also notes, in the first token of a kind that it makes, where that stands."""

    def noting(state: StateInline, silent: bool) -> bool:
        start, before = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        if not silent:
            made = next(token for token in state.tokens[before:] if token.type == kind)
            made.meta[PLACE] = place(state, start)
        return True

    return noting


def _whole(state: StateInline, start: int) -> tuple[int, int]:
    return start, state.pos


def _destination(state: StateInline, start: int) -> tuple[int, int] | None:
    """Return where the address of a link or an image stands; None where it stands elsewhere, at `[name]: address`."""
    bracket = state.src.index("[", start)
    begin = state.md.helpers.parseLinkLabel(state, bracket, True) + 1
    if state.src[begin : begin + 1] != "(":
        return None
    begin += 1
    while state.src[begin].isspace():
        begin += 1
    return begin, state.md.helpers.parseLinkDestination(state.src, begin, state.posMax).pos
