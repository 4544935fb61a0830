"""Looking inside one forward pass without leaving anything behind in the model."""

from collections.abc import Iterator

from torch import Tensor


class Trace:
    """What one forward pass showed: tensors by name.

    A trace is handed to the model for one call, `model.forward_features(x, trace)`. Nothing is stored in the model, so
    that several people can look at once, and a call without a trace keeps nothing.

    Names are paths such as "E1.2.ss2d.se.gate": stage E1, block 2, its SS2D, its squeeze-and-excitation, its gate.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._prefix = ""

    def under(self, name: str) -> "Trace":
        """The same trace, with `name` before whatever is recorded through it."""
        child = Trace()
        child.tensors = self.tensors
        child._prefix = f"{self._prefix}{name}."
        return child

    def record(self, **tensors: Tensor) -> None:
        """Keep tensors under their names."""
        for name, tensor in tensors.items():
            self.tensors[self._prefix + name] = tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)
