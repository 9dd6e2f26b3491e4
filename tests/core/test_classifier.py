"""`ResidualClassifier`: its shapes, its size, one block by hand, and that it learns."""

import pytest
import torch
from torch import nn

import aecore as ae
from aecore.data import Images, Splits
from aecore.models import ResidualClassifier, count_parameters
from aecore.models.classifier import ResidualBlock
from aecore.objectives import Classification, FeatureLoss
from aecore.training import Plan
from aecore.training.step import memory_format


@pytest.fixture
def small():
    torch.manual_seed(0)
    return ResidualClassifier((1, 8, 8), 3, width=2).eval()


def test_gives_a_score_for_each_class(small):
    assert small(torch.rand(5, 1, 8, 8)).shape == (5, 3)


@pytest.mark.parametrize(
    ("image_shape", "sizes"),
    [((3, 32, 32), [(32, 32), (16, 16), (8, 8)]), ((1, 28, 28), [(28, 28), (14, 14), (7, 7)]),
     ((1, 5, 9), [(5, 9), (3, 5), (2, 3)])],
)  # fmt: skip
def test_features_are_those_of_three_stages_and_the_scores(image_shape, sizes):
    network = ResidualClassifier(image_shape, 10, width=2).eval()
    found = [tuple(stage.shape) for stage in network.features(torch.rand(5, *image_shape))]
    assert found == [(5, 2 * 2**i, *size) for i, size in enumerate(sizes)] + [(5, 10)]


def test_the_last_features_are_the_scores(small):
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(small.features(x)[-1], small(x))


def test_the_encoder_gives_the_features_of_the_last_stage(small):
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(small.encoder(x), small.features(x)[-2])


def test_the_scores_are_those_of_the_mean_over_all_places(small):
    z = torch.rand(5, 8, 2, 2)
    assert torch.allclose(small.head(z), small.head[-1](z.mean((2, 3))), atol=1e-6)  # float32


def test_has_the_weights_that_its_docstring_says():
    # Convolutions of 9·a·b and skips of a·b weights, two for each normalised channel, and the linear layer.
    convolutions = 3 * 48 + 2 * 48 * 48 + 48 * 96 + 96 * 96 + 96 * 192 + 192 * 192
    skips = 48 * 96 + 96 * 192
    channels = 3 * 48 + 3 * 96 + 3 * 192
    wanted = 9 * convolutions + skips + 2 * channels + 192 * 10 + 10
    assert (count_parameters(ResidualClassifier((3, 32, 32), 10)), round(wanted, -3)) == (wanted, 692_000)


def test_more_blocks_are_more_blocks():
    network = ResidualClassifier((1, 8, 8), 3, width=2, blocks=4)
    assert sum(isinstance(layer, ResidualBlock) for layer in network.modules()) == 12


def test_an_image_of_another_size_is_refused(small):
    with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, 1, 8, 8\), got \(5, 1, 16, 16\)"):
        small(torch.rand(5, 1, 16, 16))


def test_any_size_takes_it():
    network = ResidualClassifier((1, 8, 8), 3, width=2, any_size=True).eval()
    assert network(torch.rand(5, 1, 16, 12)).shape == (5, 3)


def test_any_size_is_not_any_number_of_channels():
    network = ResidualClassifier((1, 8, 8), 3, width=2, any_size=True)
    with pytest.raises(ValueError, match=r"x: wanted images of shape \(N, 1, H, W\), got \(5, 3, 8, 8\)"):
        network(torch.rand(5, 3, 8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "classes: wanted a whole number from 2, got 1"),
        ({"width": 0}, "width: wanted a whole number from 1, got 0"),
        ({"blocks": 1.5}, "blocks: wanted a whole number from 1, got 1.5"),
        ({"image_shape": (1, 3, 8)}, "image_shape: wanted at least 4×4 pixels, got 3×8"),
        ({"image_shape": (8, 8, 1)}, r"image_shape: wanted 1 or 3 channels first, got \(8, 8, 1\)"),
    ],
)
def test_settings_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResidualClassifier(**{"image_shape": (1, 8, 8), "classes": 3, **arguments})


