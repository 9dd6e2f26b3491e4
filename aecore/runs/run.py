"""A run: one training and what came of it, with everything that was measured on its model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .. import config, journal
from ..data.images import Images
from ..inference import eval_mode
from ..metrics import Scores, check_images, evaluate
from ..training import History, Plan
from .fingerprint import code_of, key_of
from .measured import Entry, Measured, plain

# The fingerprint of the run that a model holds the weights of: one that is trained again is another run's from then on.
_holds: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


class WeightsNotPublished(RuntimeError):
    """A run's numbers were published without its weights, and something asks for these."""


class NoWeights:
    """Stands where the model of a run without weights would stand, and says so to whoever uses it."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def __call__(self, *batch) -> None:
        raise WeightsNotPublished(
            f"the weights of {self.__dict__['name']!r} are not part of the book, only what was measured on them. To "
            "train the model anew, leave out weights=False in the call of fit."
        )

    def __getattr__(self, attribute: str) -> None:
        if attribute.startswith("__"):  # asked by Python itself, when it copies or prints
            raise AttributeError(attribute)
        self()


@dataclass
class Run:
    """One training and what came of it.

    Args:
        name: chosen by the caller, "02-conv"; may be None for a run that is not stored.
        fingerprint: of everything that the result depends on.
        model: the trained model; of a run that was published without its weights, a stand-in that says so.
        plan, objective, history: how it was trained, what for, and what happened.
        data: name, number, source, note and fingerprint of the images.
        date: when the training ended, UTC, "2026-11-22 14:03".
        seconds: how long the training took, validation included.
        machine, versions: where.
        parts: of the fingerprint, a digest each, so that a difference can be named.
        measured: what `measure` and `score` found, by key.
        keep: called when something new was measured, to store it; None: it is kept in memory alone.
        other_data: whether the run was trained on other images than the caller's, and taken all the same.
    """

    name: str | None
    fingerprint: str
    model: nn.Module
    plan: Plan
    objective: str
    history: History
    data: dict
    date: str
    seconds: float
    machine: str
    versions: dict[str, str]
    parts: dict[str, str] = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured, repr=False)
    keep: Callable[[Run], None] | None = field(default=None, repr=False)
    other_data: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):
            _holds[self.model] = self.fingerprint

    def __repr__(self) -> str:
        valid = self.history.valid_loss[-1] if len(self.history) else float("nan")
        if self.history.interrupted:
            return f"Run {self.name}: interrupted after {len(self.history)} of {self.plan.epochs} epochs"
        return f"Run {self.name}: {len(self.history)} epochs, validation {self.objective} {valid:.5f}, {self.story()}"

    def check_model(self, argument: str) -> None:
        """Raise a ValueError where the model was trained again since, as another run, and holds other weights now."""
        if isinstance(self.model, nn.Module) and _holds.get(self.model, self.fingerprint) != self.fingerprint:
            raise ValueError(
                f"{argument}: the model of run {self.name!r} was trained again since, as another run, and holds the "
                "weights of that one. Give each call of fit a model of its own."
            )

    def story(self) -> str:
        """When, where and how long, in words."""
        return f"trained {self.date[:10]} on {self.machine}, {self.seconds:,.0f} s"

    def measure(self, function: Callable[[nn.Module, Images], object], images: Images) -> object:
        """Return `function(model, images)`, computed once and then kept with the run.

        So a page can show what was found on a model whose weights are too large to be published. Another function
        (its code counts), or other images, are measured anew. On a run that was trained on other data than the reader's
        the page's own measurement is returned: what was found by a function of that name on the part of that name.

        Args:
            function: takes the trained model, in evaluation, and the images; returns numbers, words, tensors, and lists
                or dicts of them.
            images: what to measure on.

        Returns:
            What the function returned; tuples and arrays come back as lists and tensors, and tensors on the CPU.

        Raises:
            WeightsNotPublished: this was not measured before, and the weights are not there.
            TypeError: the function returned something that cannot be kept, or is none.
            ValueError: there is no image, or the run's model was trained again since, as another run.
        """
        check_images("images", images)
        if not callable(function) or not hasattr(function, "__qualname__"):
            raise TypeError(f"function: wanted one of a model and images, written with def, got {function!r}")
        key, what = key_of(function, images), function.__name__
        if self.name is not None:
            journal.record("measurement", run=self.name, key=key)
        if key in self.measured:
            return plain(self.measured[key].value)
        code = hashlib.sha256(code_of(function).encode()).hexdigest()[:16]
        wanted = Entry(what, images.name, len(images), None, code)
        if self.other_data and (entry := self.measured.like(wanted)):
            if entry.code not in ("", code):
                config.log.warning(f"{self.name}: {what} is not the page's function of that name; its number is shown")
            return plain(entry.value)
        self.check_model("measure")
        with torch.no_grad(), eval_mode(self.model):
            self.measured[key] = wanted._replace(value=function(self.model, images))
        if self.keep is not None:
            self.keep(self)
        return plain(self.measured[key].value)

    def score(self, images: Images) -> Scores:
        """Return the scores of the clipped reconstructions, kept as `measure` keeps them; `each` is empty."""
        return Scores(**self.measure(_clipped_scores, images), each={})

    def facts(self) -> dict:
        """Everything but the weights and the measurements, ready for JSON."""
        left_out = ("model", "measured", "keep", "other_data")
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        return {**kept, "plan": self.plan.as_dict(), "history": self.history.as_dict()}

    @classmethod
    def of(cls, facts: dict, model: nn.Module | NoWeights, measured: Measured | None = None) -> Run:
        """Return the run that `facts` tell of. Facts that this version of aecore does not know are passed over."""
        here = {"model", "measured", "keep", "other_data", "plan", "history"}
        known = {f.name for f in dataclasses.fields(cls)} - here
        return cls(
            model=model,
            plan=Plan(**facts["plan"]),
            history=History.from_dict(facts["history"]),
            measured=measured if measured is not None else Measured(),
            **{name: value for name, value in facts.items() if name in known},
        )


def _clipped_scores(model: nn.Module, images: Images) -> dict:
    scores = dataclasses.asdict(evaluate(model, images, clip=True))
    del scores["each"]
    return scores
