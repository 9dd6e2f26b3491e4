"""`models.sources`: the networks of source S0, layer for layer, as the published runs have them."""

import pytest
import torch
from torch import nn

from aecore import models


def test_the_code_of_s0_has_a_thousand_numbers():
    assert models.s0_autoencoder((3, 32, 32)).code_shape == (1000,)


def test_the_sizes_of_s0s_network_by_hand():
    # Encoder: convolutions 448 + 4,640 + 18,496, normalisations 32 + 64 + 128, linear 1,025,000.
    # Decoder: linear 1,025,024, convolutions 18,464 + 4,624 + 435, normalisations 64 + 32.
    encoder, decoder = 448 + 4640 + 18496 + 224 + 1_025_000, 1_025_024 + 18_464 + 4624 + 435 + 96
    assert models.count_parameters(models.s0_autoencoder((3, 32, 32))) == encoder + decoder


@pytest.mark.parametrize(("way", "doubling"), [("upsampling", nn.Upsample), ("shuffle", nn.PixelShuffle)])
def test_each_way_doubles_three_times(way, doubling):
    decoder = models.s0_autoencoder((1, 32, 32), way).decoder
    assert sum(isinstance(layer, doubling) for layer in decoder) == 3


def test_the_weights_for_16_pixels_fit_the_network_for_32():
    small, large = models.s0_halves_for_16(3), models.s0_autoencoder((3, 32, 32))
    large.load_state_dict(small.state_dict())
    assert large.encoder[0].stride == (2, 2)


def test_the_network_for_16_pixels_gives_images_of_16_pixels():
    network = models.s0_halves_for_16(1).eval()
    assert network(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_body_gives_512_numbers(channels):
    assert models.resnet18_body(channels).eval()(torch.zeros(2, channels, 32, 32)).shape == (2, 512)


def test_a_body_of_other_features_gets_a_layer_that_fits():
    body = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
    model = models.with_s0_decoder(body, (3, 32, 32))
    assert (model.encoder.to_code.in_features, model.code_shape) == (48, (1000,))


def test_other_sizes_than_32_pixels_are_refused():
    with pytest.raises(ValueError, match="image_shape: S0's network takes images of 32×32 pixels, got 28×28"):
        models.s0_autoencoder((1, 28, 28))


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="way: wanted 'upsampling' or 'shuffle', got 'bilinear'"):
        models.s0_autoencoder((1, 32, 32), "bilinear")
