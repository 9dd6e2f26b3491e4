"""`alignment`: known maps are found again, what samples leave open is answered as promised, measures by hand."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from aecore import alignment
from aecore.alignment import (
    affine,
    convolution,
    linear_cka,
    procrustes,
    relative_representation,
    signed_permutation,
)

MAPS = [signed_permutation, procrustes, affine]
EXACT = 1e-12  # float64, sums of some ten products of about 1


def codes(*shape, seed=0, mean=2.0):
    """Random codes in float64, not centred."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def rotation(size, seed=1):
    return torch.linalg.qr(codes(size, size, seed=seed, mean=0.0)).Q


def mapped(z, matrix):
    """Each place's channels, by a matrix (out, in)."""
    return (z.movedim(1, -1) @ matrix.T).movedim(-1, 1)


def error(found, z_a, z_b):
    return (found(z_a) - z_b).square().sum().item()


LAYOUTS = [pytest.param((30, 4), id="flat"), pytest.param((2, 4, 5, 3), id="grids")]


@pytest.fixture(params=LAYOUTS)
def z(request):
    return codes(*request.param)


class TestSignedPermutation:
    # Channel 0 comes out of channel 2 with the other sign, 1 of 0, 2 of 3 with the other sign, 3 of 1.
    MATRIX = torch.tensor([[0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 1, 0, 0]], dtype=torch.float64)

    def test_is_found_again(self, z):
        assert torch.equal(signed_permutation(z, mapped(z, self.MATRIX) - 5).weight, self.MATRIX)

    def test_maps_codes_that_it_has_not_seen(self, z):
        found, other = signed_permutation(z, mapped(z, self.MATRIX) - 5), codes(*z.shape, seed=7)
        assert torch.allclose(found(other), mapped(other, self.MATRIX) - 5, atol=EXACT)

    def test_of_equal_codes_is_the_identity(self, z):
        assert torch.equal(signed_permutation(z, z).weight, torch.eye(4, dtype=torch.float64))

    def test_pairs_by_the_sum_and_not_one_channel_after_the_other(self):
        # Covariances: 3 and 2 in the first row, 2.9 and 0 in the second. Taking 3 first would give 3 + 0.
        z_a = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
        z_b = torch.tensor([[1.5, 1], [-1.5, -1], [1.45, 0], [-1.45, 0]])
        assert signed_permutation(z_a, z_b).weight.tolist() == [[0, 1], [1, 0]]

    def test_a_constant_channel_gets_the_partner_that_is_left_with_its_sign_as_it_is(self):
        z_a = codes(9, 3)
        z_b = torch.stack([-z_a[:, 2], z_a[:, 1], torch.full((9,), 0.1, dtype=torch.float64)], 1)
        assert signed_permutation(z_a, z_b).weight.tolist() == [[0, 0, -1], [0, 1, 0], [1, 0, 0]]

    @pytest.mark.parametrize("value", [0.1, 0.7, -3.3])
    def test_the_rounded_mean_of_a_constant_channel_decides_no_sign(self, value):
        z_a = codes(7, 1).float()
        assert signed_permutation(z_a, torch.full_like(z_a, value)).weight.tolist() == [[1]]

    @pytest.mark.parametrize("dead", ["z_a", "z_b", None])
    def test_is_determined_where_no_channel_is_constant(self, dead):
        pair = {"z_a": codes(9, 3), "z_b": codes(9, 3, seed=1)}
        if dead:
            pair[dead][:, 1] = 0.1
        assert signed_permutation(**pair).determined is (dead is None)

    def test_of_one_sample_maps_mean_to_mean_and_is_not_determined(self):
        z_a, z_b = codes(1, 3), codes(1, 3, seed=1)
        found = signed_permutation(z_a, z_b)
        assert (found.determined, torch.equal(found(z_a), z_b)) == (False, True)


