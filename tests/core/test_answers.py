"""Answers to every exercise: right ones in each usual form, and right ones that were made wrong in one place.

The right functions here are written a second time, apart from the bank. Each is changed in one place by the syntax
tree: a sum loses a term, a mean becomes a sum, a comparison, a constant or an axis changes, one image stands for all.
Every such mutant has to be refused.
"""

import ast
import copy
import itertools
import math

import numpy as np
import pytest
import torch

from aecore.exercises import Function, Number, check, checked, exercises

BANK = checked()
NUMBERS = [number for number, exercise in BANK.items() if isinstance(exercise, Number)]
FUNCTIONS = [number for number, exercise in BANK.items() if isinstance(exercise, Function)]
VERSIONED = [number for number in NUMBERS if BANK[number].versions]

SOLUTIONS = {
    "01-3": """
def f(x, x_hat):
    d = (x - x_hat) ** 2
    return d.mean((1, 2, 3))
""",
    "01-4": """
def f(x, mean, components):
    z = torch.matmul(x - mean, components.T)
    return torch.matmul(z, components) + mean
""",
    "02-2": """
def f(n, kernel, stride, padding):
    return (n + 2 * padding - kernel) // stride + 1
""",
    "02-4": """
def f(z):
    return (z != 0).any(0).any(2).any(1).sum().item()
""",
    "03-2": """
def f(n, kernel, stride):
    counts = [0] * (stride * (n - 1) + kernel)
    for i in range(n):
        for j in range(kernel):
            counts[stride * i + j] += 1
    return counts
""",
    "03-4": """
def f(x, y):
    a = x.mean()
    b = y.mean()
    cov = ((x - a) * (y - b)).mean()
    va = ((x - a) ** 2).mean()
    vb = ((y - b) ** 2).mean()
    first = (2 * a * b + 0.01**2) / (a**2 + b**2 + 0.01**2)
    second = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
    return (first * second).item()
""",
    "04-3": """
def f(counts):
    total = counts.sum().item()
    bits = 0.0
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            share = counts[i, j].item() / total
            row = counts[i].sum().item() / total
            column = counts[:, j].sum().item() / total
            if share > 0:
                bits += share * math.log2(share / (row * column))
    return bits
""",
    "04-4": """
def f(a, b):
    ra = a.argsort().argsort().double()
    rb = b.argsort().argsort().double()
    ra = ra - ra.mean()
    rb = rb - rb.mean()
    return ((ra * rb).sum() / ((ra**2).sum() * (rb**2).sum()) ** 0.5).item()
""",
    "05-2": """
def f(x, r):
    n, c, h, w = x.shape
    parts = [x[:, k, i::r, j::r] for k in range(c) for i in range(r) for j in range(r)]
    return torch.stack(parts, 1)
""",
    "05-3": """
def f(kernels, r):
    return torch.stack([kernels[c] for c in range(kernels.shape[0]) for _ in range(r * r)], 0)
""",
    "05-5": """
def f(error):
    e = error ** 2
    return torch.stack([e[..., i::2, j::2].mean() for i in (0, 1) for j in (0, 1)]).reshape(2, 2)
""",
    "06-2": """
def f(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
""",
    "06-3": """
def f(small, large, share):
    old = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return (1 - share) * old + share * large
""",
    "06-4": """
def f(mean, variance, x, momentum):
    m = x.mean((0, 2, 3))
    v = x.var((0, 2, 3), correction=1)
    return torch.stack([(1 - momentum) * mean + momentum * m, (1 - momentum) * variance + momentum * v])
""",
    "08-1": """
def f(a, b):
    apart = ((a - b) ** 2).flatten(1).sum(1)
    return (apart / (a ** 2).flatten(1).sum(1)).mean().item()
""",
    "08-2": """
def f(rows):
    values = list(rows.values())
    return sorted([name for name in rows if values.count(rows[name]) > 1])
""",
    "08-3": """
def f(symbols, counts):
    p = counts / counts.sum()
    return -p[symbols].log2().sum().item()
""",
    "07-4": """
def f(a):
    return (a > 0).any(3).any(2).any(0).double().mean().item()
""",
    "08-4": """
def f(points, wanted):
    sizes, values = zip(*sorted(points), strict=True)
    return float(np.interp(wanted, sizes, values))
""",
    "09-2": """
def f(weight, mix):
    return torch.linalg.solve(mix.T.double(), weight.T.double()).T
""",
    "09-3": """
def f(a, b):
    u, s, vt = np.linalg.svd((a.T @ b).double().numpy())
    return torch.from_numpy(u @ vt)
""",
    "10-1": """
def f(counts):
    p = counts.double() / counts.sum()
    return torch.special.entr(p).sum().item() / math.log(2)
""",
    "10-2": """
def f(x, starts):
    above, rest = divmod(x, starts[-1])
    symbol = int(np.searchsorted(starts, rest, side="right")) - 1
    f = starts[symbol + 1] - starts[symbol]
    return [symbol, f * above + rest - starts[symbol]]
""",
    "10-3": """
def f(x, x_hat, p, lmbda):
    error = torch.nn.functional.mse_loss(255 * x_hat, 255 * x)
    pixels = len(x) * x.shape[2] * x.shape[3]
    return lmbda * error + torch.log2(1 / p).sum() / pixels
""",
    "10-5": """
def f(first, second, db):
    logs = []
    for points in (first, second):
        rate, quality = np.array(sorted(points)).T
        logs.append(np.interp(db, quality, np.log(rate)))
    return 100 * (math.exp(logs[1] - logs[0]) - 1)
""",
    "90-3": """
def f(pixels, chosen):
    return pixels[chosen].float() / 255
""",
    "90-4": """
def f(order, batch_size, done):
    return [order[i : i + batch_size] for i in range(done * batch_size, len(order), batch_size)]
""",
}
# Mutants that compute the same as the right function.
EQUIVALENT = {
    # The sum of (x − a)(y − b) is that of x (y − b), since that of y − b is 0: a may be left out or added, and b too.
    *(("03-4", f"{rule} {n}") for rule in ("drop_right", "other_operator") for n in (0, 1)),
    ("04-3", "ten_times 0"),  # bits = 0.0, ten times
}


