"""Training: the plan, the batches, the loop. Pure: it knows no profile and no store of runs."""

from .batches import Batches, epoch_order
from .loop import History, TrainingDiverged, train, validation_loss
from .plan import Plan

__all__ = ["Batches", "History", "Plan", "TrainingDiverged", "epoch_order", "train", "validation_loss"]
