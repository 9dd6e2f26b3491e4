"""`codes`: what a linear classifier reads from a code, and how few bytes could hold it."""

import math

import pytest
import torch

from aecore import codes
from aecore.data.images import Images
from aecore.models import LinearAutoencoder, blocks_of, nested_components
from aecore.models.principal import PrincipalComponents
from aecore.models.transform import NestedComponents


def images(pixels, labels=None):
    return Images(torch.as_tensor(pixels, dtype=torch.uint8), labels)


class TestOutputs:
    def test_are_rows_of_all_images_in_order(self):
        pixels = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 1, 2, 2)
        found = codes.outputs(lambda x: 255 * x, images(pixels), batch_size=3)
        torch.testing.assert_close(found, torch.arange(7.0)[:, None].expand(7, 4))


class TestLinearProbe:
    labels = torch.tensor([0, 1] * 50)

    def test_reads_a_class_that_a_line_divides(self):
        z = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 0.1
        z[:, 1] += self.labels * 2.0
        assert codes.linear_probe(z, self.labels, z, self.labels) == 1

    def test_cannot_read_a_class_that_no_line_divides(self):  # exclusive or: each class at two opposite corners
        corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]).repeat(25, 1)
        assert codes.linear_probe(corners, self.labels, corners, self.labels) <= 0.75

    def test_does_not_depend_on_the_scale_of_a_number(self):
        z = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
        z[:, 0] += self.labels * 1.0
        scaled = z * torch.tensor([1e-3, 1.0, 1e3])
        want = codes.linear_probe(z[:60], self.labels[:60], z[60:], self.labels[60:])
        assert codes.linear_probe(scaled[:60], self.labels[:60], scaled[60:], self.labels[60:]) == want

    def test_is_measured_on_the_test_codes(self):
        z = self.labels[:, None].float()
        assert codes.linear_probe(z, self.labels, z, 1 - self.labels) == 0

    def test_takes_codes_on_a_grid(self):
        z = self.labels.float()[:, None, None, None].expand(100, 2, 2, 2)
        assert codes.linear_probe(z, self.labels, z, self.labels) == 1

    @pytest.mark.parametrize(("part", "codes_and_labels"), [("train", (3, 2, 4, 4)), ("test", (4, 4, 3, 2))])
    def test_refuses_labels_of_another_number(self, part, codes_and_labels):
        a, b, c, d = codes_and_labels
        with pytest.raises(ValueError, match=f"labels_{part}: wanted one for each of 3 codes, got 2"):
            codes.linear_probe(torch.zeros(a, 2), torch.zeros(b), torch.zeros(c, 2), torch.zeros(d))

    def test_refuses_test_codes_of_another_shape(self):
        with pytest.raises(ValueError, match=r"z_test: wanted codes of shape \(2,\), got \(3,\)"):
            codes.linear_probe(torch.zeros(4, 2), torch.zeros(4), torch.zeros(4, 3), torch.zeros(4))


class TestRoundedComponents:
    @pytest.fixture
    def pixels(self):
        """Components that leave an image of one colour as it is: the mean is 0, and a block has one pixel."""
        part = PrincipalComponents(torch.zeros(1), torch.eye(1), torch.ones(1))
        return NestedComponents(part, part)

    def test_bits_and_images_by_hand(self, pixels):
        # In steps of .2 the training pixels are 0, 0, 0, 1: 3.1 and 1.1 of 4.2. The images are 0 and 1, and 1 and 1.
        train = torch.tensor([0.0, 0.05, 0.09, 0.2]).reshape(1, 1, 1, 4)
        x = torch.tensor([[0.04, 0.25], [0.15, 0.2]]).reshape(2, 1, 1, 2)
        bpp, x_hat = codes.rounded_components(pixels, train, x, 0.2)
        rare, often = -math.log2(1.1 / 4.2), -math.log2(3.1 / 4.2)
        torch.testing.assert_close(bpp, torch.tensor([(often + rare) / 2, rare]))
        torch.testing.assert_close(x_hat, torch.tensor([[0.0, 0.2], [0.2, 0.2]]).reshape(2, 1, 1, 2))

    def test_images_stay_in_their_range(self, pixels):
        x = torch.ones(1, 1, 1, 1)
        assert codes.rounded_components(pixels, x, x, 0.6)[1].item() == 1  # not 1.2

    def test_each_component_has_frequencies_of_its_own(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(6, 3, 8, 8, generator=generator) * 0.1
        x[:, 0] += torch.rand(6, 1, 1, generator=generator)  # red differs from image to image, and much more
        principal = nested_components(x, 12, 6, (2, 2))
        symbols = (principal.encode(x) / 0.05).round().movedim(1, -1).flatten(0, -2).long()
        values = range(symbols.min(), symbols.max() + 1)
        bits = 0
        for component in symbols.T.tolist():
            total = len(component) + 0.1 * len(values)
            bits += sum(-math.log2((component.count(value) + 0.1) / total) for value in component)
        found = codes.rounded_components(principal, x, x, 0.05)[0]
        assert found.mean().item() == pytest.approx(bits / 6 / 64, rel=1e-5)  # float32

    def test_bytes_are_taken_as_shares_of_white(self, pixels):
        x = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
        found = [codes.rounded_components(pixels, train, train, 0.1) for train in (x, x / 255)]
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])

    @pytest.mark.parametrize("step", [0, -0.1, math.nan, math.inf])
    def test_a_step_that_is_none_is_refused(self, pixels, step):
        with pytest.raises(ValueError, match="step: wanted a positive number such as 0.1"):
            codes.rounded_components(pixels, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), step)


