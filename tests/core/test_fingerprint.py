"""Fingerprints and measurement keys: when two trainings, or two measurements, are the same."""

import dataclasses
import functools
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import aecore as ae
from aecore import losses, metrics, objectives, runs
from aecore.data import Images, Splits
from aecore.models import (
    Autoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    PCAStartAutoencoder,
    StridedConvAutoencoder,
    UpsamplingAutoencoder,
    init_weights,
)
from aecore.models.frozen import Frozen
from aecore.models.principal import PrincipalComponents
from aecore.objectives import FeatureLoss, Objective, Reconstruction
from aecore.runs.describe import _as_torch_2_14_has_it, code_of, describe, describe_objective, hash_of_weights
from aecore.runs.fingerprint import digests_of, fingerprint, key_of, parts_of
from aecore.training import History, Plan

SHAPE = (1, 4, 4)


def print_of(splits, model=None, plan=None, loss=losses.mse, start="seed"):
    model = model or LinearAutoencoder(SHAPE, 3)
    return fingerprint(parts_of(model, splits, plan or Plan(), Reconstruction(loss), start))


def run_of(model, name="00-a", fingerprint="f" * 64):
    return runs.Run(
        name=name, fingerprint=fingerprint, model=model, plan=Plan(epochs=2), objective="mse",
        history=History(), data={}, date="2026-11-22 14:03", seconds=2.0, machine="CPU", versions={},
    )  # fmt: skip


class TestFingerprint:
    def test_is_the_same_for_equal_things(self, splits):
        assert print_of(splits) == print_of(splits)

    def test_does_not_depend_on_the_weights_that_will_be_drawn_anew(self, splits):
        one, other = LinearAutoencoder(SHAPE, 3), LinearAutoencoder(SHAPE, 3)
        init_weights(other, 9)
        assert print_of(splits, one) == print_of(splits, other)

    def test_depends_on_where_the_weights_start(self, splits):
        assert print_of(splits, start={"encoder": "a" * 64}) != print_of(splits, start={"encoder": "b" * 64})

    @pytest.mark.parametrize(
        "change",
        [
            {"epochs": 11}, {"batch_size": 64}, {"lr": 1e-4}, {"schedule": "cosine"}, {"patience": 3},
            {"precision": "bfloat16"}, {"seed": 1}, {"validate_every": 2}, {"sizes": ((0, 2), (5, 4))},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_changes_with_every_setting_of_the_plan(self, splits, change):
        assert print_of(splits, plan=Plan(**change)) != print_of(splits)

    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_changes_with_what_is_frozen(self, splits, part):
        model = LinearAutoencoder(SHAPE, 3)
        getattr(model, part).requires_grad_(False)
        assert print_of(splits, model) != print_of(splits)

    def test_changes_with_the_code_size(self, splits):
        assert print_of(splits, LinearAutoencoder(SHAPE, 4)) != print_of(splits)

    def test_changes_with_a_layer_that_has_no_weights(self, splits):
        halves = [
            (
                nn.Sequential(nn.Flatten(), nn.Linear(16, 3), end),
                nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, SHAPE)),
            )
            for end in (nn.ReLU(), nn.Identity())
        ]
        assert len({print_of(splits, Autoencoder(SHAPE, *half)) for half in halves}) == 2

    @pytest.mark.parametrize("part", ["train", "valid"])
    def test_changes_with_one_pixel(self, splits, part):
        pixels = getattr(splits, part).pixels.clone()
        pixels[0, 0, 0, 0] ^= 1
        assert print_of(dataclasses.replace(splits, **{part: Images(pixels)})) != print_of(splits)

    @pytest.mark.parametrize("part", ["train", "valid"])
    def test_changes_with_a_pixel_that_is_changed_in_place(self, splits, part):
        before = print_of(splits)
        getattr(splits, part).pixels[0, 0, 0, 0] ^= 1
        assert print_of(splits) != before

    def test_does_not_depend_on_the_test_images(self, splits, noise):
        assert print_of(Splits(splits.train, splits.valid, noise(5, *SHAPE, seed=9))) == print_of(splits)

    def test_changes_with_the_loss(self, splits):
        assert print_of(splits, loss=losses.mae) != print_of(splits)

    def test_does_not_depend_on_the_order_of_a_set(self, in_a_cell):
        """Words in a set have another order in each process; whole numbers have the order in which they came."""
        one, other = {0, 8}, {8, 0}
        assert list(one) != list(other)
        told = [code_of(in_a_cell(f"w = {w}\ndef loss(x, x_hat):\n    return w\n").loss) for w in ("{0, 8}", "{8, 0}")]
        assert told[0] == told[1]

    def test_of_one_training_hashes_each_set_of_images_once(self, splits, monkeypatch):
        hashed = []
        found = Images.fingerprint
        monkeypatch.setattr(Images, "fingerprint", property(lambda self: hashed.append(self) or found.fget(self)))
        ae.fit(LinearAutoencoder(SHAPE, 3), splits, Plan(epochs=1))
        assert len(hashed) == 2  # to train on and to validate


