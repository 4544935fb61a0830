"""A command's progress and the time left, on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from skinlesion.training.duration import duration

_EVERY = 30.0  # seconds between two lines where there is no terminal

Report = Callable[[int, int], None]


@contextmanager
def progress_bar(what: str, *, console: Console | None = None) -> Iterator[Report]:
    """Show progress and the time left: as a bar on a terminal, otherwise as a line every half minute.

    Args:
        what: the label, such as "segmenting".
        console: where to show it; by default standard error.

    Yields:
        A function to call with (done, total).
    """
    console = console or Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield _lines(what, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=120) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str, console: Console) -> Report:
    start = last = time.monotonic()
    first: int | None = None

    def report(done: int, total: int) -> None:
        nonlocal last, first
        first = done - 1 if first is None else first  # a resumed command doesn't begin at 0
        now = time.monotonic()
        if done < total and now - last >= _EVERY:
            last = now
            left = (now - start) / (done - first) * (total - done)
            console.print(f"{what}: {done} of {total}, {duration(left)} left")

    return report
