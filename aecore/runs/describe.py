"""What a result depends on, in words: the same words for the same numbers, code and networks, another day as well.

Everything is told down to its values: a function by its code and by what it takes from around it, a class by its
methods, an object by its class and attributes, a tensor by a hash of its numbers. Only what comes with Python, with an
installed package, with torch or with aecore is told by its name. What code reads from files while it runs is not seen.
What cannot be told at all, such as an open file, is refused by its name.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import FunctionType

import numpy as np
import torch
from torch import Tensor, nn

from ..models.frozen import Frozen
from ..models.principal import PCAStart
from .dependencies import closure_of, defaults_of, is_found_by_name, members_of, shows_its_decorators, taken_by
from .source import is_library, text_of, tree_of

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented),
         torch.dtype, torch.layout, torch.memory_format)  # fmt: skip
COLLECTIONS = (list, tuple, dict, types.MappingProxyType, set, frozenset)
ORDINARY = {*vars(nn.Module()), "_compiled_call_impl"}  # what every layer has
LAYER_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
WEIGHT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}  # drawn anew, as weights are


def code_of(function: object, model: nn.Module | None = None) -> str:
    """Return a name for a function or class; for a reader's own, its code, and the values that it depends on.

    Args:
        function: or class.
        model: that is trained; where the function refers to it, the weights of the moment do not count.

    Raises:
        ValueError: something that it depends on cannot be told; the message names it and says what to do.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    return Description(name, model).text(function)


def describe(model: nn.Module) -> str:
    """Return a model's layers and shapes and, where a reader's own code is in it, that code and its settings.

    Layers of torch and of aecore are told by name and settings. Of a class that is written in a notebook the code
    counts, and what its constructor has put into attributes and buffers: `self.slope = 0.2` is not in the `repr`. So
    it is with a layer that was given a hook or another `forward`. The weights do not count: they are drawn anew.

    Raises:
        ValueError: something in it cannot be told; the message names it and says what to do.
    """
    return Description("model", model).layers(model)


def describe_objective(objective: nn.Module, model: nn.Module | None = None) -> str:
    """Return an objective's class, its code where it is the reader's own, its settings, and the networks in it.

    Args:
        objective: what a training makes small.
        model: that is trained; where the objective refers to it, the weights of the moment do not count.

    Raises:
        ValueError: something in it cannot be told; the message names it and says what to do.
    """
    return Description("objective", model).objective(objective)


def hash_of_weights(model: nn.Module) -> str:
    """Return 64 hexadecimal digits that change with any weight or buffer, but not with frozen networks of a run."""
    digest, elsewhere = hashlib.sha256(), _told_by_run(model)
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith(elsewhere):
            digest.update(name.encode())
            digest.update(_bytes_of(value))
    return digest.hexdigest()