class TestProcrustes:
    def test_a_rotation_and_a_factor_are_found_again(self, z):
        wanted = 2.5 * rotation(4)
        assert torch.allclose(procrustes(z, mapped(z, wanted) - 5).weight, wanted, atol=EXACT)

    def test_a_reflection_is_found_again(self, z):
        wanted = rotation(4) * torch.tensor([1.0, 1, 1, -1])
        assert torch.allclose(procrustes(z, mapped(z, wanted)).weight, wanted, atol=EXACT)

    def test_maps_codes_that_it_has_not_seen(self, z):
        matrix, other = 2.5 * rotation(4), codes(*z.shape, seed=7)
        assert torch.allclose(procrustes(z, mapped(z, matrix) - 5)(other), mapped(other, matrix) - 5, atol=1e-11)

    def test_without_scale_is_orthogonal(self, z):
        weight = procrustes(z, 3 * mapped(z, rotation(4)), scale=False).weight
        assert torch.allclose(weight @ weight.T, torch.eye(4, dtype=torch.float64), atol=EXACT)

    def test_its_scale_by_hand(self):
        # On one line: the best factor from (−1, 0, 1) to (−1, −1, 2) is (1 + 0 + 2) / (1 + 0 + 1).
        found = procrustes(torch.tensor([[-1.0], [0], [1]]), torch.tensor([[-1.0], [-1], [2]]))
        assert found.weight.item() == pytest.approx(1.5, rel=1e-15)

    def test_of_equal_codes_is_the_identity(self, z):
        assert torch.allclose(procrustes(z, z).weight, torch.eye(4, dtype=torch.float64), atol=EXACT)

    @pytest.mark.parametrize("samples", [1, 2, 4, 6])
    def test_of_fewer_samples_than_channels_is_orthogonal_and_fits_them(self, samples):
        z = codes(samples, 6)
        wanted = mapped(z, rotation(6))
        found = procrustes(z, wanted, scale=False)
        assert torch.allclose(found.weight @ found.weight.T, torch.eye(6, dtype=torch.float64), atol=EXACT)
        assert torch.allclose(found(z), wanted, atol=EXACT)

    @pytest.mark.parametrize("samples", [1, 2, 4, 6])
    def test_of_fewer_equal_codes_than_channels_is_the_identity(self, samples):
        z = codes(samples, 6)
        assert torch.allclose(procrustes(z, z).weight, torch.eye(6, dtype=torch.float64), atol=EXACT)

    def test_what_the_samples_leave_open_is_turned_on_the_shortest_way(self):
        # Only the first axis varies, and becomes the second. Of the plane that is left, the third axis can stay as it
        # is, and the second has to become the first or its opposite: both are as far.
        z = torch.zeros(5, 3, dtype=torch.float64)
        z[:, 0] = torch.arange(5)
        weight = procrustes(z, z[:, [1, 0, 2]]).weight
        assert torch.allclose(weight.abs(), torch.eye(3, dtype=torch.float64)[[1, 0, 2]], atol=EXACT)
        assert weight[[1, 2], [0, 2]].tolist() == pytest.approx([1, 1])

    def test_a_constant_channel_is_left_alone(self):
        z = codes(20, 4)
        z[:, 2] = 0.1
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:2, :2] = rotation(2)
        assert torch.allclose(procrustes(z, mapped(z, matrix)).weight, matrix, atol=EXACT)

    def test_of_constant_codes_maps_mean_to_mean(self):
        z_a, z_b = torch.full((5, 2), 0.1), torch.full((5, 2), 3.0)
        assert torch.equal(procrustes(z_a, z_b)(z_a), z_b)

    @pytest.mark.parametrize(("samples", "determined"), [(4, False), (5, True), (50, True)])
    def test_is_determined_from_one_sample_more_than_channels(self, samples, determined):
        assert procrustes(codes(samples, 4), codes(samples, 4, seed=1)).determined is determined

    def test_a_channel_that_only_rounding_moves_counts_as_constant(self):
        z = codes(50, 3).float()
        z[:, 2] = 1 + torch.finfo(torch.float32).eps * (torch.arange(50) % 2)
        assert procrustes(z, z).determined is False


