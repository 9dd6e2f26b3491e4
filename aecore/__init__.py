"""aecore: the small package under the book on image compression with autoencoders.

import aecore as ae

mnist = ae.load("mnist")
run = ae.fit(ae.models.LinearAutoencoder(mnist.shape, 32), mnist, ae.Plan(epochs=5), name="mine")
print(ae.evaluate(run.model, mnist.test))
"""

from __future__ import annotations

import importlib

__version__ = "0.2.0"

# Each name is imported when it is first used, so that `import aecore` costs nothing.
_WHERE = {
    "Images": "data.images",
    "Plan": "training",
    "check": "exercises",
    "claim": "journal",
    "evaluate": "metrics",
    "fit": "experiment",
    "from_array": "data",
    "load": "data",
    "provenance": "journal",
    "setup": "session",
    "spread": "plots",
    "summary": "models",
    "table": "plots",
}
_MODULES = (
    "alignment", "codec", "codes", "compression", "data", "drawings", "interactive", "losses", "metrics", "models",
    "objectives", "plots", "runs", "training",
)  # fmt: skip

__all__ = [*_WHERE, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'aecore' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