class TestResidualBlock:
    def test_by_hand(self):
        """Both convolutions pass on the middle of their window, doubled: 4x on the one way, x on the other."""
        block = ResidualBlock(1, 1).eval()
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.weight)
                layer.weight.data[0, 0, 1, 1] = 2
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 1e-12  # 1 + eps is 1 in float32; torch 2.11 refuses 0
        x = torch.arange(16.0).reshape(1, 1, 4, 4)
        assert torch.equal(block(x), 5 * x)

    @pytest.mark.parametrize(
        ("x", "first", "second", "wanted"),
        [
            (1, -1, 1, 1),  # −1 after the first convolution is cut off: nothing is added to x
            (-1, -1, 0.5, 0),  # the sum of .5 and −1 is cut off, not each of the two
        ],
    )
    def test_a_relu_stands_between_the_convolutions_and_at_the_end(self, x, first, second, wanted):
        block = ResidualBlock(1, 1).eval()
        for place, weight in ((0, first), (3, second)):
            nn.init.zeros_(block.path[place].weight)
            block.path[place].weight.data[0, 0, 1, 1] = weight
        found = block(torch.full((1, 1, 4, 4), float(x)))
        assert torch.allclose(found, torch.tensor(float(wanted)), atol=1e-4)  # BatchNorm's epsilon of 1e-5

    def test_a_stride_of_2_halves_height_and_width(self):
        assert ResidualBlock(2, 4, stride=2)(torch.rand(3, 2, 8, 8)).shape == (3, 4, 4, 4)

    def test_the_skip_connection_averages_what_the_stride_passes_over(self):
        """The way around gives nothing: its normalisation multiplies by 0. The skip passes the mean on."""
        block = ResidualBlock(1, 1, stride=2).eval()
        nn.init.zeros_(block.path[-1].weight)
        nn.init.ones_(block.skip[1].weight)
        block.skip[2].eps = 1e-12
        x = torch.tensor([[1.0, 2], [3, 6]]).reshape(1, 1, 2, 2)
        assert block(x).item() == 3

    def test_the_skip_connection_has_weights_only_where_the_shape_changes(self):
        found = [count_parameters(ResidualBlock(*shape).skip) for shape in ((2, 2), (2, 3), (2, 2, 2))]
        assert found == [0, 2 * 3 + 2 * 3, 2 * 2 + 2 * 2]


@pytest.fixture
def stripes():
    """Images of stripes, upright (class 0) or lying (class 1), with noise; both are equally bright."""

    def part(count, seed):
        generator = torch.Generator().manual_seed(seed)
        wave = torch.tensor([60, 60, 190, 190] * 2).repeat(8, 1)
        labels = torch.arange(count) % 2
        images = torch.stack([wave if label == 0 else wave.T for label in labels]).unsqueeze(1)
        noisy = images + torch.randint(-60, 60, images.shape, generator=generator)
        return Images(noisy.to(torch.uint8), labels)

    return Splits(part(64, 0), part(32, 1), part(32, 2))


def test_learns(stripes):
    plan = Plan(epochs=5, batch_size=16, lr=1e-2)
    run = ae.fit(ResidualClassifier((1, 8, 8), 2, width=4), stripes, plan, objective=Classification())
    assert run.history.valid["accuracy"][-1] > 0.9


def test_judges(stripes):
    plan = Plan(epochs=5, batch_size=16, lr=1e-2)
    run = ae.fit(ResidualClassifier((1, 8, 8), 2, width=4), stripes, plan, objective=Classification())
    turned = ae.evaluate(lambda x: x.mT, stripes.test, judge=run).accuracy
    assert (ae.evaluate(lambda x: x, stripes.test, judge=run).accuracy, turned) == (1 - turned, turned)


def test_its_features_are_what_a_feature_loss_wants(small):
    objective = FeatureLoss(ae.models.Frozen(small), 1)
    x = torch.rand(2, 1, 8, 8)
    batch = ae.objectives.Batch(x, None, 2, torch.tensor(0.0))
    assert objective(lambda x: x, batch)["features"] == 0


def test_another_model_can_start_from_its_encoder(stripes):
    plan = Plan(epochs=1, batch_size=16)
    first = ae.fit(ResidualClassifier((1, 8, 8), 2, width=2), stripes, plan, objective=Classification())
    wanted = first.model.encoder[0][0].weight.detach().clone()
    other = ResidualClassifier((1, 8, 8), 5, width=2)
    ae.models.freeze(other.encoder)
    second = ae.fit(other, stripes, plan, objective=Classification(), init_from={"encoder": first})
    assert torch.equal(second.model.encoder[0][0].weight, wanted)


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), torch.preserve_format),
        (nn.Conv2d(16, 8, 1, stride=2), torch.channels_last),  # 16 channels fill its widest vector
        (nn.Conv2d(4, 8, 1), torch.channels_last),
        (nn.Conv2d(4, 8, 3, stride=2), torch.channels_last),
    ],
    ids=str,
)
def test_a_network_with_a_convolution_that_onednn_gets_wrong_is_trained_in_ordinary_order(layer, wanted):
    assert memory_format(nn.Sequential(layer, nn.Flatten())) is wanted
