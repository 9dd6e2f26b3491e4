"""`interactive` in a real browser, from a file, without a kernel and without a network."""

import functools
import json
import re
from itertools import product

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
INTERACTIVE = ae.interactive
DESKTOP = {"width": 1200, "height": 900}
KINDS = ("one", "two", "sizes", "photo", "walk")
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
def figures():
    """The figures by their kind, of 24 images of noise in 3 classes, whose codes differ."""
    noise = torch.randint(0, 86, (24, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) % 3
    pixels = noise + (85 * labels).to(torch.uint8)[:, None, None, None]  # the classes differ in brightness
    images = Images(pixels, labels, "noise", classes=("ant", "bee", "cat"))
    few = INTERACTIVE.one_of_each(images)
    copies = INTERACTIVE.reconstructions({size: model(size) for size in (1, 4, 8)}, few)
    photo = {
        f"{rate} bpp": {"JPEG": torch.full((1, 3, 8, 8), rate), "ours": torch.zeros(1, 3, 8, 8)} for rate in (0.2, 0.8)
    }
    return {
        "one": INTERACTIVE.code(model(1), images, caption="One value."),
        "two": INTERACTIVE.code(model(2), images, max_bytes=60_000),
        "sizes": INTERACTIVE.slider(copies, value_name="values in the code", originals=few),
        "photo": INTERACTIVE.slider(photo, value_name="bits per pixel", originals=torch.ones(1, 3, 8, 8)),
        "ten": INTERACTIVE.slider({size: torch.rand(10, 1, 8, 8) for size in ("1", "256")}, value_name="values"),
        "walk": INTERACTIVE.slider(INTERACTIVE.walks(model(4), few, steps=5), value_name="share of the second image"),
    }


class Opened:
    """A page that stays open for all tests, and what it asked for and complained of so far."""

    def __init__(self, page) -> None:
        self.page = page
        self.requests, self.complaints = [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda line: line.type in ("error", "warning") and self.complaints.append(line.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))


@pytest.fixture(scope="module")
def opened(browser, figures, tmp_path_factory):
    """Open a page with some figures, or with all: `opened("one", "walk", has_touch=True)`; each only once."""
    folder = tmp_path_factory.mktemp("pages")

    @functools.cache
    def open_page(*kinds, **options):
        path = folder / f"{'-'.join(kinds) or 'all'}.html"
        kinds = kinds or KINDS
        path.write_text(PAGE.format("\n".join(figures[kind].html for kind in kinds)), encoding="utf-8")
        found = Opened(browser.new_page(viewport=DESKTOP, **options))
        found.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            ready = "n => [...document.querySelectorAll('[data-aecore]')].filter(e => e.shadowRoot).length === n"
            found.page.wait_for_function(ready, arg=len(kinds))
        return found

    return open_page


@pytest.fixture
def all_figures(opened):
    """The page with all figures, on a large screen and in the light."""
    found = opened(has_touch=True)
    yield found
    found.page.set_viewport_size(DESKTOP)
    found.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    found.page.evaluate("delete document.documentElement.dataset.theme")


def place(visited, kind):
    """Return one figure of the page, by its kind or position; what is asked of it is looked for in its shadow root."""
    return visited.page.locator("[data-aecore]").nth(KINDS.index(kind) if kind in KINDS else kind)


def shown(visited, kind):
    """Return the bytes of each canvas of a figure."""
    return place(visited, kind).evaluate(BYTES)


def press(visited, kind, key, slider=0):
    """Press a key on one of the figure's sliders."""
    place(visited, kind).get_by_role("slider").nth(slider).press(key)


def values(visited, kind):
    """Return where the sliders of a figure stand."""
    return [int(slider.input_value()) for slider in place(visited, kind).get_by_role("slider").all()]


def choose(visited, name, value):
    """Choose from a menu of the walk."""
    place(visited, "walk").get_by_label(name, exact=True).select_option(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["Home", "End"])
def test_a_key_on_a_slider_changes_the_picture(all_figures, kind, key):
    press(all_figures, kind, "Home" if key == "End" else "End")
    before = shown(all_figures, kind)
    press(all_figures, kind, key)
    assert shown(all_figures, kind) != before


@pytest.mark.parametrize("slider", [0, 1])
def test_each_slider_of_the_plane_moves_a_direction_of_its_own(all_figures, slider):
    press(all_figures, "two", "Home", slider)
    before, other = shown(all_figures, "two"), values(all_figures, "two")[1 - slider]
    press(all_figures, "two", "PageUp", slider)
    assert shown(all_figures, "two") != before
    assert values(all_figures, "two")[1 - slider] == other


def stored(visited, kind, index):
    """Return the bytes of one picture of a figure's sprite, as the browser decodes them."""
    return visited.page.evaluate(
        """async ([figure, index]) => {
          const data = document.querySelectorAll("script")[figure].textContent;
          const sprite = new Image();
          sprite.src = data.match(/"sprite": "([^"]+)"/)[1];
          await sprite.decode();
          const columns = Number(data.match(/"columns": (\\d+)/)[1]);
          const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
          const [x, y] = [(index % columns) * 8, Math.floor(index / columns) * 8];
          canvas.getContext("2d").drawImage(sprite, -x, -y);
          return [...canvas.getContext("2d").getImageData(0, 0, 8, 8).data];
        }""",
        [KINDS.index(kind), index],
    )


def views(figures, kind):
    """Return the positions in the sprite of the pictures of each combination and position."""
    return json.loads(re.search(r'"views": (\[\[\[.*?\]\]\])', figures[kind].html)[1])


CORNERS = [(("Home", "Home"), 0, 0), (("End", "Home"), -1, 0), (("Home", "End"), 0, -1)]


@pytest.mark.parametrize(("keys", "i", "j"), CORNERS)
def test_shows_the_picture_of_the_code_at_the_sliders(all_figures, keys, i, j):
    for slider, key in enumerate(keys):
        press(all_figures, "two", key, slider)
    steps = int(place(all_figures, "two").get_by_role("slider").nth(0).get_attribute("max")) + 1
    assert shown(all_figures, "two")[0] == stored(all_figures, "two", i % steps + (j % steps) * steps)


def test_dragging_over_the_plane_moves_the_code(all_figures):
    plot = place(all_figures, "two").locator(".plot")
    plot.scroll_into_view_if_needed()
    box, mouse = plot.bounding_box(), all_figures.page.mouse
    mouse.move(box["x"] + 20, box["y"] + 20)
    mouse.down()
    before, (x, y) = shown(all_figures, "two"), values(all_figures, "two")
    mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5)
    mouse.up()
    after = values(all_figures, "two")
    assert shown(all_figures, "two") != before
    assert x < after[0]  # to the right
    assert y > after[1]  # and down
    mouse.move(box["x"] + 20, box["y"] + 20)  # let go: the pointer moves nothing now
    assert values(all_figures, "two") == after