PAGES = sorted((Path(ae.__file__).parent / "published").glob("*/runs.jsonl"))
PUBLISHED = [json.loads(line) for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
DIGIT, PHOTO, SMALL_PHOTO = (1, 28, 28), (3, 96, 96), (3, 24, 24)
DECODERS = {
    "transposed-2": ("transposed-2", 144, 0), "transposed-3": ("transposed-3", 64, 0),
    "transposed-4": ("transposed-4", 36, 0), "transposed-deep": ("transposed-3", 19, 1), "nearest": ("nearest", 16, 0),
    "bilinear": ("bilinear", 16, 0), "shuffle": ("shuffle", 16, 0),
}  # fmt: skip
# The standard deviations along the first component and the last one that is used do not count in a part's digest.
SOME_COMPONENTS = PrincipalComponents(torch.zeros(1728), torch.eye(32, 1728), torch.ones(32))
DEEP = {"hidden": (256,), "batch_norm": True, "sigmoid": True}
WIDE = {"hidden": (1024, 512, 256), "batch_norm": True, "sigmoid": True}
MODELS = {
    **{f"01-linear-{k}": lambda k=k: LinearAutoencoder(DIGIT, k) for k in (32, 64, 128, 256)},
    "02-s2": ConvAutoencoder,
    "02-dense-32": lambda: DenseAutoencoder(DIGIT, 32, hidden=(72,)),
    **{f"02-strided-conv-{k}": lambda k=k: StridedConvAutoencoder(DIGIT, k) for k in (32, 64, 128)},
    **{f"03-{name}": lambda o=o: UpsamplingAutoencoder(DIGIT, 128, *o) for name, o in DECODERS.items()},
    "03-ties-cut": lambda: UpsamplingAutoencoder(DIGIT, 128, "transposed-4", 16),
    **{f"04-s4-mnist-{k}": lambda k=k: DenseAutoencoder(DIGIT, k) for k in (1, 2, 4, 10, 32)},
    **{f"04-s4-stl10-{k}": lambda k=k: DenseAutoencoder(PHOTO, k) for k in (1, 2, 4, 10, 32)},
    **{f"04-conv-mnist-{k}": lambda k=k: StridedConvAutoencoder(DIGIT, k, **DEEP) for k in (1, 2, 4, 10, 32)},
    **{f"04-conv-stl10-{k}": lambda k=k: StridedConvAutoencoder(SMALL_PHOTO, k, **DEEP) for k in (1, 2, 4, 10, 32)},
    **{f"04-dense-mnist-{k}": lambda k=k: DenseAutoencoder(DIGIT, k, **WIDE) for k in (1, 2, 4, 10, 32)},
    **{
        f"04-pca-start-stl10-{k}": lambda k=k: PCAStartAutoencoder(SMALL_PHOTO, k, SOME_COMPONENTS)
        for k in (1, 2, 4, 10, 32)
    },
}  # fmt: skip


class TestPublishedRuns:
    """If one of these fails, runs of the book are trained again: raise `FORMAT` on purpose, not by accident."""

    def test_there_are_some(self):
        assert len(PUBLISHED) > 150

    def test_the_fingerprint_is_what_it_was_when_the_first_were_published(self):
        images = Images(torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4))
        found = print_of(Splits(images, images, images), ConvAutoencoder(SHAPE, 3))
        assert found[:16] == "ec629b7156a3cd57"

    @pytest.mark.parametrize("part", ["format", "loss", "start"])
    def test_format_loss_and_start_are_told_as_they_were(self, part, splits):
        told = parts_of(LinearAutoencoder(SHAPE, 3), splits, Plan(), Reconstruction(), "seed")[part]
        # Those whose ties are cut start from weights that the chapter makes, and those in a second phase from another
        # run; judges are no autoencoders, and chapters 6, 8, 9 and 10 have objectives of their own.
        other = {
            "format": (),
            "loss": ("-judge-", "06-s0-", "06-fully-both", "08-feature", "-classifier-", "-feature-0.0", "-decoder-",
                     "-joint-", "-alternate-", "-convolutions-", "-feed_forward-", "-distilled-", "09-small-fresh-",
                     "09-small-tuned-", "-vae-", "10-codec-", "10-prior-", "10-digits-", "10-cifar-"),
            "start": ("03-ties-cut", "-then-", "07-resnet18-frozen", "-tuned-", "-second-", "-progressive-",
                      "-alternate-", "-feature-0.0", "-lmbda-"),
        }[part]
        lines = [line for line in PUBLISHED if not any(words in line["name"] for words in other)]
        assert {line["parts"][part] for line in lines} == {fingerprint({part: told})[:16]}

    def test_every_plan_is_told_as_it_was(self):
        told = {line["name"]: fingerprint({"plan": Plan(**line["plan"]).as_dict()})[:16] for line in PUBLISHED}
        assert told == {line["name"]: line["parts"]["plan"] for line in PUBLISHED}

    @pytest.mark.parametrize("name", MODELS)
    def test_a_model_is_told_as_it_was(self, name):
        line = next(line for line in PUBLISHED if line["name"] == name or line["name"].startswith(f"{name}-0"))
        model = MODELS[name]()
        assert digests_of({"model": describe(model)}, model)["model"] == line["parts"]["model"]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("BatchNorm2d(8, eps=1e-05, affine=True, track", "BatchNorm2d(8, eps=1e-05, affine=True, bias=True, track"),
            ("InstanceNorm2d(8, affine=False, track", "InstanceNorm2d(8, affine=False, bias=False, track"),
            ("LayerNorm((3, 4), elementwise_affine=True)", "LayerNorm((3, 4), elementwise_affine=True, bias=True)"),
            ("GroupNorm(2, 4, affine=True)", "GroupNorm(2, 4, affine=True, bias=True)"),
            ("RMSNorm((3,), elementwise_affine=True)", "RMSNorm((3,), elementwise_affine=True)"),
            ("BatchNorm2d(8, affine=True, bias=True)", "BatchNorm2d(8, affine=True, bias=True)"),
            ("LayerNorm((3,), elementwise_affine=True, bias=False)",) * 2,
        ],
    )  # fmt: skip
    def test_a_normalisation_is_told_in_the_words_of_torch_2_14(self, before, after):
        """Colab's 2.11 says nothing of its bias."""
        shown = type("Shown", (nn.Module,), {"__repr__": lambda self: f"(0): {before}\n(1): {before}"})
        assert _as_torch_2_14_has_it(repr(shown())) == f"(0): {after}\n(1): {after}"

    def test_the_weights_that_a_training_starts_from_are_told_as_they_were(self):
        model = nn.Linear(2, 1)
        nn.init.constant_(model.weight, 0.5)
        nn.init.zeros_(model.bias)
        # SHA-256 of b"bias" + four zero bytes + b"weight" + twice the little-endian float32 0.5, from sha256sum.
        assert hash_of_weights(model) == "410d9b8ab16470023da84c9851772240505f291b759c3d13c41011518c7cfb0d"


