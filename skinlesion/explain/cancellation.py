"""Progress and cancellation of long computations."""

from collections.abc import Callable


class Canceled(Exception):  # noqa: N818 - it is no error
    """The caller asked to stop."""


class Progress:
    """Counts the steps of a computation.

    Args:
        steps: approximate number of steps.
        report: called with the fraction done, in [0, 1], after each step.
        canceled: called before each step; if it returns True, `Canceled` is raised.
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
        """Record that this many more steps are done."""
        self.done += steps
        if self._report is not None:
            self._report(min(1.0, self.done / self.steps))