class TestAffine:
    MATRIX = codes(3, 4, seed=2, mean=0.0)

    def test_a_matrix_is_found_again(self, z):
        assert torch.allclose(affine(z, mapped(z, self.MATRIX) - 5).weight, self.MATRIX, atol=EXACT)

    def test_maps_codes_that_it_has_not_seen(self, z):
        found, other = affine(z, mapped(z, self.MATRIX) - 5), codes(*z.shape, seed=7)
        assert torch.allclose(found(other), mapped(other, self.MATRIX) - 5, atol=1e-11)

    def test_of_equal_codes_is_the_identity(self, z):
        assert torch.allclose(affine(z, z).weight, torch.eye(4, dtype=torch.float64), atol=EXACT)

    def test_by_hand(self):
        # The regression line of (0, 1), (1, 3), (2, 2): slope ((−1)(−1) + 0 + 1·0) / 2, through the means (1, 2).
        found = affine(torch.tensor([[0.0], [1], [2]]), torch.tensor([[1.0], [3], [2]]))
        assert found(torch.tensor([[0.0], [5]])).flatten().tolist() == pytest.approx([1.5, 4.0], rel=1e-6)  # float32

    @pytest.mark.parametrize("samples", [2, 4, 6])
    def test_of_fewer_samples_than_channels_is_that_of_the_pseudoinverse(self, samples):
        z_a, z_b = codes(samples, 6), codes(samples, 2, seed=1)
        wanted = torch.linalg.pinv(z_a - z_a.mean(0)) @ (z_b - z_b.mean(0))
        assert torch.allclose(affine(z_a, z_b).weight, wanted.T, atol=EXACT)

    def test_of_a_constant_channel_is_that_of_the_pseudoinverse(self):
        z_a, z_b = codes(20, 4), codes(20, 3, seed=1)
        z_a[:, 1] = 0.1
        wanted = torch.linalg.pinv(z_a - z_a.mean(0), rtol=1e-10) @ (z_b - z_b.mean(0))
        assert torch.allclose(affine(z_a, z_b).weight, wanted.T, atol=EXACT)

    def test_of_one_sample_gives_its_partner_for_every_code(self):
        z_b = codes(1, 2, seed=1)
        assert torch.equal(affine(codes(1, 3), z_b)(codes(4, 3, seed=2)), z_b.expand(4, 2))

    @pytest.mark.parametrize(("samples", "determined"), [(1, False), (4, False), (5, True), (50, True)])
    def test_is_determined_from_one_sample_more_than_channels(self, samples, determined):
        assert affine(codes(samples, 4), codes(samples, 2, seed=1)).determined is determined

    def test_two_equal_channels_leave_it_undetermined_and_share_the_weight(self):
        z = codes(20, 1).float().expand(20, 2)
        found = affine(z, z[:, :1])
        assert found.determined is False
        assert torch.allclose(found.weight, torch.full((1, 2), 0.5, dtype=torch.float64), atol=EXACT)

    @pytest.mark.parametrize("ridge", [0.5, 30])
    @pytest.mark.parametrize("samples", [4, 40])
    def test_with_ridge_is_that_of_scikit_learn(self, samples, ridge):
        z_a, z_b = codes(samples, 6), codes(samples, 2, seed=1)
        wanted = Ridge(alpha=ridge).fit(z_a.numpy(), z_b.numpy())
        found = affine(z_a, z_b, ridge=ridge)
        assert np.allclose(found.weight, wanted.coef_, atol=1e-10)
        assert np.allclose(found(z_a), wanted.predict(z_a.numpy()), atol=1e-10)

    def test_with_ridge_is_determined_by_few_samples(self):
        assert affine(codes(3, 6), codes(3, 2, seed=1), ridge=0.1).determined is True


