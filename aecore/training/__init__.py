"""Training: the plan, the batches, the loop. Pure: it knows no profile and no store of runs."""

from .adam import Adam
from .batches import Batches, epoch_order
from .checkpoints import Checkpoints
from .guards import TrainingDiverged
from .loop import train, validation_loss
from .plan import Plan
from .state import History

__all__ = [
    "Adam", "Batches", "Checkpoints", "History", "Plan", "TrainingDiverged", "epoch_order", "train",
    "validation_loss",
]  # fmt: skip
