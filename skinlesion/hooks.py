"""Observe and intervene: read any named activation of a network, or replace it, without changing the network.

A network names its interesting tensors by passing each through `point`. `points` lists the names, `observe` collects
tensors, and `intervene` replaces them:

>>> with observe(model, "*.se.gate") as seen:                            # doctest: +SKIP
...     model(image)
>>> seen["E3.1.se.gate"].shape                                           # doctest: +SKIP
torch.Size([1, 192])
>>> with intervene(model, {"S2.cra.gate_h": lambda gate: gate.mean(1, keepdim=True).expand_as(gate)}):
...     changed = model(image)                                           # doctest: +SKIP

Both last as long as their `with` block, and apply to the current thread or async task only: nothing is stored on the
model, so two people who use one model never see each other's experiments. Gradients flow through both. The idea is
TransformerLens's hook points (https://transformerlensorg.github.io/TransformerLens/); a context variable takes the
place of hooks stored on the shared model.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
Replacement = Tensor | Callable[[Tensor], Tensor]


class Activations(dict[str, Tensor]):
    """What `observe` collected: point -> tensor of the latest forward pass, in the order in which they ran."""

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(f"{name}: not collected. Either no forward pass has run yet, or observe() wasn't asked for it.")


class _Session:
    """One open `observe` or `intervene` block."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model  # keeps the modules alive, so that their ids stay unique
        self.names = {(id(module), local): name for name, (module, local) in _index(model).items()}
        self.functions: dict[str, list[Replacement]] = {}
        self.observed: frozenset[str] = frozenset()
        self.seen = Activations()


_SESSIONS: ContextVar[tuple[_Session, ...]] = ContextVar("skinlesion_hooks", default=())
_OPEN: list[_Session] = []  # of all threads: while it is empty, a point costs one check of it


