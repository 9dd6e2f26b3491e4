"""`summary`: shapes, weights and multiply–adds against numbers worked by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aecore.models import (
    Autoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    ResidualClassifier,
    StridedConvAutoencoder,
    count_parameters,
    summary,
)

ALL = {
    "linear": LinearAutoencoder((1, 28, 28), 32),
    "dense": DenseAutoencoder((3, 8, 8), 10),
    "conv": ConvAutoencoder(),
    "conv, colour": ConvAutoencoder((3, 32, 32), 128),
    "strided": StridedConvAutoencoder((1, 28, 28), 32),
    "strided, colour": StridedConvAutoencoder((3, 16, 24), 20),
}


def lines(model):
    """(shape, weights, multiply–adds) of the layers that have weights."""
    return [(layer.shape, layer.params, layer.macs) for layer in summary(model).layers if layer.params]


def test_convolutions_and_transposed_ones_by_hand():
    assert lines(ConvAutoencoder()) == [
        ((64, 28, 28), 64 * 9 + 64, 64 * 28 * 28 * 9),
        ((8, 14, 14), 8 * 64 * 9 + 8, 8 * 14 * 14 * 64 * 9),
        ((64, 14, 14), 8 * 64 * 4 + 64, 8 * 7 * 7 * 64 * 4),  # each of 8·7·7 values is spread over 2×2 in 64 channels
        ((1, 28, 28), 64 * 4 + 1, 64 * 14 * 14 * 4),
    ]


def test_linear_layers_by_hand():
    assert lines(LinearAutoencoder((1, 28, 28), 32)) == [
        ((32,), 784 * 32 + 32, 784 * 32),
        ((784,), 32 * 784 + 784, 32 * 784),
    ]


def test_strided_convolutions_by_hand():
    assert lines(StridedConvAutoencoder((1, 28, 28), 32)) == [
        ((16, 14, 14), 16 * 9 + 16, 16 * 14 * 14 * 9),
        ((32, 7, 7), 32 * 16 * 9 + 32, 32 * 7 * 7 * 16 * 9),
        ((32,), 1568 * 32 + 32, 1568 * 32),
        ((1568,), 32 * 1568 + 1568, 32 * 1568),
        ((16, 14, 14), 32 * 16 * 16 + 16, 32 * 7 * 7 * 16 * 16),
        ((1, 28, 28), 16 * 16 + 1, 16 * 14 * 14 * 16),
    ]


def test_grouped_convolutions_by_hand():
    model = Autoencoder(
        (1, 8, 8),
        nn.Sequential(nn.Conv2d(1, 4, 2, stride=2), nn.Conv2d(4, 4, 3, padding=1, groups=4)),
        nn.ConvTranspose2d(4, 1, 2, stride=2),
    )
    assert lines(model)[1] == ((4, 4, 4), 4 * 9 + 4, 4 * 4 * 4 * 9)


def test_shapes_follow_an_image_through_every_layer():
    shapes = [layer.shape for layer in summary(ConvAutoencoder()).layers]
    assert shapes == [
        *[(64, 28, 28), (64, 28, 28), (64, 14, 14), (8, 14, 14), (8, 14, 14), (8, 7, 7)],
        *[(64, 14, 14), (64, 14, 14), (1, 28, 28), (1, 28, 28)],
    ]


@pytest.mark.parametrize("name", ALL)
def test_the_weights_of_all_layers_are_those_of_the_model(name):
    assert summary(ALL[name]).params == count_parameters(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_the_last_shape_is_the_image(name):
    last = summary(ALL[name]).layers[-1].shape
    assert last == ALL[name].image_shape


@pytest.mark.parametrize("name", ALL)
def test_no_hook_is_left_behind(name):
    summary(ALL[name])
    assert not any(layer._forward_hooks for layer in ALL[name].modules())


def test_no_hook_is_left_behind_after_an_error():
    model = LinearAutoencoder((1, 4, 4), 2)
    model.image_shape = (1, 5, 5)  # does not fit its layers
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        summary(model)
    assert not any(layer._forward_hooks for layer in model.modules())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_a_model_is_as_before(training):
    model = ConvAutoencoder().train(training)
    summary(model)
    assert [layer.training for layer in model.modules()] == [training] * len(list(model.modules()))


def test_a_layer_that_alone_was_frozen_stays_so():
    model = ConvAutoencoder().train()
    model.encoder[0].eval()
    summary(model)
    assert (model.encoder[0].training, model.encoder[3].training) == (False, True)


def test_batch_normalisation_learns_nothing_from_the_blank_image():
    norm = nn.BatchNorm2d(1)
    model = Autoencoder(
        (1, 4, 4), nn.Sequential(norm, nn.Conv2d(1, 1, 2, stride=2)), nn.ConvTranspose2d(1, 1, 2, stride=2)
    )
    summary(model.train())
    assert norm.num_batches_tracked == 0


def twice():
    """A 3×3 convolution with 10 weights that every image passes twice."""
    same = nn.Conv2d(1, 1, 3, padding=1)
    return Autoencoder((1, 4, 4), nn.Sequential(same, same), nn.Identity())


def test_a_layer_used_twice_has_its_weights_once():
    assert summary(twice()).params == count_parameters(twice()) == 10


def test_a_layer_used_twice_works_twice():
    assert summary(twice()).macs == 2 * 4 * 4 * 9


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    summary(ALL["conv"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_ratio_counts_values():
    assert summary(ConvAutoencoder()).ratio == 392 / 784


@pytest.mark.parametrize("line", ["8×7×7", "Conv2d 64→8, 3×3, padding 1", "392 / 784 = 0.5000", "7,625"])
def test_the_table_says(line):
    assert line in repr(summary(ConvAutoencoder()))


def test_the_code_stands_between_encoder_and_decoder():
    parts = [line.split()[0] for line in repr(summary(LinearAutoencoder((1, 4, 4), 2))).splitlines()[2:-1]]
    assert parts == ["image", "encoder", "encoder", "code", "decoder", "decoder", "all"]


class Scaled(nn.Module):
    """A convolution of 10 weights, and one number of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 1, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * self.inner(x)


