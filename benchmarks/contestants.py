"""The loops that are compared. Each trains the model of a task and must end with the weights of the others.

A contestant is a function that takes a `Task`, gets everything ready, and returns a function that trains
and returns the model. Only that second call is timed. To add one, write such a function here under
`@contestant("its name")`; `make bench` checks that it does the same work, and measures it beside the rest.

Packages that only one contestant needs are imported inside it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from aecore import machine

from .cases import LR, SEED, Case, Task

FLOOR = "bare step"
Training = Callable[[], nn.Module]


@dataclass(frozen=True)
class Contestant:
    """One loop.

    Args:
        name: as it stands in the tables.
        prepare: takes a task, returns the training that is timed.
        packages: what must be installed beside what aecore needs, by the names that pip knows.
        convolutional_only: leave it out where the model has no convolutions.
        exact: False where it computes in bfloat16, so that its weights cannot be equal.
        every: it trains in every so many rounds only, where it is so slow that it would take most of the time and so
            far off that fewer rounds show it.
    """

    name: str
    prepare: Callable[[Task], Training]
    packages: tuple[str, ...] = ()
    convolutional_only: bool = False
    exact: bool = True
    every: int = 1

    def hindrance(self, device: torch.device) -> str | None:
        """Return why it cannot be measured here, or None."""
        if missing := [name for name in self.packages if not is_installed(name)]:
            return f"not installed: {', '.join(missing)}"
        if not self.exact and not machine.has_bfloat16(device):
            return "no instructions for bfloat16 here"
        return None

    def suits(self, case: Case) -> bool:
        """Return whether it takes part in a case."""
        return case.convolutional or not self.convolutional_only


CONTESTANTS: dict[str, Contestant] = {}


def contestant(name: str, **settings) -> Callable[[Callable[[Task], Training]], Callable[[Task], Training]]:
    """Register a function as the contestant `name`; the settings are those of `Contestant`.

    Raises:
        ValueError: there is one of that name already.
    """
    if name in CONTESTANTS:
        raise ValueError(f"name: there is a contestant {name!r} already, wanted another name")

    def register(prepare: Callable[[Task], Training]) -> Callable[[Task], Training]:
        CONTESTANTS[name] = Contestant(name, prepare, **settings)
        return prepare

    return register


def is_installed(package: str) -> bool:
    """Return whether pip has installed a package of that name."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# ---- the floor, and ours ----


@contestant(FLOOR)
def bare_step(task: Task) -> Training:
    """The step alone, on one batch that never changes: no data, no shuffling, no book-keeping."""
    model, optimizer = _tuned(task)
    x = task.floats(task.pixels[: task.batch_size].to(task.device))

    def train() -> nn.Module:
        for _ in range(task.steps):
            optimizer.zero_grad()
            F.mse_loss(model(x), x).backward()
            optimizer.step()
        return model

    return train


@contestant("bare loop")
def bare_loop(task: Task) -> Training:
    """The bare step on a new batch each time, as every training needs it: a random order, and bytes made floats.

    Nothing else: no losses are kept, nobody is told, nothing can go wrong. Batches are written over each other.
    """
    model, optimizer = _tuned(task)
    pixels, size = task.pixels.to(task.device), task.batch_size
    picked = pixels[:size].clone()
    x = task.floats(picked)

    def train() -> nn.Module:
        for _ in range(task.epochs):
            for chosen in torch.randperm(len(pixels), device=task.device).split(size):
                count = len(chosen)
                torch.index_select(pixels, 0, chosen, out=picked[:count])
                batch = torch.div(picked[:count], 255, out=x[:count])
                optimizer.zero_grad()
                F.mse_loss(model(batch), batch).backward()
                optimizer.step()
        return model

    return train


@contestant("bare step of fit")
def bare_step_of_fit(task: Task) -> Training:
    """The step as `fit` does it, on one batch that never changes: a stricter floor with its Adam and memory."""
    from aecore.objectives import Batch, Reconstruction
    from aecore.training import Adam, Plan
    from aecore.training.memory import keep_memory
    from aecore.training.step import TrainStep

    keep_memory()
    model = task.model().to(memory_format=task.layout)
    step = TrainStep(model, Reconstruction("mse"), Adam(model.parameters()), Plan())
    x = task.floats(task.pixels[: task.batch_size].to(task.device))
    batch = Batch(x, labels=None, count=len(x), progress=torch.zeros((), device=task.device))

    def train() -> nn.Module:
        for _ in range(task.steps):
            step(batch, LR)
        return model

    return train


@contestant("fit")
def fit(task: Task) -> Training:
    """`aecore.fit` as a chapter calls it, from the call to its return."""
    return _fit(task, "float32")


@contestant("fit, bfloat16", convolutional_only=True, exact=False)
def fit_bfloat16(task: Task) -> Training:
    """The same where the plan allows bfloat16 and `fit` has found that it pays.

    The trial by which it finds out is left out: its 36 steps are nothing beside the thousands of a chapter's training,
    but as many as a whole one has here.
    """
    train = _fit(task, "bfloat16")

    def train_without_trial() -> nn.Module:
        with patch("aecore.training.loop.chosen_precision", return_value=("bfloat16", None)):
            return train()

    return train_without_trial


