"""What a visitor uploaded, kept in memory over a reload of the page: by a random token in a cookie of the browser.

A reload starts a new Streamlit session. The cookie expires when the browser is closed; an upload is deleted an hour
after it was last used, or when too many other visitors have come since. No file is written.
"""

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

COOKIE = "skinlesion_visit"
KEPT = 3600.0  # seconds since the last use
VISITORS = 32  # with uploads, at most
_TOKEN = "_visit"


@dataclass
class _Visit:
    """One visitor's images, by id, and when they were used last."""

    pictures: dict[str, Any] = field(default_factory=dict)
    used: float = 0.0


@st.cache_resource(show_spinner=False)
def _visits() -> dict[str, _Visit]:
    return {}


def cookie() -> str:
    """What the browser brought; "" for a new one."""
    return st.context.cookies.get(COOKIE, "")


def token() -> str:
    """This visitor's token, from the cookie or new; the uploads are shown only to the browser that has it."""
    if _TOKEN not in st.session_state:
        given = cookie()
        st.session_state[_TOKEN] = given if re.fullmatch(r"[\w-]{43}", given) else secrets.token_urlsafe(32)
    return st.session_state[_TOKEN]


def pictures() -> dict[str, Any]:
    """This visitor's images, by id; changes are kept."""
    visits, now = _visits(), time.monotonic()
    for other, visit in list(visits.items()):
        if now - visit.used > KEPT:
            visits.pop(other, None)
    mine = visits.setdefault(token(), _Visit())
    mine.used = now
    while len(visits) > VISITORS:
        others = [other for other in visits if other != token()]
        oldest = min(others, key=lambda other: (len(visits[other].pictures) > 0, visits[other].used))
        visits.pop(oldest, None)
    return mine.pictures
