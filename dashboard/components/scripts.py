"""The JavaScript, HTML and CSS of our own components, read from the files beside this one."""

import re
from pathlib import Path

_FOLDER = Path(__file__).parent / "live"


def source(name: str) -> str:
    """The text of a file."""
    return (_FOLDER / name).read_text("utf-8")


def script(*names: str) -> str:
    """Several modules as one, in order: a component's script can't import another file.

    Only the last module keeps its exports; the others' functions are in its scope.
    """
    *shared, last = map(source, names)
    return "\n".join([*(re.sub(r"^export ", "", text, flags=re.MULTILINE) for text in shared), last])