class TestConvolution:
    def test_a_convolution_of_3_by_3_is_found_again(self):
        z, wanted = codes(3, 2, 6, 7), nn.Conv2d(2, 4, 3, padding=1).double().requires_grad_(False)
        centred = z - z.mean((0, 2, 3), keepdim=True)
        assert torch.allclose(convolution(z, wanted(centred)).weight, wanted.weight, atol=EXACT)

    def test_maps_grids_of_another_size_that_it_has_not_seen(self):
        z, wanted = codes(3, 2, 6, 7), nn.Conv2d(2, 4, 3, padding=1).double().requires_grad_(False)
        mean, other = z.mean((0, 2, 3), keepdim=True), codes(1, 2, 4, 9, seed=7)
        assert torch.allclose(convolution(z, wanted(z - mean))(other), wanted(other - mean), atol=EXACT)

    def test_its_kernel_lies_as_that_of_conv2d(self):
        # Each place of the result is the place to the right of it: the weight is one in the middle of the right column.
        z = codes(40, 1, 5, 5)
        z_b = torch.cat([z[..., 1:], z.mean().expand(40, 1, 5, 1)], -1)  # outside stands the mean
        wanted = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
        wanted[0, 0, 1, 2] = 1
        assert torch.allclose(convolution(z, z_b).weight, wanted, atol=EXACT)

    def test_of_equal_codes_is_the_identity(self):
        z = codes(3, 2, 6, 7)
        wanted = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
        wanted[[0, 1], [0, 1], 1, 1] = 1
        assert torch.allclose(convolution(z, z).weight, wanted, atol=EXACT)

    def test_its_offset_is_free(self):
        """Windows at the edge have other means than those inside, so the mean alone would not be the best offset."""
        z_a, z_b = codes(3, 2, 4, 4), codes(3, 2, 4, 4, seed=1)
        found = convolution(z_a, z_b)
        assert (found(z_a) - z_b).mean((0, 2, 3)).abs().max() < EXACT

    def test_with_kernel_size_1_is_affine(self):
        z_a, z_b, other = codes(3, 2, 6, 7), codes(3, 4, 6, 7, seed=1), codes(1, 2, 4, 9, seed=7)
        assert torch.allclose(convolution(z_a, z_b, kernel_size=1)(other), affine(z_a, z_b)(other), atol=EXACT)

    def test_of_many_batches_is_that_of_one(self, monkeypatch):
        z_a, z_b = codes(60, 1, 4, 4), codes(60, 1, 4, 4, seed=1)
        wanted = convolution(z_a, z_b)
        monkeypatch.setattr(alignment, "BATCH", 1)  # then four times the ten values of a row, which is two grids
        found = convolution(z_a, z_b)
        assert torch.allclose(found.weight, wanted.weight, atol=EXACT)
        assert torch.allclose(found.offset, wanted.offset, atol=EXACT)

    def test_of_fewer_samples_than_weights_is_that_of_the_pseudoinverse(self):
        z_a, z_b = codes(1, 2, 3, 3), codes(1, 1, 3, 3, seed=1)
        windows = nn.functional.unfold(z_a - z_a.mean((2, 3), keepdim=True), 3, padding=1)[0].T
        targets = z_b.flatten()[:, None]
        wanted = torch.linalg.pinv(windows - windows.mean(0)) @ (targets - targets.mean())
        found = convolution(z_a, z_b)
        assert (found.weight.flatten() - wanted.flatten()).abs().max() < EXACT
        assert found.determined is False

    def test_with_ridge_is_that_of_scikit_learn(self):
        z_a, z_b = codes(2, 2, 4, 4), codes(2, 3, 4, 4, seed=1)
        windows = nn.functional.unfold(z_a - z_a.mean((0, 2, 3), keepdim=True), 3, padding=1)
        rows, targets = windows.movedim(1, 2).flatten(0, 1), z_b.movedim(1, 3).flatten(0, 2)
        wanted = Ridge(alpha=3).fit(rows.numpy(), targets.numpy())
        assert np.allclose(convolution(z_a, z_b, ridge=3).weight.flatten(1), wanted.coef_, atol=1e-10)


def test_each_kind_fits_its_codes_at_least_as_well_as_the_one_before():
    z_a, z_b = codes(3, 4, 6, 6), codes(3, 4, 6, 6, seed=1)
    narrow_to_wide = [
        signed_permutation(z_a, z_b), procrustes(z_a, z_b, scale=False), procrustes(z_a, z_b), affine(z_a, z_b),
        convolution(z_a, z_b),
    ]  # fmt: skip
    errors = [error(found, z_a, z_b) for found in narrow_to_wide]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == 5


