"""Figures that a reader moves: in the built page without a kernel, in Jupyter with the model itself.

    ae.interactive.code(run, mnist.test)                            # the picture of a code, which the reader moves

    few = ae.interactive.one_of_each(mnist.test)                    # prepared pictures, chosen by a slider:
    copies = ae.interactive.reconstructions({2: small, 32: large}, few)
    ae.interactive.slider(copies, value_name="values in the code", originals=few)

    steps = ae.interactive.walks(run, few)                          # … and by menus
    ae.interactive.slider(steps, value_name="share of the second image")

`slider` takes any pictures by the label of their position, such as `{".25 bpp": x_hat, ".5 bpp": …}`. All pictures are
stored in the output, and a script that loads nothing shows them.
"""

from .code_figure import code
from .examples import one_of_each
from .own_picture import own_picture
from .page import Figure
from .prepare import reconstructions, walks
from .slider_figure import Menus, Position, slider

__all__ = [
    "Figure", "Menus", "Position", "code", "one_of_each", "own_picture", "reconstructions", "slider", "walks",
]  # fmt: skip