OWN_LOSS = """
def loss(x, x_hat):
    return (x - x_hat).abs().mean()
"""
USES_W = """
def loss(x, x_hat):
    return use(w, x - x_hat)
def use(w, d):
    return d.mean()
"""
# What a loss may take from around it, as Python code, and something else of the same kind.
VALUES = {
    "number": ("2", "3"),
    "words": ("'a'", "'b'"),
    "bytes": ("b'a'", "b'b'"),
    "tensor": ("torch.tensor([1.0, 2.0])", "torch.tensor([1.0, 3.0])"),
    "tensor's type": ("torch.tensor([0, 0])", "torch.tensor([0, 0], dtype=torch.int32)"),
    "tensor's shape": ("torch.zeros(2, 1)", "torch.zeros(1, 2)"),
    "bfloat16": ("torch.tensor([1.0, 2.0]).bfloat16()", "torch.tensor([1.0, 3.0]).bfloat16()"),
    "array": ("numpy.arange(3)", "numpy.arange(3)[::-1]"),
    "array of objects": ("numpy.array(['a', None], dtype=object)", "numpy.array(['b', None], dtype=object)"),
    "masked array": ("numpy.ma.array([1, 2], mask=[0, 1])", "numpy.ma.array([1, 2], mask=[1, 0])"),
    "NumPy number": ("numpy.float32(2)", "numpy.float32(3)"),
    "list": ("[1, [2, 3]]", "[1, [2, 4]]"),
    "tuple with a tensor": ("(1, torch.ones(1))", "(1, torch.zeros(1))"),
    "dict": ("{'a': {'b': 1}}", "{'a': {'b': 2}}"),
    "dict's keys": ("{'a': 1}", "{'b': 1}"),
    "set": ("{1, 2}", "{1, 3}"),
    "ordered dict": ("collections.OrderedDict(a=1)", "collections.OrderedDict(a=2)"),
    "default dict": ("collections.defaultdict(int, a=1)", "collections.defaultdict(int, a=2)"),
    "deque": ("collections.deque([1])", "collections.deque([2])"),
    "named tuple": ("collections.namedtuple('P', 'a')(1)", "collections.namedtuple('P', 'a')(2)"),
    "namespace": ("types.SimpleNamespace(a=[1])", "types.SimpleNamespace(a=[2])"),
    "fraction": ("fractions.Fraction(1, 2)", "fractions.Fraction(1, 3)"),
    "path": ("pathlib.Path('a')", "pathlib.Path('b')"),
    "data type": ("torch.float32", "torch.float64"),
    "partial": ("functools.partial(torch.sum, dim=0)", "functools.partial(torch.sum, dim=1)"),
    "method of a tensor": ("torch.ones(1).add", "torch.zeros(1).add"),
    "method of a dict": ("{'a': 1}.get", "{'a': 2}.get"),
    "function of torch": ("torch.abs", "torch.square"),
    "function of Python": ("math.sin", "math.cos"),
    "generator of torch": ("torch.Generator().manual_seed(1)", "torch.Generator().manual_seed(2)"),
    "random numbers": ("numpy.random.default_rng(1)", "numpy.random.default_rng(2)"),
    "model of scikit-learn": ("fitted([[0.0], [1.0]])", "fitted([[0.0], [2.0]])"),
    "function of NumPy": ("numpy.mean", "numpy.median"),
    "distribution": ("torch.distributions.Normal(0.0, 1.0)", "torch.distributions.Normal(0.0, 2.0)"),
    "dataclass of aecore": ("ae.Plan(lr=1e-3)", "ae.Plan(lr=1e-4)"),
    "images": ("ae.Images(torch.zeros(1, 1, 2, 2).byte())", "ae.Images(torch.ones(1, 1, 2, 2).byte())"),
    "weights of a network": ("filled(1.0)", "filled(2.0)"),
    "a list of networks": ("[filled(1.0)]", "[filled(2.0)]"),
    "lambda": ("lambda d: d.abs()", "lambda d: d.square()"),
    "made function": ("scaled(2)", "scaled(3)"),
    "wrapped function of aecore": ("wrapped(2)(ae.losses.mse)", "wrapped(3)(ae.losses.mse)"),
    "cached function": ("functools.lru_cache(lambda d: d.abs())", "functools.lru_cache(lambda d: d.square())"),
    "mapped function": ("torch.vmap(torch.dot, in_dims=(0, None))", "torch.vmap(torch.dot, in_dims=(None, 0))"),
    "mapped function of aecore": ("torch.vmap(ae.losses.mse)", "ae.losses.mse"),
    "object": ("Scale(2)", "Scale(3)"),
    "object with slots": ("Slots(2)", "Slots(3)"),
    "bound method": ("Scale(2).apply", "Scale(3).apply"),
    "member of an enum": ("Kind.A", "Kind.B"),
}  # fmt: skip
WAYS = {
    "default argument": "def loss(x, x_hat, w=w):\n    return w\n",
    "keyword default": "def loss(x, x_hat, *, w=w):\n    return w\n",
    "enclosed": "def make(w):\n    def loss(x, x_hat):\n        return w\n    return loss\nloss = make(w)\n",
    "attribute": "def loss(x, x_hat):\n    return loss.w\nloss.w = w\n",
    "called function": "def part():\n    return w\ndef loss(x, x_hat):\n    return part()\n",
}
TOOLS = """
import collections, enum, fractions, functools, math, pathlib, types
import numpy, torch
from torch import nn
import aecore as ae
def filled(value):
    network = nn.Linear(1, 1)
    for weight in network.parameters():
        nn.init.constant_(weight, value)
    return network
def scaled(factor):
    def scale(d):
        return factor * d
    return scale
def wrapped(factor):
    def wrap(function):
        @functools.wraps(function)
        def scale(*batches):
            return factor * function(*batches)
        return scale
    return wrap
def fitted(values):
    from sklearn.decomposition import PCA
    return PCA(1, svd_solver="full").fit(values)
class Scale:
    def __init__(self, factor):
        self.factor = factor
    def apply(self, d):
        return self.factor * d
class Slots:
    __slots__ = ("factor",)
    def __init__(self, factor):
        self.factor = factor
class Kind(enum.Enum):
    A = 1
    B = 2
"""