@pytest.mark.parametrize("fit", [*MAPS, convolution])
class TestEveryMap:
    def test_counts_the_places_of_one_pair_of_grids_as_samples(self, fit):
        found = fit(codes(1, 3, 5, 4), codes(1, 3, 5, 4, seed=1))
        assert (found.samples, found.pairs) == (20, 1)

    def test_is_the_same_for_codes_that_are_shifted(self, fit):
        z_a, z_b = codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1)
        shift = torch.tensor([10.0, -20, 30], dtype=torch.float64)[:, None, None]
        # Sums of products of numbers of about 30: the last digits differ.
        assert torch.allclose(fit(z_a + shift, z_b)(z_a + shift), fit(z_a, z_b)(z_a), atol=1e-10)

    def test_maps_the_mean_of_its_codes_to_the_mean(self, fit):
        z_a, z_b = codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1)
        assert torch.allclose(fit(z_a, z_b)(z_a).mean((0, 2, 3)), z_b.mean((0, 2, 3)), atol=EXACT)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_returns_the_type_that_it_is_given(self, fit, dtype):
        z = codes(2, 3, 5, 4)
        assert fit(z, z)(z.to(dtype)).dtype == dtype

    def test_computes_in_float64(self, fit):
        z_a, z_b = codes(2, 3, 5, 4).float(), codes(2, 3, 5, 4, seed=1).float()
        found = fit(z_a, z_b)
        assert torch.equal(found(z_a), found(z_a.double()).float())
        assert {value.dtype for value in found.state_dict().values()} == {torch.float64}

    def test_leaves_its_codes_as_they_are(self, fit):
        z_a, z_b = codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1)
        before = z_a.clone(), z_b.clone()
        fit(z_a, z_b)(z_a)
        assert (torch.equal(z_a, before[0]), torch.equal(z_b, before[1])) == (True, True)

    def test_takes_codes_with_gradients_and_lets_them_through(self, fit):
        z = codes(2, 3, 5, 4).requires_grad_()
        fit(z, z.detach())(z).sum().backward()
        assert z.grad.abs().max() > 0

    def test_has_nothing_to_train(self, fit):
        found = fit(codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1))
        assert list(found.parameters()) == []

    def test_can_be_saved_and_copied(self, fit):
        z_a, z_b = codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1)
        found, other = fit(z_a, z_b), copy.deepcopy(fit(z_b, z_a))
        other.load_state_dict(found.state_dict())
        assert torch.equal(other(z_a), found(z_a))

    def test_refuses_codes_of_another_layout(self, fit):
        found = fit(codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1))
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 3, H, W\), as this .* got \(2, 3\)"):
            found(codes(2, 3))

    def test_refuses_codes_with_other_channels(self, fit):
        found = fit(codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1))
        with pytest.raises(ValueError, match=r"z: wanted codes of shape \(N, 3, H, W\), as this .* got \(2, 4, 5, 4\)"):
            found(codes(2, 4, 5, 4))

    def test_refuses_codes_that_are_no_floats(self, fit):
        with pytest.raises(TypeError, match="z: wanted codes as floats in a tensor, .*, got a tensor of torch.int64"):
            fit(codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1))(torch.zeros(2, 3, 5, 4, dtype=torch.int64))

    @pytest.mark.parametrize(("z", "found"), [([[1.0]], "list"), (torch.zeros(2, 3, dtype=torch.uint8), "a .*uint8")])
    @pytest.mark.parametrize("name", ["z_a", "z_b"])
    def test_refuses_to_be_fitted_on_what_are_no_floats(self, fit, name, z, found):
        pair = {"z_a": codes(2, 3, 5, 4), "z_b": codes(2, 3, 5, 4)} | {name: z}
        with pytest.raises(TypeError, match=f"{name}: wanted codes as floats in a tensor, as model.encode .*{found}"):
            fit(**pair)

    @pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3), (2, 0, 4, 4)])
    def test_refuses_what_are_no_codes(self, fit, shape):
        with pytest.raises(ValueError, match=r"z_a: wanted one code or more of shape \(N, D\) or \(N, C, H, W\), got"):
            fit(torch.zeros(shape), torch.zeros(shape))

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["z_a", "z_b"])
    def test_refuses_codes_that_are_not_finite(self, fit, name, value):
        pair = {"z_a": codes(2, 3, 5, 4), "z_b": codes(2, 3, 5, 4)}
        pair[name][0, 1, 2] = value
        with pytest.raises(ValueError, match=rf"{name}: wanted finite numbers, got NaN or infinity in 4 of 120 values"):
            fit(**pair)

    def test_refuses_codes_of_other_images(self, fit):
        with pytest.raises(ValueError, match="z_a and z_b: wanted codes of the same images .*, got 2 and 3 codes"):
            fit(codes(2, 3, 5, 4), codes(3, 3, 5, 4))

    def test_refuses_a_grid_and_a_flat_code(self, fit):
        with pytest.raises(ValueError, match=r"both grids, .* got \(2, 3, 5, 4\) and \(2, 3\); z.flatten\(1\) makes"):
            fit(codes(2, 3, 5, 4), codes(2, 3))

    @pytest.mark.parametrize("shape", [(2, 3, 5, 6), (2, 3, 6, 4)])
    def test_refuses_grids_of_different_size(self, fit, shape):
        with pytest.raises(ValueError, match=rf"one height and width, .*, got 5×4 and {shape[2]}×{shape[3]}; choose"):
            fit(codes(2, 3, 5, 4), codes(*shape))


