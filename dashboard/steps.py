"""Long computations in several parts: each result is cached, so that after Stop only the remaining parts run."""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

_MEMORY = "_memory"
KEPT = 48  # parts of one visitor and kind


def recall(kind: str, key: Hashable) -> Any | None:
    """What was remembered, if it still is."""
    return _memory(kind).get(key)


def _memory(kind: str) -> dict[Hashable, Any]:
    return st.session_state.setdefault(_MEMORY, {}).setdefault(kind, {})


class Steps:
    """Runs parts one after another and tells how far they are together.

    Args:
        kind: what sort of parts, unique.
        tell: a job's: called with the fraction done and a line.
        total: the weights of all parts together.
        kept: parts that are remembered; the oldest give way.
    """

    def __init__(self, kind: str, tell: Callable[[float, str], None], total: float, kept: int = KEPT) -> None:
        self.kind = kind
        self.tell = tell
        self.total = total
        self.kept = kept
        self.done = 0.0

    def run(self, key: Hashable, weight: float, label: str, work: Callable[[Callable[[float], None]], Any]) -> Any:
        """One part's result.

        Args:
            key: everything that it depends on.
            weight: how long it takes, about, in the unit of `total`.
            label: what is said meanwhile.
            work: is given a function to call with the fraction of this part, in [0, 1].
        """
        memory = _memory(self.kind)
        if key not in memory:
            self.tell(self.done / self.total, label)
            memory[key] = work(lambda part: self.tell((self.done + weight * part) / self.total, label))
            while len(memory) > self.kept:
                memory.pop(next(iter(memory)))
        self.done += weight
        return memory[key]