def function(source):
    """Return the function that a source defines."""
    space = {"torch": torch, "np": np, "math": math}
    exec(source, space)
    return space["f"]


# ---- right answers in every usual form ----


def test_every_function_is_written_a_second_time():
    assert sorted(SOLUTIONS) == sorted(FUNCTIONS)


@pytest.mark.parametrize("number", FUNCTIONS)
class TestRightFunction:
    def test_is_accepted(self, number):
        assert check(number, function(SOLUTIONS[number])).ok

    def test_is_accepted_in_double_precision(self, number):
        right = function(SOLUTIONS[number])

        def double(*arguments):
            return right(*[a.double() if _is_floats(a) else a for a in arguments])

        assert check(number, double).ok

    def test_result_may_be_numpys(self, number):
        right = function(SOLUTIONS[number])
        assert check(number, lambda *arguments: _as_numpy(right(*arguments))).ok

    def test_single_number_may_be_a_tensor_without_dimensions(self, number):
        right = function(SOLUTIONS[number])

        def as_tensor(*arguments):
            result = right(*arguments)
            return torch.tensor(result) if isinstance(result, int | float) else result

        assert check(number, as_tensor).ok

    def test_list_may_be_a_tuple(self, number):
        right = function(SOLUTIONS[number])

        def as_tuple(*arguments):
            result = right(*arguments)
            return tuple(result) if isinstance(result, list) else result

        assert check(number, as_tuple).ok

    def test_result_may_still_hold_its_gradient(self, number):
        right = function(SOLUTIONS[number])

        def with_gradient(*arguments):
            result = right(*arguments)
            return result.clone().requires_grad_() if _is_floats(result) else result

        assert check(number, with_gradient).ok