class TestNestedComponents:
    def test_all_of_them_keep_the_whole_image(self):
        x = torch.rand(5, 3, 8, 12, generator=torch.Generator().manual_seed(0))
        principal = nested_components(x.repeat(4, 1, 1, 1) + 0.1 * torch.randn(20, 3, 8, 12), 27, 12, (2, 2))
        few = principal.outer._replace(components=torch.eye(48), mean=torch.zeros(48))
        found = NestedComponents(principal.inner, few)
        torch.testing.assert_close(found.decode(found.encode(x)), x)

    def test_give_values_of_variance_and_order_of_the_deviations(self):
        x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        principal = nested_components(x, 8, 4, (2, 2))
        values = principal.encode(x).movedim(1, -1).flatten(0, -2)
        torch.testing.assert_close(values.std(0), principal.outer.deviations, rtol=0.02, atol=0)  # N or N − 1, of 160
        torch.testing.assert_close(values.mean(0), torch.zeros(8), rtol=0, atol=1e-5)

    def test_a_block_is_a_block_of_the_image(self):
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        principal = nested_components(torch.rand(30, 3, 8, 8), 5, 12, (2, 2))
        whole = principal.encode(x)
        torch.testing.assert_close(whole.movedim(1, -1).reshape(-1, 5), principal.encode(blocks_of(x, 4))[:, :, 0, 0])


class TestIdealBytes:
    def test_of_two_frequencies_by_hand(self):
        # One number for a code: 0 occurred three times, 1 once, and a tenth is added to each: 3.1 and 1.1 of 4.2.
        train = torch.tensor([[0], [0], [0], [1]])
        want = [-math.log2(3.1 / 4.2) / 8, -math.log2(1.1 / 4.2) / 8]
        torch.testing.assert_close(codes.ideal_bytes(train, torch.tensor([[0], [1]])), torch.tensor(want))

    def test_adds_up_over_the_numbers_of_a_code_each_with_its_own_frequencies(self):
        train = torch.tensor([[0, 1], [0, 0], [0, 1], [1, 1]])
        first, second = train.split(1, dim=1)
        apart = codes.ideal_bytes(first, torch.tensor([[1]])) + codes.ideal_bytes(second, torch.tensor([[0]]))
        torch.testing.assert_close(codes.ideal_bytes(train, torch.tensor([[1, 0]])), apart)

    def test_many_equal_values_cost_eight_bits_in_a_byte(self):  # all 256 values equally often
        train = torch.arange(-100, 156)[:, None]
        torch.testing.assert_close(codes.ideal_bytes(train, train[:5]), torch.ones(5))

    def test_a_value_beyond_those_of_training_counts_as_the_end(self):
        train = torch.tensor([[0], [0], [2]])
        assert codes.ideal_bytes(train, torch.tensor([[9]])) == codes.ideal_bytes(train, torch.tensor([[2]]))


class TestProbeAndBytes:
    @pytest.fixture
    def data(self):
        pixels = torch.randint(0, 256, (60, 1, 4, 4), generator=torch.Generator().manual_seed(0))
        labels = torch.arange(60) % 2
        pixels[:, 0, 0, 0] = labels * 250
        return images(pixels, labels)

    @pytest.fixture
    def copying(self):
        """A model whose code is the image."""
        model = LinearAutoencoder((1, 4, 4), 16)
        with torch.no_grad():
            for layer in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
                layer.weight.copy_(torch.eye(16))
                layer.bias.zero_()
        return model

    def test_reads_the_class_from_the_codes(self, copying, data):
        assert codes.probe_and_bytes(copying, data, data)["probe"] > 0.9

    def test_in_256_levels_an_image_of_bytes_is_nearly_itself(self, copying, data):
        # Steps of at most 1/255 between the darkest and the brightest value of a pixel: at most half of that is lost.
        assert 0 < codes.probe_and_bytes(copying, data[:30], data[30:])["mse, rounded"] < 0.25 / 255**2 + 1e-4

    def test_the_levels_are_those_of_training(self, copying, data):
        dark = images(data.pixels // 4, data.labels)
        assert codes.probe_and_bytes(copying, dark, data)["mse, rounded"] > 0.05

    def test_bytes_are_those_of_the_levels(self, copying, data):
        z = data.floats().flatten(1)
        low, high = z.aminmax(dim=0)
        levels = ((z - low) / ((high - low) / 255)).round().long()
        found = codes.probe_and_bytes(copying, data, data)["bytes"]
        assert found == pytest.approx(codes.ideal_bytes(levels, levels).mean().item(), rel=1e-3)
