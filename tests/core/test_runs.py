"""`runs`: what a fingerprint depends on, what lies in a run's folder, and what a damaged one does."""


import pytest
import torch
from torch import nn

from aecore import losses
from aecore.data import Images, Splits
from aecore.models import Autoencoder, ConvAutoencoder, LinearAutoencoder, init_weights
from aecore.runs.fingerprint import fingerprint
from aecore.training import Plan


def print_of(splits, model=None, plan=None, loss=losses.mse, start="seed"):
    return fingerprint(model or LinearAutoencoder((1, 4, 4), 3), splits, plan or Plan(), loss, start)


class TestFingerprint:
    def test_is_the_same_for_equal_things(self, splits):
        assert print_of(splits) == print_of(splits)

    def test_does_not_depend_on_the_weights_that_will_be_drawn_anew(self, splits):
        one, other = LinearAutoencoder((1, 4, 4), 3), LinearAutoencoder((1, 4, 4), 3)
        init_weights(other, 9)
        assert print_of(splits, one) == print_of(splits, other)

    def test_depends_on_the_weights_that_are_given(self, splits):
        one, other = LinearAutoencoder((1, 4, 4), 3), LinearAutoencoder((1, 4, 4), 3)
        init_weights(other, 9)
        assert print_of(splits, one, init_from="model") != print_of(splits, other, init_from="model")

    @pytest.mark.parametrize(
        "change",
        [
            {"epochs": 11}, {"batch_size": 64}, {"lr": 1e-4}, {"schedule": "cosine"}, {"patience": 3},
            {"precision": "bfloat16"}, {"seed": 1},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_changes_with_every_setting_of_the_plan(self, splits, change):
        assert print_of(splits, plan=Plan(**change)) != print_of(splits)

    @pytest.mark.parametrize("change", [{"validate_every": 2}, {"sizes": ((0, 2), (5, 4))}], ids=str)
    def test_changes_with_the_later_settings_too(self, splits, change):
        assert print_of(splits, plan=Plan(**change)) != print_of(splits)

    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_changes_with_what_is_frozen(self, splits, part):
        model = LinearAutoencoder((1, 4, 4), 3)
        getattr(model, part).requires_grad_(False)
        assert print_of(splits, model) != print_of(splits)

    def test_changes_with_the_code_size(self, splits):
        assert print_of(splits, LinearAutoencoder((1, 4, 4), 4)) != print_of(splits)

    def test_changes_with_a_layer_that_has_no_weights(self, splits):
        halves = [
            (
                nn.Sequential(nn.Flatten(), nn.Linear(16, 3), end),
                nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4))),
            )
            for end in (nn.ReLU(), nn.Identity())
        ]
        assert len({print_of(splits, Autoencoder((1, 4, 4), *half)) for half in halves}) == 2

    @pytest.mark.parametrize("part", ["train", "valid"])
    def test_changes_with_one_pixel(self, splits, noise, part):
        parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
        pixels = parts[part].pixels.clone()
        pixels[0, 0, 0, 0] ^= 1
        parts[part] = type(splits.train)(pixels)
        assert print_of(Splits(**parts)) != print_of(splits)

    def test_does_not_depend_on_the_test_images(self, splits, noise):
        assert print_of(Splits(splits.train, splits.valid, noise(5, 1, 4, 4, seed=9))) == print_of(splits)

    def test_changes_with_the_loss(self, splits):
        assert print_of(splits, loss=losses.mae) != print_of(splits)

    def test_is_the_same_in_every_process(self, python, splits, noise):
        code = (
            "import torch, aecore as ae; from aecore import losses; from aecore.data import Images, Splits\n"
            "from aecore.runs.fingerprint import fingerprint\n"
            "i = Images(torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4))\n"
            "print(fingerprint(ae.models.ConvAutoencoder((1, 4, 4), 3), Splits(i, i, i), ae.Plan(), losses.mse,"
            " 'seed'))"
        )
        assert python(code, PYTHONHASHSEED="1") == python(code, PYTHONHASHSEED="2")

    def test_is_what_it_was_when_the_first_runs_were_published(self):
        """If this fails, published runs are trained again: raise `fingerprints.FORMAT` on purpose, not by accident."""
        images = Images(torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4))
        data, model = Splits(images, images, images), ConvAutoencoder((1, 4, 4), 3)
        found = fingerprint(model, data, Plan(), losses.mse, "seed")
        assert found[:16] == "ec629b7156a3cd57"


