"""`models`: the protocol that all keep, their sizes by hand, and what they refuse."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aecore import models
from aecore.data import Images
from aecore.models import (
    Autoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    StridedConvAutoencoder,
    UpsamplingAutoencoder,
)

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 12, 20), (3, 4, 8)]
# A code of one value in each 4×4 field suits every model.
MODELS = [
    pytest.param(name, shape, id=f"{name}-{shape[0]}x{shape[1]}x{shape[2]}")
    for name in models.MODELS
    for shape in SHAPES
]


def make(name, shape):
    return models.create(name, shape, shape[1] * shape[2] // 16)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("name", "shape"), MODELS)
class TestEveryModel:
    def test_gives_images_of_the_shape_it_takes(self, name, shape):
        assert make(name, shape)(torch.rand(2, *shape)).shape == (2, *shape)

    def test_gives_codes_of_its_code_shape(self, name, shape):
        model = make(name, shape)
        assert model.encode(torch.rand(2, *shape)).shape == (2, *model.code_shape)

    def test_has_the_code_size_that_was_asked_for(self, name, shape):
        assert make(name, shape).code_size == shape[1] * shape[2] // 16

    def test_forward_is_decode_of_encode(self, name, shape):
        model, x = make(name, shape), torch.rand(2, *shape)
        assert torch.equal(model(x), model.decode(model.encode(x)))

    def test_refuses_images_of_another_size(self, name, shape):
        with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, .*\).*, got \(2, 1, 6, 6\)"):
            make(name, shape)(torch.rand(2, 1, 6, 6))

    def test_refuses_an_image_without_its_batch(self, name, shape):
        with pytest.raises(ValueError, match=r"x: wanted images of shape \(N,"):
            make(name, shape)(torch.rand(*shape))

    def test_refuses_channels_last(self, name, shape):
        with pytest.raises(ValueError, match=r"image_shape: .* with the channels first that would be"):
            models.create(name, (shape[1], shape[2], shape[0]), 1)

    def test_refuses_a_code_larger_than_the_image(self, name, shape):
        values = shape[0] * shape[1] * shape[2]
        with pytest.raises(ValueError, match=rf"code_size: {values + 1} values are more than the image's {values}"):
            models.create(name, shape, values + 1)

    def test_draws_the_same_weights_from_the_same_seed(self, name, shape):
        one, other = make(name, shape), make(name, shape)
        models.init_weights(one, 3)
        torch.rand(5)  # whatever happens between
        models.init_weights(other, 3)
        assert equal(state(one), state(other))

    def test_draws_other_weights_from_another_seed(self, name, shape):
        model = make(name, shape)
        models.init_weights(model, 3)
        first = state(model)
        models.init_weights(model, 4)
        assert not equal(first, state(model))

    def test_draws_weights_without_touching_the_global_generator(self, name, shape):
        model, before = make(name, shape), torch.get_rng_state()
        models.init_weights(model, 3)
        assert torch.equal(torch.get_rng_state(), before)

    def test_draws_the_same_weights_after_training_changed_their_layout(self, name, shape):
        model = make(name, shape)
        models.init_weights(model, 3)
        first = state(model)
        model.to(memory_format=torch.channels_last)  # as `train` does
        models.init_weights(model, 3)
        assert equal(first, state(model))


def test_the_network_of_the_course_project_has_a_code_of_8_7_7():
    assert ConvAutoencoder().code_shape == (8, 7, 7)


def test_the_network_of_the_course_project_has_a_code_of_392_values_not_200():
    assert ConvAutoencoder().code_size == 392


def test_the_network_of_the_course_project_has_7625_weights():
    by_hand = (1 * 64 * 9 + 64) + (64 * 8 * 9 + 8) + (8 * 64 * 4 + 64) + (64 * 1 * 4 + 1)
    assert models.count_parameters(ConvAutoencoder()) == by_hand == 7625


def test_the_network_of_the_course_project_has_its_layers_in_its_order():
    names = [type(m).__name__ for m in ConvAutoencoder().modules() if not list(m.children())]
    encoder = ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d"]
    assert names == [*encoder, "ConvTranspose2d", "ReLU", "ConvTranspose2d", "Sigmoid"]


def test_a_linear_autoencoder_with_code_32_has_50992_weights():
    by_hand = 784 * 32 + 32 + 32 * 784 + 784
    assert models.count_parameters(LinearAutoencoder((1, 28, 28), 32)) == by_hand == 50_992


def test_a_dense_autoencoder_has_its_hidden_widths_both_ways():
    model = DenseAutoencoder((1, 4, 4), 2, hidden=(8, 5))
    widths = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert widths == [(16, 8), (8, 5), (5, 2), (2, 5), (5, 8), (8, 16)]


def test_a_dense_autoencoder_has_no_relu_on_its_code_or_its_image():
    model = DenseAutoencoder((1, 4, 4), 2)
    assert (type(model.encoder[-1]), type(model.decoder[-2])) == (nn.Linear, nn.Linear)  # the last one only reshapes


def test_batch_normalisation_stands_before_every_relu_of_a_dense_autoencoder_and_nowhere_else():
    model = DenseAutoencoder((1, 4, 4), 2, hidden=(8, 5), batch_norm=True)
    names = [type(m).__name__ for m in model.modules() if not list(m.children())]
    half = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert names == ["Flatten", *half, *half, "Unflatten"]


def test_a_strided_convolutional_autoencoder_has_its_layers_in_their_order():
    model = StridedConvAutoencoder((1, 8, 8), 2, width=3, hidden=(5,), batch_norm=True, sigmoid=True)
    shapes = [tuple(weight.shape) for name, weight in model.named_parameters() if weight.ndim > 1]
    assert shapes == [(3, 1, 3, 3), (6, 3, 3, 3), (5, 24), (2, 5), (5, 2), (24, 5), (6, 3, 4, 4), (3, 1, 4, 4)]
    names = [type(m).__name__ for m in model.modules() if not list(m.children())]
    encoder = ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    decoder = ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Unflatten", "ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert names == [*encoder, *decoder, "ConvTranspose2d", "Sigmoid"]


@pytest.mark.parametrize("model", [DenseAutoencoder, StridedConvAutoencoder])
def test_a_sigmoid_keeps_the_image_between_0_and_1(model):
    plain, bounded = model((1, 8, 8), 4), model((1, 8, 8), 4, sigmoid=True)
    bounded.load_state_dict(plain.state_dict())
    z = 100 * torch.randn(20, 4)
    assert torch.allclose(bounded.decode(z), plain.decode(z).sigmoid())
    assert plain.decode(z).max() > 1  # else the line above would hold for images that are in range anyway


# `describe` takes a model's repr into the fingerprint of its runs: published ones must be found as they were.
@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (DenseAutoencoder, "Flatten Linear ReLU Linear ReLU Linear Linear ReLU Linear ReLU Linear Unflatten"),
        (
            StridedConvAutoencoder,
            "Conv2d ReLU Conv2d ReLU Flatten Linear Linear ReLU Unflatten ConvTranspose2d ReLU ConvTranspose2d",
        ),
    ],
)
def test_without_options_the_layers_are_those_of_the_runs_that_were_published(model, layers):
    made = model((1, 28, 28), 32)
    assert [type(m).__name__ for m in made.modules() if not list(m.children())] == layers.split()


def test_frozen_weights_are_not_counted():
    model = LinearAutoencoder((1, 4, 4), 2)
    model.decoder.requires_grad_(False)
    assert models.count_parameters(model) == 16 * 2 + 2


def test_a_linear_autoencoder_starts_with_orthonormal_rows():
    rows = LinearAutoencoder((1, 6, 6), 5).encoder[1].weight
    assert torch.allclose(rows @ rows.T, torch.eye(5), atol=1e-6)  # float32, sums of 36 products


def test_a_linear_autoencoder_starts_as_a_projection():
    model, x = LinearAutoencoder((1, 6, 6), 5), torch.rand(4, 1, 6, 6)
    once = model(x)
    assert torch.allclose(model(once), once, atol=1e-6)  # float32, sums of 36 products


def test_a_linear_autoencoder_starts_with_an_orthogonal_projection():
    model, x = LinearAutoencoder((1, 6, 6), 5), torch.rand(4, 1, 6, 6)
    lost = (x - model(x)).flatten(1)
    assert (lost * model(x).flatten(1)).sum(1).abs().max() < 1e-5  # what is lost is orthogonal to what is kept


def test_the_decoder_refuses_codes_of_another_shape():
    with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 8, 7, 7\), got \(2, 392\)"):
        ConvAutoencoder().decode(torch.rand(2, 392))


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(
        ValueError, match=r"model: unknown name 'linaer'\. Did you mean 'linear'\? Known: linear, dense"
    ):
        models.create("linaer", (1, 28, 28), 32)


@pytest.mark.parametrize("name", [3, None, ["linear"], LinearAutoencoder])
def test_something_else_than_a_model_name_is_refused_as_one(name):
    with pytest.raises(ValueError, match="model: unknown name .* Known: linear, dense"):
        models.create(name, (1, 28, 28), 32)


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_model_can_be_made_without_a_code_size(name, shape):
    assert models.create(name, shape)(torch.rand(2, *shape)).shape == (2, *shape)


def test_without_a_code_size_it_is_32_and_of_a_grid_eight_channels():
    assert [models.create(name, (1, 28, 28)).code_size for name in ("linear", "conv")] == [32, 8 * 7 * 7]


@pytest.mark.parametrize("name", ["fully-conv", "variational", "joint"])
def test_a_stride_makes_the_grid_of_the_code(name):
    made = [models.create(name, (3, 32, 16)), models.create(name, (3, 32, 16), 4 * 4 * 2, stride=8)]
    assert [model.code_shape for model in made] == [(8, 8, 4), (4, 4, 2)]


def test_the_second_decoder_of_a_joint_model_draws_half_the_size():
    model = models.create("joint", (3, 32, 32), stride=8)
    assert model.decode(torch.zeros(1, *model.code_shape), 16).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("name", "stride", "words"),
    [
        ("conv", 8, "stride: only fully-conv, variational, joint have one, not conv"),
        ("joint", 7, "stride: wanted an even one for joint"),
        ("variational", 3, "image_shape: height and width must be divisible by 3 here, got 28×28"),
        ("fully-conv", 0, "stride: wanted a whole number of at least 1, got 0"),
    ],
)
def test_a_stride_that_does_not_fit_is_refused(name, stride, words):
    with pytest.raises(ValueError, match=words):
        models.create(name, (1, 28, 28), stride=stride)


def test_without_a_code_size_it_is_never_larger_than_the_image():
    assert [models.create(name, (1, 4, 4)).code_size for name in ("linear", "conv")] == [16, 8]


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28, 1), (1, 0, 28), (1, 28.0, 28), (1, -4, 4), (True, 4, 4)])
def test_an_image_shape_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape: wanted three positive whole numbers \(C, H, W\), got"):
        LinearAutoencoder(shape, 2)


@pytest.mark.parametrize("shape", [28, None, "128", torch.zeros(3)])
@pytest.mark.parametrize("name", models.MODELS)
def test_what_is_no_shape_at_all_is_refused_with_the_way_out(name, shape):
    with pytest.raises(ValueError, match=r"image_shape: wanted .* \(C, H, W\), as data.shape gives them, got"):
        models.create(name, shape, 2)


@pytest.mark.parametrize("size", [0, -1, 2.0, "8", None, True])
@pytest.mark.parametrize("model", [ConvAutoencoder, StridedConvAutoencoder, UpsamplingAutoencoder])
def test_a_width_that_is_no_whole_number_from_1_is_refused(model, size):
    with pytest.raises(ValueError, match=f"width: wanted a whole number of at least 1, got {size!r}"):
        model((1, 8, 8), 4, width=size)


@pytest.mark.parametrize("sizes", [(0,), (8, -1), (8, 2.0), 8, "88", None])
@pytest.mark.parametrize("model", [DenseAutoencoder, StridedConvAutoencoder])
def test_hidden_widths_that_are_no_whole_numbers_from_1_are_refused(model, sizes):
    with pytest.raises(ValueError, match=r"hidden: wanted whole numbers of at least 1, such as \(512, 256\), got"):
        model((1, 8, 8), 4, hidden=sizes)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 1.0, "1", None, True])
def test_a_seed_that_is_no_whole_number_of_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match="seed: wanted a whole number of 64 bits, got"):
        models.init_weights(LinearAutoencoder((1, 4, 4), 2), seed)


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63)])
def test_every_seed_of_64_bits_is_taken(seed):
    model = DenseAutoencoder((1, 4, 4), 2)
    models.init_weights(model, seed)
    first = state(model)
    models.init_weights(model, seed)
    assert equal(first, state(model))


def test_an_image_shape_of_two_channels_is_refused():
    with pytest.raises(ValueError, match=r"image_shape: wanted 1 or 3 channels first, got \(2, 8, 8\)$"):
        LinearAutoencoder((2, 8, 8), 2)


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", None, True])
def test_a_code_size_below_1_or_not_whole_is_refused(size):
    with pytest.raises(ValueError, match="code_size: wanted a whole number of at least 1, got"):
        LinearAutoencoder((1, 8, 8), size)


def test_a_code_as_large_as_the_image_is_allowed():
    assert LinearAutoencoder((1, 4, 4), 16).code_size == 16


def test_a_code_that_fills_no_grid_names_the_nearest_that_does():
    with pytest.raises(ValueError, match=r"code_size: wanted a multiple of 49, .* grid of 7×7, got 200; .* is 196"):
        ConvAutoencoder((1, 28, 28), 200)


@pytest.mark.parametrize("model", [ConvAutoencoder, StridedConvAutoencoder])
def test_a_side_that_cannot_be_halved_twice_is_refused(model):
    with pytest.raises(ValueError, match="height and width must be divisible by 4 here, got 30×28"):
        model((1, 30, 28), 56)


def test_a_decoder_that_does_not_fit_the_encoder_is_refused_with_both_shapes():
    encoder, decoder = nn.Conv2d(1, 2, 3, stride=2), nn.ConvTranspose2d(2, 1, 2, stride=2)
    with pytest.raises(
        ValueError, match=r"decoder: gives images of shape \(1, 6, 6\), wanted \(1, 8, 8\) .* \(2, 3, 3\)"
    ):
        Autoencoder((1, 8, 8), encoder, decoder)


@pytest.mark.parametrize(
    ("encoder", "decoder", "words"),
    [
        (nn.Linear(3, 2), nn.Flatten(), r"encoder: a batch of shape \(1, 1, 8, 8\) does not go through: mat1 and mat2"),
        (nn.Flatten(), nn.Linear(3, 2), r"decoder: a batch of shape \(1, 64\) does not go through: mat1 and mat2"),
        (nn.MaxPool2d(2, return_indices=True), nn.Flatten(), "encoder: wanted it to give a tensor, got tuple"),
        (None, nn.Flatten(), "encoder: wanted a torch.nn.Module, got NoneType"),
        (nn.Flatten(), "linear", "decoder: wanted a torch.nn.Module, got str"),
    ],
    ids=["encoder", "decoder", "two results", "none", "a name"],
)
def test_halves_that_no_image_goes_through_are_told_apart(encoder, decoder, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Autoencoder((1, 8, 8), encoder, decoder)


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "a tensor of torch.uint8"),
        (Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), "Images"),
        ([[0.5]], "list"),
    ],
    ids=["bytes", "Images", "list"],
)
def test_what_are_no_floats_is_refused_with_the_way_out(x, found):
    with pytest.raises(TypeError, match=rf"x: wanted floats in a tensor, got {found}; the .floats\(\) of images are"):
        LinearAutoencoder((1, 4, 4), 2).encode(x)


def test_float64_as_numpy_makes_it_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"x: wanted float32, got float64; x.float\(\) makes it"):
        LinearAutoencoder((1, 4, 4), 2)(torch.zeros(2, 1, 4, 4, dtype=torch.float64))


def test_a_model_in_float64_takes_float64():
    model = LinearAutoencoder((1, 4, 4), 2).double()
    assert model(torch.zeros(2, 1, 4, 4, dtype=torch.float64)).dtype == torch.float64


def test_codes_that_are_no_floats_are_refused():
    with pytest.raises(TypeError, match="z: wanted floats in a tensor, got list"):
        LinearAutoencoder((1, 4, 4), 2).decode([[0.5, 0.5]])


def test_the_model_of_a_run_is_counted_and_drawn_anew():
    model = LinearAutoencoder((1, 4, 4), 2)
    run = SimpleNamespace(model=model)
    models.init_weights(run, 3)
    first = state(model)
    models.init_weights(model, 3)
    assert equal(first, state(model))
    assert models.count_parameters(run) == models.count_parameters(model)


def test_an_own_code_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="code_size: 128 values are more than the image's 64"):
        Autoencoder((1, 8, 8), nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1))


def test_batch_normalisation_may_stand_in_an_own_model():
    """In training mode it would refuse the one blank image that the constructor sends through."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    decoder = nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (1, 4, 4)))
    assert Autoencoder((1, 4, 4), encoder, decoder).code_size == 4