def test_a_layer_made_of_others_has_a_line_for_its_own_weights():
    found = summary(Autoencoder((1, 4, 4), Scaled(), nn.Identity()))
    assert [(layer.text.split()[0], layer.params) for layer in found.layers[:2]] == [("Conv2d", 10), ("Scaled", 1)]
    assert found.params == 11


def test_weights_outside_all_layers_have_a_line():
    model = Autoencoder((1, 4, 4), nn.Conv2d(1, 1, 3, padding=1), nn.Identity())
    model.temperature = nn.Parameter(torch.ones(2))
    found = summary(model)
    assert (found.params, found.layers[-1].params) == (12, 2)
    said = [line.split() for line in repr(found).splitlines() if "outside" in line]
    assert said == [["outside", "these", "layers", "2"]]


class TestClassifier:
    """A network without a code: its parts are what it names."""

    SUMMARY = summary(ResidualClassifier((1, 8, 8), classes=2, width=1))

    def test_parts_are_those_of_the_network(self):
        assert [layer.part for layer in self.SUMMARY.layers if layer.macs][-1] == "head"

    def test_multiply_adds_by_hand(self):
        """Stem and first stage 3 · 9 · 64; then 3×3 of 1→2 and 2→2 and 1×1 at 4×4; the same of 2→4 at 2×2; 4→2."""
        assert self.SUMMARY.macs == 3 * 9 * 64 + (18 + 36 + 2) * 16 + (72 + 144 + 8) * 4 + 8

    def test_table_has_no_code(self):
        assert (self.SUMMARY.ratio, "code values" in repr(self.SUMMARY)) == (None, False)


def test_of_a_run_it_is_that_of_its_model():
    model = ALL["linear"]
    assert summary(SimpleNamespace(model=model)) == summary(model)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 16)), "wanted a network with an image_shape, got Sequential; wrap"),
        (LinearAutoencoder, "got the class LinearAutoencoder; make one of it first"),
        (5, "wanted a model, a run or a function, got int"),
    ],
    ids=["layers", "class", "number"],
)
def test_what_has_no_image_shape_is_refused(what, words):
    with pytest.raises(TypeError, match=f"model: .*{words}"):
        summary(what)
