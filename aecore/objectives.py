"""Objectives: what a training makes small. The loop knows no autoencoder; it asks an objective for named losses.

    run = ae.fit(model, data, plan, loss="mse")                          # the same as objective=Reconstruction("mse")
    net = ae.fit(classifier, cifar, plan, objective=Classification())
    run = ae.fit(model, cifar, plan, objective=FeatureLoss(Frozen(net), weight=0.01))

An objective of your own is a module with a `forward(model, batch)` that returns a dict of scalars. The one called
"loss" is made small; all are means over the images of the batch and stand in the run's history under their names.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import losses
from .models.frozen import Frozen


class Batch(NamedTuple):
    """What an objective gets at each step.

    Args:
        x: images, floats in [0, 1] of shape (n, C, H, W); this process's part of the batch. The next batch is
            written over it.
        labels: int64 of shape (n,), or None; they are there where the objective says `needs_labels`.
        count: images in the whole batch, over all processes.
        progress: a scalar tensor, the share of the training that is done: 0 at the first step, below 1 at the last,
            and 1 in validation. For warm-ups and for noise that fades.
    """

    x: Tensor
    labels: Tensor | None
    count: int
    progress: Tensor


class Objective(nn.Module):
    """The base of all objectives: give it a `forward`, and keep its settings as attributes.

    Settings and the networks in it tell one training from another, so they are part of a run's fingerprint.
    Networks that an objective needs are submodules, wrapped in `Frozen`.

    Attributes:
        needs_labels: whether batches must bring labels.
    """

    needs_labels = False

    @property
    def name(self) -> str:
        """What stands at the axis of a loss curve."""
        return type(self).__name__

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return scalars by name, means over the images of `batch`; "loss" is made small."""
        raise TypeError(f"{type(self).__name__}: an objective needs a method forward(self, model, batch) -> dict")


class Reconstruction(Objective):
    """The difference between images and their reconstructions.

    Args:
        loss: "mse", "mae", "bce", or a function of a batch and its reconstructions that returns a scalar.

    Raises:
        ValueError: no loss has that name, or it is no plain function.
    """

    def __init__(self, loss: str | losses.Loss = "mse") -> None:
        super().__init__()
        self.loss = losses.get(loss)

    @property
    def name(self) -> str:
        """The loss's own name."""
        return self.loss.__name__

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss": …}."""
        x_hat = model(batch.x)
        with full_precision(batch.x.device):
            value = self.loss(batch.x, x_hat.float())
        if not isinstance(value, Tensor) or value.ndim:
            raise ValueError(f"loss: wanted {self.name}(x, x_hat) to return one number as a tensor, {_kind(value)}")
        return {"loss": value}


class Classification(Objective):
    """Cross-entropy between a network's class scores and the labels.

    Args:
        label_smoothing: share of the probability that is spread over all classes (Szegedy et al. 2016, section 7).
    """

    needs_labels = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: wanted a share from 0 to below 1, got {label_smoothing!r}")
        self.label_smoothing = label_smoothing

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "accuracy"}; `model(x)` gives scores of shape (n, classes)."""
        scores = model(batch.x)
        with full_precision(batch.x.device):
            loss = F.cross_entropy(scores.float(), batch.labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (scores.argmax(1) == batch.labels).float().mean()}


class FeatureLoss(Objective):
    """Pixel error plus the distance of features in a network that was trained for something else.

    The distance is the mean over the network's stages of ‖a − b‖² / ‖a‖², where a are the features of the images and
    b those of the reconstructions (after Johnson et al. 2016, section 3.2, whose divisor is the number of values).

    Args:
        network: gives `features(x)`, a list of tensors; frozen.
        weight: of the feature distance.
        loss: of the pixels, as for `Reconstruction`.
    """

    def __init__(self, network: Frozen, weight: float, loss: str | losses.Loss = "mse") -> None:
        super().__init__()
        self.network = _frozen("network", network)
        self.weight = float(weight)
        self.loss = losses.get(loss)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "pixels", "features"}, the first the weighted sum of the others."""
        x_hat = model(batch.x)
        with torch.no_grad():
            wanted = self.network.features(batch.x)
        seen = self.network.features(x_hat)
        with full_precision(batch.x.device):
            pixels = self.loss(batch.x, x_hat.float())
            stages = [_relative_distance(a.float(), b.float()) for a, b in zip(wanted, seen, strict=True)]
            features = torch.stack(stages).mean()
            return {"loss": pixels + self.weight * features, "pixels": pixels, "features": features}


