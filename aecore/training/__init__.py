"""Training: the plan, the batches, the loop. Pure: it knows no profile and no store of runs."""

from .batches import Batches, epoch_order
from .checkpoints import Checkpoints
from .guards import TrainingDiverged
from .loop import train, validate
from .observer import Observer
from .optimizer import Adam
from .plan import Plan
from .state import History

__all__ = [
    "Adam", "Batches", "Checkpoints", "History", "Observer", "Plan", "TrainingDiverged", "epoch_order", "train",
    "validate",
]  # fmt: skip
