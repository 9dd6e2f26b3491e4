"""The controls that need a kernel: any code, decoded by the model itself at the moment it is set."""

from __future__ import annotations

import importlib.util
import os
import sys

import torch
from torch import Tensor

from ..data.images import Images
from .examples import names_of, one_of_each
from .flat import USED, FlatAutoencoder
from .sprite import data_uri, png, to_bytes

# Beyond so many values a reader moves no single one with sense.
MOST_SLIDERS = 64
_WIDTH = 224  # pixels that the picture is wide on the screen


def wanted() -> str:
    """Return whether the controls are "shown", made and drawn "once" without being shown, or "no".

    They are shown where a kernel answers. A notebook that is being published keeps none, since a page has no kernel.
    Under test they are made and drawn with their defaults. `AECORE_WIDGETS` (1 or 0) overrules all of it.
    """
    said = os.environ.get("AECORE_WIDGETS", "").strip()
    if said not in ("", "0", "1"):
        raise ValueError(f"AECORE_WIDGETS: wanted 1 (show the controls) or 0 (do not), got {said!r}")
    if said:
        return "shown" if said == "1" else "no"
    if "AECORE_JOURNAL" in os.environ or not _has_kernel() or importlib.util.find_spec("ipywidgets") is None:
        return "no"
    return "once" if _is_under_test() else "shown"


def _is_under_test() -> bool:
    # nbval starts its kernels from pytest, and they inherit this.
    return bool({"PYTEST_VERSION", "PYTEST_CURRENT_TEST"} & os.environ.keys())


def _has_kernel() -> bool:
    ipython = sys.modules.get("IPython")  # a kernel has imported it long ago
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class Panel:
    """A slider for each code value, the decoded picture, and a list of codes to start from.

    Args:
        model: the autoencoder.
        images: their codes give the sliders' ranges; the first of each class are the examples.

    Attributes:
        sliders: one for each code value, or none where there are more than 64.
        picture: the decoded image, as HTML.
        start: the list of codes: the mean, and those of the examples.
        box: all of it, to be displayed.
    """

    def __init__(self, model: FlatAutoencoder, images: Images) -> None:
        import ipywidgets as widgets

        self.model = model
        images = images[:USED]
        examples = one_of_each(images)
        all_codes = model.encode(images)
        self.codes = torch.cat([all_codes.mean(0, keepdim=True), model.encode(examples)])
        self.picture = widgets.HTML()  # and not Image, which has no alt text and would blur what it enlarges
        names = enumerate(["mean code", *names_of(examples)])
        self.start = widgets.Dropdown(
            options=[("–", None), *((name, i) for i, name in names)], description="start from"
        )
        self.sliders = self._sliders(all_codes) if model.size <= MOST_SLIDERS else []
        self.start.observe(lambda change: self._set(change["new"]), names="value")
        self.box = self._arranged()
        self.start.value = 0

    def _set(self, which: int | None) -> None:
        """Set all values to those of a code in the list, and draw once."""
        if which is None:
            return
        code = self.codes[which]
        self._drawing = False
        for slider, value in zip(self.sliders, code.tolist(), strict=False):
            slider.value = value
        self._drawing = True
        self._draw(code)

    def _sliders(self, codes: Tensor) -> list:
        import ipywidgets as widgets

        # Somewhat more than where the codes lie, so that a reader can leave the known.
        low, high = codes.amin(0), codes.amax(0)
        margin = (high - low).clamp(min=1e-3) * 0.1
        sliders = []
        for i, (start, end) in enumerate(zip((low - margin).tolist(), (high + margin).tolist(), strict=True)):
            slider = widgets.FloatSlider(min=start, max=end, value=(start + end) / 2, step=(end - start) / 500)
            slider.description = f"z{_below(i + 1)}"
            slider.readout_format = ".3g"
            slider.observe(self._moved, names="value")
            sliders.append(slider)
        return sliders

    def _arranged(self):
        import ipywidgets as widgets

        note = f"<b>With the model itself</b>: all {self.model.size} code values"
        if not self.sliders:
            note = f"<b>With the model itself</b>; its {self.model.size} code values are too many for sliders"
        head = widgets.HBox([widgets.HTML(note), self.start])
        columns = widgets.GridBox(self.sliders)
        columns.layout = widgets.Layout(
            grid_template_columns="repeat(auto-fill, minmax(280px, 1fr))", align_content="flex-start", flex="1 1 280px"
        )
        body = widgets.HBox([self.picture, columns])
        head.layout.flex_flow = body.layout.flex_flow = "row wrap"  # on a narrow page one below the other
        return widgets.VBox([head, body])

    def _moved(self, _change) -> None:
        if self._drawing:
            self.start.value = None  # it is that image's code no more, and may be chosen again
            self._draw(torch.tensor([slider.value for slider in self.sliders]))

    def _draw(self, code: Tensor) -> None:
        content = png(to_bytes(self.model.decode(code[None]))[0])
        self.picture.value = (
            f'<img src="{data_uri(content)}" alt="the image that the model decodes from the code at the sliders" '
            f'style="image-rendering: pixelated; width: {_WIDTH}px; max-width: none">'
        )


def _below(number: int) -> str:
    """Return a number in subscript digits."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
