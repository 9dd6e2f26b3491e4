"""The smallest models and images with which every objective can be trained, for the campaigns and the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aecore import objectives as O
from aecore.data import Images, Splits
from aecore.models import DenseAutoencoder, LinearAutoencoder, init_weights
from aecore.models.frozen import Frozen

SHAPE, CLASSES, CODE = (1, 8, 8), 3, 4


def noise(count: int, edge: int = 8, seed: int = 0) -> Images:
    """Return images of random bytes with random labels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, edge, edge), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.randint(0, CLASSES, (count,), generator=generator), name="noise")


def splits(count: int = 24, edge: int = 8) -> Splits:
    return Splits(noise(count, edge, 0), noise(8, edge, 1), noise(8, edge, 2))


def drawn(model: nn.Module, seed: int = 99) -> nn.Module:
    init_weights(model, seed)
    return model


class Classifier(nn.Sequential):
    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, CLASSES))


class Features(nn.Module):
    """Gives what its two stages see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, stride=2)

    def features(self, x: Tensor) -> list[Tensor]:
        first = self.first(x).relu()
        return [first, self.second(first)]


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * CODE))
        self.decode = nn.Sequential(nn.Linear(CODE, 64), nn.Unflatten(1, SHAPE))

    def posterior(self, x: Tensor) -> Normal:
        mean, log_scale = self.encoder(x).chunk(2, dim=1)
        # To look whether all scales are positive would make a GPU wait, and cannot be recorded.
        return Normal(mean, log_scale.clamp(-3, 3).exp(), validate_args=False)


class Compressive(nn.Module):
    """Counts the bits of rounded codes with a logistic distribution of a learned width.

    Args:
        noise: replace rounding by uniform noise while it trains (Ballé et al. 2017); else round straight through.
    """

    def __init__(self, noise: bool = True) -> None:
        super().__init__()
        self.noise = noise
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(64, CODE))
        self.decode = nn.Sequential(nn.Linear(CODE, 64), nn.Unflatten(1, SHAPE))
        self.log_width = nn.Linear(1, CODE)

    def entropy_model(self, y: Tensor) -> tuple[Tensor, Tensor]:
        straight_through = y + (y.round() - y).detach()
        y_hat = y + torch.rand_like(y) - 0.5 if self.noise and self.training else straight_through
        width = self.log_width(torch.ones(1, 1, device=y.device)).exp()
        likelihoods = torch.sigmoid((y_hat + 0.5) / width) - torch.sigmoid((y_hat - 0.5) / width)
        return y_hat, likelihoods.clamp(min=1e-9)


class VariableCompressive(Compressive):
    """The same with a gain for each of two qualities."""

    lmbdas = (0.01, 0.1)

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Linear(1, CODE)

    def entropy_model(self, y: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        gain = self.gains(quality[:, None]).exp()
        y_hat, likelihoods = super().entropy_model(y * gain)
        return y_hat / gain, likelihoods


class Draws(nn.Module):
    """A decoder alone."""

    def __init__(self) -> None:
        super().__init__()
        self.decode = nn.Sequential(nn.Linear(CODE, 64), nn.Unflatten(1, SHAPE))


class TwoSizes(nn.Module):
    """One code with a decoder for images of 4×4 and one for 8×8."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(64, CODE))
        self.decoders = nn.ModuleDict({str(size): nn.Linear(CODE, size * size) for size in (4, 8)})

    def decode(self, z: Tensor, size: int) -> Tensor:
        return self.decoders[str(size)](z).reshape(-1, 1, size, size)


def dense() -> nn.Module:
    return DenseAutoencoder(SHAPE, CODE, hidden=(12,))


def frozen_encoder(edge: int) -> Frozen:
    return Frozen(drawn(LinearAutoencoder((1, edge, edge), CODE)))


@dataclass(frozen=True)
class Case:
    """What is trained, and what for.

    Args:
        model, objective: make a new one.
        by_chance: whether a step draws random numbers, each process its own.
    """

    model: Callable[[], nn.Module]
    objective: Callable[[], O.Objective]
    by_chance: bool = False


OBJECTIVES = {
    "Reconstruction": Case(dense, lambda: O.Reconstruction("mae")),
    "Classification": Case(Classifier, lambda: O.Classification(label_smoothing=0.1), by_chance=True),
    "FeatureLoss": Case(dense, lambda: O.FeatureLoss(Frozen(drawn(Features())), weight=0.1)),
    "ELBO": Case(Variational, lambda: O.ELBO(beta=0.5, warm_up=0.5), by_chance=True),
    "VariableRate": Case(VariableCompressive, lambda: O.VariableRate(), by_chance=True),
    "RateDistortion": Case(Compressive, lambda: O.RateDistortion(lmbda=0.01), by_chance=True),
    "FeatureRateDistortion": Case(
        Compressive, lambda: O.FeatureRateDistortion(Frozen(drawn(Features())), weight=0.1, lmbda=0.01), by_chance=True
    ),
    "Distillation": Case(dense, lambda: O.Distillation(frozen_encoder(4), weight=0.5, teacher_size=4)),
    "CodeMatching": Case(
        lambda: nn.Linear(CODE, CODE), lambda: O.CodeMatching(frozen_encoder(4), frozen_encoder(8), source_size=4)
    ),
    "DecoderTransfer": Case(Draws, lambda: O.DecoderTransfer(frozen_encoder(4), source_size=4)),
    "JointResolutions": Case(TwoSizes, lambda: O.JointResolutions((4, 8))),
}