class TestOwnLoss:
    """Of functions that a reader writes in a notebook."""

    def told(self, in_a_cell, source):
        return code_of(in_a_cell(source).loss)

    def test_counts_in_the_fingerprint(self, in_a_cell, splits):
        sources = OWN_LOSS, OWN_LOSS.replace("mean", "sum")
        assert len({print_of(splits, loss=in_a_cell(source).loss) for source in sources}) == 2

    @pytest.mark.parametrize(
        "same",
        [
            OWN_LOSS.replace(".mean()", ".mean()  # over all"),
            OWN_LOSS.replace("return", '"""Mean absolute error."""\n    return'),
            OWN_LOSS.replace("return", "\n    return").replace("(x, x_hat)", "( x,x_hat )"),
        ],
        ids=["a comment", "a docstring", "the layout"],
    )
    def test_what_is_no_code_changes_nothing(self, in_a_cell, same):
        assert self.told(in_a_cell, same) == self.told(in_a_cell, OWN_LOSS)

    @pytest.mark.parametrize("kind", VALUES)
    def test_a_value_from_around_it_counts(self, in_a_cell, kind):
        source = f"{TOOLS}w = VALUE\n{USES_W}"
        one, same, other = (self.told(in_a_cell, source.replace("VALUE", VALUES[kind][i])) for i in (0, 0, 1))
        assert one == same
        assert one != other

    @pytest.mark.parametrize("kind", ["number", "tensor", "list"])
    @pytest.mark.parametrize("way", WAYS)
    def test_a_value_counts_in_whatever_way_it_comes_in(self, in_a_cell, way, kind):
        one, other = (
            self.told(in_a_cell, f"{TOOLS}w = {value}\n{WAYS[way]}") for value in VALUES[kind]
        )  # fmt: skip
        assert one != other

    @pytest.mark.parametrize(
        "inside", ["w * x.sum()", "[w * v for v in [x]][0]", "(lambda: w * x)()", "f'{w}'", "type('A', (), {'w': w})"]
    )
    def test_a_value_counts_wherever_it_is_used(self, in_a_cell, inside):
        source = "w = {}\ndef loss(x, x_hat):\n    return " + inside.replace("{", "{{").replace("}", "}}") + "\n"
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    def test_a_value_counts_in_a_class_inside(self, in_a_cell):
        source = "w = {}\ndef loss(x, x_hat):\n    class Inner:\n        factor = w\n    return Inner.factor\n"
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    def test_a_name_outside_that_is_only_an_attribute_inside_does_not_count(self, in_a_cell):
        source = "mean = {}\n" + OWN_LOSS  # which calls .mean(), another thing
        assert self.told(in_a_cell, source.format(2)) == self.told(in_a_cell, source.format(3))

    @pytest.mark.parametrize(("old", "new"), [("self.factor * d", "self.factor + d"), ("n = 2", "n = 3")])
    def test_the_code_of_an_object_s_class_counts(self, in_a_cell, old, new):
        decorator = "n = 2\ndef decorate(f):\n    def g(*a):\n        return n * f(*a)\n    return g\n"
        tools = TOOLS.replace("class Scale", f"{decorator}class Scale").replace(
            "    def apply", "    @decorate\n    def apply"
        )
        source = f"{tools}w = Scale(2)\n{USES_W}"
        assert self.told(in_a_cell, source.replace(old, new)) != self.told(in_a_cell, source)

    def test_two_lambdas_in_one_line_are_told_apart(self, in_a_cell):
        cell = in_a_cell("both = [lambda x, x_hat: (x - x_hat).mean(), lambda x, x_hat: (x - x_hat).sum()]\n")
        assert code_of(cell.both[0]) != code_of(cell.both[1])

    def test_a_lambda_in_a_lambda_is_told_without_it(self, in_a_cell):
        cell = in_a_cell("outer = lambda: (lambda x, x_hat: x)\nloss = lambda x, x_hat: x\n")
        assert code_of(cell.outer()) == code_of(cell.loss)

    def test_a_lambda_inside_a_longer_call_is_told(self, in_a_cell):
        source = "loss = max(None,\n    lambda x, x_hat: (x - x_hat).mean(), key=lambda f: f is not None)\n"
        assert self.told(in_a_cell, source) != self.told(in_a_cell, source.replace("mean", "sum"))

    def test_a_decorator_s_argument_counts(self, in_a_cell):
        source = "import torch\nflag = {}\n@torch.set_grad_enabled(flag)\ndef loss(x, x_hat):\n    return x\n"
        assert self.told(in_a_cell, source.format(True)) != self.told(in_a_cell, source.format(False))

    def test_an_argument_of_a_decorator_inside_a_function_counts(self, in_a_cell):
        source = (
            "import torch\ndef make(flag):\n    @torch.set_grad_enabled(flag)\n    def loss(x, x_hat):\n"
            "        return x\n    return loss\nloss = make({})\n"
        )
        assert self.told(in_a_cell, source.format(True)) != self.told(in_a_cell, source.format(False))

    def test_functions_that_call_themselves_or_each_other_do_no_harm(self, in_a_cell):
        source = (
            "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)\n"
            "def loss(x, x_hat):\n    return loss and (x - x_hat).mean() * even(2)\n"
        )
        assert self.told(in_a_cell, source) != self.told(in_a_cell, source.replace("n > 0", "n > 1"))

    def test_values_in_a_circle_do_no_harm(self, in_a_cell):
        source = "w = [{}]\nw.append(w)\n" + USES_W
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    def test_the_device_does_not_count(self, in_a_cell):
        source = "import torch\nplace = torch.device('{}')\ndef loss(x, x_hat):\n    return x.to(place)\n"
        assert self.told(in_a_cell, source.format("cpu")) == self.told(in_a_cell, source.format("cuda"))

    def test_the_weights_of_the_model_that_is_trained_do_not_count(self, in_a_cell):
        """Else the same cell, run once more, would not find its own run."""
        source = TOOLS + "model = filled(1.0)\nlayer = model.weight\n"
        cell = in_a_cell(source + "def loss(x, x_hat):\n    return model(x) + layer\n")
        before = code_of(cell.loss, cell.model)
        cell.model.weight.data += 1
        assert code_of(cell.loss, cell.model) == before


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module of a reader's own, and return it as a new session imports it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source, name="own_helpers"):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        # Two files of one size, written in the same second, are one file to Python's cache.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return importlib.import_module(name)

    return make


HELP = "factor = 2\nother = 5\ndef scale(d):\n    return factor * d\ndef unused():\n    return other\n"
USES = {
    "the function": "from own_helpers import scale\ndef loss(x, x_hat):\n    return scale(x)\n",
    "the module": "import own_helpers\ndef loss(x, x_hat):\n    return own_helpers.scale(x)\n",
    "the module inside": "def loss(x, x_hat):\n    import own_helpers\n    return own_helpers.scale(x)\n",
    "the function inside": "def loss(x, x_hat):\n    from own_helpers import scale\n    return scale(x)\n",
    "the module as a value": "import own_helpers as h\ndef loss(x, x_hat):\n    return vars(h)['scale'](x)\n",
}


class TestOwnModule:
    """Of a reader's own .py file."""

    def told(self, write, in_a_cell, uses, help):
        write(help)
        return code_of(in_a_cell(USES[uses]).loss)

    @pytest.mark.parametrize(("old", "new"), [("factor * d", "factor + d"), ("factor = 2", "factor = 3")])
    @pytest.mark.parametrize("uses", USES)
    def test_an_edit_counts(self, write, in_a_cell, uses, old, new):
        before = self.told(write, in_a_cell, uses, HELP)
        assert self.told(write, in_a_cell, uses, HELP) == before
        assert self.told(write, in_a_cell, uses, HELP.replace(old, new)) != before

    @pytest.mark.parametrize("uses", ["the function", "the module"])
    def test_an_edit_of_what_is_not_used_does_not_count(self, write, in_a_cell, uses):
        changed = HELP.replace("other = 5", "other = 6")
        assert self.told(write, in_a_cell, uses, changed) == self.told(write, in_a_cell, uses, HELP)

    def test_a_value_that_is_set_from_outside_counts(self, write, in_a_cell):
        own = write(HELP)
        loss = in_a_cell(USES["the module"]).loss
        before = code_of(loss)
        own.factor = 3
        assert code_of(loss) != before

    def test_a_module_behind_the_module_counts(self, write, in_a_cell):
        write("rate = 2\n", "own_rates")
        own = write("import own_rates\ndef scale(d):\n    return own_rates.rate * d\n")
        before = code_of(own.scale)
        own.own_rates.rate = 3
        assert code_of(own.scale) != before

    def test_a_file_that_was_changed_after_the_import_is_refused_with_the_way_out(self, write):
        own = write(HELP)
        Path(own.__file__).write_text(HELP.replace("factor * d", "factor + d"))
        with pytest.raises(
            ValueError, match=r"scale: its code in .*own_helpers.py is not what was imported; .*restart"
        ):
            code_of(own.scale)

    def test_an_installed_one_is_told_by_its_name(self):
        assert code_of(functools.wraps) == "functools.wraps"

    def test_one_of_aecore_is_told_by_its_name(self):
        assert code_of(losses.mse) == "aecore.losses.mse"

    def test_a_function_that_aecore_has_made_counts_with_what_it_was_made_from(self):
        three, four = (ae.models.UPSAMPLERS[f"transposed-{kernel}"] for kernel in (3, 4))
        assert code_of(three) != code_of(four)