@pytest.mark.parametrize(
    "form",
    [torch.tensor, np.array, lambda counts: [float(c) for c in counts], np.float64, lambda c: torch.tensor(c).float()],
    ids=["tensor", "array", "floats", "array of floats", "tensor of floats"],
)
def test_counts_of_pixels_may_come_in_any_form(form):
    assert check("03-2", lambda *arguments: form(function(SOLUTIONS["03-2"])(*arguments))).ok


@pytest.mark.parametrize("number", NUMBERS)
class TestRightNumber:
    @pytest.mark.parametrize("version", [0, 1, 2])
    @pytest.mark.parametrize(
        "form",
        [
            float,
            lambda q: torch.tensor(q, dtype=torch.float64),
            lambda q: torch.tensor([q], dtype=torch.float32),
            np.float64,
            np.float32,
            lambda q: np.array([q]),
            lambda q: np.array(q),
        ],
        ids=[
            "float",
            "tensor",
            "tensor of one",
            "NumPy",
            "NumPy's float32",
            "array of one",
            "array without dimensions",
        ],
    )
    def test_is_accepted_as(self, number, form, version):
        assert check(number, form(BANK[number].version(version).answer), version=version).ok

    @pytest.mark.parametrize("version", [0, 1, 2, 3])
    def test_is_accepted_with_three_digits_where_it_is_not_a_count(self, number, version):
        exercise = BANK[number].version(version)
        if exercise.tolerance:
            assert check(number, float(f"{exercise.answer:.3g}"), version=version).ok


@pytest.mark.parametrize(
    ("number", "answer"), [("01-1", 0.128), ("90-1", 1.23), ("90-2", 154), ("05-1", 0.00498), ("03-1", 24.0)]
)
def test_three_digits_are_enough(number, answer):
    assert check(number, answer).ok


@pytest.mark.parametrize(("number", "answer"), [("01-1", 0.13), ("01-1", 0.127), ("90-1", 1.2), ("03-1", 24.1)])
def test_two_digits_or_a_wrong_third_are_not(number, answer):
    assert check(number, answer).state == "wrong"


# ---- wrong answers ----


CHANGES = [
    ("one more", lambda q: q + 1), ("one less", lambda q: q - 1), ("sign", lambda q: -q), ("twice", lambda q: 2 * q),
    ("half", lambda q: q / 2), ("tenfold", lambda q: 10 * q), ("a tenth", lambda q: q / 10),
    ("one per cent more", lambda q: 1.01 * q), ("one per cent less", lambda q: 0.99 * q), ("squared", lambda q: q * q),
    ("root", lambda q: q**0.5), ("inverse", lambda q: 1 / q),
]  # fmt: skip


CHANGED = [
    pytest.param(number, version, change(answer), id=f"{number} version {version} {name}")
    for number in NUMBERS
    for version in (0, 1)
    for answer in [BANK[number].version(version).answer]
    for name, change in CHANGES
    if change(answer) != answer  # 1 is its own square, root and inverse
]


@pytest.mark.parametrize(("number", "version", "wrong"), CHANGED)
def test_changed_number_is_refused(number, version, wrong):
    assert check(number, wrong, version=version).state == "wrong"


def test_counts_are_not_rounded():
    assert check("04-1", 14_156_300).state == "wrong"


class _One(ast.NodeTransformer):
    """Applies a rule to the n-th node that it fits."""

    def __init__(self, rule, n):
        self.rule, self.left, self.done = rule, n, False

    def generic_visit(self, node):
        super().generic_visit(node)
        new = None if self.done else self.rule(node)
        if new is None:
            return node
        if self.left:
            self.left -= 1
            return node
        self.done = True
        return new


