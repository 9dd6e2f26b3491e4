"""The built pages in a real browser: what axe says of them, and whether they load and fit."""

import pytest

from chapters import pages

# What the theme does and neither our CSS nor our templates can mend: {(rule, selector): why}. One that occurs no more
# must leave this list.
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Colours are the same at every width, and all else is the same in both themes. Contrast is what takes axe its time.
VISITS = {
    "light": ({"color_scheme": "light"}, {}),
    "dark": ({"color_scheme": "dark"}, {"runOnly": ["color-contrast", "link-in-text-block"]}),
    "phone": ({"color_scheme": "light", "width": 360}, {"rules": {"color-contrast": {"enabled": False}}}),
}
# A page has thousands of coloured words of code, in some forty kinds: the colour depends on the kind of word and on the
# box that it stands in. One of each is left to be judged, and the others become plain text.
ONE_OF_EACH_KIND = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll(".highlight pre span")) {
    const boxes = [".highlight", "[class*=highlight-]", ".cell_input, .cell_output", ".admonition"];
    const kind = [word, ...boxes.map((box) => word.closest(box))].map((one) => one?.className).join("|");
    if (seen.has(kind)) word.replaceWith(...word.childNodes);
    seen.add(kind);
  }
}"""


@pytest.fixture(scope="module")
def found():
    """The exceptions that occurred on any page so far."""
    return set()


@pytest.mark.parametrize("how", VISITS)
@pytest.mark.parametrize("name", pages())
def test_page_is_accessible_and_loads_without_complaint(html, visit, serious, found, name, how):
    context, rules = VISITS[how]
    visited = visit(html / f"{name}.html", **context)
    assert visited.page.evaluate("document.documentElement.dataset.theme") == context["color_scheme"]
    visited.page.evaluate(ONE_OF_EACH_KIND)
    violations = set(serious(visited.page, **rules))
    found |= violations & EXCEPTIONS.keys()
    assert violations - EXCEPTIONS.keys() == set()
    assert visited.foreign() == []
    assert visited.complaints == []
    # What is wider than a phone moves inside its own box.
    assert visited.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_every_exception_still_occurs(browser, found):
    # Runs after the pages above.
    assert EXCEPTIONS.keys() - found == set()