OWN_MODEL = """
import functools, math
import numpy, torch
from torch import nn
import aecore as ae

class Block(nn.Module):
    factor = 2

    def forward(self, x):
        return self.factor * x

encoder = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), Block())
model = ae.models.Autoencoder((1, 4, 4), encoder, nn.Upsample(scale_factor=2))
"""
CONSTRUCTOR = """
    def __init__(self, given):
        super().__init__()
        self.given = given
"""
# What a layer may be given that is not in its repr, and something else of the same kind.
ATTRIBUTES = {
    "number": ("0.2", "0.3"),
    "list": ("[4, 2]", "[4, 3]"),
    "array": ("numpy.eye(2)", "numpy.tri(2)"),
    "tensor": ("torch.ones(1)", "torch.zeros(1)"),
    "list of tensors": ("[torch.ones(1)]", "[torch.zeros(1)]"),
    "dict of tensors": ("{'a': torch.ones(1)}", "{'a': torch.zeros(1)}"),
    "partial": ("functools.partial(math.pow, 2)", "functools.partial(math.pow, 3)"),
    "function": ("torch.relu", "torch.tanh"),
    "lambda": ("lambda x: 2 * x", "lambda x: 3 * x"),
    "class": ("nn.ReLU", "nn.Tanh"),
}


class TestOwnModel:
    """Of classes that a reader writes in a notebook."""

    def told(self, in_a_cell, source):
        return describe(in_a_cell(source).model)

    def test_counts_in_the_fingerprint(self, in_a_cell, splits):
        sources = OWN_MODEL, OWN_MODEL.replace("factor = 2", "factor = 3")
        assert len({print_of(splits, in_a_cell(source).model) for source in sources}) == 2

    def test_a_comment_changes_nothing(self, in_a_cell):
        commented = OWN_MODEL.replace("factor = 2", "factor = 2  # twice\n")
        assert self.told(in_a_cell, commented) == self.told(in_a_cell, OWN_MODEL)

    @pytest.mark.parametrize(("old", "new"), [("self.factor * x", "self.factor + x"), ("factor = 2", "factor = 3")])
    def test_the_code_of_a_class_counts(self, in_a_cell, old, new):
        assert self.told(in_a_cell, OWN_MODEL.replace(old, new)) != self.told(in_a_cell, OWN_MODEL)

    @pytest.mark.parametrize("kind", ["staticmethod", "classmethod", "property", "functools.cached_property"])
    def test_methods_of_all_kinds_count(self, in_a_cell, kind):
        source = OWN_MODEL.replace(
            "    factor = 2", f"    factor = 2\n    @{kind}\n    def part(*self):\n        return 2"
        )
        assert self.told(in_a_cell, source) != self.told(in_a_cell, source.replace("return 2", "return 3"))

    def test_a_value_of_a_class_that_comes_from_outside_counts(self, in_a_cell):
        source = OWN_MODEL.replace("\nclass", "\nw = 2\nclass").replace("factor = 2", "factor = w")
        assert self.told(in_a_cell, source) != self.told(in_a_cell, source.replace("w = 2", "w = 3"))

    def test_a_method_that_was_replaced_counts(self, in_a_cell):
        source = OWN_MODEL + "def forward(self, x):\n    return {} * x\nBlock.forward = forward\n"
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    @pytest.mark.parametrize("members", ["    pass\n", "    factor = 4\n"], ids=["nothing", "a setting"])
    def test_the_code_of_a_class_that_it_is_made_from_counts(self, in_a_cell, members):
        """Without a method, Python cannot tell which cell a class was written in."""
        source = OWN_MODEL.replace("\nencoder =", f"\nclass Late(Block):\n{members}\nencoder =")
        source = source.replace("Block())", "Late())")
        assert self.told(in_a_cell, source) != self.told(in_a_cell, source.replace("self.factor *", "self.factor +"))

    def test_a_class_of_settings_alone_counts(self, in_a_cell):
        source = OWN_MODEL.replace("\nencoder =", "\nclass Late(Block):\n    factor = {}\n\nencoder =")
        source = source.replace("Block())", "Late())")
        assert self.told(in_a_cell, source.format(4)) != self.told(in_a_cell, source.format(5))

    @pytest.mark.parametrize("kind", ATTRIBUTES)
    def test_what_a_constructor_was_given_counts(self, in_a_cell, kind):
        """It comes from outside the class, so the code of the class does not show it."""
        source = OWN_MODEL.replace("    factor = 2\n", CONSTRUCTOR).replace("Block()", "Block(GIVEN)")
        source = source.replace("self.factor * x", "x")
        one, same, other = (self.told(in_a_cell, source.replace("GIVEN", ATTRIBUTES[kind][i])) for i in (0, 0, 1))
        assert one == same
        assert one != other

    @pytest.mark.parametrize("persistent", [True, False])
    def test_the_values_of_a_buffer_count(self, in_a_cell, persistent):
        source = OWN_MODEL + f"encoder[1].register_buffer('mean', torch.tensor([GIVEN]), persistent={persistent})\n"
        one, other = (self.told(in_a_cell, source.replace("GIVEN", given)) for given in ("1.0", "2.0"))
        assert one != other

    def test_running_statistics_do_not_count(self, in_a_cell):
        """They are drawn anew, as the weights are."""
        source = OWN_MODEL.replace("Block(nn.Module)", "Block(nn.BatchNorm2d)").replace("Block())", "Block(1))")
        cell = in_a_cell(source)
        before = describe(cell.model)
        cell.encoder[1].running_mean += 1
        assert describe(cell.model) == before

    @pytest.mark.parametrize("inside", ["factor * x", "[factor * value for value in [x]][0]", "(lambda: factor * x)()"])
    def test_a_number_outside_a_class_counts(self, in_a_cell, inside):
        source = "factor = {}\n" + OWN_MODEL.replace("self.factor * x", inside)
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    def test_a_function_that_a_class_calls_counts(self, in_a_cell):
        source = "def part(x):\n    return {} * x\n" + OWN_MODEL.replace("self.factor * x", "part(x)")
        assert self.told(in_a_cell, source.format(2)) != self.told(in_a_cell, source.format(3))

    def test_a_name_outside_that_is_only_an_attribute_inside_does_not_count(self, in_a_cell):
        source = "factor = {}\n" + OWN_MODEL  # which reads self.factor, another thing
        assert self.told(in_a_cell, source.format(2)) == self.told(in_a_cell, source.format(3))

    def test_what_was_trained_under_the_name_of_an_attribute_does_not_count(self, in_a_cell):
        """Else the same cell, run once more, would not find its own run."""
        source = OWN_MODEL.replace("factor = 2", "encoder = 2").replace("self.factor", "self.encoder")
        cell = in_a_cell(source)
        before = describe(cell.model)
        cell.encoder[0].weight.data += 1
        assert describe(cell.model) == before

    def test_a_layer_that_knows_the_model_around_it_does_no_harm(self, in_a_cell):
        cell = in_a_cell(OWN_MODEL + "object.__setattr__(encoder[1], 'around', model)\n")
        before = describe(cell.model)
        cell.encoder[0].weight.data += 1
        assert describe(cell.model) == before

    def test_a_class_of_dataclass_kind_is_told(self, in_a_cell):
        source = OWN_MODEL + (
            "import dataclasses\n@dataclasses.dataclass\nclass Settings:\n    rate: int = GIVEN\n"
            "    more: list = dataclasses.field(default_factory=list)\nencoder[1].settings = Settings\n"
        )
        one, other = (self.told(in_a_cell, source.replace("GIVEN", given)) for given in ("1", "2"))
        assert one != other

    def test_a_parametrized_layer_of_a_reader_s_counts(self, in_a_cell):
        source = OWN_MODEL + (
            "class Twice(nn.Module):\n    def forward(self, w):\n        return 2 * w\n"
            "class Mine(nn.Conv2d):\n    def forward(self, x):\n        return super().forward(x)\n"
            "encoder[0] = Mine(1, 1, 2, stride=2)\n"
            "nn.utils.parametrize.register_parametrization(encoder[0], 'weight', Twice())\n"
        )
        changes = [source, source.replace("2 * w", "3 * w"), source.replace("super().forward(x)", "x")]
        assert len({self.told(in_a_cell, change) for change in changes}) == 3


