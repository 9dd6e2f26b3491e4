"""`Adam`: against torch.optim's, by hand, and with weights that lie otherwise in memory than their gradients."""

import pytest
import torch

from aecore.training.optimizer import Adam

SHAPES = [(7, 5), (7,), (4, 3, 3, 3)]


def weights(seed=0):
    """One matrix, one vector and one convolution's weights."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


def gradients(step):
    """Of step number `step`; they differ by a factor of a thousand from step to step."""
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator) * 10.0 ** (step % 4 - 3) for shape in SHAPES]


def rate(step):
    return 0.01 / (1 + step)


def by_torch(steps, kind=torch.optim.Adam, clip_norm=None, **options):
    """Return the weights after so many steps of an optimiser of torch's."""
    own = weights()
    optimizer = kind(own, **options)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        for weight, gradient in zip(own, gradients(step), strict=True):
            weight.grad = gradient
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(own, clip_norm)
        optimizer.step()
    return own


def by_ours(steps, **options):
    own = weights()
    adam = Adam(own, **options)
    for step in range(steps):
        adam.step(gradients(step), rate(step))
    return own


def moved(gradient_of_each_step, lr):
    """Return how far one weight is moved by gradients of one number each."""
    weight = torch.zeros(1, requires_grad=True)
    adam = Adam([weight])
    for gradient in gradient_of_each_step:
        adam.step([torch.tensor([gradient])], lr)
    return weight.item()


def test_twenty_steps_are_those_of_torchs_fused_adam_bit_for_bit():
    assert all(torch.equal(a, b) for a, b in zip(by_ours(20), by_torch(20, fused=True), strict=True))


def test_twenty_steps_are_those_of_torchs_plain_adam_to_rounding():
    # The plain one rounds after each of its operations. A step is at most about .01, of which float32 keeps 1e-9,
    # and the weights are about 1, of which it keeps 1e-7.
    ours, theirs = by_ours(20), by_torch(20, foreach=False, fused=False)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_weight_decay_is_that_of_torchs_fused_adamw_bit_for_bit():
    ours, theirs = by_ours(20, weight_decay=0.3), by_torch(20, torch.optim.AdamW, weight_decay=0.3, fused=True)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_weight_decay_shrinks_by_its_share_of_the_rate_and_apart_from_the_gradient():
    """With a gradient of zero a weight of 2 loses .1 · .5 of itself; Adam's own step is zero."""
    own = torch.full((1,), 2.0, requires_grad=True)
    Adam([own], weight_decay=0.5).step([torch.zeros(1)], 0.1)
    assert own.item() == pytest.approx(2 * (1 - 0.1 * 0.5), rel=1e-6)  # float32


# The gradients have norms of about .01, .1, 1 and 10, so that some are clipped and others not.
@pytest.mark.parametrize("norm", [0.05, 5.0])
def test_clipping_is_that_of_torch_nn_utils_bit_for_bit(norm):
    ours, theirs = by_ours(20, clip_norm=norm), by_torch(20, clip_norm=norm, fused=True)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def clipped(given, norm):
    """Return what Adam takes gradients for: a tenth of it is the first running mean after one step."""
    adam = Adam([torch.zeros_like(gradient, requires_grad=True) for gradient in given], clip_norm=norm)
    adam.step(given, 0.1)
    return [mean * 10 for mean in adam.first]


def test_clipping_keeps_the_direction_over_all_weights():
    """(3) and (0, 4) have a common norm of 5; clipped to 1 they are a fifth."""
    found = clipped([torch.tensor([3.0]), torch.tensor([0.0, 4.0])], 1.0)
    assert [values.tolist() for values in found] == [pytest.approx([0.6]), pytest.approx([0, 0.8])]


def test_gradients_below_the_norm_are_not_made_longer():
    assert clipped([torch.tensor([0.5])], 1.0)[0].tolist() == pytest.approx([0.5])


def test_one_gradient_that_two_weights_share_is_clipped_once():
    """Autograd may give the same tensor for both: (3, 4) and (3, 4), of a common norm of √50."""
    shared = torch.tensor([3.0, 4.0])
    found = clipped([shared, shared], 1.0)
    assert [values.tolist() for values in found] == [pytest.approx([3 / 50**0.5, 4 / 50**0.5])] * 2