@pytest.mark.parametrize(
    ("kind", "area", "value"), [("one", ".plot", 0), ("walk", ".strip", 0), ("photo", ".strip", 0)]
)
def test_touching_moves_the_slider(all_figures, kind, area, value):
    press(all_figures, kind, "End")
    before = shown(all_figures, kind)
    place(all_figures, kind).locator(area).tap(position={"x": 12, "y": 10})
    assert values(all_figures, kind) == [value]
    assert shown(all_figures, kind) != before


def test_the_mark_stands_above_the_knob_of_the_slider(all_figures):
    press(all_figures, "one", "PageDown")
    slider = place(all_figures, "one").get_by_role("slider")
    box, knob = slider.bounding_box(), 20
    share = int(slider.input_value()) / int(slider.get_attribute("max"))
    mark = place(all_figures, "one").locator(".mark").bounding_box()
    centre = box["x"] + knob / 2 + share * (box["width"] - knob)
    assert mark["x"] + mark["width"] / 2 == pytest.approx(centre, abs=2)  # the border of the plot is one pixel


def test_the_frame_stands_around_the_position_of_the_slider(all_figures):
    all_figures.page.emulate_media(reduced_motion="reduce")
    press(all_figures, "walk", "Home")
    press(all_figures, "walk", "ArrowRight")
    strip, frame = (place(all_figures, "walk").locator(name).bounding_box() for name in (".strip", ".frame"))
    assert frame["x"] - strip["x"] == pytest.approx(strip["width"] / 5, abs=1)
    assert frame["width"] == pytest.approx(strip["width"] / 5, abs=1)


@pytest.mark.parametrize("name", ["from", "to"])
def test_choosing_from_a_menu_changes_the_pictures(all_figures, name):
    choose(all_figures, name, "ant")
    before = shown(all_figures, "walk")
    choose(all_figures, name, "cat")
    assert shown(all_figures, "walk") != before


def test_menus_choose_their_combination(all_figures, figures):
    choose(all_figures, "from", "cat")
    choose(all_figures, "to", "bee")
    press(all_figures, "walk", "Home")
    press(all_figures, "walk", "ArrowRight")
    decoded, mixed = views(figures, "walk")[2 * 3 + 1][1]
    assert shown(all_figures, "walk")[0] == stored(all_figures, "walk", decoded)
    assert shown(all_figures, "walk")[1] == stored(all_figures, "walk", mixed)


def test_shows_the_pictures_of_the_position_below_the_originals(all_figures, figures):
    press(all_figures, "sizes", "End")
    # Canvases: original, copy, original, copy …; on the sprite the originals come first.
    assert shown(all_figures, "sizes")[2] == stored(all_figures, "sizes", 1)
    assert shown(all_figures, "sizes")[3] == stored(all_figures, "sizes", views(figures, "sizes")[0][2][1])


