"""Training: a config, the step, and the run that ties them to a folder."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skinlesion.training.config import RECIPES, TrainConfig

if TYPE_CHECKING:
    from skinlesion.training.module import SegmentationModule
    from skinlesion.training.trainer import RunResult, train

__all__ = ["RECIPES", "RunResult", "SegmentationModule", "TrainConfig", "train"]

# Lightning takes seconds to import: a command line that only parses options must not pay for it.
_HOME = {"RunResult": "trainer", "SegmentationModule": "module", "train": "trainer"}


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"skinlesion.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'skinlesion.training' has no attribute {name!r}")
