"""What the built package has and the checkout lacks: the app and lessons inside it, and a README for PyPI."""

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

BUNDLED = ("dashboard", "notebooks")


class Bundle(BuildHookInterface):
    """Copies the app and the lessons, which lie beside the package, into it; see skinlesion/bundled.py.

    An editable installation finds them in the checkout, so it gets no copies.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"] |= {name: f"skinlesion/bundled/{name}" for name in BUNDLED}


class Readme(MetadataHookInterface):
    """The README with absolute addresses: PyPI shows it without the files that its links and images lead to."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called when the package's metadata is made."""
        repository = metadata["urls"]["Repository"]
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"(!\[[^]]*\]\()(?!\w+:|#)", rf"\1{repository}/raw/main/", text)
        text = re.sub(r"(?<!!)(\[[^]]*\]\()(?!\w+:|#)", rf"\1{repository}/blob/main/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
