"""What an exercise is: a statement, a solution, the inputs to try, and the answers that are known to be wrong."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Case:
    """One input to try.

    Attributes:
        args: what the function is called with; every call gets its own copy.
        label: what is special about this input, such as "a grid that is not square".
        gradients: positions of the arguments whose gradient must be right too.
    """

    args: tuple[Any, ...]
    label: str = ""
    gradients: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong answer. When a student's result equals its result, the diagnosis is what is said.

    Attributes:
        name: the mistake in a few words, such as "sum for mean".
        answer: the wrong function, or the wrong value.
        diagnosis: what a teacher would say to whoever wrote it.
    """

    name: str
    answer: Any
    diagnosis: str


@dataclass(frozen=True)
class Property:
    """Something that any right answer does, where there is no single right output to compare with.

    Attributes:
        name: what is asked, in a few words.
        test: called with the student's function and a generator; returns what is wrong, or None.
    """

    name: str
    test: Callable[[Callable[..., Any], torch.Generator], str | None]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise of the course.

    Attributes:
        name: "topic.thing", as given to `check`.
        lesson: number of the lesson.
        title: a few words.
        statement: what to do, in Markdown: shapes, formulas, what must not happen.
        solution: the function that is right, the package's own where there is one; or the right value.
        example: a worked example, shown before coding. For a function: Python statements that call it by its name in
            the notebook, ending in an expression; what it gives is computed by the solution. For a value: Markdown
            that works out a neighboring case, not this one.
        difficulty: 0 (a warm-up) to 5.
        importance: 1 (skip it when time is short) to 5 (the rest of the course builds on it).
        minutes: that a student should expect to spend.
        bonus: whether it goes beyond the lesson: not part of the lesson's time.
        hints: one at a time, from a nudge to nearly the answer.
        wrong: at least five plausible wrong answers.
        cases: makes the inputs from a seeded generator; None for an exercise whose answer is a value.
        properties: further demands on a function.
        takes: the parameters as the student writes them, where they differ from the solution's.
        after: said when the check passes.
        rtol: relative tolerance.
        atol: absolute tolerance.
        seconds: time limit for one call.
        plain: whether the result must not keep a graph, as the statement says.
        exact_dtype: whether the statement names the dtype, so that float64 can't stand for float32 or the reverse. A
            result that takes a gradient always keeps its dtype.
        forbids: name of a torch function that the statement rules out -> what is said to a student who calls it.
        formula: the solution in plain torch, where the solution itself is native code: the search for a slip changes
            its source, and native code with a changed source could write anywhere in memory.
    """

    name: str
    lesson: int
    title: str
    statement: str
    solution: Any
    example: str
    difficulty: int
    importance: int
    minutes: int
    hints: tuple[str, ...]
    wrong: tuple[Wrong, ...]
    cases: Callable[[torch.Generator], list[Case]] | None = None
    properties: tuple[Property, ...] = ()
    takes: str | None = None
    after: str = ""
    bonus: bool = False
    rtol: float = 1e-4
    atol: float = 1e-5
    seconds: float = 10.0
    plain: bool = False
    exact_dtype: bool = False
    forbids: Mapping[str, str] = field(default_factory=dict)
    formula: Callable[..., Any] | None = None

    @property
    def is_function(self) -> bool:
        """True where a function is asked for, False where a value is."""
        return callable(self.solution)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arguments of the student's function."""
        names = self.takes.split(",") if self.takes else inspect.signature(self.solution).parameters
        return tuple(name.strip() for name in names)

    @property
    def signature(self) -> str:
        """What the student writes: "four_routes(height, width)", or the kind of value."""
        if not self.is_function:
            return f"a {type(self.solution).__name__}"
        return f"{self.name.rpartition('.')[2]}({', '.join(self.parameters)})"