def _fit(task: Task, precision: str) -> Training:
    import aecore as ae

    images = ae.Images(task.pixels, name="random")
    data = ae.data.Splits(train=images, valid=images[:0], test=images[:0])
    plan = ae.Plan(epochs=task.epochs, batch_size=task.batch_size, lr=LR, precision=precision, seed=SEED)
    model = task.case.build()  # fit draws the first weights itself, from the same seed
    return lambda: ae.fit(model, data, plan, name=None).model


# ---- the peers, on the fastest path that their documentation shows ----


class WholeBatches(Dataset):
    """Bytes that lie on the device; asked for a list of positions, it returns a whole batch of floats.

    `__getitems__` is PyTorch's own way to load a batch at once (see its `Dataset`). A loader with
    `batch_size=None` over a batch sampler would do the same, but Accelerate 1.15 cannot prepare one.
    """

    def __init__(self, task: Task) -> None:
        self.pixels = task.pixels.to(task.device)
        self.floats = task.floats

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitems__(self, chosen: list[int]) -> Tensor:
        return self.floats(self.pixels[chosen])


def batch_loader(task: Task) -> DataLoader:
    """Return a loader that asks for whole batches, so that no image is ever handled alone."""
    return DataLoader(WholeBatches(task), batch_size=task.batch_size, shuffle=True, collate_fn=_as_it_is)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch


@contestant("Fabric", packages=("lightning-fabric",))
def fabric(task: Task) -> Training:
    """The loop of Fabric's documentation."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator=task.device.type, devices=1)
    model, optimizer = _tuned(task)
    wrapped, prepared = fabric.setup(model, optimizer)
    loader = fabric.setup_dataloaders(batch_loader(task))

    def train() -> nn.Module:
        for _ in range(task.epochs):
            for x in loader:
                prepared.zero_grad()
                fabric.backward(F.mse_loss(wrapped(x), x))
                prepared.step()
        return model

    return train


@contestant("Accelerate", packages=("accelerate",))
def accelerate(task: Task) -> Training:
    """The loop of Accelerate's documentation."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=task.device.type == "cpu")
    model, optimizer = _tuned(task)
    wrapped, prepared, loader = accelerator.prepare(model, optimizer, batch_loader(task))

    def train() -> nn.Module:
        for _ in range(task.epochs):
            for x in loader:
                prepared.zero_grad()
                accelerator.backward(F.mse_loss(wrapped(x), x))
                prepared.step()
        return model

    return train


@contestant("Lightning Trainer", packages=("pytorch-lightning",))
def lightning_trainer(task: Task) -> Training:
    """`Trainer.fit` with everything switched off that can be: no logger, checkpoints, bar or summary."""
    import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
            super().__init__()
            self.model, self.optimizer = model, optimizer

        def training_step(self, x: Tensor, _index: int) -> Tensor:
            return F.mse_loss(self.model(x), x)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self.optimizer

    model, optimizer = _tuned(task)
    module, loader = Module(model, optimizer), batch_loader(task)
    # Its "barebones" mode, which it offers for measuring its own overhead, switches off no more than this does.
    trainer = lightning.Trainer(
        accelerator=task.device.type, devices=1, max_epochs=task.epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip

    def train() -> nn.Module:
        trainer.fit(module, loader)
        return model

    return train


def _tuned(task: Task) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the model in the fast layout and a fused Adam: what the floor and the peers start from."""
    # All batches have one shape, so that the search for the fastest convolution pays; it changes nothing on a CPU.
    torch.backends.cudnn.benchmark = True
    model = task.model().to(memory_format=task.layout)
    return model, torch.optim.Adam(model.parameters(), lr=LR, fused=True)


# ---- the loop of the tutorials ----


class Pictures(Dataset):
    """Images as torchvision's data sets hand them out: an array becomes a PIL image, a transform makes it a tensor."""

    def __init__(self, pixels: Tensor, transform: Callable) -> None:
        self.arrays = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        array = self.arrays[index]
        picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
        return self.transform(picture), 0  # a tutorial's data set has labels, though an autoencoder needs none


@contestant("tutorial loop", every=5)
def tutorial(task: Task) -> Training:
    """Plain PyTorch as tutorials write it."""
    return _tutorial(task, workers=0)


@contestant("tutorial loop, 2 workers", every=5)
def tutorial_with_workers(task: Task) -> Training:
    """The same with `num_workers=2`."""
    return _tutorial(task, workers=2)


def _tutorial(task: Task, workers: int) -> Training:
    from torchvision import transforms

    model, criterion = task.model(), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    pictures = Pictures(task.pixels, transforms.ToTensor())
    loader = DataLoader(pictures, batch_size=task.batch_size, shuffle=True, num_workers=workers)

    def train() -> nn.Module:
        for _ in range(task.epochs):
            running_loss = 0.0
            for images, _ in loader:
                images = images.to(task.device)
                optimizer.zero_grad()
                outputs = model(images)
                loss = criterion(outputs, images)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
        return model

    return train
