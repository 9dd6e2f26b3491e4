"""From pictures to files and back, with the weights that are shipped: what a compressive autoencoder is trained for."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as arrays_of_bytes
from safetensors.torch import save as bytes_of_arrays
from torch import Tensor, nn

from ..codec import CodecError, Container, Decoder, Table, Tables, container, encode, logistic_table, table_of
from ..codec.tables import pack, unpack
from .hyperprior import SCALE_STEP, SCALES, SMALLEST, HyperPrior, between, checkerboard, filled_up
from .hyperprior import STRIDE as HYPER_STRIDE
from .integer_prior import LEVEL_STEPS, UNIT, IntegerPrior, floats_of, integers_of
from .progress import Tell, silent, within
from .refinement import Cost, Latents, bits_in, refined
from .transform import analysis, in_bands, synthesis

HYPER_REACH = 60  # the tables of hyper-latents go so far at most; all else is an escape
FARTHEST_HYPER, FARTHEST = 1 << 13, 1 << 14  # what an encoder does not go beyond, in steps of rounding
MAX_STORED = 1 << 26  # bytes of the weights of a codec
READING = 0.6  # share of decoding that goes into reading values; drawing the picture of them takes the rest
TOLD_EACH = 1 << 17  # values that are read between two words of progress
SELDOM = 1e-6  # values with less probability have no place of their own at the ends of a table
VERSION = 1  # of the stored weights and of what is made of them
Sizes = tuple[int, int, int, tuple[int, int]]  # colours, channels, width, strides


class PictureCodec:
    """Makes files of pictures and reads them, with weights in 8 (or 16) bits and an entropy model in whole numbers.

    It is made of a trained model by `CompressiveAutoencoder.codec()`, or of stored bytes by `from_bytes`. Both sides of
    a file need the same one, which a fingerprint in the file tells. The coded values are read back exactly everywhere;
    the pixels that the decoder draws from them may differ by 1 of 255 between machines, where a float lies at a border.

    Args:
        arrays: weights and tables by name.
        facts: "sizes" of the networks, the "lmbdas" of the qualities, "version".

    Attributes:
        fingerprint: 4 bytes that tell this codec from others.
    """

    def __init__(self, arrays: dict[str, Tensor], facts: dict) -> None:
        if facts.get("version") != VERSION:
            raise ValueError(f"the weights are of version {facts.get('version')}; this aecore reads version {VERSION}")
        colours, channels, width, strides = facts["sizes"]
        self.arrays, self.facts = arrays, facts
        self.colours, self.stride, self.lmbdas = colours, math.prod(strides), tuple(facts["lmbdas"])
        self.hyper_analysis = HyperPrior(channels, width, 1).analysis
        self.analysis = analysis(colours, channels, width, strides)
        self.synthesis = synthesis(colours, channels, width, strides)
        for name in _NETWORKS:
            _load(getattr(self, name), arrays, name)
        self.log_gain, self.log_back = arrays["log_gain"].float(), arrays["log_back"].float()
        self.prior = IntegerPrior({name.removeprefix("prior."): values for name, values in arrays.items()})
        self.tables = Tables(unpack(arrays["tables"].numpy()))
        self.fingerprint = fingerprint_of(arrays, facts)

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module, sizes: Sizes, bits: int = 8) -> PictureCodec:
        """Return the codec of a `CompressiveAutoencoder`.

        Args:
            model: the trained model.
            sizes: of its networks: colours, channels, width, strides.
            bits: of most weights of the transform, 8 or 16.

        Raises:
            ValueError: `bits` is something else.
        """
        if bits not in (8, 16):
            raise ValueError(f"bits: wanted 8 or 16, got {bits!r}")
        arrays = {f"prior.{name}": values for name, values in integers_of(model.prior).items()}
        networks = (model.prior.analysis, model.encoder, model.decoder)
        for name, network in zip(_NETWORKS, networks, strict=True):
            arrays |= _stored(network, name, bits)
        arrays |= {name: getattr(model, name).detach().cpu().float() for name in ("log_gain", "log_back")}
        arrays["tables"] = torch.from_numpy(pack([*ladder(), *hyper_tables(model.prior)]))
        arrays = {name: values.contiguous().clone() for name, values in arrays.items()}
        return cls(arrays, {"sizes": sizes, "lmbdas": model.lmbdas, "version": VERSION})

    @classmethod
    def from_bytes(cls, data: bytes) -> PictureCodec:
        """Return the codec that `to_bytes` has stored.

        Raises:
            ValueError: these are other bytes.
        """
        return cls(*unpacked(data))

    def to_bytes(self) -> bytes:
        """Return weights, tables and facts to be stored and shipped: a safetensors file, compressed by zlib."""
        return packed(self.arrays, self.facts)

    @property
    def levels(self) -> int:
        """How many qualities there are, from 1."""
        return len(self.lmbdas)

    @torch.inference_mode(False)  # or there would be no gradients where latents are refined
    @torch.no_grad()
    def compress(self, x: Tensor, quality: float, refine: int = 0, tell: Tell = silent) -> list[bytes]:
        """Return a file for each image.

        Args:
            x: floats in [0, 1] of shape (N, C, H, W), of any height and width; where the model takes colour, they may
                be grey too.
            quality: from 1 to `levels`, whole or not; taken in steps of 1/64.
            refine: steps in which the latents of each image are optimised (`refinement`), 0 for none. A step takes
                about as long as encoding without; the file with the lowest λ · 255² · MSE + bits per pixel is kept,
                that without steps among them.
            tell: is told the share of the work that is done, from 0 to 1.

        Raises:
            ValueError: the images, the quality or the number of steps do not fit.
        """
        if not isinstance(refine, int) or isinstance(refine, bool) or refine < 0:
            raise ValueError(f"refine: wanted a number of steps, such as 100, or 0 for none, got {refine!r}")
        steps = self._checked(x, quality)
        parts = [within(tell, number / len(x), (number + 1) / len(x)) for number in range(len(x))]
        pictures = [one.float().cpu().clone() for one in x]
        return [self._file_of(one, steps, refine, part) for one, part in zip(pictures, parts, strict=True)]

    @torch.no_grad()
    def decompress(self, files: Sequence[bytes], tell: Tell = silent) -> Tensor:
        """Return the images of files, floats (N, C, H, W): the 256 shades of a PNG, divided by 255.

        Args:
            files: as `compress` makes them.
            tell: is told the share of the work that is done, from 0 to 1.

        Raises:
            CodecError: one is damaged, of another model, or none of ours.
            ValueError: the pictures have different sizes; read them one by one.
        """
        parts = [within(tell, number / len(files), (number + 1) / len(files)) for number in range(len(files))]
        pictures = [self._picture_of(file, part) for file, part in zip(files, parts, strict=True)]
        if len({picture.shape for picture in pictures}) != 1:
            raise ValueError(f"files: wanted pictures of one size, got {sorted({tuple(p.shape) for p in pictures})}")
        return torch.stack(pictures)

    @torch.no_grad()
    def bits(self, x: Tensor, quality: float) -> Tensor:
        """Return how many bits each place of the code of an image takes: where in the picture a file's bytes are spent.

        Hyper-latents stand for several places each, among which their bits are shared out. Added up, it is what the
        file's payload has but for the state of the coder.

        Args:
            x: one image, floats in [0, 1] of shape (1, C, H, W).
            quality: as of `compress`.

        Returns:
            Of shape (⌈H/stride⌉, ⌈W/stride⌉).

        Raises:
            ValueError: it is not one image, or it or the quality does not fit.
        """
        steps = self._checked(x, quality)
        if len(x) != 1:
            raise ValueError(f"x: wanted one image, of shape (1, C, H, W), got {len(x)}")
        latents = self._latents_of(x.float().cpu().expand(-1, self.colours, -1, -1), steps)
        values, which, _ = self._symbols_of(latents, steps)
        bits, grid = torch.from_numpy(self.tables.bits(values, which)), latents.y.shape[2:]
        shape, count = latents.z.shape[1:], latents.z.numel()
        found = _shared_out(bits[:count].reshape(shape).sum(0), grid)
        halves = _Halves(self.prior, torch.from_numpy(values[:count]).reshape(shape), grid, steps)
        for half in halves:
            after = count + int(half.coded.sum())
            found = found + torch.zeros_like(halves.code).masked_scatter(half.coded, bits[count:after]).sum(0)
            halves.fill(half, torch.from_numpy(values[count:after]))
            count = after
        return found

    def _checked(self, x: Tensor, quality: float) -> int:
        """Return a quality in steps of 1/64, from 0, or raise a ValueError where it or the images do not fit."""
        steps = round((check_quality(quality, self.levels) - 1) * LEVEL_STEPS)
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] not in (1, self.colours) or not x.is_floating_point():
            found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: wanted floats of shape (N, {self.colours}, H, W), or grey ones, got {found}")
        if x.numel() and not (x.min() >= 0 and x.max() <= 1):  # written so that NaN is refused too
            raise ValueError(f"x: wanted values in [0, 1], got {x.min():.3g} to {x.max():.3g}")
        container.check_size(*x.shape[2:])
        return steps

    def _file_of(self, picture: Tensor, steps: int, refine: int, tell: Tell) -> bytes:
        shape, analysed = picture.shape, 1 / (refine + 2)  # a step takes about as long as all the rest
        latents = self._latents_of(picture.expand(self.colours, -1, -1)[None], steps, within(tell, 0, analysed))
        if refine:
            cost = self._cost(picture, steps)
            candidates = chain([latents], refined(latents, cost, refine, within(tell, analysed, 1 - analysed)))
            coded = (self._coded(candidate, shape, steps) for candidate in candidates)
            file, _ = min(coded, key=lambda pair: cost.of(pair[0], self._drawn(pair[1], shape, steps)))
        else:
            file, _ = self._coded(latents, shape, steps)
        tell(1)
        return file

    def _coded(self, latents: Latents, shape: Sequence[int], steps: int) -> tuple[bytes, Tensor]:
        """Return the file of the latents of a picture (C, H, W), and the code that is read from it."""
        symbols, which, code = self._symbols_of(latents, steps)
        content = Container(self.fingerprint, shape[0], steps / LEVEL_STEPS + 1, *shape[1:], b"")
        return container.pack(content._replace(payload=encode(symbols, which, self.tables))), code

    def _cost(self, picture: Tensor, steps: int) -> Cost:
        """Return what latents of a picture (C, H, W) cost at a quality."""
        place = steps / LEVEL_STEPS
        prices = torch.tensor(self.lmbdas, dtype=torch.float64).log()
        lmbda = between(prices, torch.tensor([place], dtype=torch.float64)).exp().item()  # on a line through log λ
        first = self._first_hyper_table(steps)
        tables = self.tables.tables[first : first + self.hyper_channels]
        return Cost(
            picture[None], lmbda, floats_of(self.prior), bits_in(tables, HYPER_REACH + 1), torch.tensor([place]),
            self.synthesis, self._factors(self.log_back, steps),
        )  # fmt: skip

    def _picture_of(self, file: bytes, tell: Tell) -> Tensor:
        content = container.unpack(file)
        if content.fingerprint != self.fingerprint:
            raise CodecError(
                f"it was made with another model: its fingerprint is {content.fingerprint.hex()}, this model's is "
                f"{self.fingerprint.hex()}"
            )
        steps = round((content.quality - 1) * LEVEL_STEPS)
        if not 0 <= steps <= (self.levels - 1) * LEVEL_STEPS:
            raise CodecError(f"it says that its quality is {content.quality:g}, where the model has 1 to {self.levels}")
        if content.channels not in (1, self.colours):
            raise CodecError(f"it says that it has {content.channels} channels, where the model has {self.colours}")
        grid = tuple(-(-length // self.stride) for length in (content.height, content.width))
        code = self._code_of(content.payload, grid, steps, within(tell, 0, READING))
        shape = (content.channels, content.height, content.width)
        return self._drawn(code, shape, steps, within(tell, READING, 1))

    def _drawn(self, code: Tensor, shape: Sequence[int], steps: int, tell: Tell = silent) -> Tensor:
        """Return the picture (C, H, W) of a code, which is in units of 1/64 of a step."""
        y = (code / UNIT).float()[None] / self._factors(self.log_back, steps)
        x_hat = in_bands(self.synthesis, y, (1, self.stride), tell=tell)[0, :, : shape[1], : shape[2]]
        if shape[0] < self.colours:
            x_hat = x_hat.mean(0, keepdim=True)
        return (x_hat.clamp(0, 1) * 255).round() / 255

    def _latents_of(self, x: Tensor, steps: int, tell: Tell = silent) -> Latents:
        """Return what the encoder makes of a picture (1, colours, H, W), not rounded yet."""
        below, right = (-length % self.stride for length in x.shape[2:])
        x = F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
        y = in_bands(self.analysis, x, (self.stride, 1), tell=tell) * self._factors(self.log_gain, steps)
        return Latents(y, self.hyper_analysis(filled_up(y)))

    def _symbols_of(self, latents: Latents, steps: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """Return what is coded: whole numbers, and of each the number of its table; and the code they stand for."""
        z = latents.z[0].round().clamp(-FARTHEST_HYPER, FARTHEST_HYPER)
        values, which = [z.flatten().int()], [self._hyper_which(z.shape, steps).int()]
        halves, y = _Halves(self.prior, z, latents.y.shape[2:], steps), latents.y[0].double() * UNIT
        for half in halves:
            symbols = ((y[half.coded] - half.mean[half.coded]) / UNIT).round().clamp(-FARTHEST, FARTHEST)
            values, which = [*values, symbols.int()], [*which, half.which]
            halves.fill(half, symbols)
        return torch.cat(values).numpy(), torch.cat(which).numpy(), halves.code

    def _code_of(self, payload: bytes, grid: tuple[int, int], steps: int, tell: Tell = silent) -> Tensor:
        """Return a code (channels, *grid), whole numbers in units of 1/64 of a step."""
        decoder = Decoder(payload, self.tables)
        shape = (self.hyper_channels, *(-(-length // HYPER_STRIDE) for length in grid))
        z = torch.from_numpy(decoder.read(self._hyper_which(shape, steps).numpy())).reshape(shape)
        halves = _Halves(self.prior, z, grid, steps)
        for number, half in enumerate(halves):
            symbols = _read(decoder, half.which.numpy(), within(tell, number / 2, (number + 1) / 2))
            halves.fill(half, torch.from_numpy(symbols))
        decoder.finish()
        return halves.code

    @property
    def hyper_channels(self) -> int:
        return self.prior.layers["spread"].weight.shape[-1]

    def _hyper_which(self, shape: tuple[int, int, int], steps: int) -> Tensor:
        """Return the number of the table of each hyper-latent: those of the nearest quality, one for each channel."""
        first = self._first_hyper_table(steps)
        return torch.arange(first, first + shape[0])[:, None, None].expand(shape).flatten()

    def _first_hyper_table(self, steps: int) -> int:
        level = (steps + LEVEL_STEPS // 2) // LEVEL_STEPS
        return SCALES + level * self.hyper_channels

    def _factors(self, logarithms: Tensor, steps: int) -> Tensor:
        return between(logarithms, torch.tensor([steps / LEVEL_STEPS])).exp()[:, :, None, None]


class _Half(NamedTuple):
    """What is known of a half of the code before its values: means, which values are coded, and their tables."""

    places: Tensor
    mean: Tensor
    coded: Tensor
    which: Tensor


class _Halves:
    """The code of a picture, half by half; encoder and decoder go through the same steps.

    A value on the lowest rung of the ladder is not coded: it is its mean, as it would be nearly always.

    Args:
        prior: gives the distributions.
        z: hyper-latents, whole numbers (channels, h, w).
        grid: height and width of the code.
        steps: the quality, from 0, in steps of 1/64.

    Attributes:
        code: of shape (channels, *grid), whole numbers in units of 1/64; zero where it is not known yet.
    """

    def __init__(self, prior: IntegerPrior, z: Tensor, grid: tuple[int, int], steps: int) -> None:
        self.prior, self.steps = prior, steps
        self.features, self.first = prior.features(z, grid), checkerboard(*grid)
        self.code = torch.zeros(prior.level_scale.shape[1], *grid, dtype=torch.float64)

    def __iter__(self) -> Iterator[_Half]:
        for places, seen in ((self.first, None), (~self.first, self.code)):
            mean, index = self.prior.distributions(self.features, self.steps, seen)
            coded = (index > 0) & places
            yield _Half(places, mean, coded, index[coded].int())

    def fill(self, half: _Half, symbols: Tensor) -> None:
        """Take the values of a half, those that are coded, as differences from their means."""
        found = torch.zeros_like(self.code)
        found[half.coded] = symbols.double()
        self.code += found.mul_(UNIT).add_(half.mean).mul_(half.places)


def ladder() -> list[Table]:
    """Return the tables of the scales that a value of the code may have."""
    return [logistic_table(SMALLEST * math.exp(SCALE_STEP * rung)) for rung in range(SCALES)]


@torch.no_grad()
def hyper_tables(prior: HyperPrior) -> list[Table]:
    """Return the tables of the hyper-latents: for each quality one for each channel."""
    values = torch.arange(-HYPER_REACH, HYPER_REACH + 1, dtype=torch.float64, device=prior.mixture_mean.device)
    mass = prior.mass_of_hyper(values).flatten(0, 1)  # (levels · channels, values)
    tables = []
    for row in mass.cpu().numpy():
        usual = np.flatnonzero(row >= SELDOM)
        first, last = (usual[0], usual[-1]) if len(usual) else (HYPER_REACH, HYPER_REACH)
        tables.append(table_of(row[first : last + 1], first - HYPER_REACH))
    return tables


def _shared_out(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Return values of hyper-latents (h, w) shared out evenly among the places of a code of that height and width."""
    for dim, length in enumerate(grid):
        begins = HYPER_STRIDE * torch.arange(values.shape[dim])
        places = (length - begins).clamp(max=HYPER_STRIDE)  # the last one may stand for fewer
        values = (values / places.reshape(-1, *[1] * (1 - dim))).repeat_interleave(places, dim)
    return values