def linear(*layers):
    return nn.Sequential(nn.Linear(4, 4), *layers, nn.Linear(4, 4))


def hooked(register):
    def make(factor):
        model = linear()

        def hook(*seen):
            return factor * seen[-1]

        register(model)(hook)
        return model

    return make


def forward_replaced(factor):
    model = linear()
    model[0].forward = lambda x: factor * x
    return model


def forward_of_an_object(factor):
    model = linear()
    model[0].factor, model[0].forward = factor, lambda x: model[0].factor * x
    return model


def forward_partial(factor):
    model = linear()
    model[0].forward = functools.partial(torch.mul, factor)
    return model


ALTERED = {
    "a forward hook": hooked(lambda model: model[1].register_forward_hook),
    "a forward pre-hook": hooked(lambda model: model[1].register_forward_pre_hook),
    "a backward hook": hooked(lambda model: model[1].register_full_backward_hook),
    "a hook on a weight": hooked(lambda model: model[1].weight.register_hook),
    "a replaced forward": forward_replaced,
    "a replaced forward's attribute": forward_of_an_object,
    "a partial as forward": forward_partial,
}
UNSHOWN = {
    "upsampling": (nn.Upsample(None, 2, "bilinear"), nn.Upsample(None, 2, "bilinear", align_corners=True)),
    "average pooling": (nn.AvgPool2d(2), nn.AvgPool2d(2, count_include_pad=False)),
    "a number that another setting shows": (nn.AvgPool2d(2), nn.AvgPool2d(2, divisor_override=2)),
    "attention": (nn.MultiheadAttention(4, 1), nn.MultiheadAttention(4, 2)),
    "activation": (nn.TransformerEncoderLayer(4, 1, 4), nn.TransformerEncoderLayer(4, 1, 4, activation="gelu")),
    "first slope": (nn.PReLU(), nn.PReLU(init=0.1)),
}


class TestModelOfTorch:
    """Of models that are made of torch's and aecore's classes alone."""

    @pytest.mark.parametrize("kind", ALTERED)
    def test_what_was_done_to_a_layer_counts(self, kind):
        one, same, other = (describe(ALTERED[kind](factor)) for factor in (2, 2, 3))
        assert one == same
        assert len({one, other, describe(linear())}) == 3

    @pytest.mark.parametrize("kind", UNSHOWN)
    def test_a_setting_that_is_not_shown_counts(self, kind):
        one, other = UNSHOWN[kind]
        assert describe(one) != describe(other)

    def test_a_setting_at_its_default_is_not_told(self):
        assert describe(nn.Sequential(nn.AvgPool2d(2))) == repr(nn.Sequential(nn.AvgPool2d(2)))

    def test_one_weight_in_two_places_counts(self):
        model = linear()
        model[1].weight = model[0].weight
        assert describe(model) != describe(linear())

    def test_the_type_of_the_weights_counts(self):
        assert describe(linear().double()) != describe(linear())

    def test_spectral_normalisation_is_told(self):
        layer = parametrizations.weight_norm(nn.Linear(2, 2))
        assert parametrize.is_parametrized(layer)
        assert describe(layer) != describe(nn.Linear(2, 2))

    def test_a_compiled_model_is_told_by_the_model_inside(self):
        """What compilation keeps in it is another object each time, and changes no result."""
        compiled = type("OptimizedModule", (nn.Module,), {"__module__": "torch._dynamo.eval_frame"})()
        compiled._orig_mod, compiled.forward = linear(), (n for n in [1])
        assert "Linear" in describe(compiled)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script")
    @pytest.mark.parametrize("model", [torch.jit.script, torch.fx.symbolic_trace], ids=["script", "graph"])
    def test_the_code_of_a_traced_model_counts(self, model):
        class Twice(nn.Module):
            def forward(self, x):
                return 2 * x

        class Thrice(nn.Module):
            def forward(self, x):
                return 3 * x

        Thrice.__name__ = Thrice.__qualname__ = "Twice"
        assert describe(model(Twice())) != describe(model(Thrice()))

    def test_the_run_of_a_frozen_part_counts(self):
        parts = [Frozen(run_of(nn.Linear(4, 4), fingerprint=letter * 64)) for letter in "ab"]
        assert describe(linear(parts[0])) != describe(linear(parts[1]))

    def test_a_frozen_part_of_a_run_is_told_without_its_weights(self):
        """They differ between machines in the last digit, and need not be there."""
        here = linear(Frozen(run_of(nn.Linear(4, 4))))
        absent = linear(Frozen(run_of(runs.NoWeights("00-a"))))
        assert describe(here) == describe(absent)
        assert describe(here) == describe(linear(Frozen(run_of(nn.Linear(4, 4)))))
        assert hash_of_weights(here[1]) == hash_of_weights(absent[1])
        assert digests_of({"model": describe(here)}, here) == digests_of({"model": describe(absent)}, absent)

    def test_the_weights_of_a_frozen_part_count_where_no_run_tells_them(self):
        one, other = (nn.Linear(4, 4) for _ in range(2))
        init_weights(one, 1)
        init_weights(other, 2)
        assert describe(linear(Frozen(one))) != describe(linear(Frozen(other)))