def test_weights_of_two_types_are_moved_too():
    """A GPU's kernel wants all of one type, so these take the other way."""
    single, double = torch.ones(3, requires_grad=True), torch.ones(2, dtype=torch.float64, requires_grad=True)
    wanted = [w.detach().clone().requires_grad_() for w in (single, double)]
    adam, reference = Adam([single, double]), torch.optim.Adam(wanted, lr=0.1)
    for step in range(3):
        for weight in wanted:
            weight.grad = torch.full_like(weight, 0.5 - step)
        adam.step([weight.grad for weight in wanted], 0.1)
        reference.step()
    assert torch.allclose(single, wanted[0], rtol=1e-6)
    assert torch.allclose(double, wanted[1], rtol=1e-12)


@pytest.mark.parametrize("gradient", [3.0, -3.0, 1e-4])
def test_the_first_step_moves_by_the_rate_against_the_sign(gradient):
    """Both means are corrected to the gradient and its square: lr · g / (√g² + 1e-8)."""
    assert moved([gradient], 0.1) == pytest.approx(-0.1 * gradient / (abs(gradient) + 1e-8), rel=1e-6)  # float32


def test_the_first_step_is_half_the_rate_for_a_gradient_as_small_as_epsilon():
    assert moved([1e-8], 0.1) == pytest.approx(-0.05, rel=1e-5)  # float32, of a square of 1e-16


def test_a_gradient_that_turns_round_moves_back_by_one_nineteenth():
    """After 1 and −1: m = .9·.1 − .1 = −.01, corrected by 1 − .81; v = .001999, corrected by 1 − .998001 to 1.

    So the second step moves by .01 / .19 = 1/19 of the rate, against the first one's whole rate.
    """
    assert moved([1.0, -1.0], 0.1) == pytest.approx(-0.1 + 0.1 / 19, rel=1e-5)  # 1 − .999² loses digits in float32


@pytest.mark.parametrize("weight_layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_changes_nothing(weight_layout, gradient_layout):
    """Gradients that were added up over processes lie in rows, whatever their weights do."""
    own = torch.arange(72.0).reshape(4, 2, 3, 3).contiguous(memory_format=weight_layout).requires_grad_()
    wanted = torch.arange(72.0).reshape(4, 2, 3, 3).requires_grad_()
    adam, reference = Adam([own]), torch.optim.Adam([wanted], lr=0.1, fused=True)
    for step in range(3):
        # Other numbers in each step: of numbers that stay the same Adam sees nothing but the sign.
        wanted.grad = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(step))
        adam.step([wanted.grad.contiguous(memory_format=gradient_layout)], 0.1)
        reference.step()
    assert torch.equal(own, wanted)


@pytest.mark.parametrize("norm", [None, 1e-3])
def test_a_step_leaves_the_gradients_as_they_are(norm):
    given = gradients(0)
    Adam(weights(), clip_norm=norm).step(given, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(given, gradients(0), strict=True))


def test_a_weight_whose_gradient_was_always_zero_stays():
    own = torch.ones(3, requires_grad=True)
    Adam([own]).step([torch.zeros(3)], 0.1)
    assert own.tolist() == [1, 1, 1]


def test_frozen_weights_are_left_out():
    frozen, own = torch.ones(3), torch.ones(2, requires_grad=True)
    Adam([frozen, own]).step([torch.ones(2)], 0.1)
    assert (frozen.tolist(), own.tolist()) == ([1, 1, 1], pytest.approx([0.9, 0.9]))


@pytest.mark.parametrize("given", [[], [torch.ones(3)]], ids=["nothing", "only frozen weights"])
def test_nothing_to_train_is_refused(given):
    with pytest.raises(ValueError, match="model: it has no weight that needs a gradient, so there is nothing to train"):
        Adam(given)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_from_its_state_it_goes_on_as_if_it_had_not_stopped(layout):
    def layed_out(values):
        return [v.detach().contiguous(memory_format=layout).requires_grad_() if v.ndim == 4 else v for v in values]

    own = layed_out(weights())
    first = Adam(own)
    for step in range(5):
        first.step(gradients(step), rate(step))
    # as a checkpoint keeps it: in rows
    kept = {name: value.clone(memory_format=torch.contiguous_format) for name, value in first.state().items()}
    taken = layed_out(own)
    second = Adam(taken)
    second.restore(kept)
    for step in range(5, 10):
        second.step(gradients(step), rate(step))
    assert all(torch.equal(a, b) for a, b in zip(taken, by_ours(10), strict=True))


def test_its_state_counts_the_steps():
    adam = Adam(weights())
    for step in range(3):
        adam.step(gradients(step), 0.1)
    assert [adam.state()[f"steps.{i}"].item() for i in range(3)] == [3, 3, 3]
