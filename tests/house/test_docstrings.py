"""Docstrings on the page of names: what stands in the code is what a reader sees."""

import pytest

import aecore
from chapters import ROOT
from docstrings import as_restructured_text, short


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("of `x` and `x_hat`", "of ``x`` and ``x_hat``"),
        ("(N, *code_shape)", r"(N, \*code_shape)"),
        ("`*code_shape` stays", "``*code_shape`` stays"),
        ("``x`` is one already", "``x`` is one already"),
        ("no name", "no name"),
    ],
)
def test_names_become_literals_and_asterisks_stay(line, shown):
    assert as_restructured_text(line) == shown


@pytest.mark.parametrize("text", ["(x: ~torch.Tensor, f: ~collections.abc.Callable[[~a.b.C], None])", None])
def test_types_of_a_signature_are_named_without_their_modules(text):
    shown = text and "(x: Tensor, f: Callable[[C], None])"
    assert short(None, "", "", None, None, text, "~a.B") == (shown, "B")


@pytest.mark.parametrize("name", aecore.__all__)
def test_page_of_names_asks_for_every_name(name):
    assert f":: aecore.{name}\n" in (ROOT / "book" / "api.md").read_text(encoding="utf-8")