def test_making_a_model_teaches_batch_normalisation_nothing():
    norm = nn.BatchNorm2d(1)
    Autoencoder((1, 4, 4), nn.Sequential(norm, nn.Conv2d(1, 1, 2, stride=2)), nn.ConvTranspose2d(1, 1, 2, stride=2))
    assert norm.num_batches_tracked == 0


def test_a_new_model_is_in_training_mode():
    assert all(layer.training for layer in ConvAutoencoder().modules())


class Scaled(Autoencoder):
    """An own model with a weight that no layer draws."""

    def __init__(self):
        decoder = nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (1, 2, 2)))
        super().__init__((1, 2, 2), nn.Flatten(), decoder)
        self.scale = nn.Parameter(torch.ones(()))


def test_a_weight_that_would_not_be_drawn_anew_is_named():
    with pytest.raises(ValueError, match=r"'scale' .* method reset_parameters, or .* fit\(…, init_from='model'\)"):
        models.init_weights(Scaled(), 0)


def test_an_own_start_is_used_where_a_model_has_one():
    model = LinearAutoencoder((1, 4, 4), 2)
    with torch.no_grad():
        model.encoder[1].bias.fill_(1)
    models.init_weights(model, 0)
    assert not model.encoder[1].bias.any()  # `nn.Linear` alone would draw random offsets


