"""`interactive` in a real browser, from a file, without a kernel and without a network."""

import pytest
import torch

import aecore as ae
from aecore.data import Images
from aecore.models import DenseAutoencoder, init_weights

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Figures</title>
<style>
  html {{ color-scheme: light dark; }}
  body {{ font: 17px/1.6 sans-serif; margin: 1rem; }}
  html[data-theme="dark"] {{ color-scheme: dark; background: #14181e; color: #ced6dd; }}
  html[data-theme="light"] {{ color-scheme: light; background: #fff; color: #323232; }}
</style>
<main><h1>Figures</h1>{}</main>
</html>
"""
KINDS = ("one", "two", "sizes", "walk")
# The bytes of a figure's canvases, read from a copy: to read them in place would change how the browser draws them.
BYTES = """place => [...place.shadowRoot.querySelectorAll("canvas")].map(canvas => {
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0);
  return [...pen.getImageData(0, 0, copy.width, copy.height).data];
})"""


def model(code_size):
    made = DenseAutoencoder((1, 8, 8), code_size, (16,))
    init_weights(made, 0)
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight *= 2
        made.decoder[-2].bias += 0.5
        made.encoder[-1].bias -= 5
    return made


@pytest.fixture(scope="module")
def images():
    """60 images of noise in 3 classes, whose codes differ."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 86, (60, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(60) % 3
    pixels = noise + (85 * labels).to(torch.uint8)[:, None, None, None]  # the classes differ in brightness
    return Images(pixels, labels, "noise", classes=("ant", "bee", "cat"))


@pytest.fixture(scope="module")
def figures(images):
    """The figures by their kind."""
    return {
        "one": ae.interactive.code(model(1), images, caption="One value."),
        "two": ae.interactive.code(model(2), images),
        "sizes": ae.interactive.sizes({1: model(1), 4: model(4), 8: model(8)}, images),
        "walk": ae.interactive.walk(model(4), images),
    }


@pytest.fixture
def show(figures, tmp_path, visit):
    """Open a page with figures of the given kinds: `show("one", "walk", width=360)`."""

    def open_page(*kinds, **options):
        path = tmp_path / "page.html"
        path.write_text(PAGE.format("\n".join(figures[kind].html for kind in kinds)), encoding="utf-8")
        found = visit(path, **options)
        if options.get("java_script_enabled", True):
            found.page.wait_for_function(
                "n => [...document.querySelectorAll('[data-aecore]')].filter(e => e.shadowRoot).length === n",
                arg=len(kinds),
            )
        return found

    return open_page


def place(visited, which=0):
    """Return one figure of the page; what is asked of it is looked for in its shadow root."""
    return visited.page.locator("[data-aecore]").nth(which)


def shown(visited, which=0):
    """Return the bytes of each canvas of a figure."""
    return place(visited, which).evaluate(BYTES)


def press(visited, key, slider=0, which=0):
    """Press a key on one of the figure's sliders."""
    place(visited, which).get_by_role("slider").nth(slider).press(key)


@pytest.mark.parametrize("kind", KINDS)
def test_asks_no_other_host_and_complains_of_nothing(show, kind):
    visited = show(kind)
    for key in ("ArrowRight", "End", "Home", "PageUp"):
        press(visited, key)
    assert visited.requests[0].startswith("file:")
    assert visited.foreign() == []
    assert visited.complaints == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["Home", "End"])
def test_a_key_on_a_slider_changes_the_picture(show, kind, key):
    visited = show(kind)
    press(visited, "Home" if key == "End" else "End")
    before = shown(visited)
    press(visited, key)
    assert shown(visited) != before


@pytest.mark.parametrize("slider", [0, 1])
def test_each_slider_of_the_plane_moves_a_direction_of_its_own(show, slider):
    visited = show("two")
    slider_value = lambda i: place(visited).get_by_role("slider").nth(i).input_value()  # noqa: E731
    other = slider_value(1 - slider)
    press(visited, "Home", slider)
    before = shown(visited)
    press(visited, "PageUp", slider)
    assert shown(visited) != before
    assert slider_value(1 - slider) == other


def sheet_picture(visited, index):
    """Return the bytes of one picture of the first figure's sheet, as the browser decodes them."""
    return visited.page.evaluate(
        """async index => {
          const script = document.querySelector("script").textContent;
          const sheet = new Image();
          sheet.src = script.match(/"sheet": "([^"]+)"/)[1];
          await sheet.decode();
          const columns = Number(script.match(/"columns": (\\d+)/)[1]);
          const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
          const [x, y] = [(index % columns) * 8, Math.floor(index / columns) * 8];
          canvas.getContext("2d").drawImage(sheet, -x, -y);
          return [...canvas.getContext("2d").getImageData(0, 0, 8, 8).data];
        }""",
        index,
    )


CORNERS = [(("Home", "Home"), 0, 0), (("End", "Home"), -1, 0), (("Home", "End"), 0, -1)]


@pytest.mark.parametrize(("keys", "i", "j"), CORNERS)
def test_shows_the_picture_of_the_code_at_the_sliders(show, keys, i, j):
    visited = show("two")
    for slider, key in enumerate(keys):
        press(visited, key, slider)
    steps = int(place(visited).get_by_role("slider").nth(0).get_attribute("max")) + 1
    assert shown(visited)[0] == sheet_picture(visited, i % steps + (j % steps) * steps)


def test_dragging_over_the_plane_moves_the_code(show):
    visited = show("two")
    box = place(visited).locator(".plot").bounding_box()
    mouse = visited.page.mouse
    mouse.move(box["x"] + 20, box["y"] + 20)
    mouse.down()
    before, values = shown(visited), [s.input_value() for s in place(visited).get_by_role("slider").all()]
    mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5)
    mouse.up()
    after = [s.input_value() for s in place(visited).get_by_role("slider").all()]
    assert shown(visited) != before
    assert int(values[0]) < int(after[0])  # to the right
    assert int(values[1]) > int(after[1])  # and down
    mouse.move(box["x"] + 20, box["y"] + 20)  # let go: the pointer moves nothing now
    assert [s.input_value() for s in place(visited).get_by_role("slider").all()] == after


def test_touching_the_rows_moves_the_code(show):
    visited = show("one", has_touch=True)
    box = place(visited).locator(".plot").bounding_box()
    before = shown(visited)
    visited.page.touchscreen.tap(box["x"] + 15, box["y"] + 10)
    assert shown(visited) != before


def test_the_mark_stands_above_the_knob_of_the_slider(show):
    visited = show("one")
    press(visited, "PageDown")
    slider = place(visited).get_by_role("slider")
    box, knob = slider.bounding_box(), 20
    share = int(slider.input_value()) / int(slider.get_attribute("max"))
    mark = place(visited).locator(".mark").bounding_box()
    centre = box["x"] + knob / 2 + share * (box["width"] - knob)
    assert mark["x"] + mark["width"] / 2 == pytest.approx(centre, abs=2)  # the border of the plot is one pixel


@pytest.mark.parametrize("name", ["from", "to"])
def test_choosing_another_image_changes_the_walk(show, name):
    visited = show("walk")
    before = shown(visited)
    place(visited).get_by_label(name, exact=True).select_option("cat")
    assert shown(visited) != before


def test_walk_back_passes_the_same_pictures_the_other_way(show):
    visited = show("walk")
    choose = lambda name, value: place(visited).get_by_label(name, exact=True).select_option(value)  # noqa: E731
    choose("from", "bee")
    choose("to", "cat")
    press(visited, "Home")
    press(visited, "ArrowRight")
    forth = shown(visited)[0]
    choose("from", "cat")
    choose("to", "bee")
    press(visited, "End")
    press(visited, "ArrowLeft")
    assert shown(visited)[0] == forth


def test_walk_ends_at_the_decoded_image_and_at_the_image_itself(show):
    visited = show("walk")
    press(visited, "End")
    assert shown(visited)[0] == sheet_picture(visited, 1)
    assert shown(visited)[1] == sheet_picture(visited, 3 + 1)


def test_mixed_pixels_are_the_mean_half_way(show):
    visited = show("walk")
    mean = [(a + b) / 2 for a, b in zip(sheet_picture(visited, 3), sheet_picture(visited, 4), strict=True)]
    assert shown(visited)[1] == pytest.approx(mean, abs=1)


def test_sizes_shows_the_copies_of_the_chosen_size(show):
    visited = show("sizes")
    press(visited, "End")
    # Canvases: original, copy, original, copy …; on the sheet: 3 originals, then 3 copies of each size.
    assert shown(visited)[2] == sheet_picture(visited, 1)
    assert shown(visited)[3] == sheet_picture(visited, 3 * 3 + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_without_scripts_the_still_picture_is_there(show, kind, figures):
    visited = show(kind, java_script_enabled=False)
    image = visited.page.get_by_role("img", name=figures[kind].alt)
    assert image.is_visible()
    assert image.bounding_box()["width"] > 300


@pytest.mark.parametrize("kind", KINDS)
def test_with_scripts_the_still_picture_gives_way(show, kind):
    assert not show(kind).page.locator("figure > div > img").is_visible()


@pytest.mark.parametrize("kind", KINDS)
def test_fits_a_phone(show, kind):
    page = show(kind, width=360).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_fits_a_phone_without_scripts(show):
    page = show(*KINDS, width=360, java_script_enabled=False).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("kind", ["one", "walk"])
def test_the_same_figure_works_twice_on_a_page(show, kind):
    visited = show(kind, kind)
    press(visited, "Home", which=1)
    before = shown(visited, 0), shown(visited, 1)
    press(visited, "End", which=1)
    assert shown(visited, 0) == before[0]
    assert shown(visited, 1) != before[1]
    assert visited.complaints == []


def test_all_figures_work_on_one_page(show):
    visited = show(*KINDS)
    for which in range(len(KINDS)):
        press(visited, "Home", which=which)
        before = shown(visited, which)
        press(visited, "End", which=which)
        assert shown(visited, which) != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show, serious, scheme):
    assert serious(show(*KINDS, color_scheme=scheme).page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_follows_the_theme_of_the_page(show, serious, theme):
    visited = show(*KINDS, color_scheme="light")
    visited.page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
    assert serious(visited.page, runOnly=["color-contrast"]) == []


def test_the_value_is_said_in_words(show):
    visited = show("one")
    press(visited, "Home")
    slider = place(visited).get_by_role("slider", name="code value z₁")
    words = slider.get_attribute("aria-valuetext")
    assert words.startswith("−")
    picture = place(visited).get_by_role("img", name=f"image decoded from the code z₁ = {words}")
    assert picture.count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_is_announced(show, kind):
    visited = show(kind)
    press(visited, "Home")
    said = place(visited).locator("output[aria-live=polite]")
    before = said.text_content()
    press(visited, "End")
    assert said.text_content() != before


@pytest.mark.parametrize("kind", KINDS)
def test_focus_is_seen(show, kind):
    visited = show(kind)
    visited.page.keyboard.press("Tab")
    ring = "place => { const { outlineStyle, outlineWidth } = getComputedStyle(place.shadowRoot.activeElement);"
    ring += " return `${outlineStyle} ${outlineWidth}`; }"
    assert place(visited).evaluate(ring) == "solid 3px"


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_enlarged_without_blur(show, kind):
    visited = show(kind)
    script = "place => getComputedStyle(place.shadowRoot.querySelector('canvas')).imageRendering"
    assert place(visited).evaluate(script) == "pixelated"


def test_a_reader_who_wants_less_motion_gets_none(show):
    moving = show("walk").page.locator(".frame").evaluate("one => getComputedStyle(one).transitionDuration")
    still = show("walk", reduced_motion="reduce").page.locator(".frame")
    assert moving != "0s"
    assert still.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"
