"""An interactive teaching kit: a vision state-space network for skin-lesion segmentation.

Importing the package is cheap: what it offers is imported when first used, so ``import skinlesion`` costs nothing
to a script that only needs one corner of it.

    >>> import skinlesion
    >>> model = skinlesion.create_model("tiny")                         # doctest: +SKIP
    >>> segmenter = skinlesion.Segmenter.from_pretrained("small")       # doctest: +SKIP
    >>> segmenter.segment("photo.jpg").mask                             # doctest: +SKIP
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from skinlesion.errors import SkinlesionError
from skinlesion.version import __version__

if "torch" not in sys.modules:
    # Torch's threads otherwise spin while they wait for each other: where other work shares the few cores, an image
    # then takes seconds instead of milliseconds. It is read when torch is loaded, so it is set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from skinlesion.any_image import fetch_image
    from skinlesion.checkpoint import load_checkpoint, save_checkpoint
    from skinlesion.evaluation import evaluate
    from skinlesion.extend import register_dataset, register_engine, register_loss, register_model
    from skinlesion.hooks import intervene, observe, points
    from skinlesion.segmentation import Segmentation
    from skinlesion.segmenter import Segmenter
    from skinlesion.zoo import create_model

__all__ = [
    "Segmentation",
    "Segmenter",
    "SkinlesionError",
    "__version__",
    "create_model",
    "evaluate",
    "fetch_image",
    "intervene",
    "load_checkpoint",
    "observe",
    "points",
    "register_dataset",
    "register_engine",
    "register_loss",
    "register_model",
    "save_checkpoint",
]

_HOME = {
    "Segmentation": "skinlesion.segmentation",
    "Segmenter": "skinlesion.segmenter",
    "create_model": "skinlesion.zoo",
    "evaluate": "skinlesion.evaluation",
    "fetch_image": "skinlesion.any_image",
    "intervene": "skinlesion.hooks",
    "observe": "skinlesion.hooks",
    "points": "skinlesion.hooks",
    "load_checkpoint": "skinlesion.checkpoint",
    "save_checkpoint": "skinlesion.checkpoint",
    **{f"register_{each}": "skinlesion.extend" for each in ("model", "dataset", "loss", "engine")},
}
_SUBMODULES = frozenset(
    {"data", "explain", "lessons", "losses", "metrics", "model", "plots", "scan", "training", "zoo"}
)


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _SUBMODULES:
        return import_module(f"skinlesion.{name}")
    raise AttributeError(f"module 'skinlesion' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