class TestRefusal:
    """What cannot be told is refused: the error names it and says what to do."""

    SOURCE = "log = {}\n" + OWN_LOSS.replace("return", "log\n    return")

    def test_of_an_open_file_names_it(self, in_a_cell):
        loss = in_a_cell(self.SOURCE.format("open(__import__('os').devnull)")).loss
        with pytest.raises(ValueError, match="^loss → log: a TextIOWrapper cannot be told from another one"):
            code_of(loss)
        loss.__globals__["log"].close()

    def test_says_what_to_do(self, in_a_cell):
        loss = in_a_cell(self.SOURCE.format("(n for n in [1])")).loss
        with pytest.raises(ValueError, match="Use numbers, words, tensors, and functions and classes of your own"):
            code_of(loss)

    def test_names_the_way_through_functions_lists_and_attributes(self, in_a_cell):
        source = (
            "import threading, types\nsettings = types.SimpleNamespace(locks=[1, {'a': threading.Lock()}])\n"
            "def part():\n    return settings\ndef loss(x, x_hat):\n    return part()\n"
        )
        with pytest.raises(ValueError, match=r"^loss → part → settings\.locks\[1\]\['a'\]: a lock cannot"):
            code_of(in_a_cell(source).loss)

    def test_of_an_attribute_of_a_model_names_its_layer_and_a_buffer(self, in_a_cell):
        model = in_a_cell(
            OWN_MODEL + "encoder[1].things = [iter(lambda: 1, 2)]\nencoder[1].things = (n for n in [1])"
        ).model
        with pytest.raises(ValueError, match=r"^model\.encoder\.1\.things: a generator .*register_buffer"):
            describe(model)

    def test_of_a_sparse_tensor_says_why(self, in_a_cell):
        loss = in_a_cell("import torch\n" + self.SOURCE.format("torch.eye(2).to_sparse()")).loss
        with pytest.raises(ValueError, match=r"loss → log: a Tensor has no values to compare \(torch.sparse_coo"):
            code_of(loss)

    def test_of_a_list_that_is_nested_too_deeply_is_no_traceback_of_a_thousand_lines(self, in_a_cell):
        loss = in_a_cell(
            "log = []\nfor _ in range(2000):\n    log = [log]\n" + OWN_LOSS.replace("return", "return log or")
        ).loss
        with pytest.raises(ValueError, match="a list is nested too deeply"):
            code_of(loss)

    @pytest.mark.parametrize(
        "source", ["def loss(x, x_hat): return x", "class C:\n    def f(self): pass\nloss = C().f"]
    )
    def test_of_code_that_cannot_be_found_says_the_way_out(self, source):
        space = {"__name__": "nowhere"}
        exec(source, space)
        with pytest.raises(ValueError, match="its code cannot be found; define it in a cell or file"):
            code_of(space["loss"])


class Settings(Objective):
    """An objective of a reader's own."""

    def __init__(self, **settings):
        super().__init__()
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, model, batch):
        return {"loss": model(batch.x).mean()}


class Seeing(nn.Linear):
    """A network that shows its features."""

    def features(self, x):
        return [self(x)]


class TestObjective:
    def frozen(self, seed=0, run=None):
        network = Seeing(2, 2)
        init_weights(network, seed)
        return Frozen(run_of(network, fingerprint=run * 64) if run else network)

    def test_a_plain_reconstruction_is_told_by_its_loss(self, splits):
        parts = parts_of(LinearAutoencoder(SHAPE, 3), splits, Plan(), Reconstruction("bce"), "seed")
        assert parts["loss"] == "aecore.losses.bce"

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (objectives.Classification(), objectives.Classification(0.1)),
            (objectives.ELBO(0.1), objectives.ELBO(0.2)),
            (objectives.ELBO(0.1), objectives.ELBO(0.1, warm_up=0.5)),
            (objectives.RateDistortion(0.1), objectives.RateDistortion(0.2)),
            (objectives.JointResolutions((2, 4)), objectives.JointResolutions((4, 2))),
            (Settings(w=torch.ones(1)), Settings(w=torch.zeros(1))),
            (Settings(), objectives.Classification()),
        ],
        ids=lambda objective: type(objective).__name__,
    )  # fmt: skip
    def test_a_setting_counts(self, one, other, splits):
        model = LinearAutoencoder(SHAPE, 3)
        assert (
            parts_of(model, splits, Plan(), one, "seed")["loss"]
            != parts_of(model, splits, Plan(), other, "seed")["loss"]
        )

    def test_a_function_that_it_holds_counts(self):
        network = self.frozen()
        one, other = (describe_objective(FeatureLoss(network, 0.1, loss)) for loss in ("mse", "mae"))
        assert one != other

    def test_the_code_of_a_reader_s_own_counts(self, in_a_cell):
        source = (
            "from aecore.objectives import Objective\nclass Mine(Objective):\n    def forward(self, model, batch):\n"
            "        return {'loss': model(batch.x).mean()}\nmine = Mine()\n"
        )
        one, other = (describe_objective(in_a_cell(text).mine) for text in (source, source.replace("mean", "sum")))
        assert one != other

    def test_a_frozen_network_is_told_by_its_run(self):
        one, same, other = (self.frozen(seed, run) for seed, run in ((1, "a"), (2, "a"), (1, "b")))
        told = [describe_objective(FeatureLoss(network, 0.1)) for network in (one, same, other)]
        assert told[0] == told[1] != told[2]

    def test_a_frozen_network_without_a_run_is_told_by_its_weights(self):
        one, same, other = (describe_objective(FeatureLoss(self.frozen(seed), 0.1)) for seed in (1, 1, 2))
        assert one == same != other

    @pytest.mark.parametrize("kind", ["buffer", "parameter", "list of networks"])
    def test_values_that_it_brings_count(self, kind):
        def made(seed):
            objective = Settings()
            if kind == "buffer":
                objective.register_buffer("scale", torch.tensor(float(seed)), persistent=False)
            elif kind == "parameter":
                objective.scale = nn.Parameter(torch.tensor(float(seed)))
            else:
                objective.networks = nn.ModuleList([self.frozen(seed)])
            return describe_objective(objective)

        assert made(1) == made(1) != made(2)

    def test_the_model_that_is_trained_is_told_without_its_weights(self):
        model = nn.Linear(2, 2)
        objective = Settings()
        object.__setattr__(objective, "model", model)
        before = describe_objective(objective, model)
        model.weight.data += 1
        assert describe_objective(objective, model) == before


