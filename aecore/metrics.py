"""How good reconstructions are: plain functions of two batches, and `evaluate` for a model.

Every function takes images `x` and reconstructions `x_hat` of shape (N, C, H, W), floats on the scale
[0, 1], and returns one value for each image, shape (N,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import distributed
from .data.images import Images, Splits
from .inference import Model, check_batch_size, check_unchanged, device_of, eval_mode, model_of, reconstructed


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return each image's mean squared error, on the scale where white is 1."""
    check_pair(x, x_hat)
    return (x_hat - x).square().flatten(1).mean(1)


def mae(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return each image's mean absolute error, on the scale where white is 1."""
    check_pair(x, x_hat)
    return (x_hat - x).abs().flatten(1).mean(1)


def psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return each image's peak signal-to-noise ratio in dB: `-10 log10(MSE)`, infinite where nothing differs."""
    return psnr_of(mse(x, x_hat))


def psnr_of(mse: Tensor | float) -> Tensor:
    """Return the PSNR in dB that belongs to a mean squared error on the scale [0, 1]."""
    return -10 * torch.log10(torch.as_tensor(mse))


def ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return each image's structural similarity, at most 1.

    The standard form: Gaussian window of 11 pixels and standard deviation 1.5, K1 = .01, K2 = .03,
    channels averaged, over all places where the window lies inside the image (Wang et al. 2004, section III).
    So does scikit-image. torchmetrics also takes in windows over the border, filled by reflection, which makes a
    few hundredths more or less on small images.

    Raises:
        ValueError: the images are smaller than the window, 11×11.
    """
    check_pair(x, x_hat)
    if min(x.shape[2:]) < 11:
        raise ValueError(f"x: SSIM needs images of at least 11×11 pixels (its window), got {x.shape[2]}×{x.shape[3]}")
    found = (_compared(*pair) for pair in zip(*_parts(x, x_hat), strict=True))
    return torch.cat([(brightness * structure).flatten(1).mean(1) for brightness, structure in found])


def _parts(x: Tensor, x_hat: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return two batches cut into parts: what SSIM makes of a part takes twenty times its memory."""
    images = max(1, VALUES // x[0].numel()) if len(x) else 1
    return x.split(images), x_hat.split(images)


def _windowed(images: Tensor) -> Tensor:
    """Return the Gaussian mean, over 11×11 pixels, around every place where they lie inside the image.

    Args:
        images: of shape (K, N, C, H, W); what comes out is (K, N, C, H − 10, W − 10).
    """
    # Made in double precision: a window whose sum is off by 1e-7 puts the variances of bright even areas off by as
    # much, and C2, to which they are added, is 9e-4.
    distance = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(distance / 1.5).square() / 2)
    window = (window / window.sum()).float().to(images.device)
    flat = images.flatten(0, 2).unsqueeze(1)  # one channel at a time: the window is the same for all
    rows = F.conv2d(flat, window.reshape(1, 1, -1, 1))
    return F.conv2d(rows, window.reshape(1, 1, 1, -1)).view(*images.shape[:3], *rows.shape[2:3], -1)


def checkerboard(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return how much of each image's error repeats every two pixels, against what noise would have: 1 for noise.

    In the error's spectrum the 2-periodic part is three coefficients, those where a frequency is half the sampling
    rate: columns that alternate, rows that alternate, and both. Their energy is divided by that of the whole
    error, and by the three in H·W that noise of any kind without memory would put there. Smooth errors lie
    near 0, pure checkerboards at H·W / 3; NaN where nothing differs. The artefact: Odena et al. (2016).

    Raises:
        ValueError: height or width is odd, so that no pattern of period 2 fits.
    """
    check_pair(x, x_hat)
    height, width = x.shape[2:]
    if height % 2 or width % 2:
        raise ValueError(f"x: wanted an even height and width, got {height}×{width}")
    error = (x_hat - x).double()
    # At these frequencies the spectrum needs no FFT: it is made of the four means over pixels of one parity.
    means = error.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((2, 4))
    periodic = (means - means.mean((2, 3), keepdim=True)).square().mean((2, 3))
    share = periodic.mean(1) / error.square().flatten(1).mean(1)
    return (share * (height * width / 3)).float()


VALUES = 2_000_000  # of images that SSIM looks at together
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from the finest scale to the coarsest


def ms_ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """Return each image's multi-scale structural similarity, from 0 to 1 (Wang et al. 2003).

    The images are halved four times by the mean of 2×2 pixels. Contrast and structure are compared at all five scales,
    brightness at the last alone; the results, with the exponents 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333, are
    multiplied. Window, constants and channels as for `ssim`. Where contrast and structure are opposed, the result is 0.

    Raises:
        ValueError: the images are smaller than 176×176, where the window does not fit the last scale.
    """
    check_pair(x, x_hat)
    least = 11 * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
    if min(x.shape[2:]) < least:
        raise ValueError(f"x: MS-SSIM needs images of at least {least}×{least} pixels, got {x.shape[2]}×{x.shape[3]}")
    return torch.cat([_ms_ssim(*pair) for pair in zip(*_parts(x, x_hat), strict=True)])


def _ms_ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    x, x_hat = x.float(), x_hat.float()
    found = torch.ones(len(x), device=x.device)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS, 1):
        brightness, structure = _compared(x, x_hat)
        value = structure if scale < len(MS_SSIM_WEIGHTS) else brightness * structure
        found = found * value.flatten(1).mean(1).clamp(min=0) ** weight
        x, x_hat = F.avg_pool2d(x, 2), F.avg_pool2d(x_hat, 2)
    return found


def _compared(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    """Return how alike two batches are at every place: in brightness, and in contrast and structure."""
    x, x_hat = x.float(), x_hat.float()
    # Under the window: the means of both, of their squares and of their product.
    mean, mean_hat, square, square_hat, product = _windowed(
        torch.stack([x, x_hat, x.square(), x_hat.square(), x * x_hat])
    )
    variances = square - mean.square() + square_hat - mean_hat.square()
    covariance = product - mean * mean_hat
    c1, c2 = 0.01**2, 0.03**2
    brightness = (2 * mean * mean_hat + c1) / (mean.square() + mean_hat.square() + c1)
    return brightness, (2 * covariance + c2) / (variances + c2)


Curve = tuple[Sequence[float], Sequence[float]]


def bd_rate(reference: Curve, other: Curve) -> float:
    """Return how many per cent more bits a codec takes than a reference, at equal quality: −50 for half of them.

    Bjøntegaard's delta rate: the mean difference of the logarithms of the rates over the qualities that both curves
    have, with curves drawn through the points by piecewise cubics that rise where the points do (PCHIP).

    Args:
        reference: rates (bits per pixel, or bytes) and qualities (PSNR in dB, or another measure that rises) of the
            codec to compare with, at several settings.
        other: the same of the other codec.

    Raises:
        ValueError: fewer than two points, a rate that is not positive, a quality that does not rise with the rate, or
            curves that share no range of quality.
    """
    from scipy.interpolate import PchipInterpolator  # comes with scikit-learn; its import takes a while

    curves = [_checked_curve(name, curve) for name, curve in (("reference", reference), ("other", other))]
    low, high = max(quality[0] for _, quality in curves), min(quality[-1] for _, quality in curves)
    if low >= high:
        ranges = " and ".join(f"{quality[0]:.4g} to {quality[-1]:.4g}" for _, quality in curves)
        raise ValueError(f"reference, other: wanted curves with qualities in common, got {ranges}")
    of_reference, of_other = (PchipInterpolator(quality, np.log(rate)).integrate(low, high) for rate, quality in curves)
    return 100 * math.expm1((of_other - of_reference) / (high - low))


def _checked_curve(name: str, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    rate, quality = (np.asarray(values, dtype=np.float64) for values in curve)
    if rate.ndim != 1 or rate.shape != quality.shape or len(rate) < 2:
        raise ValueError(
            f"{name}: wanted as many rates as qualities, two or more, got {rate.shape} and {quality.shape}"
        )
    order = np.argsort(rate)
    rate, quality = rate[order], quality[order]
    if not rate[0] > 0 or not (np.diff(rate) > 0).all() or not (np.diff(quality) > 0).all():
        raise ValueError(
            f"{name}: wanted positive rates, each once, and qualities that rise with them, got {rate.tolist()} and "
            f"{quality.tolist()}"
        )
    return rate, quality


def check_pair(x: Tensor, x_hat: Tensor) -> None:
    """Raise an error where two batches cannot be compared: shapes, types or scales that do not fit.

    `x` must lie in [0, 1]. A reconstruction may leave that range a little, as linear models do; one that
    goes far beyond is on another scale.

    Raises:
        TypeError: one of the two is no tensor.
        ValueError: they do not fit.
    """
    for name, batch in (("x", x), ("x_hat", x_hat)):
        if not isinstance(batch, Tensor):
            hint = f"; {name}.floats() gives it" if isinstance(batch, Images) else ""
            hint = f"; torch.from_numpy({name}) makes one" if isinstance(batch, np.ndarray) else hint
            raise TypeError(f"{name}: wanted a tensor (N, C, H, W), got {type(batch).__name__}{hint}")
    if x.ndim != 4 or x.shape != x_hat.shape or x.numel() == 0:
        raise ValueError(f"x and x_hat: wanted one shape (N, C, H, W), got {tuple(x.shape)} and {tuple(x_hat.shape)}")
    for name, batch in (("x", x), ("x_hat", x_hat)):
        if not batch.is_floating_point():
            raise ValueError(f"{name}: wanted floats in [0, 1], got {batch.dtype}; for bytes divide by 255 first")
    low, high = x.aminmax()
    if not (low >= 0 and high <= 1):  # written so that NaN is refused too
        raise ValueError(f"x: wanted values in [0, 1], got {low:.3g} to {high:.3g}; divide images of 0 to 255 by 255")
    low, high = x_hat.aminmax()
    if not (low > -20 and high < 20):
        raise ValueError(
            f"x_hat: wanted values about [0, 1] like x, got {low:.3g} to {high:.3g}; a reconstruction on the scale "
            "0 to 255 is divided by 255, one that holds NaN comes from a training that broke down"
        )


@dataclass(frozen=True)
class Scores:
    """What `evaluate` measured: means over images, and the values of each image behind them.

    Args:
        images: name of the set, "mnist-test".
        count: number of images.
        mse, mae: means over all images; the scale is that of values in [0, 1].
        psnr_db: mean of the images' PSNR, infinite values left out.
        psnr_of_mse_db: PSNR of the mean MSE; never above `psnr_db` where no image is perfect, since −log is convex.
        ssim: mean of the images' SSIM, or NaN for images smaller than 11×11.
        each: tensors of shape (N,) by metric: "mse", "mae", "psnr" and, where they were measured, "ssim", "accuracy"
            (1 or 0) and "bytes".
        accuracy: share of the reconstructions that the judge takes for what their labels say; None without a judge.
        bytes: mean size of the images' files; None where no files were made.
        bpp: the same in bits per pixel of height times width, or None.
    """

    images: str
    count: int
    mse: float
    mae: float
    psnr_db: float
    psnr_of_mse_db: float
    ssim: float
    each: dict[str, Tensor]
    accuracy: float | None = None
    bytes: float | None = None
    bpp: float | None = None

    def __repr__(self) -> str:
        judged = "" if self.accuracy is None else f"  accuracy {self.accuracy:.4f}"
        size = "" if self.bytes is None else f"  {self.bytes:,.1f} bytes  {self.bpp:.3f} bit/pixel"
        return (
            f"{self.images} ({self.count:,} images): MSE {self.mse:.5f}  MAE {self.mae:.4f}  "
            f"PSNR {self.psnr_db:.2f} dB  SSIM {self.ssim:.4f}{judged}{size}"
        )


@torch.no_grad()
def evaluate(
    model: Model,
    images: Images,
    *,
    clip: bool = False,
    judge: Model | None = None,
    files: bool = False,
    batch_size: int = 500,
) -> Scores:
    """Return the scores of a model on images.

        evaluate(run.model, cifar.test, clip=True)
        evaluate(run.model, cifar.test, clip=True, judge=classifier)       # accuracy as well
        evaluate(lambda x: x, cifar.test, judge=classifier)                # the judge's own accuracy
        evaluate(codec, kodak.test, files=True)                            # bytes and bits per pixel as well

    Several processes (torchrun) share the batches; all of them must call it, and all get the same scores, the
    very numbers of one process: each image counts once, however unevenly the batches fall.

    Args:
        model: an autoencoder, a run, or any function from images to reconstructions, (N, C, H, W) to the same.
        images: what to reconstruct; at least one.
        clip: bring reconstructions into [0, 1] first, as a screen or a file would; the judge sees them so too.
        judge: a classifier, or a run with one: gives class scores (N, classes) for images (N, C, H, W). The images
            need labels.
        files: reconstruct from real files. `model.compress(x)` gives a `bytes` object for each image, and what
            `model.decompress` reads back from them is scored; their lengths are the bytes in the scores.
        batch_size: images at a time; it changes no result, only memory.

    Raises:
        TypeError: something else than a model and images, the judge is no classifier, or the model makes no files.
        ValueError: there is no image, the model's images do not fit or it has written into those it was given, there
            are no labels for the judge, or it does not know them all.
    """
    model = _codec_of(model) if files else model_of(model)
    check_images("images", images)
    check_batch_size(batch_size)
    judging = None if judge is None else _Judge(judge, images)
    device = device_of(model)
    names = [*METRICS] if min(images.shape[1:]) >= 11 else [name for name in METRICS if name != "ssim"]
    measured = [*names, *(["accuracy"] if judging else []), *(["bytes"] if files else [])]
    # Each process fills in its images' places and leaves zeros in the others', so that adding up changes no value.
    each = {name: torch.zeros(len(images), dtype=torch.float64) for name in measured}
    with eval_mode(model, *([judging.network] if judging else [])):
        for number in distributed.shard(-(-len(images) // batch_size)):
            place = slice(number * batch_size, (number + 1) * batch_size)
            x = images[place].floats(device)
            x_hat, sizes = _from_files(model, x) if files else (reconstructed(model, x).float(), None)
            if clip:
                x_hat = x_hat.clamp(0, 1)
            found = {name: METRICS[name](x, x_hat) for name in names}
            if judging:
                found["accuracy"] = judging.is_right(x_hat, place)
            if files:
                found["bytes"] = sizes
            for name, values in found.items():
                each[name][place] = values.cpu().double()
    return _scores(images, {name: distributed.all_reduce_sum_on_cpu(values) for name, values in each.items()})


@torch.no_grad()
def accuracies(model: Model, images: Images, judges: Sequence[Model], batch_size: int = 500) -> list[float]:
    """Return, for each of several judges, the share of reconstructions that it takes for what their labels say.

    The images are reconstructed once for all judges, and clipped to [0, 1]. Judges that were trained from different
    seeds disagree by some tenths of a point, so an accuracy is told with its spread over them.

    Args:
        model: an autoencoder, a run, or any function from images to reconstructions.
        images: with labels.
        judges: classifiers, or runs with one: each gives class scores (N, classes) for images (N, C, H, W).
        batch_size: images at a time; it changes no result, only memory.

    Raises:
        TypeError: something else than a model, images and several classifiers.
        ValueError: there is no image or no judge, no labels to judge by, or the shapes do not fit.
    """
    model = model_of(model)
    check_images("images", images)
    check_batch_size(batch_size)
    if not isinstance(judges, list | tuple):
        raise TypeError(f"judges: wanted a list of classifiers or of their runs, got {type(judges).__name__}")
    if not judges:
        raise ValueError("judges: the list is empty; there is nobody to judge")
    judging = [_Judge(judge, images) for judge in judges]
    right = torch.zeros(len(judges), dtype=torch.float64)
    with eval_mode(model, *(judge.network for judge in judging)):
        for start in range(0, len(images), batch_size):
            place = slice(start, start + batch_size)
            x_hat = reconstructed(model, images[place].floats(device_of(model))).float().clamp(0, 1)
            right += torch.stack([judge.is_right(x_hat, place).sum().cpu() for judge in judging])
    return (right / len(images)).tolist()


def check_images(argument: str, images: object) -> None:
    """Raise an error where an argument is no set of images, or an empty one.

    Raises:
        TypeError: it is something else; the message says what to hand over.
        ValueError: there is no image in it.
    """
    if not isinstance(images, Images):
        hint = "; choose a part of it, such as .test" if isinstance(images, Splits) else ""
        hint = "; ae.from_array makes them from an array" if isinstance(images, Tensor | np.ndarray) else hint
        raise TypeError(f"{argument}: wanted Images, got {type(images).__name__}{hint}")
    if len(images) == 0:
        raise ValueError(f"{argument}: {images.name} is empty; there is nothing to evaluate")


METRICS = {"mse": mse, "mae": mae, "psnr": psnr, "ssim": ssim}


def _codec_of(model: object) -> object:
    """Return a model that makes files, or that of a run."""
    codec = model if isinstance(model, nn.Module) else getattr(model, "model", model)
    if not all(callable(getattr(codec, method, None)) for method in ("compress", "decompress")):
        raise TypeError(
            "model: files=True needs a model with compress(x), which gives a bytes object for each image, and "
            f"decompress(files), which gives the images; {type(codec).__name__} has not both"
        )
    return codec


def _from_files(codec, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a codec reads back from the files that it makes of images, and how many bytes each file has."""
    version = x._version
    files = codec.compress(x)
    check_unchanged(x, version, f"model: {type(codec).__name__}")
    if not isinstance(files, list | tuple) or len(files) != len(x) or not all(isinstance(f, bytes) for f in files):
        kinds = ", ".join(sorted({type(f).__name__ for f in files})) if isinstance(files, list | tuple) else ""
        got = f"{len(files)} of {kinds}" if kinds else type(files).__name__
        raise TypeError(f"model: wanted compress(x) to give a bytes object for each of {len(x)} images, got {got}")
    return codec.decompress(files).float().to(x.device), torch.tensor([len(file) for file in files])


class _Judge:
    """A classifier that says of reconstructions whether they still show what their labels say.

    Args:
        judge: the classifier, or a run with one.
        images: whose reconstructions come; their labels are the truth.
    """

    def __init__(self, judge: Callable[[Tensor], Tensor], images: Images) -> None:
        self.network = model_of(judge, "judge")
        if images.labels is None:
            raise ValueError(f"judge: {images.name} has no labels to judge by")
        self.labels = images.labels

    def is_right(self, x_hat: Tensor, place: slice) -> Tensor:
        """Return for each reconstruction whether the judge's highest score is that of its label."""
        device, labels = device_of(self.network), self.labels[place]
        scores = self.network(x_hat.to(device))
        if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(labels):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"judge: wanted class scores of shape ({len(labels)}, classes), got {got}")
        if labels.max() >= scores.shape[1]:
            raise ValueError(f"judge: knows {scores.shape[1]} classes, but there is a label {labels.max()}")
        return scores.argmax(1) == labels.to(device)


def _scores(images: Images, each: dict[str, Tensor]) -> Scores:
    finite = each["psnr"][each["psnr"].isfinite()]
    means = {name: values.mean().item() for name, values in each.items()}
    size = means.get("bytes")
    return Scores(
        images=images.name,
        count=len(images),
        mse=means["mse"],
        mae=means["mae"],
        psnr_db=finite.mean().item() if len(finite) else float("inf"),
        psnr_of_mse_db=psnr_of(each["mse"].mean()).item(),
        ssim=means.get("ssim", float("nan")),
        each=each,
        accuracy=means.get("accuracy"),
        bytes=size,
        bpp=None if size is None else 8 * size / math.prod(images.shape[1:]),
    )
