"""Puts the app and the lessons, which lie beside the package, inside it in the wheel; see skinlesion/bundled.py."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("dashboard", "notebooks")


class Bundle(BuildHookInterface):
    """An editable installation finds them in the checkout, so it gets no copies."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"] |= {name: f"skinlesion/bundled/{name}" for name in BUNDLED}