def _drop_left(node):
    return node.right if isinstance(node, ast.BinOp) else None


def _drop_right(node):
    return node.left if isinstance(node, ast.BinOp) else None


def _other_operator(node):
    other = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div}
    if isinstance(node, ast.BinOp) and type(node.op) in other:
        return ast.BinOp(node.left, other[type(node.op)](), node.right)
    return None


def _other_method(node):
    other = {"mean": "sum", "sum": "mean", "any": "all", "log2": "log", "var": "std", "argsort": "sort"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in other:
        function = ast.Attribute(node.func.value, other[node.func.attr], ast.Load())
        return ast.Call(function, node.args, node.keywords)
    return None


def _one_more(node):
    return ast.Constant(node.value + 1) if isinstance(node, ast.Constant) and type(node.value) is int else None


def _ten_times(node):
    return ast.Constant(node.value * 10) if isinstance(node, ast.Constant) and type(node.value) is float else None


def _other_comparison(node):
    other = {ast.NotEq: ast.Gt, ast.Gt: ast.GtE}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in other:
        return ast.Compare(node.left, [other[type(node.ops[0])]()], node.comparators)
    return None


def _without_sign(node):
    return node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else None


def _fewer_axes(node):
    if isinstance(node, ast.Tuple) and len(node.elts) > 1 and isinstance(node.ctx, ast.Load):
        return ast.Tuple(node.elts[:-1], ast.Load())
    return None


RULES = [_drop_left, _drop_right, _other_operator, _other_method, _one_more, _ten_times, _other_comparison,
         _without_sign, _fewer_axes]  # fmt: skip


def mutants():
    """Yield (number, name, source) of each right function that is changed in one place."""
    for number, source in SOLUTIONS.items():
        for rule in RULES:
            for n in itertools.count():
                change = _One(rule, n)
                tree = ast.fix_missing_locations(change.visit(ast.parse(source)))
                if not change.done:
                    break
                name = f"{rule.__name__.strip('_')} {n}"
                if (number, name) not in EQUIVALENT:
                    yield number, name, ast.unparse(tree)


MUTANTS = list(mutants())


@pytest.mark.parametrize(
    ("number", "source"), [pytest.param(number, source, id=f"{number} {name}") for number, name, source in MUTANTS]
)
def test_function_that_is_changed_in_one_place_is_refused(number, source):
    assert check(number, function(source)).state == "wrong", source


# What is done to the arguments or to the result of the right function.
AROUND = {
    "sign": lambda right, a: _each(right(*a), lambda q: -q),
    "one more": lambda right, a: _each(right(*a), lambda q: q + 1),
    "twice": lambda right, a: _each(right(*a), lambda q: 2 * q),
    "not below zero": lambda right, a: _each(right(*a), lambda q: q * (q > 0)),
    "without sign": lambda right, a: _each(right(*a), abs),
    "first image only": lambda right, a: right(*[_first(b) for b in a]),
    "last image only": lambda right, a: right(*[_last(b) for b in a]),
    "arguments without sign": lambda right, a: right(*[b.abs() if _is_floats(b) else b for b in a]),
    "positive arguments": lambda right, a: right(*[b.clamp(min=0) if _is_floats(b) else b for b in a]),
}
# Where the change is none: results or arguments that are never negative or are squared, and names instead of numbers.
NEVER_NEGATIVE = {
    "01-3", "02-2", "02-4", "03-2", "04-3", "05-5", "07-4", "08-1", "08-2", "08-3", "08-4", "10-1", "10-2", "10-3",
    "90-3", "90-4",
}  # fmt: skip
NO_IMAGES, NAMES_ONLY = {"02-2", "03-2", "08-2", "08-4", "10-2", "10-5"}, {"08-2"}
POSITIVE_ARGUMENTS = {
    "02-2", "03-2", "03-4", "04-3", "07-4", "08-2", "08-3", "08-4", "10-1", "10-2", "10-3", "10-5", "90-3", "90-4",
}  # fmt: skip
NO_CHANGE = {
    "sign": NAMES_ONLY, "one more": NAMES_ONLY, "twice": NAMES_ONLY,
    "not below zero": NEVER_NEGATIVE, "without sign": NEVER_NEGATIVE,
    "first image only": NO_IMAGES, "last image only": NO_IMAGES,
    "positive arguments": POSITIVE_ARGUMENTS, "arguments without sign": {*POSITIVE_ARGUMENTS, "02-4", "05-5"},
}  # fmt: skip
WRAPPED = [
    pytest.param(number, change, id=f"{number} {name}")
    for name, change in AROUND.items()
    for number in FUNCTIONS
    if number not in NO_CHANGE[name]
]


@pytest.mark.parametrize(("number", "change"), WRAPPED)
def test_function_that_is_changed_from_outside_is_refused(number, change):
    right = function(SOLUTIONS[number])
    assert check(number, lambda *arguments: change(right, copy.deepcopy(arguments))).state == "wrong"


WRONG = {
    "sums of both signs": ("02-4", lambda z: int((z.sum((0, 2, 3)) != 0).sum())),
    "only what is positive": ("02-4", lambda z: int((z > 0).any(3).any(2).any(0).sum())),
    "the largest value": ("02-4", lambda z: int((z.amax((0, 2, 3)) > 0).sum())),
    "the mean": ("02-4", lambda z: int((z.mean((0, 2, 3)).abs() > 1e-9).sum())),
    "the first image": ("02-4", lambda z: int((z[0] != 0).any(2).any(1).sum())),
    "the second image": ("02-4", lambda z: int((z[min(1, len(z) - 1)] != 0).any(2).any(1).sum())),
    "the last image": ("02-4", lambda z: int((z[-1] != 0).any(2).any(1).sum())),
    "all but the first image": ("02-4", lambda z: int((z[1:] != 0).any(3).any(2).any(0).sum())),
    "the upper left corner": ("02-4", lambda z: int((z[:, :, 0, 0] != 0).any(0).sum())),
    "all channels": ("02-4", lambda z: z.shape[1]),
    "SSIM without its sign": ("03-4", lambda x, y: abs(BANK["03-4"].right(x, y))),
    "SSIM not below 0": ("03-4", lambda x, y: max(0.0, BANK["03-4"].right(x, y))),
    "SSIM without its constants": ("03-4", lambda x, y: _ssim(x, y, 0, 0)),
    "SSIM with constants of 255": ("03-4", lambda x, y: _ssim(x, y, 6.5, 58.5)),
    "SSIM with unbiased variances": ("03-4", lambda x, y: _ssim(x, y, 1e-4, 9e-4, 1)),
}


@pytest.mark.parametrize(("number", "wrong"), WRONG.values(), ids=list(WRONG))
def test_wrong_function_is_refused(number, wrong):
    assert check(number, wrong).state == "wrong"


@pytest.mark.parametrize(("right", "given"), [(1, True), (1.0, True), ([1], [True]), (1, 1.0), (1, "1"), ([1], 1)])
def test_result_of_another_kind_is_refused(right, given):
    assert Function("one", lambda: right, ((),), ()).judge(lambda: given) is not None


@pytest.mark.parametrize(
    ("right", "given"), [(1.0, 1), ([1], [1.0]), ([1], (1,)), (1, np.int8(1)), (1, torch.tensor(1))]
)
def test_result_of_a_kind_that_says_the_same_is_accepted(right, given):
    assert Function("one", lambda: right, ((),), ()).judge(lambda: given) is None


# ---- versions ----


@pytest.mark.parametrize("number", VERSIONED)
class TestVersions:
    @pytest.fixture
    def all_of_them(self, number):
        """The exercise with every combination of the numbers that may be given."""
        versions = BANK[number].versions
        texts = [[(name, text) for text in choices] for name, choices in versions.choices.items()]
        return [
            versions.make(
                **{name: float(t.replace(",", "")) if "." in t else int(t.replace(",", "")) for name, t in one}
            )
            for one in itertools.product(*texts)
        ]

    def test_no_mistake_is_near_the_right_answer(self, number, all_of_them):
        near = [
            (one.title, mistake.answer)
            for one in all_of_them
            for mistake in one.mistakes
            if math.isclose(mistake.answer, one.answer, rel_tol=max(2 * one.tolerance, 1e-9))
            or one.judge(mistake.answer) is None
        ]
        assert near == []

    def test_version_0_is_the_question_of_the_book(self, number, all_of_them):
        assert BANK[number].version(0) is BANK[number]
        assert BANK[number].answer == all_of_them[0].answer

    def test_version_is_the_same_each_time(self, number):
        assert BANK[number].version(7).answer == BANK[number].version(7).answer

    def test_version_writes_other_numbers_than_the_book(self, number):
        changes = BANK[number].versions.changes(7)
        assert list(changes) == [texts[0] for texts in BANK[number].versions.choices.values()]
        assert all(old != new for old, new in changes.items())

    def test_answer_of_a_version_belongs_to_the_numbers_that_it_writes(self, number):
        versions = BANK[number].versions
        written = list(versions.changes(11).values())
        given = [float(t.replace(",", "")) if "." in t else int(t.replace(",", "")) for t in written]
        assert (
            versions.make(**dict(zip(versions.choices, given, strict=True))).answer == BANK[number].version(11).answer
        )

    def test_answer_of_the_book_is_wrong_in_a_version(self, number, all_of_them):
        assert check(number, BANK[number].answer, version=7).state == "wrong"

    def test_known_mistakes_of_a_version_get_their_hints(self, number):
        exercise = BANK[number].version(5)
        said = [check(number, mistake.answer, version=5).message for mistake in exercise.mistakes]
        assert said == [f"not yet: {mistake.say}" for mistake in exercise.mistakes]


def test_versions_differ():
    assert len({BANK["01-1"].version(n).answer for n in range(1, 60)}) == 6


@pytest.mark.parametrize("version", ["7", 1.5, -1, True, None], ids=repr)
def test_version_that_is_no_whole_number_is_an_error(version):
    with pytest.raises(ValueError, match="version: wanted a whole number"):
        check("01-1", 0.1, version=version)


def test_exercise_without_versions_is_the_same_in_all():
    assert check("04-1", 14_156_288, version=9).ok


# ---- worth ----


@pytest.mark.parametrize("number", exercises())
def test_worth_is_a_level_and_points_and_minutes(number):
    worth = exercises()[number].worth
    assert worth.level in (1, 2, 3)
    assert worth.points >= 1
    assert 1 <= worth.minutes <= 60


def test_level_is_shown_in_stars():
    assert [BANK[number].worth.stars for number in ("01-1", "01-3", "03-4")] == ["★", "★★", "★★★"]


# ---- what the tests above need ----


def _is_floats(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _as_numpy(result):
    if isinstance(result, torch.Tensor):
        return result.numpy()
    if isinstance(result, list):
        return [_as_numpy(one) for one in result]
    return np.float64(result) if isinstance(result, float) else np.int64(result) if isinstance(result, int) else result


def _each(result, change):
    return [_each(one, change) for one in result] if isinstance(result, list) else change(result)


def _first(value):
    return value[:1] if isinstance(value, torch.Tensor) else value


def _last(value):
    return value[-1:] if isinstance(value, torch.Tensor) else value


def _ssim(x, y, c1, c2, correction=0):
    cov = ((x - x.mean()) * (y - y.mean())).mean()
    first = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return (first * (2 * cov + c2) / (x.var(correction=correction) + y.var(correction=correction) + c2)).item()
