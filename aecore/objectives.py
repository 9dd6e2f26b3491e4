"""Objectives: what a training makes small. The loop knows no autoencoder; it asks an objective for named losses.

    run = ae.fit(model, data, plan, loss="mse")                          # the same as objective=Reconstruction("mse")
    net = ae.fit(classifier, cifar, plan, objective=Classification())
    run = ae.fit(model, cifar, plan, objective=FeatureLoss(Frozen(net), weight=0.01))

An objective of your own is a class with a `forward(model, batch)` that returns a dict of scalars:

    class EdgeLoss(Objective):
        def __init__(self, weight=0.5):
            super().__init__()
            self.weight = weight

        def forward(self, model, batch):
            x_hat = model(batch.x)
            pixels = (x_hat - batch.x).square().mean()
            edges = (x_hat.diff(dim=3) - batch.x.diff(dim=3)).square().mean()
            return {"loss": pixels + self.weight * edges, "pixels": pixels, "edges": edges}

    run = ae.fit(model, data, plan, objective=EdgeLoss(0.2), name="mine")

- "loss" is made small. All values stand in `run.history` under their names, the same names in every step.
- Each is the mean over the images of the batch, so that parts of a batch, on several processes, add up to the whole.
- They stay tensors: `.item()` or `if loss > 1` would make a GPU wait at every step. What changes in the course of the
  training is made from `batch.progress`, a tensor too.
- Settings are attributes, and networks that help are submodules, `self.judge = Frozen(run)`. Both are part of the run's
  fingerprint, as is the code of your class: after a change another run is trained, and the old one is still found.
- Random numbers come from torch, which the loop seeds anew for every step.
- With `needs_labels = True` in the class, `batch.labels` are there.
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
            return {"loss": _pixel_loss(self.loss, batch.x, x_hat)}


class Classification(Objective):
    """Cross-entropy between a network's class scores and the labels.

    Args:
        label_smoothing: share of the probability that is spread over all classes (Szegedy et al. 2016, section 7).

    Raises:
        ValueError: it is no share from 0 to below 1.
    """

    needs_labels = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: wanted a share from 0 to below 1, got {label_smoothing!r}")
        self.label_smoothing = float(label_smoothing)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "accuracy"}, nats and a share; `model(x)` gives scores (logits) of shape (n, classes)."""
        scores = model(batch.x)
        if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(batch.x):
            raise ValueError(f"model: wanted class scores of shape ({len(batch.x)}, classes), {_kind(scores)}")
        with full_precision(batch.x.device):
            loss = _cross_entropy(scores.float(), batch.labels, self.label_smoothing)
            return {"loss": loss, "accuracy": (scores.argmax(1) == batch.labels).float().mean()}


class FeatureLoss(Objective):
    """Pixel error plus the distance of features in a network that was trained for something else.

    For one image and one stage of the network the distance is ‖a − b‖² / ‖a‖², with the features a of the image and b
    of its reconstruction (after Johnson et al. 2016, section 3.2, whose divisor is the number of values); what counts
    is the mean over images and stages.

    Args:
        network: gives `features(x)`, a list of tensors (n, …), one for each stage; frozen.
        weight: of the feature distance.
        loss: of the pixels, as for `Reconstruction`.

    Raises:
        TypeError: the network is not frozen, or has no `features`.
        ValueError: the weight is no number from 0, or no loss has that name.
    """

    def __init__(self, network: Frozen, weight: float, loss: str | losses.Loss = "mse") -> None:
        super().__init__()
        self.network = _frozen("network", network, "features")
        self.weight = _weight("weight", weight)
        self.loss = losses.get(loss)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "pixels", "features"}, the first the weighted sum of the others."""
        x_hat = model(batch.x)
        with full_precision(batch.x.device):  # checked before the network sees them
            pixels = _pixel_loss(self.loss, batch.x, x_hat)
        features = self.distance(batch.x, x_hat)
        return {"loss": pixels + self.weight * features, "pixels": pixels, "features": features}

    def distance(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Return the mean distance of the features of images and of their reconstructions."""
        wanted, found = self._stages(x), self._stages(x_hat)
        with full_precision(x.device):
            stages = [_relative_distance(a.float(), b.float()) for a, b in zip(wanted, found, strict=True)]
            return torch.stack(stages).mean()

    def _stages(self, x: Tensor) -> Sequence[Tensor]:
        found = self.network.features(x)
        if not isinstance(found, list | tuple) or not found:
            raise ValueError(f"network: wanted features(x) to return a list of tensors, one a stage, {_kind(found)}")
        return found


