"""What a function does to its arguments: copies for it to work on, and what became of them.

Nothing here raises, whatever a function has made of an argument: an argument that can't be compared has changed.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_MESSAGES = {
    "values": "Your function changes its argument `{0}` in place, but the caller still needs the original. Make a new "
    "tensor "
    "(`{0} = {0} + 1` rather than `{0} += 1`), or work on a copy.",
    "statistics": "Your function runs `{0}` in training mode: that updates the running statistics of its batch "
    "norms. Call `{0}.eval()` first.",
    "training mode": "Your function leaves `{0}` in a different mode: it calls .eval() or .train() and doesn't switch "
    "back.",
    "requires_grad": "Your function changes requires_grad of its argument `{0}`. Work on a copy: "
    "`{0}.detach().requires_grad_()`.",
    "graph": "The values are right, but they keep the graph of the whole computation in memory. "
    "Compute under `torch.no_grad()`, or return plain numbers (`.item()`).",
}


def message(name: str, what: str) -> str:
    """What to say about a change of an argument."""
    return _MESSAGES[what].format(name)


def copied(value: Any, gradient: bool = False) -> Any:
    """A copy for a function to work on; floating-point tensors take a gradient on request."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(gradient and value.is_floating_point())
    if isinstance(value, torch.Generator):
        return torch.Generator().set_state(value.get_state())
    if isinstance(value, list | tuple):
        parts = [copied(each, gradient) for each in value]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, dict):
        return {key: copied(each, gradient) for key, each in value.items()}
    return copy.deepcopy(value) if isinstance(value, nn.Module | np.ndarray) else value


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a value: itself, a module's parameters, or those in lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from tensors(each)


class Memory:
    """What some arguments were before a call.

    Args:
        args: the arguments that the function gets.
        originals: equal values that it can't reach; copies of `args` where they are not given.
    """

    def __init__(self, args: tuple[Any, ...], originals: tuple[Any, ...] | None = None) -> None:
        self._args = args
        self._originals = tuple(map(copied, args)) if originals is None else originals
        self._states = [_state(each) for each in args]

    def change(self) -> tuple[int, str] | None:
        """The first argument that has changed, by position, and how; None where none has."""
        for i, (used, original, state) in enumerate(zip(self._args, self._originals, self._states, strict=True)):
            what = _change(used, original, state)
            if what:
                return i, what
        return None


class Watched:
    """A student's function, for a test that calls it: it remembers what the function did.

    Attributes:
        changed: the first argument that it changed: its name and how.
        error: what the function itself raised.
        returned: what it returned last.
    """

    def __init__(self, function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
        self._function = function
        self._parameters = parameters
        self.changed: tuple[str, str] | None = None
        self.error: BaseException | None = None
        self.returned: Any = None

    def __call__(self, *args: Any) -> Any:
        """Call the function, and see what it does."""
        memory = Memory(args)
        try:
            self.returned = self._function(*args)
        except BaseException as error:
            self.error = error
            raise
        found = memory.change()
        if found and self.changed is None:
            self.changed = self._parameters[found[0]], found[1]
        return self.returned


class Calls(TorchFunctionMode):
    """Notes which of some torch functions are called inside a `with` block, by name."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self._names = names
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of `func`."""
        name = getattr(func, "__name__", "")
        if name in self._names:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _state(value: Any) -> list[Any]:
    """What a value is besides its numbers: modes, and which tensors take a gradient."""
    modes = [module.training for module in value.modules()] if isinstance(value, nn.Module) else []
    return [modes, [each.requires_grad for each in tensors(value)]]


def _change(used: Any, original: Any, before: list[Any]) -> str:
    """How an argument is no longer what it was; "" where it is."""
    if _differs(used, original):
        return "statistics" if isinstance(original, nn.Module) and _is_untrained(used, original) else "values"
    modes, grads = _state(used)
    if modes != before[0]:
        return "training mode"
    return "requires_grad" if grads != before[1] else ""


def _is_untrained(used: nn.Module, original: nn.Module) -> bool:
    """Whether a module's parameters are what they were, so that its buffers are not."""
    one, two = dict(used.named_parameters()), dict(original.named_parameters())
    return one.keys() == two.keys() and not any(_differs(one[name], two[name]) for name in one)


def _differs(used: Any, original: Any) -> bool:
    if isinstance(original, nn.Module):
        return not isinstance(used, nn.Module) or _differs(dict(used.state_dict()), dict(original.state_dict()))
    if isinstance(original, Tensor):
        if not isinstance(used, Tensor) or used.dtype != original.dtype or used.device != original.device:
            return True
        return used.shape != original.shape or not torch.equal(used.detach(), original.detach())
    if isinstance(original, np.ndarray):
        return not isinstance(used, np.ndarray) or used.dtype != original.dtype or not np.array_equal(used, original)
    if isinstance(original, dict):
        if not isinstance(used, dict) or used.keys() != original.keys():
            return True
        return any(_differs(used[key], original[key]) for key in original)
    if isinstance(original, list | tuple):
        if not isinstance(used, list | tuple) or len(used) != len(original):
            return True
        return any(_differs(one, two) for one, two in zip(used, original, strict=True))
    return False
