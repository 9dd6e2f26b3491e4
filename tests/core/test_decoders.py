"""`models.decoders`: every way to double a picture, by hand on small ones."""

import pytest
import torch
from torch import nn

from aecore.models import UPSAMPLERS, UpsamplingAutoencoder, init_weights, summary
from aecore.models.decoders import Blur

# Channels between the two doublings; with these all cost the same, since channels · kernel² is 576 for each.
WIDTHS = {
    "transposed-2": 144, "transposed-3": 64, "transposed-4": 36, "nearest": 16, "bilinear": 16, "shuffle": 16,
    "shuffle-icnr": 16, "shuffle-icnr-blur": 16,
}  # fmt: skip


def layer_of(up):
    """The doubling from one channel to one, its first convolution all ones and without an offset."""
    layer = UPSAMPLERS[up](1, 1)
    convolution = next(m for m in layer.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    nn.init.ones_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return layer


@torch.no_grad()
def applied(up, picture):
    return layer_of(up)(torch.tensor(picture, dtype=torch.float32)[None, None])[0, 0]


@pytest.mark.parametrize("up", UPSAMPLERS)
class TestEveryDoubling:
    @pytest.mark.parametrize("size", [(1, 1), (7, 7), (4, 9)])
    def test_doubles_height_and_width(self, up, size):
        assert UPSAMPLERS[up](3, 5)(torch.rand(2, 3, *size)).shape == (2, 5, 2 * size[0], 2 * size[1])

    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 12, 20)])
    @pytest.mark.parametrize("extra", [0, 2])
    def test_makes_an_autoencoder_for_every_image_that_can_be_halved_twice(self, up, shape, extra):
        model = UpsamplingAutoencoder(shape, 8, up=up, width=6, extra=extra)
        assert model(torch.rand(2, *shape)).shape == (2, *shape)

    def test_costs_the_same_as_the_others_at_these_widths(self, up):
        model = UpsamplingAutoencoder((1, 28, 28), 128, up=up, width=WIDTHS[up])
        assert summary(model).macs == 3_681_664

    def test_has_the_same_encoder_as_the_others(self, up):
        encoder = UpsamplingAutoencoder((1, 28, 28), 128, up=up, width=WIDTHS[up]).encoder
        assert str(encoder) == str(UpsamplingAutoencoder((1, 28, 28), 128).encoder)


def test_kernels_of_size_2_just_touch():
    assert torch.equal(applied("transposed-2", [[1, 2], [3, 4]]), torch.tensor([[1.0, 2], [3, 4]]).repeat_interleave(
        2, 0).repeat_interleave(2, 1))  # fmt: skip


def test_kernels_of_size_3_overlap_on_every_second_row_and_column():
    # Along one axis a pixel is covered by one kernel, or by two; in the plane by 1, 2 or 4. The last lies at the edge.
    covered = torch.tensor([1.0, 2, 1, 2, 1, 2, 1, 1])
    assert torch.equal(applied("transposed-3", [[1] * 4] * 4), torch.outer(covered, covered))


def test_kernels_of_size_4_cover_every_inner_pixel_equally():
    covered = torch.tensor([1.0, 2, 2, 2, 2, 2, 2, 1])
    assert torch.equal(applied("transposed-4", [[1] * 4] * 4), torch.outer(covered, covered))


@pytest.mark.parametrize("up", ["nearest", "bilinear"])
def test_enlarging_treats_every_inner_pixel_of_an_even_picture_alike(up):
    assert torch.equal(applied(up, [[1] * 4] * 4)[1:-1, 1:-1], torch.full((6, 6), 9.0))


def test_nearest_repeats_each_pixel_before_its_convolution():
    enlarged = layer_of("nearest")[0](torch.tensor([[[[1.0, 2.0]]]]))
    assert enlarged.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def test_bilinear_mixes_neighbours_three_to_one_and_shifts_nothing():
    enlarged = layer_of("bilinear")[0](torch.tensor([[[[0.0, 4.0]]]]))
    assert enlarged[0, 0, 0].tolist() == [0, 1, 3, 4]


def test_shuffle_deals_four_channels_out_as_one_block():
    layer = layer_of("shuffle")
    nn.init.zeros_(layer[0].weight)
    layer[0].bias.data = torch.tensor([1.0, 2, 3, 4])
    assert layer(torch.zeros(1, 1, 1, 2))[0, 0].tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]