class ELBO(Objective):
    """The negative evidence lower bound of a variational autoencoder (Kingma and Welling 2014), scaled.

    The loss is mse + β · KL / (C·H·W), where KL is the divergence of the posterior from a standard normal distribution,
    in nats per image. With β = 2σ² that is the negative bound for a Gaussian decoder of variance σ², times
    2σ² / (C·H·W) and without its constant; a larger β makes codes simpler (Higgins et al. 2017). The code is sampled in
    validation too.

    Args:
        beta: weight of the divergence.
        warm_up: share of the training in which β rises from 0; 0 for none.

    Raises:
        ValueError: one of them is outside its range.
    """

    def __init__(self, beta: float, warm_up: float = 0.0) -> None:
        super().__init__()
        if not 0 <= warm_up <= 1:
            raise ValueError(f"warm_up: wanted a share of the training from 0 to 1, got {warm_up!r}")
        self.beta, self.warm_up = _weight("beta", beta), float(warm_up)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "kl"}.

        `model.posterior(x)` is a torch.distributions.Normal, made with `validate_args=False`: that check would make a
        GPU wait at every step.
        """
        _check_methods(model, self, "posterior", "decode")
        posterior = model.posterior(batch.x)
        x_hat = model.decode(posterior.rsample())
        with full_precision(batch.x.device):
            mse = F.mse_loss(_like(x_hat, batch.x), batch.x)
            mean, deviation = posterior.mean.float(), posterior.stddev.float()
            kl = (0.5 * (mean.square() + deviation.square() - 1) - deviation.log()).sum() / len(batch.x)
            rise = (batch.progress / self.warm_up).clamp(max=1) if self.warm_up else 1.0
            return {"loss": mse + self.beta * rise * kl / batch.x[0].numel(), "mse": mse, "kl": kl}


class RateDistortion(Objective):
    """λ · 255² · MSE + bits per pixel: what a learned codec makes small (Ballé et al. 2017), in CompressAI's scale.

    Args:
        lmbda: λ, the price of an error in bits; without its vowel, as in CompressAI, since Python has taken the word.

    Raises:
        ValueError: it is no positive number.
    """

    def __init__(self, lmbda: float) -> None:
        super().__init__()
        self.lmbda = _weight("lmbda", lmbda)
        if self.lmbda == 0:
            raise ValueError(f"lmbda: wanted a positive number such as 0.0067, got {lmbda!r}")

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "bpp"}.

        `model.entropy_model(y)` gives (y_hat, likelihoods): the code with noise or rounded, and the probability of each
        of its values, above 0. It computes in float32 always: in bfloat16 a probability of .999 would be 1.
        """
        return self.coded(model, batch)[1]

    def coded(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the reconstructions, and what `forward` returns."""
        _check_methods(model, self, "encode", "entropy_model", "decode")
        y = model.encode(batch.x)
        with full_precision(batch.x.device):
            y_hat, likelihoods = model.entropy_model(y.float())
        x_hat = model.decode(y_hat)
        with full_precision(batch.x.device):
            mse = F.mse_loss(_like(x_hat, batch.x), batch.x)
            pixels = len(batch.x) * batch.x.shape[2] * batch.x.shape[3]
            bpp = -likelihoods.log2().sum() / pixels
            return x_hat, {"loss": self.lmbda * 255**2 * mse + bpp, "mse": mse, "bpp": bpp}


class FeatureRateDistortion(Objective):
    """λ · 255² · (MSE + weight · distance of features) + bits per pixel: the error of `FeatureLoss` at a price in bits.

    Args:
        network: gives `features(x)`, a list of tensors (n, …), one for each stage; frozen.
        weight: of the feature distance.
        lmbda: λ, as of `RateDistortion`.

    Raises:
        TypeError: the network is not frozen, or has no `features`.
        ValueError: the weight is no number from 0, or λ no positive one.
    """

    def __init__(self, network: Frozen, weight: float, lmbda: float) -> None:
        super().__init__()
        self.error, self.rate = FeatureLoss(network, weight), RateDistortion(lmbda)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "features", "bpp"}; the model as for `RateDistortion`."""
        x_hat, found = self.rate.coded(model, batch)
        distance = self.error.distance(batch.x, x_hat)
        loss = found["loss"] + self.rate.lmbda * 255**2 * self.error.weight * distance
        return {"loss": loss, "mse": found["mse"], "features": distance, "bpp": found["bpp"]}


class VariableRate(Objective):
    """`RateDistortion` for a model with several qualities: each image of a batch gets one at random.

    For an image it is λ · 255² · MSE + bits per pixel, with the λ of its quality (between two of them on a line through
    log λ), times √(λ₀/λ), where λ₀ is the geometric mean of the model’s: else the highest rates would outweigh all.
    In evaluation each image has each whole quality in turn.

    Args:
        ends: share of the images that get the lowest or the highest quality exactly; the others lie between.

    Raises:
        ValueError: it is no share from 0 to 1.
    """

    def __init__(self, ends: float = 0.2) -> None:
        super().__init__()
        self.ends = _weight("ends", ends)
        if self.ends > 1:
            raise ValueError(f"ends: wanted a share from 0 to 1, got {ends!r}")

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "bpp"}.

        `model.entropy_model(y, quality)` gives (y_hat, likelihoods) as for `RateDistortion`, and `model.lmbdas` are the
        λ of the qualities 1, 2, …
        """
        _check_methods(model, self, "encode", "entropy_model", "decode")
        if not hasattr(model, "lmbdas"):
            raise TypeError(f"model: VariableRate needs a model with lmbdas; {type(model).__name__} has none")
        # Filled on the device: a tensor that is made of a list is copied to it, which a recorded step cannot do.
        prices = torch.stack([torch.full((), lmbda, device=batch.x.device) for lmbda in model.lmbdas]).log()
        if model.training:
            return self._at(model, batch.x, self._drawn(batch.x, len(prices)), prices)
        each = [self._at(model, batch.x, batch.x.new_full(batch.x.shape[:1], n), prices) for n in range(len(prices))]
        return {name: torch.stack([found[name] for found in each]).mean() for name in each[0]}

    def _drawn(self, x: Tensor, levels: int) -> Tensor:
        """Return a quality for each image, from 0 to levels − 1."""
        share = torch.rand(x.shape[0], device=x.device)
        return ((share - 0.5) / max(1 - self.ends, 1e-6) + 0.5).clamp(0, 1) * (levels - 1)

    @staticmethod
    def _at(model: nn.Module, x: Tensor, position: Tensor, prices: Tensor) -> dict[str, Tensor]:
        """Return the values for images (n, C, H, W) at qualities (n,), which begin with 0; `prices` are log λ."""
        y = model.encode(x)
        with full_precision(x.device):
            y_hat, likelihoods = model.entropy_model(y.float(), position + 1)
        x_hat = model.decode(y_hat)
        with full_precision(x.device):
            levels = torch.arange(len(prices), device=x.device)
            price = (1 - (position[:, None] - levels).abs()).clamp(min=0) @ prices
            mse = (_like(x_hat, x) - x).square().flatten(1).mean(1)
            bpp = -likelihoods.log2().flatten(1).sum(1) / (x.shape[2] * x.shape[3])
            loss = ((prices.mean() - price) / 2).exp() * (price.exp() * 255**2 * mse + bpp)
            return {"loss": loss.mean(), "mse": mse.mean(), "bpp": bpp.mean()}


class Distillation(Objective):
    """Reconstruct, and give the code that a frozen teacher gives to the same picture, maybe at another size.

    That a network learns from what another has in its middle: Romero et al. 2015, section 2.2, their “hints”.

    Args:
        teacher: has `encode(x)`; frozen.
        weight: of the codes' mean squared distance.
        teacher_size: height and width of the images that the teacher gets, by averaging; None: as they come.
        size: the same for the model that is trained.

    Raises:
        TypeError: the teacher is not frozen, or has no `encode`.
        ValueError: a weight or a size is outside its range.
    """

    def __init__(
        self, teacher: Frozen, weight: float, teacher_size: int | None = None, size: int | None = None
    ) -> None:
        super().__init__()
        self.teacher = _frozen("teacher", teacher, "encode")
        self.weight = _weight("weight", weight)
        self.teacher_size, self.size = _size("teacher_size", teacher_size), _size("size", size)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse", "code"}, the first the weighted sum of the others."""
        _check_methods(model, self, "encode", "decode")
        x = resized(batch.x, self.size)
        z, wanted = model.encode(x), self.teacher.encode(resized(batch.x, self.teacher_size))
        if z.shape != wanted.shape:
            raise ValueError(f"teacher: its codes have shape {_inner(wanted)}, those of the model {_inner(z)}")
        x_hat = model.decode(z)
        with full_precision(x.device):
            mse, code = F.mse_loss(_like(x_hat, x), x), F.mse_loss(z.float(), wanted.float())
            return {"loss": mse + self.weight * code, "mse": mse, "code": code}