def point(module: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """Pass a tensor through a named point of a module's forward method.

    Nothing happens unless the current thread or task observes or intervenes. In a compiled network the point is absent.
    `torch.export` (with strict=False, the default) runs the network as ordinary Python, so that what a forward method
    observes or replaces itself becomes part of the exported program.

    Args:
        module: the module whose forward method runs; its class lists `name` in its attribute POINTS.
        name: the point's name in the module.
        tensor: of any shape.

    Returns:
        The tensor to continue with: of the same shape, type and device.

    Raises:
        SkinlesionError: an intervention returned something else.
    """
    if not _OPEN or torch.compiler.is_dynamo_compiling():
        return tensor
    sessions = _SESSIONS.get()
    return _visit(sessions, module, name, tensor) if sessions else tensor


def _visit(sessions: tuple[_Session, ...], module: nn.Module, local: str, tensor: Tensor) -> Tensor:
    """Interventions first, in the order in which their blocks were entered; then every observer sees the result."""
    key = (id(module), local)
    for session in sessions:
        name = session.names.get(key)
        if name is not None:
            for replacement in session.functions.get(name, ()):
                tensor = _replaced(name, replacement, tensor)
    for session in sessions:
        name = session.names.get(key)
        if name is not None and name in session.observed:
            session.seen[name] = tensor
    return tensor


def _replaced(name: str, replacement: Replacement, tensor: Tensor) -> Tensor:
    try:
        new = replacement if isinstance(replacement, Tensor) else replacement(tensor)
    except Exception as error:
        error.add_note(f"This happened in the intervention at {name}.")
        raise
    if not isinstance(new, Tensor):
        raise SkinlesionError(f"The intervention at {name} must return a tensor, not {type(new).__name__}.")
    for what in ("shape", "dtype", "device"):
        expected, found = getattr(tensor, what), getattr(new, what)
        if expected != found:
            raise SkinlesionError(
                f"The intervention at {name} must keep the {what} {_text(expected)}; it returned {_text(found)}."
            )
    return new


def _text(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)


def points(model: nn.Module) -> list[str]:
    """The names of all points of a network, such as "E3.1.se.gate", "S2.cra.gate_h" and "D2.1.output".

    In the paper's network E1.1 .. D1.1 are blocks and S2 .. S4 skips; elsewhere names are module paths.

    Args:
        model: a network of the kit, or any module of one.
    """
    return list(_index(model))


def find_point(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that has a point, and the point's name in it.

    Raises:
        SkinlesionError: there is no such point; the message lists close ones.
    """
    index = _index(model)
    if name not in index:
        raise _unknown(model, name, list(index))
    return index[name]


def name_outputs(model: nn.Module) -> None:
    """Give each block of a network, whose code names no points, the point "PATH.output".

    A block is a child of the network, or an element of a list of modules, that has parameters and isn't a norm.
    If it returns a tuple, the point is its first tensor. A class that has an attribute POINTS, even an empty one,
    names its own points and is left alone.

    The hook for this has no state and is never removed, so threads that share the model can't race.
    """
    for path in _blocks(model):
        module = model.get_submodule(path)
        if not hasattr(module, "POINTS"):
            module.POINTS = ("output",)  # type: ignore[assignment]
            module.register_forward_hook(_output)


def _blocks(module: nn.Module, prefix: str = "") -> list[str]:
    paths: list[str] = []
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            paths += _blocks(child, f"{prefix}{name}.")
        elif not isinstance(child, _NORMS) and any(True for _ in child.parameters()):
            paths.append(f"{prefix}{name}")
    return paths


def _output(module: nn.Module, _inputs: Any, output: Any) -> Any:
    if not _OPEN or torch.compiler.is_dynamo_compiling() or not _SESSIONS.get():
        return None
    if isinstance(output, tuple):
        return (_output(module, _inputs, output[0]), *output[1:])
    # The clone protects what was observed from an activation that works in place.
    return point(module, "output", output).clone()


def _index(model: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Point -> its module and its name there."""
    if hasattr(model, "_orig_mod"):
        raise SkinlesionError("A compiled network has no points: observe the network that was compiled.")
    index: dict[str, tuple[nn.Module, str]] = {}
    naming: list[tuple[str, Callable[[str], str]]] = []  # of networks inside, by their path
    for path, module in model.named_modules():
        if hasattr(module, "public_name"):
            naming.append((f"{path}." if path else "", module.public_name))
        shown = path
        for prefix, public_name in naming:
            if path.startswith(prefix):
                shown = public_name(path.removeprefix(prefix))
        for local in getattr(module, "POINTS", ()):
            index[f"{shown}.{local}" if shown else local] = (module, local)
    return index


def _unknown(model: nn.Module, name: str, known: list[str]) -> SkinlesionError:
    if not known:
        return SkinlesionError(f"{type(model).__name__} has no points to observe; build it with create_model.")
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
    return SkinlesionError(
        f"There is no point {name!r}; did you mean {', '.join(close)}? skinlesion.points(model) lists all {len(known)}."
    )


def _match(session: _Session, pattern: str) -> list[str]:
    if not isinstance(pattern, str):
        raise SkinlesionError(f"Points are named by strings such as '*.se.gate', not by {pattern!r}.")
    known = list(session.names.values())
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        raise _unknown(session.model, pattern, known)
    return found


@contextmanager
def _open(session: _Session) -> Iterator[None]:
    _OPEN.append(session)
    _SESSIONS.set((*_SESSIONS.get(), session))
    try:
        yield
    finally:
        session.functions, session.observed = {}, frozenset()  # for tasks that were started inside and still run
        _SESSIONS.set(tuple(other for other in _SESSIONS.get() if other is not session))
        _OPEN.remove(session)


@contextmanager
def observe(model: nn.Module, *names: str) -> Iterator[Activations]:
    """Collect activations of every forward pass inside a `with` block.

    The tensors are those the network continues with, interventions included, and are part of the autograd graph; run
    the network under `torch.no_grad()` where gradients aren't needed.

    Args:
        model: a network of the kit, or a module of one.
        *names: points, or patterns such as `"*.se.gate"`; none for all points.

    Yields:
        Point -> tensor, filled by the forward pass; a second pass replaces the first.

    Raises:
        SkinlesionError: a name matches no point; the message lists close ones.
    """
    session = _Session(model)
    session.observed = frozenset(name for pattern in names or ("*",) for name in _match(session, pattern))
    with _open(session):
        yield session.seen


@contextmanager
def intervene(model: nn.Module, replacements: Mapping[str, Replacement]) -> Iterator[None]:
    """Replace activations in every forward pass inside a `with` block.

    Args:
        model: a network of the kit, or a module of one.
        replacements: point or pattern -> a function of the activation, or a tensor that takes its place. The result
            must keep shape, type and device. Several that match one point are applied in order.

    Raises:
        SkinlesionError: a name matches no point, or (in the forward pass) a result is of another shape, type or device.
            What a function itself raises is passed on with a note that names the point.
    """
    if not isinstance(replacements, Mapping):
        raise SkinlesionError('Give what replaces each point as a mapping, such as {"E3.1.se.gate": torch.zeros_like}.')
    session = _Session(model)
    for pattern, replacement in replacements.items():
        if not isinstance(replacement, Tensor) and not callable(replacement):
            raise SkinlesionError(f"{pattern} can be replaced by a tensor or by a function, not by {replacement!r}.")
        for name in _match(session, pattern):
            session.functions.setdefault(name, []).append(replacement)
    with _open(session):
        yield


class Intervened(nn.Module):
    """A network that always runs inside an intervention, for code that takes a network and calls it.

    Args:
        model: the network; it is shared, not copied.
        intervention: opens the intervention, called before each forward pass with the network.
    """

    def __init__(self, model: nn.Module, intervention: Callable[[nn.Module], AbstractContextManager[Any]]) -> None:
        super().__init__()
        self.model = model
        self.intervention = intervention
        self.train(model.training)
        for name in ("name", "config"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Like the network's own."""
        with self.intervention(self.model):
            return self.model(*args, **kwargs)