class Description:
    """Writes values down as text. What it meets twice it tells once, so circles come to an end.

    Args:
        name: what is described, for messages.
        model: that is being trained. Its layers and weights are told by their place in it, wherever they are met.
        module_names: whether functions and classes of aecore are told with the module that they lie in.
    """

    def __init__(self, name: str, model: nn.Module | None = None, module_names: bool = True) -> None:
        self.path = [name]
        self.module_names = module_names
        self.seen: dict[int, tuple[str, object]] = {}  # by id; the object is kept, or another might get its id
        if model is not None:
            for kind, parts in (("layer", model.named_modules()), ("weight", model.named_parameters())):
                for place, part in parts:
                    self.seen[id(part)] = (f"{kind} {place or 'all'} of the model", part)

    def text(self, value: object, step: str = "") -> str:
        """Return any value as text.

        Args:
            value: to be told.
            step: how one comes to it from the value before, for messages.

        Raises:
            ValueError: it cannot be told.
        """
        if type(value) in PLAIN:
            return repr(value)
        if id(value) in self.seen:
            return self.seen[id(value)][0]
        if not isinstance(value, tuple | frozenset):  # equal constants are one object or two, as Python likes
            self.seen[id(value)] = (f"#{len(self.seen)}", value)
        self.path.append(step)
        try:
            return self._text(value)
        except RecursionError:
            raise self._refusal(value, "is nested too deeply") from None
        finally:
            self.path.pop()

    def _text(self, value: object) -> str:
        if type(value) in COLLECTIONS:
            return self._collection(value)
        for kinds, tell in self._kinds():
            if isinstance(value, kinds):
                return tell(value)
        return self._object(value)

    def _kinds(self) -> tuple[tuple[object, Callable[[object], str]], ...]:
        """Return how values are told, by their class; the first that fits."""
        return (
            (Tensor, self._tensor),
            (np.generic | np.ndarray, self._array),
            (nn.Module, self._network),
            (type, self._class),
            (FunctionType, self._function),
            (types.MethodType, lambda method: f"{self.text(method.__func__)} of {self.text(method.__self__)}"),
            (types.BuiltinFunctionType | types.MethodWrapperType, self._builtin),
            (functools.partial, lambda made: f"partial({self._all((made.func, made.args, made.keywords))})"),
            (types.ModuleType, self._module),
            (types.SimpleNamespace, lambda space: f"namespace({self._named(vars(space), '.')})"),
            (enum.Enum, lambda member: f"{self.text(type(member))} {self.text(member.value)}"),
            (PurePath, lambda path: f"path {str(path)!r}"),
            (torch.device, lambda device: "device"),  # where a training runs does not make it another one
            (torch.Generator, lambda generator: f"generator {self._tensor(generator.get_state())}"),
        )

    # ---- values ----

    def _tensor(self, value: Tensor) -> str:
        try:
            return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(_bytes_of(value)).hexdigest()}"
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise self._refusal(value, f"has no values to compare ({value.layout}, {value.device})") from error

    def _array(self, value: np.ndarray | np.generic) -> str:
        if type(value) is not np.ndarray and isinstance(value, np.ndarray):
            return self._object(value)  # a masked array has more than its values
        if value.dtype.hasobject:
            return f"array {value.shape} {self.text(value.tolist())}"
        return f"array {value.dtype.descr} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"

    def _collection(self, value: list | tuple | dict | set | frozenset) -> str:
        kind = type(value).__name__
        if isinstance(value, list | tuple):
            return f"{kind}({self._all(value)})"
        if isinstance(value, set | frozenset):
            return f"{kind}({', '.join(sorted(self._apart(item) for item in value))})"
        pairs = [f"{self.text(key)}: {self.text(item, f'[{key!r}]')}" for key, item in value.items()]
        return f"dict({', '.join(pairs)})"

    def _object(self, value: object) -> str:
        """Tell an object as `pickle` would keep it: by its class and attributes, and what it holds."""
        kind = type(value)
        if _fingerprint_of(value) is not None:
            return f"{self.text(kind)} {_fingerprint_of(value)}"
        if callable(value) and is_found_by_name(value):  # the functions of NumPy are such objects
            return self._name(value.__module__, value.__qualname__)
        if isinstance(wrapped := inspect.getattr_static(value, "__wrapped__", None), FunctionType):
            return f"{self.text(kind)} {self.text(wrapped)}"  # functools.lru_cache
        try:
            reduced = value.__reduce_ex__(2)
        except Exception as error:
            raise self._refusal(value, "cannot be told from another one") from error
        if isinstance(reduced, str):
            return f"{self.text(kind)} {reduced}"
        make, arguments, state, items, pairs, *_ = (*reduced, None, None, None)
        told = self._named(state or {}, ".") if type(state) in (dict, type(None)) else self.text(state)
        inside = [self.text(list(part)) for part in (items, pairs) if part is not None]
        return f"{self.text(make)}({self._all(arguments)}) ({told}) {inside}"

    def _all(self, values: tuple | list) -> str:
        return ", ".join(self.text(value, f"[{place}]") for place, value in enumerate(values))

    def _named(self, values: dict, step: str = "") -> str:
        """Tell named values in the order of their names."""
        pairs = sorted(values.items(), key=lambda pair: str(pair[0]))
        return ", ".join(f"{name}={self.text(value, f'{step}{name}')}" for name, value in pairs)

    def _apart(self, item: object) -> str:
        """Tell one of a set, in which each may come first."""
        seen = dict(self.seen)
        try:
            return self.text(item)
        finally:
            self.seen = seen

    # ---- code ----

    def _name(self, module: str, qualified: str) -> str:
        if not self.module_names and f"{module}.".startswith("aecore."):
            return f"aecore:{qualified}"
        return f"{module}.{qualified}"

    def _builtin(self, function: types.BuiltinFunctionType) -> str:
        owner = function.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return self._name(function.__module__ or "builtins", function.__qualname__)
        return f"{function.__name__} of {self.text(owner, '.self')}"

    def _function(self, function: FunctionType) -> str:
        module = function.__globals__.get("__name__")  # not function.__module__, which functools.wraps copies
        if not is_library(module):
            return self._own_function(function)
        if is_found_by_name(function):
            return self._name(function.__module__, function.__qualname__)
        wrapped = getattr(function, "__wrapped__", None)
        if isinstance(wrapped, FunctionType) and shows_its_decorators(wrapped):
            return self.text(wrapped)
        name = self._name(module, function.__code__.co_qualname)
        return f"{name}({self._named(closure_of(function), ' → ')})" if "<locals>" in name else name

    def _own_function(self, function: FunctionType) -> str:
        """Tell a reader's function by its code, its default arguments, and all that it takes from around it."""
        tree = tree_of(function)
        attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        lines = [self._named(values, " → ") for values in (defaults_of(function), attributes) if values]
        around = sorted(taken_by(function, tree), key=lambda pair: pair[0])
        return "\n".join([text_of(tree), *lines, *(f"{name}={self.text(v, f' → {name}')}" for name, v in around)])

    def _class(self, cls: type) -> str:
        if is_library(cls.__module__):
            return self._name(cls.__module__, cls.__qualname__)
        bases = [self.text(base) for base in (*cls.__bases__, type(cls))]
        members = sorted(members_of(cls), key=lambda pair: pair[0])
        told = [f"{name}: {self.text(value, f'.{name}')}" for name, value in members]
        return "\n".join([f"class {cls.__qualname__}({', '.join(bases)})", *told])

    def _module(self, module: types.ModuleType) -> str:
        if is_library(module.__name__):
            return f"module {module.__name__}"
        own = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        return f"module({self._named(own, '.')})"

    # ---- networks ----

    def _network(self, network: nn.Module) -> str:
        """Tell a network that is used and not trained: a run's by the run, another one with its weights."""
        if _fingerprint_of(network) is not None:
            return f"run {_fingerprint_of(network)}"
        return f"{self.layers(network)}\n{hash_of_weights(network)}"

    def layers(self, model: nn.Module) -> str:
        """Tell a model without its weights."""
        elsewhere = _told_by_run(model)
        values = [pair for pair in model.state_dict().items() if not pair[0].startswith(elsewhere)]
        weights = [pair for pair in model.named_parameters() if not pair[0].startswith(elsewhere)]
        layers = [pair for pair in model.named_modules() if not f"{pair[0]}.".startswith(elsewhere)]
        return "\n".join([
            _as_torch_2_14_has_it(re.sub(r" at 0x[0-9a-f]+", "", repr(model))),  # where an object lies tells nothing
            *(f"{name} {tuple(value.shape)}{_unusual(value.dtype)}" for name, value in values),
            *(f"{name} is frozen" for name, weight in weights if not weight.requires_grad),
            *(f"{name} is {first}" for name, first in _shared(model) if not name.startswith(elsewhere)),
            *(f"{name}.{line}" for name, weight in weights for line in self._hooks(weight, WEIGHT_HOOKS, f".{name}")),
            *(f"{name}.{line}" for name, layer in layers for line in self._details(layer, f".{name}" if name else "")),
        ])  # fmt: skip

    def objective(self, objective: nn.Module) -> str:
        """Tell an objective with all its settings, and the networks in it."""
        own = {**dict(objective.named_parameters(recurse=False)), **dict(objective.named_children())}
        told = [f"{name}: {self.text(value, f'.{name}')}" for name, value in own.items()]
        return "\n".join([self.text(type(objective)), *self._settings(objective, ""), *told])

    def _details(self, layer: nn.Module, place: str) -> Iterator[str]:
        """Yield what the `repr` of a layer does not show."""
        own = [cls for cls in type(layer).__mro__ if not is_library(cls.__module__)]
        if isinstance(layer, Frozen) and not own:
            yield from [] if layer.fingerprint else [f"weights {hash_of_weights(layer)}"]
        elif own or _is_altered(layer):
            yield from self._settings(layer, place)
            yield from (self.text(cls, place) for cls in own)
        else:
            yield from _unshown(layer)

    def _settings(self, layer: nn.Module, place: str) -> Iterator[str]:
        """Yield the attributes and buffers that a layer was given, and its hooks, a line each."""
        given = {name: value for name, value in vars(layer).items() if name not in ORDINARY}
        if isinstance(layer, PCAStart):
            given.pop("_principal")  # its repr tells of them, rounded: the last digits differ from machine to machine
        drawn = STATISTICS if hasattr(layer, "reset_running_stats") else set()
        buffers = {name: value for name, value in layer.named_buffers(recurse=False) if name not in drawn}
        for name, value in sorted({**given, **buffers}.items()):
            yield f"{name}={self.text(value, f'{place}.{name}')}"
        yield from self._hooks(layer, LAYER_HOOKS, place)

    def _hooks(self, owner: nn.Module | nn.Parameter, kinds: tuple[str, ...], place: str) -> Iterator[str]:
        for kind in kinds:
            for number, hook in enumerate((getattr(owner, kind) or {}).values()):
                yield f"{kind}[{number}]={self.text(hook, f'{place}.{kind}[{number}]')}"

    def _refusal(self, value: object, why: str) -> ValueError:
        place = "".join(self.path[:20]) + ("…" if len(self.path) > 20 else "")
        return ValueError(
            f"{place}: a {type(value).__name__} {why}, so a stored run that depends on it could not be "
            "found again. Use numbers, words, tensors, and functions and classes of your own; in a model also buffers "
            "(self.register_buffer). What cannot do without files and the like opens them inside the function."
        )


