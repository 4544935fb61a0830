"""What a link reproduces: the choices that a person made, kept across views and mirrored in the address.

A choice is an entry of `st.session_state` under its own name, so that a widget with that key shows and changes it.
Streamlit drops a widget's entry when the user leaves the view; a copy survives. The address is untrusted input: it is
validated strictly, and invalid parts are ignored and reported.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

_KEPT = "_kept"
_WRITTEN = "_written"
_IGNORED = "_ignored"
_ADOPTED = "_adopted"
_VIEW = "_view"

Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """One choice.

    Attributes:
        default: what it is at first; such a value is left out of the address.
        read: text from the address -> value; raises ValueError where the text is none.
    """

    default: Value
    read: Callable[[str], Value]


def number(default: float, low: float, high: float) -> Choice:
    """A number with at most two decimals, as the sliders have."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,2})?", text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return Choice(default, read)


def whole(default: int, low: int, high: int) -> Choice:
    """A whole number."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,6}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Choice(default, read)


def switch(default: bool) -> Choice:
    """Yes or no; 1 or 0 in the address."""

    def read(text: str) -> bool:
        return bool(("0", "1").index(text))

    return Choice(default, read)


def one_of(*options: str) -> Choice:
    """One of some words; the first is the default."""

    def read(text: str) -> str:
        return options[options.index(text)]

    return Choice(options[0], read)


_NAME = r"[\w .()/+%-]{1,80}"


def name(default: str = "") -> Choice:
    """A name whose valid values are only known later: see `settle`."""

    def read(text: str) -> str:
        if not re.fullmatch(_NAME, text):
            raise ValueError
        return text

    return Choice(default, read)


def entry() -> Choice:
    """An entry of a list that is only known later and whose names are others' (image files): see `settle`."""

    def read(text: str) -> str:
        if not (0 < len(text) <= 400 and text.isprintable()):
            raise ValueError
        return text

    return Choice("", read)


def tidy(text: str) -> str:
    """A name that `name` reads."""
    return re.sub(r"[^\w .()/+-]", "_", text)[:70] or "_"


# Those in the address on every view, then those of each view.
CHOICES: dict[str, Choice] = {
    "sample": entry(),
    "weights": name(),
    "present": switch(False),
}
SHARED = ("sample", "weights", "present")
VIEWS: dict[str, tuple[str, ...]] = {}


def declare(view: str, **choices: Choice) -> None:
    """Make a view's choices known; called once, when `dashboard.choices` is imported."""
    CHOICES.update(choices)
    VIEWS[view] = tuple(choices)


def begin() -> None:
    """Before any widget: restore what a change of view forgot, and take over what the address says."""
    kept = st.session_state.setdefault(_KEPT, {})
    for key, choice in CHOICES.items():
        if key not in st.session_state:
            st.session_state[key] = kept.get(key, choice.default)
    st.session_state[_ADOPTED] = set()
    st.session_state[_IGNORED] = []
    if _query() != st.session_state.get(_WRITTEN, {}):
        _adopt()


def enter(view: str) -> None:
    """Before any widget of a view. To Streamlit a widget with the same key is a new one in another view, and would
    start with its default: a value that is written down before it is drawn counts."""
    if st.session_state.get(_VIEW, view) != view:
        for key in CHOICES:
            st.session_state[key] = get(key)
    st.session_state[_VIEW] = view


def _query() -> dict[str, str]:
    return {key: st.query_params[key] for key in st.query_params}


def _adopt() -> None:
    unknown = 0
    for key, text in _query().items():
        if key not in CHOICES:
            unknown += 1
            continue
        try:
            st.session_state[key] = CHOICES[key].read(text)
        except ValueError:
            ignore(f"{key} (invalid value)")
        else:
            st.session_state[_ADOPTED].add(key)
    if unknown:
        ignore(f"{unknown} unknown parameter{'s' if unknown > 1 else ''}")


def ignore(what: str) -> None:
    """Note that a part of the address was left out; `what` must not quote the address."""
    st.session_state[_IGNORED].append(what)


def ignored() -> list[str]:
    """What was left out of the address in this run."""
    return st.session_state[_IGNORED]


def settle(key: str, options: Sequence[Any], default: Any) -> Any:
    """Make a choice one of the options that there are now, before its widget is drawn.

    Args:
        key: the choice.
        options: what it can be in this model, for this image, ...
        default: one of them.

    Returns:
        The value.
    """
    if st.session_state[key] not in options:
        if key in st.session_state[_ADOPTED]:
            ignore(f"{key} (not available here)")
        st.session_state[key] = default
    return st.session_state[key]


def get(key: str) -> Any:
    """The value of a choice; where a widget was emptied, the value it had before."""
    value = st.session_state[key]
    return value if value is not None else st.session_state[_KEPT].get(key, CHOICES[key].default)


def publish(view: str) -> None:
    """After the widgets, also of a fragment: remember every choice, and write those of the view into the address."""
    for key in CHOICES:
        st.session_state[_KEPT][key] = get(key)
    wanted = {key: _text(get(key)) for key in (*SHARED, *VIEWS.get(view, ())) if get(key) != CHOICES[key].default}
    st.session_state[_WRITTEN] = wanted
    if _query() != wanted:
        st.query_params.from_dict(wanted)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def step(key: str, options: Iterable[Any], by: int) -> None:
    """Callback of Next and Previous: move by this many options, wrapping around at the ends."""
    options = list(options)
    st.session_state[key] = options[(options.index(st.session_state[key]) + by) % len(options)]
