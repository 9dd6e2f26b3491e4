"""From small pictures to files and back, with the weights that are shipped: many in an album, or one in a file."""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ..codec import CodecError, Decoder, album, fraction
from ..codec.coder import encode_ranges
from .code_search import Cost, searched
from .integer_mixture import IntegerMixture, floats_of, integers_of
from .masked_prior import MaskedPrior
from .picture_codec import fingerprint_of, packed, unpacked
from .small_transform import SmallSizes, small_analysis, small_synthesis

VERSION = 1  # of the stored weights and of what is made of them
KIND = "small pictures"
PART = 2000  # pictures that are worked on at once
MARGIN = 2  # values beyond those that occurred, on each side, that a file can hold
FARTHEST = 1000  # what a value in a file is at most, up or down
WIDEST = 8.0  # how many units of usual size a file can hold to each side, where no images tell
_NETWORKS = ("analysis", "synthesis")


class AlbumCodec:
    """Makes files of small pictures and reads them, with weights in 8 bits (or others) and a prior in whole numbers.

    It is made of a trained model by `SmallCompressiveAutoencoder.codec()`, or of stored bytes by `from_bytes`. Both
    sides of a file need the same one, which a fingerprint tells. The coded values are read back exactly everywhere; the
    pixels that the decoder draws from them may differ by 1 of 255 between machines, where a float lies at a border.

    Args:
        arrays: weights by name.
        facts: "sizes" of the networks, "lmbda", "version".

    Attributes:
        fingerprint: 4 bytes that tell this codec from others.
    """

    def __init__(self, arrays: dict[str, Tensor], facts: dict) -> None:
        if facts.get("kind") != KIND or facts.get("version") != VERSION:
            raise ValueError(
                f"the weights are of {facts.get('kind')!r}, version {facts.get('version')}; wanted {KIND!r}, version "
                f"{VERSION}"
            )
        shape, size, hidden, stride, width = facts["sizes"]
        self.sizes = SmallSizes(tuple(shape), size, tuple(hidden), stride, width)
        self.arrays, self.facts = arrays, facts
        self.analysis, self.synthesis = small_analysis(self.sizes), small_synthesis(self.sizes)
        for name in _NETWORKS:
            _load(getattr(self, name), arrays, name)
        # In float64 hardly a pixel lies so near the border of two shades that another order of sums would move it.
        self.synthesis.double()
        self.gain, self.back = arrays["log_gain"].exp(), arrays["log_back"].double().exp()
        self.prior = IntegerMixture({name.removeprefix("prior."): values for name, values in arrays.items()})
        self.fingerprint = fingerprint_of(arrays, facts)

    @classmethod
    @torch.no_grad()
    def of(cls, model: nn.Module, images: Tensor | None, bits: int = 8) -> AlbumCodec:
        """Return the codec of a `SmallCompressiveAutoencoder`.

        Args:
            model: the trained model.
            images: whose codes tell which values a file must be able to hold.
            bits: of most weights, from 4 to 8.

        Raises:
            ValueError: `bits` is something else.
        """
        if not isinstance(bits, int) or not 4 <= bits <= 8:
            raise ValueError(f"bits: wanted 4 to 8, got {bits!r}")
        arrays = _stored(model.encoder, "analysis", bits) | _stored(model.decoder, "synthesis", bits)
        arrays |= {name: getattr(model, name).detach().cpu().float() for name in ("log_gain", "log_back")}
        low, high = _reach(model, images)
        arrays |= {f"prior.{name}": values for name, values in integers_of(model.prior, low, high).items()}
        arrays = {name: values.contiguous().clone() for name, values in arrays.items()}
        facts = {"kind": KIND, "version": VERSION, "sizes": model.sizes, "lmbda": model.lmbda}
        return cls(arrays, facts)

    @classmethod
    def from_bytes(cls, data: bytes) -> AlbumCodec:
        """Return the codec that `to_bytes` has stored.

        Raises:
            ValueError: these are other bytes.
        """
        return cls(*unpacked(data))

    def to_bytes(self) -> bytes:
        """Return weights and facts to be stored and shipped: a safetensors file, compressed by zlib."""
        return packed(self.arrays, self.facts)

    # ---- many pictures in one file ----

    def compress(self, x: Tensor, rounds: int = 0) -> bytes:
        """Return an album of images.

        What an image has beyond the reach of the tables is cut off: images unlike those of training come back as
        something nearer to these.

        Args:
            x: floats in [0, 1] of shape (N, C, H, W), of the shape that the model knows.
            rounds: of a search for better codes than the encoder's (`code_search`): slower, with smaller files.

        Raises:
            ValueError: the images do not fit.
        """
        return self.album_of(self.codes(x, rounds))

    def decompress(self, file: bytes) -> Tensor:
        """Return the images of an album, floats (N, C, H, W): the 256 shades of a PNG, divided by 255.

        Raises:
            CodecError: it is damaged, of another model, or none of ours.
        """
        return self.images(self.codes_in(file))

    def album_of(self, codes: Tensor) -> bytes:
        """Return the album of codes, int of shape (N, code_size), as `codes` gives them."""
        parts = [self._ranges(part) for part in codes.split(PART)]
        begins, frequencies = (np.concatenate([part[i] for part in parts] or [[]]) for i in (0, 1))
        return album.pack(album.Album(self.fingerprint, len(codes), encode_ranges(begins, frequencies)))

    def codes_in(self, file: bytes) -> Tensor:
        """Return the codes in an album, int (N, code_size); raises as `decompress` does."""
        content = album.unpack(file)
        if content.fingerprint != self.fingerprint:
            raise CodecError(
                f"it was made with another model: its fingerprint is {content.fingerprint.hex()}, this model's is "
                f"{self.fingerprint.hex()}"
            )
        decoder = Decoder(content.payload)
        counts = [min(PART, content.count - start) for start in range(0, content.count, PART)]
        codes = [self._read(decoder, count) for count in counts]
        decoder.finish()
        return torch.cat(codes) if codes else torch.empty(0, self.sizes.code_size, dtype=torch.int32)

    # ---- one picture in a file ----

    def compress_each(self, x: Tensor, rounds: int = 0) -> list[bytes]:
        """Return a file for each image; arguments and what is raised as of `compress`."""
        found = []
        for part in self.codes(x, rounds).split(PART):
            begins, frequencies = self._ranges(part, by_picture=True)
            found += [fraction.encode(*pair) for pair in zip(begins, frequencies, strict=True)]
        return [album.pack_alone(self.fingerprint, payload) for payload in found]

    def decompress_one(self, file: bytes) -> Tensor:
        """Return the image of a file, floats (C, H, W), as `decompress` does."""
        decoder = fraction.FractionDecoder(album.unpack_alone(file, self.fingerprint))
        codes = self._read(decoder, 1)
        decoder.finish()
        return self.images(codes)[0]

    # ---- between pictures and codes ----

    @torch.no_grad()
    def codes(self, x: Tensor, rounds: int = 0) -> Tensor:
        """Return the codes of images, int32 (N, code_size).

        Args:
            x: as of `compress`.
            rounds: of a search for better codes than the encoder's (`code_search`).
        """
        self._check(x)
        ends = tuple(torch.from_numpy(end).float() for end in (self.prior.low, self.prior.high))
        found = [torch.empty(0, self.sizes.code_size)]
        for part in x.float().cpu().split(PART):
            codes = (self.analysis(part) * self.gain).round()
            codes = torch.minimum(torch.maximum(codes, ends[0]), ends[1])
            found.append(searched(codes, self._cost(part), rounds, ends) if rounds else codes)
        return torch.cat(found).int()

    def _cost(self, x: Tensor) -> Cost:
        """Return the function that tells of codes of some of the images the bits, plus λ times their error."""
        prior, pixels, back = self.float_prior, x.shape[2] * x.shape[3], self.back.float()

        def cost(codes: Tensor, which: Tensor) -> Tensor:
            bits = -prior.likelihoods(codes, codes).log2().sum(1)
            error = (self.float_synthesis(codes / back) - x[which]).square().flatten(1).mean(1)
            return self.facts["lmbda"] * 255**2 * pixels * error + bits

        return cost

    @cached_property
    def float_prior(self) -> MaskedPrior:
        """The prior in floats, for the search: whole numbers have no gradient."""
        return floats_of({name.removeprefix("prior."): values for name, values in self.arrays.items()})

    @cached_property
    def float_synthesis(self) -> nn.Sequential:
        """The decoder in float32, for the search, which need not be exact."""
        return copy.deepcopy(self.synthesis).float()

    @torch.no_grad()
    def images(self, codes: Tensor) -> Tensor:
        """Return the images of codes (N, code_size), floats (N, C, H, W) in 256 shades."""
        parts = [self.synthesis(part.double() / self.back) for part in codes.split(PART)]
        x_hat = torch.cat(parts) if parts else torch.empty(0, *self.sizes.image_shape)
        return (x_hat * 255).round().float() / 255

    def _check(self, x: Tensor) -> None:
        shape = self.sizes.image_shape
        if not isinstance(x, Tensor) or x.shape[1:] != shape or not x.is_floating_point():
            found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: wanted floats of shape (N, {', '.join(map(str, shape))}), got {found}")
        if x.numel() and not (x.min() >= 0 and x.max() <= 1):  # written so that NaN is refused too
            raise ValueError(f"x: wanted values in [0, 1], got {x.min():.3g} to {x.max():.3g}")

    def _ranges(self, codes: Tensor, by_picture: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return begins and frequencies of all values of some pictures, group by group, or picture by picture."""
        passage, values, found = self.prior.begin(len(codes)), codes.numpy().astype(np.int64), []
        for number in range(self.prior.groups):
            found += passage.ranges(values)
            own = self.prior.values_of(number)
            passage.fill(values[:, own.start : own.stop])
        begins, frequencies = zip(*found, strict=True)
        if by_picture:
            return np.stack(begins, 1), np.stack(frequencies, 1)
        return np.concatenate(begins), np.concatenate(frequencies)

    def _read(self, decoder: Decoder | fraction.FractionDecoder, count: int) -> Tensor:
        passage = self.prior.begin(count)
        for _ in range(self.prior.groups):
            values = [decoder.read_rows(rows) + self.prior.low[value] for value, rows in passage.rows()]
            passage.fill(np.stack(values, 1))
        return torch.from_numpy(passage.codes).int()


def _reach(model: nn.Module, images: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest value that files can hold, for each value of a code."""
    gain = model.log_gain.exp()
    if images is None:
        most = ((WIDEST * gain).ceil() + MARGIN).clamp(max=FARTHEST).cpu().int()
        return -most, most
    parts = (part.to(gain.device) for part in images.split(PART))
    parts = (part.float() / 255 if part.dtype == torch.uint8 else part for part in parts)
    ends = [torch.aminmax((model.encode(part) * gain).round(), dim=0) for part in parts]
    low = torch.stack([end.min for end in ends]).amin(0)
    high = torch.stack([end.max for end in ends]).amax(0)
    return tuple(end.cpu().clamp(-FARTHEST, FARTHEST).int() for end in (low - MARGIN, high + MARGIN))


def _stored(network: nn.Module, name: str, bits: int) -> dict[str, Tensor]:
    """Return the weights of a network as they are shipped: biases in 32 bits, all others in `bits`."""
    found = {}
    for key, values in network.state_dict().items():
        values, place = values.detach().cpu().float(), f"{name}.{key}"
        if values.ndim < 2:
            found[place] = values
        else:
            scale = values.abs().flatten(1).amax(1).clamp(min=1e-12) / ((1 << (bits - 1)) - 1)
            found[place] = (values / _each(scale, values)).round().to(torch.int8)
            found[f"{place}.scale"] = scale
    return found


def _load(network: nn.Module, arrays: dict[str, Tensor], name: str) -> None:
    weights = {}
    for key in network.state_dict():
        values, scale = arrays[f"{name}.{key}"].float(), arrays.get(f"{name}.{key}.scale")
        weights[key] = values if scale is None else values * _each(scale, values)
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)


def _each(scale: Tensor, values: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (values.ndim - 1))
