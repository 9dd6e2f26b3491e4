"""`codes`: what a linear classifier reads from a code, and how few bytes could hold it."""

import math

import pytest
import torch

from aecore import codes
from aecore.data.images import Images
from aecore.models import LinearAutoencoder


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