@pytest.mark.parametrize("fit", [signed_permutation, procrustes])
def test_different_numbers_of_channels_are_refused_with_the_way_out(fit):
    with pytest.raises(ValueError, match=rf"{fit.__name__} wants as many channels in both, got 3 and 4; affine maps"):
        fit(codes(9, 3), codes(9, 4))


@pytest.mark.parametrize("size", [0, -1, 2, 4, 3.0, "3", None, True])
def test_a_kernel_without_a_middle_is_refused(size):
    with pytest.raises(ValueError, match=f"kernel_size: wanted an odd whole number from 1, such as 3, got {size!r}"):
        convolution(codes(2, 3, 5, 4), codes(2, 3, 5, 4), kernel_size=size)


@pytest.mark.parametrize("fit", [affine, convolution])
@pytest.mark.parametrize("ridge", [-1, math.nan, math.inf, "0", None, True])
def test_a_ridge_that_is_no_number_from_0_is_refused(fit, ridge):
    with pytest.raises(ValueError, match="ridge: wanted a number from 0, such as 0.001, got"):
        fit(codes(2, 3, 5, 4), codes(2, 3, 5, 4), ridge=ridge)


def test_a_convolution_of_flat_codes_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"z_a: wanted grids of shape .*, got \(9, 3\); affine takes flat codes"):
        convolution(codes(9, 3), codes(9, 3))


class TestRepr:
    def test_of_grids(self):
        found = repr(procrustes(codes(1, 3, 43, 43), codes(1, 3, 43, 43, seed=1)))
        assert found == (
            "CodeMap(procrustes, 3 → 3 channels, fitted on 1,849 samples from 1 pair of codes, determined=True)"
        )

    def test_of_flat_codes_that_are_too_few(self):
        found = repr(affine(codes(3, 5), codes(3, 2, seed=1)))
        assert found == "CodeMap(affine, 5 → 2 values, fitted on 3 samples from 3 pairs of codes, determined=False)"

    def test_of_a_convolution(self):
        found = repr(convolution(codes(9, 2, 6, 6), codes(9, 3, 6, 6, seed=1)))
        assert found.startswith("CodeMap(convolution, 2 → 3 channels by windows of 3×3, fitted on 324 samples")


def test_a_map_joins_an_encoder_and_a_decoder():
    encoder, decoder, x = nn.Linear(6, 4), nn.Linear(4, 6), codes(30, 6).float()
    z = encoder(x).detach()
    both = nn.Sequential(encoder, affine(z, z), decoder)
    assert torch.allclose(both(x), decoder(encoder(x)), atol=1e-5)  # float32