class CodeMatching(Objective):
    """Train an adapter from the code of one frozen encoder to that of another, of the same picture.

    Such an adapter is a stitching layer (Lenc and Vedaldi 2015), trained on the codes instead of the final result.

    Args:
        source: its `encode(x)` is what the adapter gets; frozen.
        target: its `encode(x)` is what the adapter should give; frozen.
        source_size, target_size: height and width of the images that each gets, by averaging; None: as they come.

    Raises:
        TypeError: a network is not frozen, or has no `encode`.
        ValueError: a size is no whole number of pixels.
    """

    def __init__(
        self, source: Frozen, target: Frozen, source_size: int | None = None, target_size: int | None = None
    ) -> None:
        super().__init__()
        self.source, self.target = _frozen("source", source, "encode"), _frozen("target", target, "encode")
        self.source_size, self.target_size = _size("source_size", source_size), _size("target_size", target_size)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss": the mean squared distance of the codes}."""
        given = self.source.encode(resized(batch.x, self.source_size))
        wanted = self.target.encode(resized(batch.x, self.target_size))
        found = model(given)
        if found.shape != wanted.shape:
            raise ValueError(f"model: gives codes of shape {_inner(found)}, wanted {_inner(wanted)} like the target's")
        with full_precision(batch.x.device):
            return {"loss": F.mse_loss(found.float(), wanted.float())}