class ELBO(Objective):
    """The negative evidence lower bound of a variational autoencoder (Kingma and Welling 2014), scaled.

    The loss is mse + β · KL / (C·H·W), the KL divergence in nats per image. With β = 2σ² that is the negative bound for
    a Gaussian decoder of variance σ², times 2σ² / (C·H·W) and without its constant; a larger β makes codes simpler
    (Higgins et al. 2017).

    Args:
        beta: weight of the divergence.
        warm_up: share of the training in which β rises from 0; 0 for none.
    """

    def __init__(self, beta: float, warm_up: float = 0.0) -> None:
        super().__init__()
        if not 0 <= warm_up <= 1:
            raise ValueError(f"warm_up: wanted a share of the training from 0 to 1, got {warm_up!r}")
        self.beta, self.warm_up = float(beta), warm_up

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "kl"}; `model.posterior(x)` is a torch.distributions.Normal."""
        posterior = model.posterior(batch.x)
        x_hat = model.decode(posterior.rsample())
        with full_precision(batch.x.device):
            mse = F.mse_loss(x_hat.float(), batch.x)
            mean, variance = posterior.mean.float(), posterior.variance.float()
            kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum() / len(batch.x)
            beta = self.beta * (batch.progress / self.warm_up).clamp(max=1) if self.warm_up else self.beta
            return {"loss": mse + beta * kl / batch.x[0].numel(), "mse": mse, "kl": kl}


class RateDistortion(Objective):
    """λ · 255² · MSE + bits per pixel: what a learned codec makes small (Ballé et al. 2017), in CompressAI's scale.

    Args:
        lmbda: λ, the price of an error in bits; without its vowel, as in CompressAI, since Python has taken the word.
    """

    def __init__(self, lmbda: float) -> None:
        super().__init__()
        if not 0 < lmbda < math.inf:
            raise ValueError(f"lmbda: wanted a positive number such as 0.0067, got {lmbda!r}")
        self.lmbda = float(lmbda)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "bpp"}; `model.entropy_model(y)` gives (y_hat, likelihoods)."""
        y_hat, likelihoods = model.entropy_model(model.encode(batch.x))
        x_hat = model.decode(y_hat)
        with full_precision(batch.x.device):
            mse = F.mse_loss(x_hat.float(), batch.x)
            pixels = len(batch.x) * batch.x.shape[2] * batch.x.shape[3]
            bpp = -likelihoods.float().log2().sum() / pixels
            return {"loss": self.lmbda * 255**2 * mse + bpp, "mse": mse, "bpp": bpp}