# In torch 2.11 a normalisation does not show whether it has a bias: it has one where it is affine (but for a LayerNorm
# with bias=False, which is told apart by its state_dict).
_SHAPES = r"[^()]*(?:\([^()]*\)[^()]*)?"  # a LayerNorm's has brackets of its own
_NORMALISATION = re.compile(rf"\b(\w*(?:Batch|Instance|Layer|Group)Norm\w*\({_SHAPES}affine=(True|False))(?!, bias=)")


def _as_torch_2_14_has_it(text: str) -> str:
    """Return the `repr` of a model in the words of one version, so that a run of another one is found."""
    return _NORMALISATION.sub(r"\1, bias=\2", text)


# ---- what there is to tell ----


def _fingerprint_of(value: object) -> str | None:
    """Return the fingerprint of a run, of a set of images, or of a network that is a run's; None for all else."""
    if (
        f"{type(value).__module__}".startswith("aecore.")
        and inspect.getattr_static(value, "fingerprint", None) is not None
    ):
        return value.fingerprint
    return None


def _told_by_run(model: nn.Module) -> tuple[str, ...]:
    """Return how the names of layers and weights begin that belong to a run, which tells them."""
    frozen = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Frozen) and layer.fingerprint]
    return tuple(f"{name}.network.".lstrip(".") for name, layer in frozen)