class DecoderTransfer(Objective):
    """Train a decoder to draw the codes of another, frozen encoder, maybe at another size.

    Only `decode` of the model that is trained is used; freeze its encoder. As a start it may have any decoder of codes
    of that shape, as the trained one that is to be fine-tuned.

    Args:
        source: its `encode(x)` gives the codes; frozen.
        source_size: height and width of the images that the source gets, by averaging; None: as they come.
        size: the same for the images that the model should draw.

    Raises:
        TypeError: the source is not frozen, or has no `encode`.
        ValueError: a size is no whole number of pixels.
    """

    def __init__(self, source: Frozen, source_size: int | None = None, size: int | None = None) -> None:
        super().__init__()
        self.source = _frozen("source", source, "encode")
        self.source_size, self.size = _size("source_size", source_size), _size("size", size)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss": the mean squared error of the images}."""
        _check_methods(model, self, "decode")
        x = resized(batch.x, self.size)
        x_hat = model.decode(self.source.encode(resized(batch.x, self.source_size)))
        with full_precision(x.device):
            return {"loss": F.mse_loss(_like(x_hat, x), x)}


class JointResolutions(Objective):
    """One code, decoded at several sizes: the mean of the reconstruction errors at each.

    Args:
        sizes: heights and widths in pixels; `model.decode(z, size)` gives images of each.

    Raises:
        ValueError: they are not one or more whole numbers, each once.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes) if isinstance(sizes, Sequence) else ()
        if not self.sizes or not all(map(_is_size, self.sizes)) or len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"sizes: wanted whole numbers of pixels, each once, as in (16, 32), got {sizes!r}")

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"loss", "mse_<size>" …}; `model.encode` gets the images as they come."""
        _check_methods(model, self, "encode", "decode")
        z = model.encode(batch.x)
        errors = {}
        for size in self.sizes:
            x, x_hat = resized(batch.x, size), model.decode(z, size)
            with full_precision(x.device):
                errors[f"mse_{size}"] = F.mse_loss(_like(x_hat, x), x)
        return {"loss": torch.stack(list(errors.values())).mean(), **errors}