class Distillation(Objective):
    """Reconstruct, and give the code that a frozen teacher gives to the same picture, maybe at another size.

    Args:
        teacher: has `encode(x)`; frozen.
        weight: of the codes' mean squared distance.
        teacher_size: height and width of the images that the teacher gets, by averaging; None: as they come.
        size: the same for the model that is trained.
    """

    def __init__(
        self, teacher: Frozen, weight: float, teacher_size: int | None = None, size: int | None = None
    ) -> None:
        super().__init__()
        self.teacher = _frozen("teacher", teacher)
        self.weight, self.teacher_size, self.size = float(weight), teacher_size, size

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "code"}, the first the weighted sum of the others."""
        x = resized(batch.x, self.size)
        z = model.encode(x)
        with torch.no_grad():
            wanted = self.teacher.encode(resized(batch.x, self.teacher_size))
        if z.shape != wanted.shape:
            raise ValueError(f"teacher: its codes have shape {_inner(wanted)}, those of the model {_inner(z)}")
        x_hat = model.decode(z)
        with full_precision(x.device):
            mse, code = F.mse_loss(x_hat.float(), x), F.mse_loss(z.float(), wanted.float())
            return {"loss": mse + self.weight * code, "mse": mse, "code": code}


class CodeMatching(Objective):
    """Train an adapter from the code of one frozen encoder to that of another, of the same picture.

    Args:
        source: its `encode(x)` is what the adapter gets; frozen.
        target: its `encode(x)` is what the adapter should give; frozen.
        source_size, target_size: height and width of the images that each gets, by averaging; None: as they come.
    """

    def __init__(
        self, source: Frozen, target: Frozen, source_size: int | None = None, target_size: int | None = None
    ) -> None:
        super().__init__()
        self.source, self.target = _frozen("source", source), _frozen("target", target)
        self.source_size, self.target_size = source_size, target_size

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss": the mean squared distance of the codes}."""
        with torch.no_grad():
            given = self.source.encode(resized(batch.x, self.source_size))
            wanted = self.target.encode(resized(batch.x, self.target_size))
        found = model(given)
        if found.shape != wanted.shape:
            raise ValueError(f"model: gives codes of shape {_inner(found)}, wanted {_inner(wanted)} like the target's")
        with full_precision(batch.x.device):
            return {"loss": F.mse_loss(found.float(), wanted.float())}


class JointResolutions(Objective):
    """One code, decoded at several sizes: the mean of the reconstruction errors at each.

    Args:
        sizes: heights and widths in pixels; `model.decode(z, size)` gives images of each.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        if not self.sizes or any(not isinstance(size, int) or size < 1 for size in self.sizes):
            raise ValueError(f"sizes: wanted one or more whole numbers of pixels, got {sizes!r}")

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse_<size>" …}; `model.encode` gets the images as they come."""
        z = model.encode(batch.x)
        errors = {}
        for size in self.sizes:
            x_hat = model.decode(z, size)
            with full_precision(batch.x.device):
                errors[f"mse_{size}"] = F.mse_loss(x_hat.float(), resized(batch.x, size))
        return {"loss": torch.stack(list(errors.values())).mean(), **errors}


def resized(x: Tensor, size: int | None) -> Tensor:
    """Return images (n, C, H, W) of `size`×`size` pixels, each the mean of the area it covers; None: as they are."""
    if size is None or x.shape[-2:] == (size, size) or len(x) == 0:
        return x
    return F.interpolate(x, size=(size, size), mode="area")


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which losses are taken: float32, also where the layers compute in bfloat16."""
    if not torch.is_autocast_enabled(device.type):  # the usual case, at every step: nothing to switch off
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def _frozen(argument: str, network: object) -> Frozen:
    if not isinstance(network, Frozen):
        raise TypeError(
            f"{argument}: wanted Frozen(run) or Frozen(network), so that it is not trained along, got "
            f"{type(network).__name__}"
        )
    return network


def _relative_distance(wanted: Tensor, seen: Tensor) -> Tensor:
    """Return the mean over images of ‖wanted − seen‖² / ‖wanted‖²."""
    apart = (wanted - seen).square().flatten(1).sum(1)
    return (apart / wanted.square().flatten(1).sum(1).clamp(min=1e-12)).mean()


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"got {type(value).__name__}"
    hint = "; take its mean" if value.ndim else ""
    return f"got a tensor of shape {tuple(value.shape)}{hint}"


def _inner(batch: Tensor) -> str:
    return f"(N, {', '.join(map(str, batch.shape[1:]))})"