def _read(decoder: Decoder, which: np.ndarray, tell: Tell) -> np.ndarray:
    """Return the next values, read a part after the other."""
    parts = [decoder.read(which[:0])]
    for start in range(0, len(which), TOLD_EACH):
        parts.append(decoder.read(which[start : start + TOLD_EACH]))
        tell(min((start + TOLD_EACH) / len(which), 1))
    return np.concatenate(parts)


def check_quality(quality: float, levels: int) -> float:
    """Return a quality as a float, or raise a ValueError where it is none from 1 to `levels`."""
    number = isinstance(quality, int | float) and not isinstance(quality, bool)
    if not number or not 1 <= quality <= levels:
        raise ValueError(f"quality: wanted a number from 1 to {levels}, got {quality!r}")
    return float(quality)


_NETWORKS = ("hyper_analysis", "analysis", "synthesis")


def _stored(network: nn.Module, name: str, bits: int) -> dict[str, Tensor]:
    """Return the weights of a network as they are shipped: biases in 32 bits, most kernels in 8.

    The convolutions between the residual blocks, which begin as PCA, keep 16 bits: in 8 they cost .15 dB at the highest
    rate, and those inside the blocks, five times as many, nothing that could be measured.
    """
    found = {}
    for key, values in network.state_dict().items():
        values, place = values.detach().cpu().float(), f"{name}.{key}"
        between_blocks = name != "hyper_analysis" and key.count(".") == 1
        if values.ndim < 4:
            found[place] = values
        elif bits == 16 or between_blocks:
            found[place] = values.half()
        else:
            scale = values.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            found[place] = (values / scale[:, None, None, None]).round().to(torch.int8)
            found[f"{place}.scale"] = scale
    return found