def test_a_single_picture_stands_beside_its_original(all_figures):
    press(all_figures, "photo", "End")
    colours = [picture[:3] for picture in shown(all_figures, "photo")[:3]]
    assert colours == [[255] * 3, [204] * 3, [0] * 3]  # original, JPEG of .8, ours
    assert place(all_figures, "photo").locator(".name").all_text_contents() == ["original", "JPEG", "ours"]


@pytest.mark.parametrize(("width", "in_a_row"), [(1000, 10), (532, 5), (340, 5), (180, 2)])
def test_ten_pictures_stand_in_rows_of_one_length(opened, width, in_a_row):
    """At 532 pixels nine would fit."""
    visited = opened("ten")
    visited.page.set_viewport_size({"width": width, "height": 900})
    count = """async (box) => {
      for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);  // the observer is called after a layout
      return getComputedStyle(box).gridTemplateColumns.split(" ").filter((width) => parseFloat(width) > 0).length;
    }"""
    assert place(visited, 0).locator(".columns").evaluate(count) == in_a_row


def test_the_last_number_below_a_slider_ends_with_it(opened):
    visited = opened("ten")
    slider = place(visited, 0).get_by_role("slider")
    ends = """element => {
      const content = new Range();
      content.selectNodeContents(element);
      return content.getBoundingClientRect().right;
    }"""
    last = place(visited, 0).locator(".ticks span").last.evaluate(ends)
    assert last <= slider.evaluate("element => element.getBoundingClientRect().right") + 0.5


def test_without_scripts_the_still_pictures_are_there(opened, figures):
    page = opened(java_script_enabled=False).page
    for kind in KINDS:
        image = page.get_by_role("img", name=figures[kind].alt)
        assert image.is_visible()
        assert image.bounding_box()["width"] > 300


def test_with_scripts_the_still_pictures_give_way(all_figures):
    assert all_figures.page.locator("figure > div > img:visible").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_fits_a_phone(all_figures, opened, scripts):
    page = all_figures.page if scripts else opened(java_script_enabled=False).page
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("kind", ["one", "walk"])
def test_the_same_figure_works_twice_on_a_page(opened, kind):
    visited = opened(kind, kind)
    press(visited, 1, "Home")
    before = shown(visited, 0), shown(visited, 1)
    press(visited, 1, "End")
    assert shown(visited, 0) == before[0]
    assert shown(visited, 1) != before[1]
    assert visited.complaints == []


def test_axe_finds_nothing_serious(all_figures, serious):
    assert serious(all_figures.page) == []


@pytest.mark.parametrize(("scheme", "theme"), [("dark", None), ("light", "dark"), ("dark", "light")])
def test_contrast_follows_the_system_and_the_theme_of_the_page(all_figures, serious, scheme, theme):
    all_figures.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if theme:
        all_figures.page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
    assert serious(all_figures.page, runOnly=["color-contrast"]) == []


def test_the_value_of_a_code_is_said_in_words(all_figures):
    press(all_figures, "one", "Home")
    slider = place(all_figures, "one").get_by_role("slider", name="code value z₁")
    words = slider.get_attribute("aria-valuetext")
    assert words.startswith("−")
    picture = place(all_figures, "one").get_by_role("img", name=f"image decoded from the code z₁ = {words}")
    assert picture.count() == 1


def test_each_picture_of_a_slider_says_what_it_is(all_figures):
    press(all_figures, "sizes", "End")
    slider = place(all_figures, "sizes").get_by_role("slider", name="values in the code")
    assert slider.get_attribute("aria-valuetext") == "8"
    names = [one.get_attribute("aria-label") for one in place(all_figures, "sizes").get_by_role("img").all()]
    assert names[2:4] == ["original of bee", "reconstruction of bee, values in the code: 8"]


def test_menus_stand_in_the_words_of_their_pictures(all_figures):
    choose(all_figures, "from", "bee")
    choose(all_figures, "to", "ant")
    press(all_figures, "walk", "End")
    said = "from bee, to ant, share of the second image: 100 %"
    assert place(all_figures, "walk").locator("output[aria-live=polite]").text_content() == f"{said}."
    assert place(all_figures, "walk").get_by_role("img", name=f"pixels mixed, {said}").count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_is_announced(all_figures, kind):
    said = place(all_figures, kind).locator("output[aria-live=polite]")
    for slider in range(len(values(all_figures, kind))):
        press(all_figures, kind, "Home", slider)
    before = said.text_content()
    for slider in range(len(values(all_figures, kind))):
        press(all_figures, kind, "End", slider)
    assert said.text_content() != before