def resized(x: Tensor, size: int | None) -> Tensor:
    """Return images (n, C, H, W) of `size`×`size` pixels, each the mean of those it touches; None: as they are."""
    if size is None or x.shape[-2:] == (size, size) or x.shape[0] == 0:
        return x
    return F.interpolate(x, size=(size, size), mode="area")


_NOTHING = contextlib.nullcontext()


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Return the context in which losses are taken: float32, also where the layers compute in bfloat16."""
    if not torch.is_autocast_enabled(device.type):  # the usual case, at every step: nothing to switch off
        return _NOTHING
    return torch.autocast(device.type, enabled=False)


# ---- what the objectives are made with ----


def _frozen(argument: str, network: object, method: str) -> Frozen:
    if not isinstance(network, Frozen):
        raise TypeError(
            f"{argument}: wanted Frozen(run) or Frozen(network), so that it is not trained along, got "
            f"{type(network).__name__}"
        )
    # Of a run without weights nothing can be asked before it is used.
    if isinstance(network.network, nn.Module) and not callable(getattr(network, method, None)):
        raise TypeError(f"{argument}: wanted a network with {method}(x), {type(network.network).__name__} has none")
    return network


def _weight(argument: str, weight: float) -> float:
    """Return a weight as a float, so that 1 and 1.0 are one setting."""
    try:
        value = float(weight)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{argument}: wanted a number from 0, such as 0.01, got {weight!r}")
    return value


def _size(argument: str, size: int | None) -> int | None:
    if size is not None and not _is_size(size):
        raise ValueError(f"{argument}: wanted a whole number of pixels, or None, got {size!r}")
    return size


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 1


def _check_methods(model: nn.Module, objective: Objective, *methods: str) -> None:
    for method in methods:
        if not callable(getattr(model, method, None)):
            names = ", ".join(methods)
            raise TypeError(
                f"model: {type(objective).__name__} needs a model with {names}; {type(model).__name__} has no {method}"
            )


def _like(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return reconstructions of `x` in float32; of another shape they would be compared with the wrong pixels."""
    if not isinstance(x_hat, Tensor) or x_hat.shape != x.shape:
        raise ValueError(f"model: wanted reconstructions of shape {tuple(x.shape)} like the images, {_kind(x_hat)}")
    return x_hat.float()


def _pixel_loss(loss: losses.Loss, x: Tensor, x_hat: Tensor) -> Tensor:
    value = loss(x, _like(x_hat, x))
    if not isinstance(value, Tensor) or value.ndim:
        hint = "; take its mean" if isinstance(value, Tensor) else ""
        raise ValueError(
            f"loss: wanted {loss.__name__}(x, x_hat) to return one number as a tensor, {_kind(value)}{hint}"
        )
    return value


def _cross_entropy(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    try:
        return F.cross_entropy(scores, labels, label_smoothing=smoothing)
    except IndexError as error:  # on a CPU; a GPU stops with an assertion of its own
        low, high = labels.aminmax()
        raise ValueError(
            f"model: gives scores of {scores.shape[1]} classes, but there are labels from {low} to {high}"
        ) from error


def _relative_distance(wanted: Tensor, found: Tensor) -> Tensor:
    """Return the mean over images of ‖wanted − found‖² / ‖wanted‖².

    Where a stage is silent, its mean square below 1e-6, that stands in for it: else one black image would outweigh all.
    """
    apart = (wanted - found).square().flatten(1).mean(1)
    return (apart / wanted.square().flatten(1).mean(1).clamp(min=1e-6)).mean()


def _kind(value: object) -> str:
    return f"got a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"got {type(value).__name__}"


def _inner(batch: Tensor) -> str:
    return f"(N, {', '.join(map(str, batch.shape[1:]))})"