def _is_altered(layer: nn.Module) -> bool:
    """Whether a layer of torch or aecore was given a hook, or a function in place of one of its methods."""
    if type(layer).__module__.startswith(("torch._dynamo.", "torch.jit.", "torch.fx.")):
        return False
    given = [value for name, value in vars(layer).items() if name not in ORDINARY]
    return any(map(callable, given)) or any(getattr(layer, kind) for kind in LAYER_HOOKS)


def _unshown(layer: nn.Module) -> Iterator[str]:
    """Yield the settings of a layer of torch that its `repr` leaves out, such as `nn.Upsample(align_corners=True)`."""
    if isinstance(layer, torch.jit.ScriptModule | torch.fx.GraphModule):
        yield f"code={layer.code}"
    elif type(layer).__module__.startswith("torch."):
        shown = layer.extra_repr()
        for name, usual in _usual_settings(type(layer)):
            value = vars(layer).get(name, usual)
            many = (usual,) * len(value) if isinstance(value, tuple) else usual  # padding=0 is kept as (0, 0)
            if (
                not isinstance(value, bool | int | float | str | tuple)
                or value in (usual, many)
                or not (value or usual)
            ):
                continue
            if f"{name}={value!r}" not in shown and not (usual is inspect.Parameter.empty and f"{value}" in shown):
                yield f"{name}={value!r}"


@functools.cache
def _usual_settings(cls: type) -> list[tuple[str, object]]:
    """Return what the constructor of a layer may be given, and what it takes where it is not."""
    return [(name, parameter.default) for name, parameter in inspect.signature(cls).parameters.items()]


def _shared(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield which weights are one and the same: the later name and the first."""
    first: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(weight), name) != name:
            yield name, first[id(weight)]


def _unusual(dtype: torch.dtype) -> str:
    return "" if dtype in (torch.float32, torch.int64) else f" {dtype}"


def _bytes_of(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