@pytest.mark.parametrize("kind", KINDS)
def test_focus_is_seen(all_figures, kind):
    press(all_figures, kind, "Home")
    ring = "place => { const { outlineStyle, outlineWidth } = getComputedStyle(place.shadowRoot.activeElement);"
    ring += " return `${outlineStyle} ${outlineWidth}`; }"
    assert place(all_figures, kind).evaluate(ring) == "solid 3px"


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_enlarged_without_blur(all_figures, kind):
    script = "place => getComputedStyle(place.shadowRoot.querySelector('canvas')).imageRendering"
    assert place(all_figures, kind).evaluate(script) == "pixelated"


def test_a_reader_who_wants_less_motion_gets_none(all_figures):
    frame = place(all_figures, "walk").locator(".frame")
    assert frame.evaluate("one => getComputedStyle(one).transitionDuration") != "0s"
    all_figures.page.emulate_media(reduced_motion="reduce")
    assert frame.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"


def test_asks_no_other_host_and_complains_of_nothing(all_figures):
    # The page has behind it what the tests above did, too.
    for kind, key in product(KINDS, ("ArrowRight", "End", "Home", "PageUp")):
        press(all_figures, kind, key)
    assert all_figures.requests[0].startswith("file:")
    assert [url[:200] for url in all_figures.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert all_figures.complaints == []


def told(figures, kind, name):
    """Return one list of a figure's data."""
    return json.loads(re.search(rf'"{name}": (\[.*?\])(?:, "\w+":|\}})', figures[kind].html)[1])


@pytest.mark.parametrize("key", ["Home", "End"])
def test_status_counts_the_classes_of_the_ten_closest_codes(all_figures, figures, key):
    press(all_figures, "one", key)
    here = float(place(all_figures, "one").locator(".control output").inner_text().replace("−", "-"))
    near = sorted(told(figures, "one", "points"), key=lambda point: abs(point[0] - here))[:10]
    classes = [point[1] for point in near]
    count, name = max((classes.count(c), -c) for c in set(classes))
    wanted = f"Of the 10 marked images with the closest codes, {count} are of class “{('ant', 'bee', 'cat')[-name]}”."
    assert place(all_figures, "one").locator(".status").inner_text() == wanted


NAMES = """place => [...place.shadowRoot.querySelectorAll(".class")].map(one => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})"""


@pytest.mark.parametrize("brighter", [0, 2])
def test_names_of_classes_with_close_means_are_moved_apart(browser, tmp_path, brighter):
    # Each image stands there twice, as an "a" and as a slightly brighter "b".
    pixels = torch.randint(0, 250, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(24) % 2
    pixels = pixels.repeat_interleave(2, 0) + (brighter * labels).to(torch.uint8)[:, None, None, None]
    figure = INTERACTIVE.code(model(2), Images(pixels, labels, "twins", classes=("a", "b")), max_bytes=60_000)
    path = tmp_path / "twins.html"
    path.write_text(PAGE.format(figure.html), encoding="utf-8")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('[data-aecore]').shadowRoot !== null")
    (ax, ay), (bx, by) = page.locator("[data-aecore]").evaluate(NAMES)
    side = page.locator("[data-aecore] .area").bounding_box()["width"]
    # 0.065 of the plane, a little more than a name of one letter is wide, in the direction of the means.
    across, up = (1, 0) if brighter == 0 else between_means({"twins": figure})
    far = 0.065 * side / (across**2 + up**2) ** 0.5
    assert (bx - ax, ay - by) == pytest.approx((far * across, far * up), abs=1)


def between_means(figures):
    """Return how far the second mean lies to the right of the first one and above it, as fractions of the plane."""
    a, b = means_in_the_plane(figures, "twins")
    return b[0] - a[0], b[1] - a[1]


def means_in_the_plane(figures, kind):
    """Return the classes' mean codes as fractions of the plane, from the left and from below."""
    means = [one["mean"] for one in json.loads(re.search(r'"classes": (\[\{.*?\}\])', figures[kind].html)[1])]
    axes = json.loads(re.search(r'"axes": (\[\{.*?\}\])', figures[kind].html)[1])
    ends = [(axis["values"][0], axis["values"][-1]) for axis in axes]
    return [[(at - low) / (high - low) for at, (low, high) in zip(one, ends, strict=True)] for one in means]


def test_name_that_is_alone_stands_at_its_mean(all_figures, figures):
    area = place(all_figures, "two").locator(".area").bounding_box()
    found = place(all_figures, "two").evaluate(NAMES)
    for (x, y), (across, up) in zip(found, means_in_the_plane(figures, "two"), strict=True):
        assert abs(x - area["x"] - across * area["width"]) < 1
        assert abs(area["y"] + area["height"] - y - up * area["height"]) < 1
