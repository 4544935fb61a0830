"""Long computations in a page: they show their progress and can be stopped, and recent results are kept.

A job runs in the page's own script. Each progress report lets Streamlit interrupt a script that has to rerun because
Stop was pressed, the user left the view, or another choice was made: nothing runs in the background.
"""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

_RUNNING = "_running"
_RESULTS = "_results"
KEPT = 4  # results of one visitor and kind


def job(
    kind: str,
    question: Hashable,
    work: Callable[[Callable[[float, str], None]], Any],
    *,
    label: str,
    icon: str = ":material/play_arrow:",
    help: str | None = None,
    disabled: bool = False,
) -> Any | None:
    """A button that starts some work; while it runs a bar and Stop; then its result.

    Args:
        kind: what sort of work, unique.
        question: everything that the result depends on. The result is shown while the question is the same, and the
            work stops when it changes.
        work: is given a function to call with the fraction done and a line, and gives the result.
        label: of the button.
        icon: of the button.
        help: of the button.
        disabled: whether it cannot be asked now.

    Returns:
        The result, if there is one.
    """
    results = st.session_state.setdefault(_RESULTS, {}).setdefault(kind, {})
    if question in results:
        return results[question]
    running = st.session_state.setdefault(_RUNNING, {})
    place = st.empty()
    if running.get(kind) != question:
        running.pop(kind, None)
        # By a callback, so that the run that works does not draw this button; `frame` hides what is left of it.
        place.button(
            label,
            icon=icon,
            type="primary",
            help=help,
            disabled=disabled,
            key=f"start-{kind}",
            on_click=running.__setitem__,
            args=(kind, question),
        )
        return None
    with place.container():
        st.button("Stop", icon=":material/stop:", on_click=running.pop, args=(kind, None), key=f"stop-{kind}")
        bar = st.progress(0.0, text="Starting …")
        try:
            result = work(lambda done, text: bar.progress(min(1.0, max(0.0, done)), text=text) and None)
        except Exception:  # not Stop, which is none: then the work goes on when the page is drawn again
            running.pop(kind, None)
            raise
    running.pop(kind, None)
    results[question] = result
    while len(results) > KEPT:
        results.pop(next(iter(results)))
    place.empty()
    return result
