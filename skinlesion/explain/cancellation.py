"""Saying how far a long computation is, and stopping it."""

from collections.abc import Callable


class Canceled(Exception):  # noqa: N818 - it is no error
    """The caller asked to stop."""


class Progress:
    """Counts the steps of a computation.

    Args:
        steps: how many there will be, about.
        report: told the fraction that is done, in [0, 1], after each step.
        canceled: asked before each step; where it says True, `Canceled` is raised.
    """

    def __init__(
        self,
        steps: int,
        report: Callable[[float], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> None:
        self.steps = steps
        self.done = 0
        self._report = report
        self._canceled = canceled

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            Canceled: the caller asked to stop.
        """
        if self._canceled is not None and self._canceled():
            raise Canceled

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        self.done += steps
        if self._report is not None:
            self._report(min(1.0, self.done / self.steps))
