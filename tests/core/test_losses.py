"""`losses`: three of them by hand on 2×2 images, and how they are found."""

import functools
import math

import pytest
import torch
from torch import nn

from aecore import losses
from aecore.objectives import Classification

X = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
X_HAT = torch.tensor([0.5, 0.5, 0.0, 0.75]).reshape(1, 1, 2, 2)


def test_mse_by_hand():
    assert losses.mse(X, X_HAT).item() == (0.25 + 0.25 + 0 + 0.0625) / 4


def test_mae_by_hand():
    assert losses.mae(X, X_HAT).item() == (0.5 + 0.5 + 0 + 0.25) / 4


def test_bce_by_hand():
    wanted = -(math.log(0.5) + math.log(0.5) + math.log(1) + math.log(0.75)) / 4
    assert losses.bce(X, X_HAT).item() == pytest.approx(wanted, rel=1e-6)  # float32


def test_a_loss_has_a_gradient_for_the_reconstruction():
    x_hat = X_HAT.clone().requires_grad_()
    losses.mse(X, x_hat).backward()
    assert torch.equal(x_hat.grad, 2 * (X_HAT - X) / 4)


def test_a_loss_is_found_by_its_name():
    assert losses.get("mae") is losses.mae


def test_a_function_is_its_own_loss():
    def mine(x, x_hat):
        return (x - x_hat).abs().max()

    assert losses.get(mine) is mine


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"loss: unknown name 'msee'\. Did you mean 'mse'\? Known: mse, mae, bce"):
        losses.get("msee")


@pytest.mark.parametrize("loss", [3, None, ["mse"]])
def test_something_else_than_a_name_is_refused_as_one(loss):
    with pytest.raises(ValueError, match="loss: unknown name"):
        losses.get(loss)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_reconstructions_of_another_shape_are_refused_with_both_shapes(loss):
    """torch would repeat the grey one for each colour, and most such losses fall as if nothing were wrong."""
    with pytest.raises(ValueError, match=r"images' shape \(2, 3, 4, 4\), the model gave \(2, 1, 4, 4\)"):
        losses.LOSSES[loss](torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (0.5, 1.5)])
def test_bce_of_values_that_are_no_probabilities_is_refused_with_the_way_out(low, high):
    with pytest.raises(ValueError, match=rf"'bce' wants .* gave {low} to {high}. End its decoder with nn.Sigmoid"):
        losses.bce(X, torch.tensor([low, high, high, low]).reshape(1, 1, 2, 2))


def test_bce_of_nan_is_nan_so_that_the_loop_tells_of_the_divergence():
    assert losses.bce(X, torch.full((1, 1, 2, 2), math.nan)).isnan()


def test_an_objective_is_sent_to_its_own_argument():
    with pytest.raises(ValueError, match=r"loss: wanted a name or a function, got Classification\(\); .* objective="):
        losses.get(Classification())


@pytest.mark.parametrize("loss", [nn.MSELoss, Classification])
def test_a_class_is_refused(loss):
    with pytest.raises(ValueError, match="loss: wanted a name or a function, got <class"):
        losses.get(loss)


@pytest.mark.parametrize("loss", [nn.SmoothL1Loss(), functools.partial(losses.mse)])
def test_a_callable_without_a_name_is_refused_with_the_way_out(loss):
    with pytest.raises(ValueError, match=r"loss: wanted a name or a function, got .* write def my_loss"):
        losses.get(loss)
