"""Finding the modules that extend the package, and the names that they have registered; see `skinlesion.extend`.

It imports no other part of the package, only what errors need, so that the scan, the data layouts and the zoo can look
up a name that isn't built in.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from skinlesion.text import printable
from skinlesion.user_code import named_errors

PLUGINS = "SKINLESION_PLUGINS"
GROUP = "skinlesion"
EXTRA_DATASETS: dict[str, Callable[[Path], Sequence[Any]]] = {}  # gives the samples of a folder
EXTRA_ENGINES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}  # the scan, and the device types it runs on
EXTRA_LOSSES: dict[str, Callable[..., Any]] = {}


def listed_modules() -> tuple[str, ...]:
    """The modules that the user lists in `SKINLESION_PLUGINS`."""
    return tuple(filter(None, map(str.strip, os.environ.get(PLUGINS, "").split(","))))


@functools.cache
def load_plugins() -> None:
    """Import what `SKINLESION_PLUGINS` lists and what installed packages register; once per process.

    Raises:
        SkinlesionError: one cannot be imported.
    """
    for module in listed_modules():
        import_plugin(module)
    for each in entry_points(group=GROUP):
        with named_errors(f"The plugin {printable(each.value)} cannot be loaded"):
            each.load()


def import_plugin(module: str) -> Any:
    """Import a module by name, also from the current folder.

    Raises:
        SkinlesionError: it cannot be imported.
    """
    here = os.getcwd()
    if here not in sys.path:  # `skinlesion` is a script in another folder
        sys.path.insert(0, here)
    with named_errors(f"The module {printable(module)} cannot be imported"):
        return import_module(module)