class TestAnySize:
    """A model whose layers are all convolutions may take images of any size that its strides divide."""

    @pytest.fixture
    def model(self):
        return ConvAutoencoder((1, 8, 8), 8, width=4, any_size=True)

    @pytest.mark.parametrize("shape", [(1, 8, 8), (1, 4, 4), (1, 12, 20)])
    def test_gives_images_of_the_shape_it_takes(self, model, shape):
        assert model(torch.rand(2, *shape)).shape == (2, *shape)

    def test_its_code_grows_with_the_image(self, model):
        assert model.encode(torch.rand(2, 1, 12, 20)).shape == (2, 2, 3, 5)

    def test_its_code_shape_is_that_of_its_own_images(self, model):
        assert model.code_shape == (2, 2, 2)

    @pytest.mark.parametrize("shape", [(2, 1, 6, 8), (2, 1, 8, 6)])
    def test_refuses_a_side_that_its_strides_do_not_divide(self, model, shape):
        with pytest.raises(ValueError, match=r"of shape \(N, 1, H, W\) with H and W divisible by 4, got \(2, 1, "):
            model(torch.rand(shape))

    @pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 8, 8)])
    def test_refuses_other_channels_and_an_image_without_its_batch(self, model, shape):
        with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, 1, H, W\)"):
            model(torch.rand(shape))

    @pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 8), (2, 2, 2)])
    def test_refuses_codes_of_other_channels_and_flat_ones(self, model, shape):
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 2, H, W\), got"):
            model.decode(torch.rand(shape))

    def test_has_the_weights_that_it_has_without(self, model):
        assert {name: value.shape for name, value in model.state_dict().items()} == {
            name: value.shape for name, value in ConvAutoencoder((1, 8, 8), 8, width=4).state_dict().items()
        }

    def test_without_it_other_sizes_are_refused(self):
        with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, 1, 8, 8\), got \(2, 1, 4, 4\)"):
            ConvAutoencoder((1, 8, 8), 8)(torch.rand(2, 1, 4, 4))

    def test_only_models_whose_code_grows_with_the_image_have_it_without_being_asked(self):
        any_size = [name for name in models.MODELS if make(name, (1, 8, 8)).any_size]
        assert any_size == ["fully-conv", "variational", "joint"]