def packed(arrays: dict[str, Tensor], facts: dict) -> bytes:
    """Return weights and facts as bytes: a safetensors file, compressed by zlib."""
    return zlib.compress(bytes_of_arrays(arrays, metadata={"codec": json.dumps(facts)}), 9)


def unpacked(data: bytes) -> tuple[dict[str, Tensor], dict]:
    """Return weights and facts that `packed` has made bytes of.

    Raises:
        ValueError: these are other bytes.
    """
    try:
        plain = _inflated(data)
        length = int.from_bytes(plain[:8], "little")
        facts = json.loads(json.loads(plain[8 : 8 + length])["__metadata__"]["codec"])
        return arrays_of_bytes(plain), facts
    except Exception as error:  # safetensors has an error of its own
        raise ValueError(f"these are no weights of a codec: {error}") from error


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data, MAX_STORED)
    if not inflater.eof:
        raise ValueError(f"they are cut off, or more than {MAX_STORED:,} bytes")
    return plain


def _load(network: nn.Module, arrays: dict[str, Tensor], name: str) -> None:
    weights = {}
    for key in network.state_dict():
        values, scale = arrays[f"{name}.{key}"].float(), arrays.get(f"{name}.{key}.scale")
        weights[key] = values if scale is None else values * scale[:, None, None, None]
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)


def fingerprint_of(arrays: dict[str, Tensor], facts: dict) -> bytes:
    """Return 4 bytes that change with any weight or fact."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.contiguous().numpy().tobytes())
    return found.digest()[: container.FINGERPRINT_BYTES]