class TestICNR:
    """The start of a sub-pixel convolution at which the four pixels of a block are equal (Aitken et al. 2017)."""

    @staticmethod
    def blocks(up, x, seed=0):
        """The doubled picture by blocks: (N, channels, H, W, 4)."""
        layer = UPSAMPLERS[up](3, 5)
        init_weights(layer, seed)
        with torch.no_grad():
            return nn.functional.pixel_unshuffle(layer(x), 2).unflatten(1, (5, 4)).movedim(2, -1)

    def test_makes_of_any_picture_blocks_of_four_equal_pixels(self):
        found = self.blocks("shuffle-icnr", torch.rand(2, 3, 6, 7))
        assert torch.equal(found, found[..., :1].expand_as(found))

    def test_makes_of_a_constant_picture_a_constant_one_away_from_the_padding(self):
        found = self.blocks("shuffle-icnr", torch.full((1, 3, 6, 6), 0.3))[:, :, 1:-1, 1:-1]
        assert torch.allclose(found, found[:, :, :1, :1].expand_as(found), atol=1e-6)  # sums in another order

    def test_the_usual_start_does_not(self):
        found = self.blocks("shuffle", torch.rand(2, 3, 6, 7))
        assert (found - found[..., :1]).abs().max() > 0.1

    def test_is_nearest_neighbour_upsampling_behind_a_convolution(self):
        layer = UPSAMPLERS["shuffle-icnr"](3, 5)
        small = nn.Conv2d(3, 5, 3, padding=1)
        with torch.no_grad():
            small.weight.copy_(layer[0].weight[::4])
            small.bias.copy_(layer[0].bias[::4])
            x = torch.rand(1, 3, 4, 4)
            wanted = nn.functional.interpolate(small(x), scale_factor=2, mode="nearest")
            assert torch.allclose(layer(x), wanted, atol=1e-6)

    def test_draws_as_many_kernels_as_there_are_channels(self):
        layer = UPSAMPLERS["shuffle-icnr"](3, 5)
        assert len(layer[0].weight.flatten(1).unique(dim=0)) == len(layer[0].bias.unique()) == 5

    def test_spreads_its_weights_as_the_usual_start_does(self):
        """Uniform within ±1/√(channels · kernel²)."""
        weight = UPSAMPLERS["shuffle-icnr"](64, 64)[0].weight
        assert weight.abs().max() <= 1 / 24 < 1.01 * weight.abs().max()

    def test_lets_the_four_learn_apart(self):
        layer = UPSAMPLERS["shuffle-icnr"](1, 1)
        layer(torch.rand(1, 1, 4, 4))[..., ::2, ::2].sum().backward()
        first, *others = layer[0].weight.grad.flatten(1).abs().sum(1).tolist()
        assert first > 0
        assert others == [0, 0, 0]


class TestBlur:
    def test_by_hand(self):
        x = torch.tensor([[1.0, 3], [5, 7]])[None, None]
        assert Blur()(x)[0, 0].tolist() == [[1, 2], [3, 4]]

    def test_makes_a_checkerboard_grey(self):
        board = torch.tensor([[1.0, 0], [0, 1]]).repeat(3, 3)[None, None]
        assert torch.equal(Blur()(board)[..., 1:, 1:], torch.full((1, 1, 5, 5), 0.5))

    def test_leaves_what_is_constant(self):
        assert torch.equal(Blur()(torch.full((2, 3, 4, 5), 0.25)), torch.full((2, 3, 4, 5), 0.25))


def test_extra_convolutions_stand_after_both_doublings():
    layers = [type(m).__name__ for m in UpsamplingAutoencoder((1, 28, 28), 8, "transposed-3", 5, extra=1).decoder[3:]]
    assert layers == ["ConvTranspose2d", "ReLU", "Conv2d", "ReLU", "ConvTranspose2d", "ReLU", "Conv2d"]


@pytest.mark.parametrize("extra", [0, 2])
def test_batch_norm_follows_every_convolution_but_the_last(extra):
    model = UpsamplingAutoencoder((3, 16, 16), 10, "shuffle", width=8, extra=extra, batch_norm=True)
    for half, convolutions in ((model.encoder, 2), (model.decoder, 1 + (extra + 1 if extra else 0))):
        kinds = [type(layer).__name__ for layer in half]
        assert [i for i, kind in enumerate(kinds) if kind == "BatchNorm2d"] == [
            i - 1 for i, kind in enumerate(kinds) if kind == "ReLU" and kinds[i - 1] != "Linear"
        ]
        assert kinds.count("BatchNorm2d") == convolutions


def test_without_batch_norm_there_is_none():
    model = UpsamplingAutoencoder((1, 16, 16), 10, "nearest", width=8, extra=1)
    assert not any(type(layer).__name__ == "BatchNorm2d" for layer in model.modules())


@pytest.mark.parametrize("up", ["bicubic", 4, None, ["nearest"]])
def test_an_unknown_way_to_double_names_those_that_are_known(up):
    with pytest.raises(ValueError, match=r"up: wanted one of 'transposed-2', .* got "):
        UpsamplingAutoencoder((1, 28, 28), 8, up=up)


@pytest.mark.parametrize("extra", [-1, 0.5, "2", None, True])
def test_a_number_of_extra_convolutions_that_is_none_is_refused(extra):
    with pytest.raises(ValueError, match=f"extra: wanted a whole number of at least 0, got {extra!r}"):
        UpsamplingAutoencoder((1, 28, 28), 8, extra=extra)


def test_a_side_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(ValueError, match="image_shape: height and width must be divisible by 4 here, got 30×28"):
        UpsamplingAutoencoder((1, 30, 28), 8)
