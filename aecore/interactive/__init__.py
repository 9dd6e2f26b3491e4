"""Figures that a reader moves: in the built page without a kernel, in Jupyter with the model itself.

    ae.interactive.code(run, mnist.test)                    # one or two code values, by slider or on their plane
    ae.interactive.sizes({2: small, 32: large}, mnist.test) # the same images from codes of several sizes
    ae.interactive.walk(run, mnist.test)                    # from one image to another, in code space and in pixels

Each call decodes a grid of codes now, stores the pictures in the output, and a script that loads nothing shows them.
"""

from .between import walk
from .code_sizes import sizes
from .code_space import code
from .page import Figure

__all__ = ["Figure", "code", "sizes", "walk"]