class TestLinearCka:
    def test_by_hand(self):
        # Centred: a = (−1, 0, 1), b = (−1, −1, 2) and (1, −2, 1). A'B = (3, 0), A'A = 2, B'B = [[6, 3], [3, 6]]:
        # 9 / (2 · √(36 + 9 + 9 + 36)).
        z_a, z_b = torch.tensor([[0.0], [1], [2]]), torch.tensor([[4.0, 1], [4, -2], [7, 1]])
        assert linear_cka(z_a, z_b) == pytest.approx(9 / (2 * math.sqrt(90)), rel=1e-12)

    def test_is_1_for_codes_that_are_rotated_scaled_and_shifted(self, z):
        assert linear_cka(z, 3 * mapped(z, rotation(4)) - 5) == pytest.approx(1, abs=EXACT)

    def test_does_not_change_where_one_is_rotated_scaled_and_shifted(self, z):
        other = codes(*z.shape, seed=3)
        wanted = linear_cka(z, other)
        assert linear_cka(3 * mapped(z, rotation(4)) - 5, other) == pytest.approx(wanted, abs=EXACT)

    def test_does_change_where_one_is_stretched_along_an_axis(self, z):
        assert linear_cka(z, mapped(z, torch.diag(torch.tensor([9.0, 1, 1, 1]).double()))) < 0.9

    def test_of_independent_codes_is_near_0(self):
        # The expected value of (a'b)² is N for independent samples of variance 1: about D·D·N / (√D·N)² = D / N.
        assert linear_cka(codes(5000, 4), codes(5000, 4, seed=1)) < 5 * 4 / 5000

    def test_compares_different_numbers_of_channels(self):
        z = codes(30, 4)
        assert linear_cka(z, torch.cat([z, z], 1)) == pytest.approx(1, abs=EXACT)

    def test_takes_each_place_of_a_grid_for_a_sample(self):
        z_a, z_b = codes(2, 3, 5, 4), codes(2, 3, 5, 4, seed=1)
        rows = [z.movedim(1, -1).reshape(-1, 3) for z in (z_a, z_b)]
        assert linear_cka(z_a, z_b) == pytest.approx(linear_cka(*rows), abs=EXACT)

    @pytest.mark.parametrize("name", ["z_a", "z_b"])
    def test_of_constant_codes_is_refused(self, name):
        pair = {"z_a": codes(9, 3), "z_b": codes(9, 3)} | {name: torch.full((9, 3), 0.1)}
        with pytest.raises(ValueError, match=f"{name}: all 9 samples are equal, so there is nothing to compare"):
            linear_cka(**pair)


class TestRelativeRepresentation:
    def test_by_hand(self):
        z, anchors = torch.tensor([[3.0, 4]]), torch.tensor([[1.0, 0], [0, 5], [-3, -4], [4, -3]])
        found = relative_representation(z, anchors)
        assert found.tolist() == [pytest.approx([0.6, 0.8, -1, 0], abs=1e-7)]  # float32

    def test_does_not_change_where_codes_are_rotated_and_scaled(self, z):
        wanted = relative_representation(z, z[:2])
        turned = 3 * mapped(z, rotation(4))
        assert torch.allclose(relative_representation(turned, turned[:2]), wanted, atol=EXACT)

    def test_does_change_where_codes_are_shifted(self):
        z = codes(30, 4)
        one, other = relative_representation(z, z[:2]), relative_representation(z - 2, z[:2] - 2)
        assert (one - other).abs().max() > 0.1

    def test_of_a_code_with_itself_is_1(self, z):
        assert torch.allclose(relative_representation(z, z).diagonal(), torch.ones(len(z)).double(), atol=EXACT)

    def test_takes_a_grid_for_one_vector(self):
        z = codes(3, 4, 5, 3)
        assert torch.equal(relative_representation(z, z[:2]), relative_representation(z.flatten(1), z[:2].flatten(1)))

    def test_of_a_code_that_is_zero_is_0(self):
        assert relative_representation(torch.zeros(1, 2), torch.ones(1, 2)).item() == 0

    def test_returns_the_type_that_it_is_given(self):
        assert relative_representation(codes(3, 2).float(), codes(2, 2)).dtype == torch.float32

    @pytest.mark.parametrize(("z", "anchors"), [((5, 4), (2, 3)), ((5, 4), (2, 4, 1, 1)), ((5, 4, 2, 2), (2, 4, 3, 2))])
    def test_refuses_anchors_of_another_encoder(self, z, anchors):
        with pytest.raises(ValueError, match="anchors: wanted codes of the same encoder, each of shape .* got"):
            relative_representation(codes(*z), codes(*anchors))

    @pytest.mark.parametrize("name", ["z", "anchors"])
    def test_refuses_codes_that_are_not_finite(self, name):
        pair = {"z": codes(5, 4), "anchors": codes(2, 4)}
        pair[name][0, 0] = math.nan
        with pytest.raises(ValueError, match=f"{name}: wanted finite numbers"):
            relative_representation(**pair)
