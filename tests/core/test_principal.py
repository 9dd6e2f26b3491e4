"""`models.principal`: before training it is PCA, by scikit-learn; the rest of it starts as nothing."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from aecore import models
from aecore.models import init_weights
from aecore.models import principal as principal_module
from aecore.models.principal import PCAStartAutoencoder, PCAStartConvAutoencoder, principal_components
from aecore.runs.fingerprint import describe


@pytest.fixture
def images():
    """60 images of 4×4 with directions of clearly different spread, so that components are well defined."""
    random = torch.Generator().manual_seed(0)
    spread = torch.linspace(1, 0.1, 16) * torch.randn(60, 16, generator=random)
    mixed = torch.linalg.qr(torch.randn(16, 16, generator=random)).Q
    return (0.5 + 0.1 * spread @ mixed).reshape(60, 1, 4, 4)


@pytest.fixture
def principal(images):
    return principal_components(images, 5)


@pytest.fixture
def reference(images):
    return PCA(3).fit(images.flatten(1).double().numpy())


def test_the_untrained_model_reconstructs_as_pca_does(images, principal, reference):
    flat = images.flatten(1).double().numpy()
    wanted = reference.inverse_transform(reference.transform(flat))
    found = PCAStartAutoencoder((1, 4, 4), 3, principal)(images).flatten(1).detach().numpy()
    assert np.abs(found - wanted).max() < 1e-5  # float32, sums of 16 products


def test_its_codes_begin_with_mean_0_and_variance_1(images, principal):
    z = PCAStartAutoencoder((1, 4, 4), 3, principal).encode(images)
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=1e-5)  # float32, sums of 16 products of about 1
    assert torch.allclose(torch.cov(z.T, correction=0), torch.eye(3), atol=1e-4)


def test_components_are_those_of_scikit_learn_up_to_their_sign(images, reference):
    mean, components, deviations = principal_components(images, 3)
    overlaps = (components.double().numpy() * reference.components_).sum(1)
    assert np.allclose(np.abs(overlaps), 1, atol=1e-6)
    assert np.allclose(mean, reference.mean_, atol=1e-6)
    assert np.allclose(deviations**2, reference.explained_variance_ * 59 / 60, rtol=1e-5)


def test_components_of_fewer_images_than_values_are_those_of_scikit_learn(images):
    few, reference = images[:9], PCA(8).fit(images[:9].flatten(1).double().numpy())
    mean, components, deviations = principal_components(few, 8)
    overlaps = (components.double().numpy() * reference.components_).sum(1)
    assert np.allclose(np.abs(overlaps), 1, atol=1e-5)  # float32, sums of 16 products
    assert np.allclose(mean, reference.mean_, atol=1e-6)
    assert np.allclose(deviations**2, reference.explained_variance_ * 8 / 9, rtol=1e-5)


def test_components_of_bytes_are_those_of_the_floats(images):
    pixels = (255 * images).round().to(torch.uint8)
    for of_bytes, of_floats in zip(principal_components(pixels, 3), principal_components(pixels / 255, 3), strict=True):
        assert torch.allclose(of_bytes, of_floats, atol=1e-5)  # pixels / 255 are rounded to float32


def test_components_of_many_batches_are_those_of_one(images, monkeypatch):
    wanted = principal_components(images, 3)
    monkeypatch.setattr(principal_module, "BATCH", 7)
    for found, expected in zip(principal_components(images, 3), wanted, strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def test_images_are_left_as_they_are(images):
    before = images.double().clone()
    doubles = images.double()
    principal_components(doubles, 3)
    assert torch.equal(doubles, before)


class TestConvolutional:
    """`PCAStartConvAutoencoder`: PCA beside convolutions."""

    @pytest.fixture
    def colour(self):
        return torch.rand(40, 3, 8, 12, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def model(self, colour):
        return PCAStartConvAutoencoder((3, 8, 12), 6, principal_components(colour, 6), width=8)

    def test_untrained_reconstructs_as_pca_does(self, model, colour):
        flat = colour.flatten(1).double().numpy()
        pca = PCA(6).fit(flat)
        wanted = pca.inverse_transform(pca.transform(flat))
        assert np.abs(model(colour).flatten(1).detach().numpy() - wanted).max() < 1e-5

    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_the_last_layer_of_each_network_learns_from_the_first_step_on(self, model, colour, part):
        model(colour).square().mean().backward()
        network = model.encoder.network if part == "encoder" else model.decoder[1].network
        last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
        assert last.weight.grad.abs().max() > 0

    def test_the_decoders_network_sees_what_the_linear_layer_drew(self, model, colour):
        z = model.encode(colour)
        y = model.decoder[0](z)
        nn.init.ones_(model.decoder[1].network[-2].bias)
        assert torch.allclose(model.decode(z), y + 1, atol=1e-6)

    def test_the_encoders_network_adds_to_the_code(self, model, colour):
        before = model.encode(colour)
        nn.init.ones_(model.encoder.network[-1].bias)
        assert torch.allclose(model.encode(colour), before + 1, atol=1e-6)

    def test_drawing_weights_brings_pca_back(self, model, colour):
        wanted = model(colour)
        for weight in model.parameters():
            nn.init.normal_(weight)
        init_weights(model, 1)
        assert torch.allclose(model(colour), wanted, atol=1e-5)

    def test_a_side_that_does_not_fit_is_refused(self):
        images = torch.rand(20, 1, 6, 8)
        with pytest.raises(ValueError, match="image_shape: height and width must be divisible by 4 here, got 6×8"):
            PCAStartConvAutoencoder((1, 6, 8), 3, principal_components(images, 3))

    def test_says_what_it_takes_from_its_data(self, model):
        assert model.from_data() in repr(model)


def test_the_largest_value_of_each_component_is_positive(images):
    for flipped in (images, 1 - images):
        components = principal_components(flipped, 5)[1]
        assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


def test_drawing_weights_brings_pca_back_with_another_network_beside_it(images, principal):
    model = PCAStartAutoencoder((1, 4, 4), 3, principal, hidden=(8,))
    before, first = model(images).detach(), model.encoder[1].network[0].weight.detach().clone()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    models.init_weights(model, 7)
    assert torch.equal(model(images), before)
    assert not torch.equal(model.encoder[1].network[0].weight, first)


def test_the_dense_branches_learn_from_the_first_step_on(images, principal):
    """Their last layers are zero, and nothing else may be: else no gradient would ever reach them."""
    model = PCAStartAutoencoder((1, 4, 4), 3, principal, hidden=(8,))
    (model(images) - images).square().mean().backward()
    for branch in (model.encoder[1].network, model.decoder[0].network):
        assert branch[-1].weight.grad.abs().max() > 0


def test_its_weights_hold_neither_images_nor_other_components(principal):
    model = PCAStartAutoencoder((1, 4, 4), 3, principal, hidden=(8,))
    coder = (16 * 3 + 3) + (16 * 8 + 8) + (8 * 3 + 3)
    drawer = (3 * 16 + 16) + (3 * 8 + 8) + (8 * 16 + 16)
    assert sum(value.numel() for value in model.state_dict().values()) == coder + drawer


def test_models_that_start_from_other_images_are_told_apart(images, principal):
    """Their runs must not be taken for each other; the weights at the start are in no fingerprint."""
    other = principal_components(images * 0.5, 5)
    one, two = (describe(PCAStartAutoencoder((1, 4, 4), 3, found)) for found in (principal, other))
    assert one != two


def test_models_from_components_that_differ_by_rounding_are_not(principal):
    rounded = principal._replace(deviations=principal.deviations * (1 + 1e-6))
    one, two = (describe(PCAStartAutoencoder((1, 4, 4), 3, found)) for found in (principal, rounded))
    assert one == two


def test_a_direction_without_any_spread_gives_no_infinite_code(images):
    flat = images.clone()
    flat[..., 0, :] = 0.5
    assert PCAStartAutoencoder((1, 4, 4), 16, principal_components(flat, 16))(flat).isfinite().all()


def test_components_of_images_of_another_shape_are_refused(principal):
    with pytest.raises(ValueError, match="principal: wanted components of 32 values, like image_shape, got 16"):
        PCAStartAutoencoder((1, 4, 8), 3, principal)


def test_too_few_components_are_refused(principal):
    with pytest.raises(ValueError, match="principal: wanted code_size = 6 components or more, got 5"):
        PCAStartAutoencoder((1, 4, 4), 6, principal)


@pytest.mark.parametrize(("images", "count"), [(60, 17), (4, 4), (60, 0), (60, 2.0)])
def test_more_components_than_there_are_is_refused(images, count):
    with pytest.raises(ValueError, match=r"count: \(\d+, 1, 4, 4\) images have from 1 to \d+ components, wanted"):
        principal_components(torch.rand(images, 1, 4, 4), count)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(9, 1, 4, 4, dtype=torch.int64), torch.rand(9, 16), np.zeros((9, 1, 4, 4)), None],
    ids=["integers", "vectors", "array", "nothing"],
)
def test_what_are_no_images_is_refused_with_the_way_out(images):
    with pytest.raises(ValueError, match=r"images: wanted floats or bytes of shape .*, as mnist.train.pixels, got"):
        principal_components(images, 3)


def test_something_else_than_components_is_refused(images):
    with pytest.raises(ValueError, match=r"principal: wanted what principal_components\(.*\) returns, got Tensor"):
        PCAStartAutoencoder((1, 4, 4), 3, images)


def test_what_it_takes_from_its_data_is_part_of_its_repr(principal):
    """`digests_of` takes it out again, so that other data do not make another model of it."""
    model = PCAStartAutoencoder((1, 4, 4), 3, principal)
    assert model.from_data() in repr(model)


class Rounded(PCAStartConvAutoencoder):
    """A reader's own class."""

    def encode(self, x):
        return super().encode(x).round()


class TestADerivedClass:
    """Its runs must be found on every machine, and only where they belong."""

    def told(self, images):
        return describe(Rounded((1, 4, 4), 3, principal_components(images, 3)))

    def test_is_told_without_the_last_digits_of_its_components(self, images):
        one, other = (principal_components(part, 3).components for part in (images, images * (1 + 1e-6)))
        assert not torch.equal(one, other)
        assert self.told(images) == self.told(images * (1 + 1e-6))

    def test_is_told_with_what_its_repr_says_of_them(self, images):
        assert self.told(images) != self.told(images * 0.5)

    def test_is_told_with_components_of_its_own(self, images):
        models = [Rounded((1, 4, 4), 3, principal_components(images, 3)) for _ in range(2)]
        models[1].more = principal_components(images * 0.5, 3)
        assert describe(models[0]) != describe(models[1])
