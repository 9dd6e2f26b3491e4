"""What is trained: three models, random images, and the settings that all contestants share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder, StridedConvAutoencoder, init_weights

BATCH_SIZE = 128
LR = 1e-3
SEED = 0


@dataclass(frozen=True)
class Case:
    """One model and how much of it is trained in each repetition.

    Args:
        name: a word for the command line and the results.
        title: a heading.
        build: makes the model, with any weights.
        convolutional: whether it has convolutions, to which channels-last and bfloat16 matter.
        images: a multiple of the batch size, so that no contestant meets a smaller last batch.
        epochs: in each repetition.
        quick_images: the same for a smoke test, which trains one epoch.
        gpu_images: the same on a GPU, where a few steps are over before it is under way; None: as many as elsewhere.
    """

    name: str
    title: str
    build: Callable[[], Autoencoder]
    convolutional: bool
    images: int
    epochs: int
    quick_images: int = 2 * BATCH_SIZE
    gpu_images: int | None = None

    def images_on(self, device: torch.device) -> int:
        """Return how many images are trained on there."""
        return self.gpu_images if device.type == "cuda" and self.gpu_images else self.images


@dataclass(frozen=True)
class Task:
    """What a contestant gets: a model to build, bytes to train it on, and how long.

    Args:
        case: which model.
        pixels: uint8 images of shape (N, C, H, W), on the CPU.
        epochs: passes over them.
        batch_size: images for each step.
        device: where to compute.
    """

    case: Case
    pixels: Tensor
    epochs: int
    batch_size: int
    device: torch.device

    @property
    def steps(self) -> int:
        """How many steps the whole training has."""
        return self.epochs * math.ceil(len(self.pixels) / self.batch_size)

    @property
    def layout(self) -> torch.memory_format:
        """Channels last where there are convolutions, as `fit` has it; else the ordinary one."""
        return torch.channels_last if self.case.convolutional else torch.contiguous_format

    def model(self) -> Autoencoder:
        """Return the model with its first weights, the same for all contestants, on the device."""
        model = self.case.build()
        init_weights(model, SEED)
        return model.to(self.device)

    def floats(self, pixels: Tensor) -> Tensor:
        """Return bytes as float32 in [0, 1], in the fast layout, where they are."""
        return pixels.to(torch.float32, memory_format=self.layout).div_(255)


CASES = {
    case.name: case
    for case in (
        Case(
            "linear", "Linear, 784 → 32 → 784",
            lambda: LinearAutoencoder((1, 28, 28), 32),
            convolutional=False, images=430 * BATCH_SIZE, epochs=4, quick_images=16 * BATCH_SIZE,
        ),
        Case(
            "conv", "Convolutional, grey 28×28 (chapter 2)",
            ConvAutoencoder,
            convolutional=True, images=32 * BATCH_SIZE, epochs=1, gpu_images=430 * BATCH_SIZE,
        ),
        Case(
            "colour", "Convolutional, colour 32×32",
            lambda: StridedConvAutoencoder((3, 32, 32), 128, width=48),
            convolutional=True, images=32 * BATCH_SIZE, epochs=1, gpu_images=430 * BATCH_SIZE,
        ),
    )
}  # fmt: skip


def random_images(case: Case, count: int, seed: int = SEED) -> Tensor:
    """Return `count` images of noise for `case`, uint8; what a picture shows makes no loop faster or slower."""
    shape = case.build().image_shape
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def check_tasks(case: Case, device: torch.device) -> list[Task]:
    """Return two tiny trainings whose result does not depend on the order of the images.

    In the first, one batch holds all images, so leaving an image out shows. In the second all images are
    the same and the last batch is smaller, so a wrong number of steps shows.
    """
    different = random_images(case, 32)
    same = random_images(case, 1).repeat(72, 1, 1, 1)
    return [Task(case, different, 3, 32, device), Task(case, same, 2, 16, device)]
