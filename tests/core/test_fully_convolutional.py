"""`models.fully_convolutional`, `variational`, `joint`: sizes by hand, starts that are PCA, codes that are drawn."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import aecore as ae
from aecore import models
from aecore.data import Images, Splits
from aecore.models import (
    FullyConvAutoencoder,
    JointAutoencoder,
    VariationalAutoencoder,
    active_units,
    blocks_of,
    init_weights,
    principal_components,
)
from aecore.objectives import ELBO, Batch, JointResolutions, Reconstruction
from aecore.runs.fingerprint import describe
from aecore.training import Plan

SHAPE, CHANNELS = (3, 16, 24), 5
KINDS = {
    "fully convolutional": lambda **told: FullyConvAutoencoder(SHAPE, CHANNELS, 8, width=12, **told),
    "variational": lambda **told: VariationalAutoencoder(SHAPE, CHANNELS, 8, width=12, **told),
    "joint": lambda **told: JointAutoencoder(SHAPE, CHANNELS, (8, 4), width=12, **told),
}
OBJECTIVES = {
    "fully convolutional": Reconstruction,
    "variational": lambda: ELBO(0.1),
    "joint": lambda: JointResolutions((8, 16)),
}


def rows_of(images):
    """Blocks of 8×8 as rows of float64, for scikit-learn."""
    return blocks_of(images, 8).flatten(1).double().numpy()


def images_of(rows, shape):
    """Put rows of blocks together again, without what is under test."""
    count, colours, height, width = shape
    grid = torch.as_tensor(rows).reshape(count, height // 8, width // 8, colours, 8, 8)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(shape).float()


@pytest.fixture
def photos():
    """Random images of which neighbouring pixels are alike, so that the first components are well defined."""
    small = torch.rand(20, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(small, size=SHAPE[1:], mode="bilinear")


@pytest.fixture
def principal(photos):
    return principal_components(blocks_of(photos, 8), CHANNELS + 1)


@pytest.fixture
def by_pca(photos):
    """The images as PCA of their blocks gives them back."""
    pca = PCA(CHANNELS).fit(rows_of(photos))
    return images_of(pca.inverse_transform(pca.transform(rows_of(photos))), photos.shape)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def square(noise):
    """24 / 8 / 8 random images of 3×16×16."""
    return Splits(*(noise(count, 3, 16, 16, seed=seed) for seed, count in enumerate((24, 8, 8))))


class TestBlocks:
    def test_by_hand(self):
        x = torch.arange(16).reshape(1, 1, 4, 4)
        wanted = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
        assert blocks_of(x, 2).flatten(1).tolist() == wanted

    def test_keep_colours_and_images_apart(self):
        x = torch.rand(2, 3, 4, 6)
        found = blocks_of(x, 2)
        assert found.shape == (2 * 2 * 3, 3, 2, 2)
        assert torch.equal(found[6 + 3 + 1], x[1, :, 2:4, 2:4])  # of the second image, the second row, the second block

    def test_stay_bytes(self):
        assert blocks_of(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 2).dtype == torch.uint8

    def test_have_their_values_in_the_order_of_a_pixel_unshuffle(self):
        x = torch.rand(1, 3, 4, 6)
        assert torch.equal(F.pixel_unshuffle(x, 2)[0].flatten(1).T, blocks_of(x, 2).flatten(1))

    @pytest.mark.parametrize("shape", [(1, 1, 6, 8), (1, 1, 8, 6)])
    def test_that_do_not_fill_an_image_are_refused(self, shape):
        with pytest.raises(ValueError, match="images: wanted a height and width divisible by 4, got"):
            blocks_of(torch.zeros(shape), 4)

    @pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), Images(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), None])
    def test_of_what_are_no_images_are_refused_with_the_way_out(self, images):
        with pytest.raises(ValueError, match=r"images: wanted a tensor of shape \(N, .*, as photos.train.pixels, got"):
            blocks_of(images, 4)

    @pytest.mark.parametrize("size", [0, 2.0, None])
    def test_of_no_whole_number_of_pixels_are_refused(self, size):
        with pytest.raises(ValueError, match="size: wanted a whole number of at least 1"):
            blocks_of(torch.zeros(1, 1, 8, 8), size)


class TestEveryKind:
    @pytest.mark.parametrize("size", [(16, 24), (8, 8), (40, 16)])
    def test_gives_images_of_the_size_it_takes(self, kind, size):
        x = torch.rand(2, 3, *size)
        assert KINDS[kind]()(x).shape == x.shape

    def test_its_code_has_a_place_for_each_block(self, kind):
        assert KINDS[kind]().encode(torch.rand(2, 3, 40, 16)).shape == (2, CHANNELS, 5, 2)

    def test_its_code_shape_is_that_of_its_own_images(self, kind):
        assert KINDS[kind]().code_shape == (CHANNELS, 2, 3)

    def test_forward_is_decode_of_encode(self, kind):
        model, x = KINDS[kind](), torch.rand(2, *SHAPE)
        assert torch.equal(model(x), model.decode(model.encode(x)))

    @pytest.mark.parametrize("size", [(16, 20), (12, 24)])
    def test_refuses_a_side_that_its_stride_does_not_divide(self, kind, size):
        with pytest.raises(ValueError, match=r"x: wanted .* \(N, 3, H, W\) with H and W divisible by 8, got \(2, 3, "):
            KINDS[kind]().encode(torch.rand(2, 3, *size))

    @pytest.mark.parametrize("shape", [(2, 4, 2, 3), (2, 30), (5, 2, 3)])
    def test_refuses_other_codes(self, kind, shape):
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 5, H, W\), got"):
            KINDS[kind]().decode(torch.rand(shape))

    def test_untrained_reconstructs_as_pca_of_the_blocks_does(self, kind, photos, principal, by_pca):
        found = KINDS[kind](principal=principal)(photos)
        assert (found - by_pca).abs().max() < 1e-5  # float32, sums of 192 products

    def test_untrained_has_the_error_of_the_components_that_are_left_out(self, kind, photos, principal):
        """Eckart and Young: per block, the sum of the variances beyond the last component."""
        variances = np.linalg.eigvalsh(np.cov(rows_of(photos).T, bias=True))[::-1]
        found = (KINDS[kind](principal=principal)(photos) - photos).square().mean().item()
        assert found == pytest.approx(variances[CHANNELS:].sum() / 192, rel=1e-4)  # float32

    def test_its_code_begins_with_mean_0_and_variance_1(self, kind, photos, principal):
        z = KINDS[kind](principal=principal).encode(photos).transpose(0, 1).flatten(1)
        assert torch.allclose(z.mean(1), torch.zeros(CHANNELS), atol=1e-4)  # float32, sums of 192 products
        assert torch.allclose(torch.cov(z, correction=0), torch.eye(CHANNELS), atol=1e-3)

    def test_drawing_weights_brings_pca_back(self, kind, photos, principal):
        model = KINDS[kind](principal=principal)
        before = model(photos)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1)
        init_weights(model, 7)
        assert torch.equal(model(photos), before)

    @pytest.mark.parametrize("start", ["random", "PCA"])
    def test_its_first_weights_depend_on_the_seed_alone(self, kind, principal, start):
        drawn = []
        for seed in (3, 3, 4):
            model = KINDS[kind](principal=principal if start == "PCA" else None)
            init_weights(model, seed)
            drawn.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])

    def test_started_as_pca_what_is_not_a_component_is_drawn(self, kind, principal):
        one, other = KINDS[kind](principal=principal), KINDS[kind](principal=principal)
        init_weights(one, 3)
        init_weights(other, 4)
        for layer in (1, 2):
            pair = [getattr(model.encoder[layer], "first", model.encoder[layer]).weight for model in (one, other)]
            assert (pair[0][CHANNELS:] != pair[1][CHANNELS:]).all()

    def test_goes_on_from_a_copy_with_its_weights(self, kind, square):
        objective, batch = OBJECTIVES[kind](), Batch(square.train.floats(), None, 24, torch.tensor(0.0))

        def step(model):
            torch.manual_seed(0)  # of the codes that are drawn
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            objective(model, batch)["loss"].backward()
            optimizer.step()

        one, other = KINDS[kind](), KINDS[kind]()
        step(one)
        other.load_state_dict(one.state_dict())
        one.zero_grad()
        step(one)
        step(other)
        assert torch.equal(one(batch.x), other(batch.x))

    def test_a_recorded_step_follows_the_images(self, kind, square):
        """Recorded once and played back on others, as a CUDA graph is: a value that is read on the way is an error."""
        model, objective = KINDS[kind](), OBJECTIVES[kind]()

        def step(x):
            return objective(model, Batch(x, None, len(x), torch.tensor(0.5)))["loss"]

        first, second = square.train.floats()[:8], square.train.floats()[8:16]
        found = []
        for played in (make_fx(step)(first), step):
            torch.manual_seed(0)  # of the codes that are drawn
            found.append(played(second).item())
        assert found[0] == pytest.approx(found[1])

    @pytest.mark.parametrize("start", ["random", "PCA"])
    def test_a_gradient_reaches_all_its_weights_in_the_second_step(self, kind, square, start):
        """Where it starts as PCA, residual blocks end in zeros: in the first step none gets through into them."""
        told = {} if start == "random" else {"principal": principal_components(blocks_of(square.train.pixels, 8), 5)}
        model, objective = KINDS[kind](**told), OBJECTIVES[kind]()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            objective(model, Batch(square.train.floats(), None, 24, torch.tensor(0.0)))["loss"].backward()
            optimizer.step()
        assert [name for name, weight in model.named_parameters() if not weight.grad.count_nonzero()] == []

    @pytest.mark.parametrize("start", ["random", "PCA"])
    def test_training_makes_its_loss_smaller(self, kind, square, start):
        told = {} if start == "random" else {"principal": principal_components(blocks_of(square.train.pixels, 8), 5)}
        plan = Plan(epochs=4, batch_size=8, lr=1e-3)
        history = ae.fit(KINDS[kind](**told), square, plan, objective=OBJECTIVES[kind]()).history
        assert history.train_loss[-1] < history.train_loss[0]

    def test_its_run_is_stored_and_found_again(self, kind, square):
        def trained():
            return ae.fit(KINDS[kind](), square, Plan(epochs=1, batch_size=8), objective=OBJECTIVES[kind](), name="one")

        first, again = trained(), trained()
        assert (again.date, again.history.train) == (first.date, first.history.train)

    def test_a_copy_with_its_weights_gives_the_same(self, kind, photos, principal):
        one, other = KINDS[kind](), KINDS[kind](principal=principal)
        other.load_state_dict(one.state_dict())
        assert torch.equal(other(photos), one(photos))

    def test_its_weights_hold_neither_images_nor_other_components(self, kind, principal):
        one, other = KINDS[kind]().state_dict(), KINDS[kind](principal=principal).state_dict()
        assert {name: value.shape for name, value in one.items()} == {name: v.shape for name, v in other.items()}

    def test_is_told_apart_by_its_start(self, kind, photos, principal):
        other = principal_components(blocks_of(photos * 0.5, 8), CHANNELS)
        models = [KINDS[kind](), KINDS[kind](principal=principal), KINDS[kind](principal=other)]
        assert len({describe(model) for model in models}) == 3

    def test_components_that_differ_by_rounding_make_no_other_model(self, kind, principal):
        rounded = principal._replace(deviations=principal.deviations * (1 + 1e-6))
        one, other = (describe(KINDS[kind](principal=found)) for found in (principal, rounded))
        assert one == other

    def test_says_the_deviations_of_its_first_and_its_last_component(self, kind, principal):
        first, last = principal.deviations[0], principal.deviations[CHANNELS - 1]
        told = f"standard deviations from {first:.3g} to {last:.3g}"
        assert f"starts as PCA, {told}" in repr(KINDS[kind](principal=principal))
        assert KINDS[kind](principal=principal).from_data() == told

    def test_without_components_says_nothing_of_a_start(self, kind):
        model = KINDS[kind]()
        assert "PCA" not in repr(model)
        assert model.from_data() == ""

    def test_components_of_blocks_of_another_size_are_refused_with_the_way_out(self, kind, photos):
        found = principal_components(blocks_of(photos, 4), CHANNELS)
        with pytest.raises(ValueError, match=r"components of 192 values, .*, got 48; blocks_of\(images, stride\) cuts"):
            KINDS[kind](principal=found)

    def test_too_few_components_are_refused(self, kind, photos):
        found = principal_components(blocks_of(photos, 8), CHANNELS - 1)
        with pytest.raises(ValueError, match="principal: wanted channels = 5 components or more, got 4"):
            KINDS[kind](principal=found)

    def test_something_else_than_components_is_refused(self, kind, photos):
        with pytest.raises(ValueError, match=r"principal: wanted what principal_components\(blocks_of.*, got Tensor"):
            KINDS[kind](principal=photos)

    def test_a_derived_class_is_told_without_the_last_digits_of_its_components(self, kind, principal):
        base = type(KINDS[kind]())
        derived = type("Mine", (base,), {"__module__": "__main__", "extra": 3})
        stride = (8, 4) if kind == "joint" else 8
        rounded = principal._replace(components=principal.components * (1 + 1e-6))
        one, other = (describe(derived(SHAPE, CHANNELS, stride, principal=found)) for found in (principal, rounded))
        assert one == other


KINDS_BY_CLASS = [(FullyConvAutoencoder, 8), (VariationalAutoencoder, 8), (JointAutoencoder, (8, 4))]


@pytest.mark.parametrize(("model", "stride"), KINDS_BY_CLASS)
class TestArguments:
    @pytest.mark.parametrize("size", [(20, 24), (16, 20)])
    def test_a_stride_that_does_not_divide_the_image_is_refused(self, model, stride, size):
        with pytest.raises(ValueError, match="image_shape: height and width must be divisible by stride=8 .*, got"):
            model((3, *size), CHANNELS, stride)

    def test_a_code_larger_than_the_block_is_refused(self, model, stride):
        with pytest.raises(ValueError, match="channels: 65 are more than the 64 values of a block .* at most 64"):
            model((1, 16, 24), 65, stride)

    @pytest.mark.parametrize("value", [0, -1, 2.0, "8", None, True])
    @pytest.mark.parametrize("name", ["channels", "width"])
    def test_a_size_that_is_no_whole_number_from_1_is_refused(self, model, stride, name, value):
        with pytest.raises(ValueError, match=f"{name}: wanted a whole number of at least 1, got {value!r}"):
            model(SHAPE, **{"channels": CHANNELS, name: value})

    def test_a_negative_number_of_blocks_is_refused(self, model, stride):
        with pytest.raises(ValueError, match="blocks: wanted a whole number of at least 0, got -1"):
            model(SHAPE, CHANNELS, stride, blocks=-1)

    def test_a_start_as_pca_needs_as_many_channels_inside_as_in_the_code(self, model, stride, principal):
        with pytest.raises(ValueError, match="width: a start as PCA wants at least channels = 5, got 4"):
            model(SHAPE, CHANNELS, stride, 4, principal=principal)

    def test_without_residual_blocks_is_linear(self, model, stride):
        made = model(SHAPE, CHANNELS, stride, blocks=0)
        one, other = torch.rand(2, 1, *SHAPE)
        assert torch.allclose(made((one + other) / 2), (made(one) + made(other)) / 2, atol=1e-5)  # float32


class TestFullyConvolutional:
    def test_its_weights_by_hand(self):
        encoder = (3 * 64 * 12 + 12) + 2 * 2 * (12 * 12 * 9 + 12) + (12 * 5 + 5)
        decoder = (5 * 12 + 12) + 2 * 2 * (12 * 12 * 9 + 12) + (12 * 3 * 64 + 3 * 64)
        assert models.count_parameters(KINDS["fully convolutional"]()) == encoder + decoder

    def test_its_layers_in_their_order(self):
        model = FullyConvAutoencoder(SHAPE, CHANNELS, 8, width=12, blocks=1)
        names = [type(layer).__name__ for half in (model.encoder, model.decoder) for layer in half]
        assert names == [
            "PixelUnshuffle", "Conv2d", "_Residual", "Conv2d", "Conv2d", "_Residual", "Conv2d", "PixelShuffle",
        ]  # fmt: skip

    def test_a_place_sees_its_neighbours_as_far_as_its_residual_blocks_reach(self):
        model, x = FullyConvAutoencoder((1, 72, 72), 2, 8, width=4, blocks=1), torch.rand(1, 1, 72, 72)
        x.requires_grad_()
        model.encode(x)[0, :, 4, 4].sum().backward()
        seen = x.grad[0, 0].nonzero()
        # Two 3×3 convolutions: two places further on each side, from the block 2 to the block 6.
        assert (seen.amin().item(), seen.amax().item()) == (2 * 8, 7 * 8 - 1)

    def test_is_made_by_name_with_a_code_of_the_size_that_is_asked_for(self):
        model = models.create("fully-conv", (3, 32, 24), 5 * 8 * 6)
        assert (type(model), model.code_shape) == (FullyConvAutoencoder, (5, 8, 6))

    def test_by_name_without_a_size_has_eight_channels(self):
        assert models.create("fully-conv", (3, 32, 24)).code_shape == (8, 8, 6)

    def test_by_name_refuses_a_code_that_fills_no_grid(self):
        with pytest.raises(ValueError, match="code_size: wanted a multiple of 48, .* grid of 8×6, got 50; .* is 48"):
            models.create("fully-conv", (3, 32, 24), 50)


class TestVariational:
    @pytest.fixture
    def model(self):
        model = KINDS["variational"]()
        init_weights(model, 0)
        return model

    @pytest.mark.parametrize("size", [(16, 24), (40, 16)])
    def test_its_posterior_has_the_shape_of_the_code(self, model, size):
        posterior = model.posterior(torch.rand(2, 3, *size))
        wanted = (2, CHANNELS, size[0] // 8, size[1] // 8)
        assert (posterior.mean.shape, posterior.stddev.shape) == (wanted, wanted)

    def test_its_code_is_the_mean_of_the_posterior(self, model, photos):
        assert torch.equal(model.encode(photos), model.posterior(photos).mean)

    def test_its_deviations_are_those_of_the_logarithms_of_the_variances(self, model, photos):
        with torch.no_grad():
            last = model.encoder[-2]
            last.weight.zero_()
            last.bias.copy_(torch.arange(10.0))
        posterior = model.posterior(photos)
        assert posterior.mean[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert posterior.stddev[0, :, 0, 0].tolist() == pytest.approx([math.exp(v / 2) for v in (5, 6, 7, 8, 9)])

    @pytest.mark.parametrize(("value", "log_variance"), [(-1000.0, -20), (1000.0, 10)])
    def test_its_deviations_are_finite_and_above_0_whatever_the_layers_say(self, model, photos, value, log_variance):
        with torch.no_grad():
            model.encoder[-2].bias.fill_(value)
        found = model.posterior(photos).stddev
        assert torch.allclose(found, torch.full_like(found, math.exp(log_variance / 2)))

    def test_its_deviations_begin_at_a_tenth_where_it_starts_as_pca(self, photos, principal):
        found = KINDS["variational"](principal=principal).posterior(photos).stddev
        assert torch.allclose(found, torch.full_like(found, 0.1))

    def test_its_code_is_not_drawn(self, model, photos):
        assert torch.equal(model(photos), model(photos))

    def test_its_posterior_refuses_other_images_as_encode_does(self, model):
        with pytest.raises(ValueError, match=r"x: wanted .* with H and W divisible by 8, got \(2, 3, 16, 20\)"):
            model.posterior(torch.rand(2, 3, 16, 20))
        with pytest.raises(TypeError, match="x: wanted floats in a tensor, got list"):
            model.posterior([[0.5]])

    def test_making_a_posterior_looks_at_no_value(self, model, photos):
        """With `validate_args` a distribution of NaN is an error: a look at the values, for which a GPU would wait."""
        assert model.posterior(photos * math.nan).mean.isnan().all()

    def test_its_weights_by_hand(self, model):
        plain = models.count_parameters(KINDS["fully convolutional"]())
        assert models.count_parameters(model) == plain + 12 * 5 + 5

    def test_more_weight_on_the_divergence_leaves_fewer_active_units(self, square):
        """From the PCA start all are; with a price that no picture is worth, codes become what the prior is."""
        principal = principal_components(blocks_of(square.train.pixels, 8), 5)

        def left(beta):
            model = VariationalAutoencoder((3, 16, 16), CHANNELS, 8, width=12, principal=principal)
            ae.fit(model, square, Plan(epochs=150, batch_size=24, lr=1e-2), objective=ELBO(beta))
            return active_units(model.encode(square.train.floats()))

        assert (left(0), left(10)) == (5, 0)


class TestActiveUnits:
    def test_by_hand(self):
        # Variances over the images: 1/4, 0, and for the third .0081 from ±.09 or .0121 from ±.11.
        assert active_units(torch.tensor([[0.0, 7, -0.09], [1, 7, 0.09]])) == 1
        assert active_units(torch.tensor([[0.0, 7, -0.11], [1, 7, 0.11]])) == 2

    def test_with_another_threshold(self):
        assert active_units(torch.tensor([[0.0, 7, -0.09], [1, 7, 0.09]]), threshold=0.008) == 2

    def test_of_a_grid_are_channels(self):
        z = torch.zeros(2, 3, 4, 5)
        z[0, 1] = 1  # one image has other means than the other
        z[:, 2, 0] = 1  # one row has others than the rest
        assert active_units(z) == 2

    @pytest.mark.parametrize("z", [torch.zeros(3), torch.zeros(2, 3, 4), torch.zeros(0, 3), [[1.0]], None])
    def test_of_what_are_no_codes_are_refused(self, z):
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, D\) or \(N, C, H, W\), as .*, got"):
            active_units(z)


class TestJoint:
    @pytest.fixture
    def model(self):
        model = KINDS["joint"]()
        init_weights(model, 0)
        return model

    @pytest.mark.parametrize(("size", "wanted"), [(16, (16, 24)), (8, (8, 12)), (None, (16, 24))])
    def test_decodes_at_each_size(self, model, size, wanted):
        assert model.decode(torch.rand(2, CHANNELS, 2, 3), size).shape == (2, 3, *wanted)

    @pytest.mark.parametrize(("size", "wanted"), [(40, (40, 16)), (20, (20, 8))])
    def test_sizes_go_with_the_code(self, model, size, wanted):
        assert model.decode(torch.rand(2, CHANNELS, 5, 2), size).shape == (2, 3, *wanted)

    @pytest.mark.parametrize("size", [0, 4, 12, 16.0, "16", (16, 24)])
    def test_refuses_a_size_that_no_decoder_gives(self, model, size):
        with pytest.raises(ValueError, match="size: from codes of 2×3 come images 16 or 8 pixels high, got"):
            model.decode(torch.rand(2, CHANNELS, 2, 3), size)

    def test_refuses_other_codes_at_a_smaller_size_too(self, model):
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 5, H, W\), got \(2, 4, 2, 3\)"):
            model.decode(torch.rand(2, 4, 2, 3), 8)

    def test_its_decoders_share_no_weight(self, model):
        z = torch.rand(2, CHANNELS, 2, 3)
        small = model.decode(z, 8)
        with torch.no_grad():
            for weight in model.decoder["8"].parameters():
                weight.add_(1)
        assert torch.equal(model.decode(z, 8), small)

    def test_the_order_of_its_strides_is_no_matter(self):
        one, other = (JointAutoencoder(SHAPE, CHANNELS, strides, width=12) for strides in ((8, 4), (4, 8)))
        assert describe(one) == describe(other)

    def test_as_pca_its_small_images_are_the_large_ones_shrunk(self, photos, principal):
        """The trivial rival, where training begins: decode large, and take the means of 2×2 pixels."""
        model = KINDS["joint"](principal=principal)
        z = model.encode(photos)
        assert torch.allclose(model.decode(z, 8), F.avg_pool2d(model.decode(z, 16), 2), atol=1e-5)  # float32

    def test_reconstructs_at_every_size_for_the_objective(self, model, square):
        found = JointResolutions((8, 16))(model, Batch(square.train.floats(), None, 24, torch.tensor(0.0)))
        assert list(found) == ["loss", "mse_8", "mse_16"]

    def test_one_with_a_single_stride_is_fully_convolutional(self):
        one, other = JointAutoencoder(SHAPE, CHANNELS, (8,), width=12), KINDS["fully convolutional"]()
        assert models.count_parameters(one) == models.count_parameters(other)

    def test_its_weights_by_hand(self, model):
        small = (5 * 12 + 12) + 2 * 2 * (12 * 12 * 9 + 12) + (12 * 3 * 16 + 3 * 16)
        assert models.count_parameters(model) == models.count_parameters(KINDS["fully convolutional"]()) + small

    def test_a_width_for_each_decoder_counts_in_that_one_alone(self):
        """Half of the width: of the small decoder's weights only, by hand; the encoder has the large decoder's."""
        wide, slim = (JointAutoencoder(SHAPE, CHANNELS, (4, 8), width=widths) for widths in ((12, 12), (6, 12)))
        by_width = [(5 * w + w) + 2 * 2 * (w * w * 9 + w) + (w * 3 * 16 + 3 * 16) for w in (12, 6)]
        counts = [models.count_parameters(model) for model in (wide, slim)]
        assert counts[0] - counts[1] == by_width[0] - by_width[1]
        assert describe(wide) == describe(JointAutoencoder(SHAPE, CHANNELS, (8, 4), width=12))

    def test_as_pca_a_narrow_decoder_draws_what_a_wide_one_does(self, photos, principal):
        wide, slim = (
            JointAutoencoder(SHAPE, CHANNELS, (8, 4), width=width, principal=principal) for width in (12, (12, 6))
        )
        assert torch.allclose(wide.decode(wide.encode(photos), 8), slim.decode(slim.encode(photos), 8), atol=1e-5)

    @pytest.mark.parametrize(
        ("width", "words"),
        [
            ((12,), r"width: wanted one for each of the strides \(8, 4\), or one number, got \(12,\)"),
            ((12, 0), r"width: wanted whole numbers of at least 1, such as \(512, 256\), got \(12, 0\)"),
            (0, "width: wanted a whole number of at least 1, got 0"),
        ],
    )
    def test_widths_that_do_not_fit_are_refused(self, width, words):
        with pytest.raises(ValueError, match=words):
            JointAutoencoder(SHAPE, CHANNELS, (8, 4), width=width)

    @pytest.mark.parametrize("strides", [(), (8, 8)])
    def test_no_decoder_or_one_twice_is_refused(self, strides):
        with pytest.raises(ValueError, match=r"strides: wanted one for each decoder, none twice, such as .*, got \("):
            JointAutoencoder(SHAPE, CHANNELS, strides)

    @pytest.mark.parametrize("strides", [8, (8, 0), (8, 4.0), None])
    def test_strides_that_are_no_whole_numbers_are_refused(self, strides):
        with pytest.raises(ValueError, match="strides: wanted whole numbers of at least 1"):
            JointAutoencoder(SHAPE, CHANNELS, strides)


@pytest.mark.parametrize("kind", ["variational", "joint"])
def test_the_summary_of_a_model_counts_all_its_weights(kind):
    model = KINDS[kind]()
    assert ae.summary(model).params == sum(weight.numel() for weight in nn.ModuleList([model]).parameters())