class TestFromData:
    def components(self, scale):
        return PrincipalComponents(torch.zeros(16), torch.eye(5, 16), scale * torch.arange(5.0, 0, -1))

    def test_what_a_model_takes_from_the_data_counts_in_the_fingerprint(self, splits):
        models = [PCAStartAutoencoder(SHAPE, 3, self.components(scale)) for scale in (1, 2)]
        assert print_of(splits, models[0]) != print_of(splits, models[1])

    def test_it_does_not_count_in_the_digest_of_the_model(self, splits):
        digests = []
        for scale in (1, 2):
            model = PCAStartAutoencoder(SHAPE, 3, self.components(scale))
            digests.append(digests_of(parts_of(model, splits, Plan(), Reconstruction(), "seed"), model))
        assert digests[0] == digests[1]

    def test_a_constructor_of_that_name_does_no_harm(self, splits):
        class Mine(LinearAutoencoder):
            @classmethod
            def from_data(cls, images):
                return cls(images.shape, 3)

        model = Mine.from_data(splits.train)
        assert digests_of(parts_of(model, splits, Plan(), Reconstruction(), "seed"), model)["format"]

    def test_a_part_that_differs_has_another_digest_and_the_others_have_not(self, splits):
        model = LinearAutoencoder(SHAPE, 3)
        one, other = (
            digests_of(parts_of(model, splits, plan, Reconstruction(), "seed"), model) for plan in (Plan(), Plan(lr=1))
        )
        assert {part for part in one if one[part] != other[part]} == {"plan"}


# Comprehensions, f-strings, nested functions and classes: where versions of Python differ in syntax trees or bytecode.
MEASURES = """
import functools, torch, aecore as ae
import torch.nn.functional as F
mean, limits, table = 3, [0.5, 1], {"a": torch.ones(2)}

def simple(model, images):
    \"\"\"Its docstring does not count.\"\"\"
    parts = [images[i:i + 500].floats() for i in range(0, len(images), 500)]
    return torch.cat([model(part).mean((1, 2)) for part in parts if limits]).mean().item()

@torch.no_grad()
def decorated(model, images, *, low=limits[0]):
    small = F.avg_pool2d(model(images.floats()).clamp(low, 1), 4)
    return {f"{name:>{mean}} {name!r} {'a' 'b'}": ae.metrics.mse(small, value) for name, value in table.items()}

def make(k):
    def inside(model, images):
        class Both:
            size = mean
            def __call__(self, x):
                return [(lambda y: y + k)(v) for v in x] + [{j for j in x}, (j for j in x)]
        return Both()(images)
    return inside
inside = make(2)
short = functools.partial(make, 3)
two = [lambda model, images: limits, lambda model, images: ae.metrics.evaluate(model, images)]
"""


def key(function, images=None):
    return key_of(function, images or Images(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)))


class TestKey:
    def test_depends_on_the_images(self, noise):
        assert key(metrics.evaluate, noise(2, *SHAPE)) != key(metrics.evaluate, noise(2, *SHAPE, seed=1))

    def test_does_not_depend_on_where_a_function_lies_in_aecore(self, monkeypatch):
        before = key(losses.mse)
        elsewhere = type(losses.mse)(losses.mse.__code__, {**vars(losses), "__name__": "aecore.metrics.pixels"})
        assert key(elsewhere) == before

    def test_depends_on_its_name_there(self):
        assert key(losses.mse) != key(losses.mae)

    def test_of_a_class_of_aecore_does_not_depend_on_where_it_lies(self, monkeypatch):
        before = key(functools.partial(Plan, lr=1))
        monkeypatch.setattr(Plan, "__module__", "aecore.plans")
        assert key(functools.partial(Plan, lr=1)) == before

    def test_a_function_of_a_notebook_counts_with_its_code(self, in_a_cell):
        changed = MEASURES.replace("images.floats()", "images[:9].floats()")
        one, other = (key(in_a_cell(source).decorated) for source in (MEASURES, changed))
        assert one != other

    def test_a_value_that_it_uses_counts(self, in_a_cell):
        one, other = (key(in_a_cell(source).simple) for source in (MEASURES, MEASURES.replace("[0.5, 1]", "[0.5, 2]")))
        assert one != other

    def test_a_name_outside_that_is_only_an_attribute_inside_does_not_count(self, in_a_cell):
        one, other = (
            key(in_a_cell(source).simple)
            for source in (MEASURES, MEASURES.replace("mean, ", "mean, other, ", 1).replace("= 3,", "= 4, 5,"))
        )
        assert one == other

    def test_a_run_that_it_compares_with_is_told_by_its_fingerprint(self, in_a_cell):
        cell = in_a_cell("def apart(model, images):\n    return base\n")
        keys = []
        for seed, letter in ((1, "a"), (2, "a"), (1, "b")):
            model = nn.Linear(2, 2)
            init_weights(model, seed)
            cell.base = run_of(model, fingerprint=letter * 64)
            keys.append(key(cell.apart))
        assert keys[0] == keys[1] != keys[2]

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("simple", "81bc27a9"),
            ("decorated", "1923e3a2"),
            ("inside", "690de109"),
            ("short", "2024b665"),
            ("two", "2029f3ecb5119edb"),
        ],
    )
    def test_is_the_same_on_every_version_of_python_and_torch(self, in_a_cell, name, wanted):
        """Found on Python 3.11 with torch 2.14: if this fails, published measurements are not found."""
        found = getattr(in_a_cell(MEASURES), name)
        functions = found if isinstance(found, list) else [found]
        assert "".join(key(function)[:8] for function in functions) == wanted

    def test_of_the_scores_is_what_is_published(self):
        from aecore.runs.run import _clipped_scores

        assert code_of(_clipped_scores).endswith("._clipped_scores")