OWN_LOSS = """
def loss(x, x_hat):
    return (x - x_hat).abs().mean()
"""
OWN_MODEL = """
from torch import nn
import aecore as ae

class Block(nn.Module):
    factor = 2

    def forward(self, x):
        return self.factor * x

encoder = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), Block())
model = ae.models.Autoencoder((1, 4, 4), encoder, nn.Upsample(scale_factor=2))
"""


class TestOwnCode:
    """Of functions and classes that a reader writes in a notebook."""

    def loss(self, in_a_cell, splits, source):
        return print_of(splits, loss=in_a_cell(source).loss)

    def model(self, in_a_cell, splits, source):
        return print_of(splits, in_a_cell(source).model)

    def test_a_comment_in_a_loss_changes_nothing(self, in_a_cell, splits):
        commented = OWN_LOSS.replace(".mean()", ".mean()  # over all")
        assert self.loss(in_a_cell, splits, commented) == self.loss(in_a_cell, splits, OWN_LOSS)

    def test_the_code_of_a_loss_counts(self, in_a_cell, splits):
        changed = OWN_LOSS.replace("mean", "sum")
        assert self.loss(in_a_cell, splits, changed) != self.loss(in_a_cell, splits, OWN_LOSS)

    def test_a_number_outside_a_loss_counts(self, in_a_cell, splits):
        source = "weight = {}\n" + OWN_LOSS.replace("return", "return weight *")
        assert self.loss(in_a_cell, splits, source.format(2)) != self.loss(in_a_cell, splits, source.format(3))

    def test_a_number_that_a_loss_encloses_counts(self, in_a_cell, splits):
        make = in_a_cell(
            "def make(weight):\n    def loss(x, x_hat):\n        return weight * (x - x_hat).mean()\n    return loss\n"
        ).make
        assert print_of(splits, loss=make(2)) != print_of(splits, loss=make(3))

    def test_the_weights_of_a_network_in_a_loss_count(self, in_a_cell, splits):
        source = (
            "from torch import nn\nnetwork = nn.Linear(1, 1)\nnn.init.constant_(network.weight, {0})\n"
            "nn.init.zeros_(network.bias)\ndef loss(x, x_hat):\n    return network(x - x_hat).mean()\n"
        )
        assert self.loss(in_a_cell, splits, source.format(2)) != self.loss(in_a_cell, splits, source.format(3))

    def test_a_function_that_a_loss_calls_counts(self, in_a_cell, splits):
        source = "def part(d):\n    return d{}\ndef loss(x, x_hat):\n    return part(x - x_hat).mean()\n"
        assert self.loss(in_a_cell, splits, source.format("**2")) != self.loss(in_a_cell, splits, source.format("**4"))

    def test_a_function_that_calls_itself_does_no_harm(self, in_a_cell, splits):
        source = "def loss(x, x_hat, n=1):\n    return loss(x, x_hat, n - 1) if n else (x - x_hat).abs().mean()\n"
        assert len(self.loss(in_a_cell, splits, source)) == 64

    def test_a_lambda_counts_with_its_code(self, in_a_cell, splits):
        source = "loss = lambda x, x_hat: (x - x_hat).abs().{}()\n"
        assert self.loss(in_a_cell, splits, source.format("mean")) != self.loss(in_a_cell, splits, source.format("sum"))

    def test_a_lambda_inside_a_longer_call_is_refused_with_the_way_out(self, in_a_cell, splits):
        cell = in_a_cell("loss = max(None,\n    lambda x, x_hat: (x - x_hat).mean(), key=lambda f: f is not None)\n")
        with pytest.raises(ValueError, match="its code is part of a longer statement; write it as a def"):
            print_of(splits, loss=cell.loss)

    def test_code_that_cannot_be_found_is_refused_with_the_way_out(self, splits):
        space = {"__name__": "nowhere"}
        exec("def loss(x, x_hat): return (x - x_hat).mean()", space)
        with pytest.raises(ValueError, match="loss: its code cannot be found; define it in a cell or file"):
            print_of(splits, loss=space["loss"])

    def test_a_class_from_a_notebook_has_a_fingerprint(self, in_a_cell, splits):
        assert len(self.model(in_a_cell, splits, OWN_MODEL)) == 64

    def test_a_comment_in_a_class_changes_nothing(self, in_a_cell, splits):
        commented = OWN_MODEL.replace("factor = 2", "factor = 2  # twice\n")
        assert self.model(in_a_cell, splits, commented) == self.model(in_a_cell, splits, OWN_MODEL)

    @pytest.mark.parametrize(("old", "new"), [("self.factor * x", "self.factor + x"), ("factor = 2", "factor = 3")])
    def test_the_code_of_a_class_counts(self, in_a_cell, splits, old, new):
        changed = OWN_MODEL.replace(old, new)
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, OWN_MODEL)

    def test_the_code_of_a_class_that_it_is_made_from_counts(self, in_a_cell, splits):
        derived = OWN_MODEL.replace("\nencoder =", "\nclass Late(Block):\n    pass\n\nencoder =")
        derived = derived.replace("Block())", "Late())")
        changed = derived.replace("factor = 2", "factor = 3")
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, derived)

    def test_a_class_of_settings_alone_counts(self, in_a_cell, splits):
        """Without a method, Python cannot tell which cell it was written in."""
        source = OWN_MODEL.replace("\nencoder =", "\nclass Late(Block):\n    factor = {}\n\nencoder =")
        source = source.replace("Block())", "Late())")
        assert self.model(in_a_cell, splits, source.format(4)) != self.model(in_a_cell, splits, source.format(5))

    @pytest.mark.parametrize(("old", "new"), [("0.2", "0.3"), ("[4, 2]", "[4, 3]"), ("[1.0]", "[2.0]"), ("eye", "tri")])
    def test_what_a_constructor_was_given_counts(self, in_a_cell, splits, old, new):
        """It comes from outside the class, so the code of the class does not show it."""
        constructor = """
    def __init__(self, factor, widths, mean, table):
        super().__init__()
        self.factor, self.widths, self.table = factor, widths, table
        self.register_buffer("mean", mean, persistent=False)
"""
        given = "0.2, [4, 2], torch.tensor([1.0]), numpy.eye(2)"
        source = "import numpy, torch\n" + OWN_MODEL.replace("    factor = 2\n", constructor)
        source = source.replace("Block()", f"Block({given})")
        changed = source.replace(given, given.replace(old, new))
        assert self.model(in_a_cell, splits, source) == self.model(in_a_cell, splits, source)
        assert self.model(in_a_cell, splits, changed) != self.model(in_a_cell, splits, source)

    @pytest.mark.parametrize("inside", ["factor * x", "[factor * value for value in [x]][0]", "(lambda: factor * x)()"])
    def test_a_number_outside_a_class_counts(self, in_a_cell, splits, inside):
        source = "factor = {}\n" + OWN_MODEL.replace("self.factor * x", inside)
        assert self.model(in_a_cell, splits, source.format(2)) != self.model(in_a_cell, splits, source.format(3))

    def test_a_function_that_a_class_calls_counts(self, in_a_cell, splits):
        source = "def part(x):\n    return {} * x\n" + OWN_MODEL.replace("self.factor * x", "part(x)")
        assert self.model(in_a_cell, splits, source.format(2)) != self.model(in_a_cell, splits, source.format(3))

    def test_a_name_outside_that_is_only_an_attribute_inside_does_not_count(self, in_a_cell, splits):
        source = "factor = {}\n" + OWN_MODEL  # which reads self.factor, another thing
        assert self.model(in_a_cell, splits, source.format(2)) == self.model(in_a_cell, splits, source.format(3))

    def test_what_was_trained_under_the_name_of_an_attribute_does_not_count(self, in_a_cell, splits):
        """Else the same cell, run once more, would not find its own run."""
        source = OWN_MODEL.replace("factor = 2", "encoder = 2").replace("self.factor", "self.encoder")
        cell = in_a_cell(source)
        before = print_of(splits, cell.model)
        cell.encoder[0].weight.data += 1
        assert print_of(splits, cell.model) == before

    def test_functions_that_call_each_other_do_no_harm(self, in_a_cell, splits):
        source = (
            "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)\n"
            "def loss(x, x_hat):\n    return (x - x_hat).mean() * even(2)\n"
        )
        assert len(self.loss(in_a_cell, splits, source)) == 64

    def test_a_layer_that_knows_the_one_around_it_does_no_harm(self, in_a_cell, splits):
        source = OWN_MODEL + "object.__setattr__(encoder[1], 'around', encoder)\n"
        assert len(self.model(in_a_cell, splits, source)) == 64
