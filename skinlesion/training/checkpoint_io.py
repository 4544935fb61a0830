"""How Lightning's checkpoints (`last.ckpt`) reach the disk and come back."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, replacing
from skinlesion.migration import FORMAT, READABLE, migrate


class SafeCheckpointIO(CheckpointIO):
    """Writes a checkpoint whole or not at all, and reads tensors and plain values only.

    The restricted reader (`weights_only`) runs no code from the file, so resuming a run folder that someone sent is
    safe.

    Args:
        expected: the state dictionary that a checkpoint has to fit, by name and shape; None to accept any.
    """

    def __init__(self, expected: Mapping[str, Any] | None = None) -> None:
        self._shapes = None if expected is None else {name: _shape(value) for name, value in expected.items()}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary name, then rename: a kill leaves the previous checkpoint."""
        make_folder(Path(path).parent)
        with replacing(path) as temporary:
            torch.save({**checkpoint, "skinlesion_format": FORMAT}, temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read on the CPU; Lightning moves what belongs elsewhere.

        Raises:
            SkinlesionError: the file is damaged, holds more than tensors and plain values, doesn't fit
                the network, or is of a newer version.
        """
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            raise _damaged(path) from error
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
            raise _damaged(path)
        written = checkpoint.get("skinlesion_format", 1)
        if written not in READABLE:
            raise SkinlesionError(f"{path} was written by a newer version (format {written!r}): update skinlesion.")
        state = migrate(checkpoint["state_dict"], written)
        if self._shapes is not None:
            found = {name: _shape(value) for name, value in state.items()}
            wrong = [name for name in {**self._shapes, **found} if self._shapes.get(name, 0) != found.get(name, 0)]
            if wrong:
                raise _damaged(path, f" ({wrong[0]} is missing, unknown or of another shape)")
        return {**checkpoint, "state_dict": state}

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _damaged(path: Any, why: str = "") -> SkinlesionError:
    return SkinlesionError(
        f"{path} cannot be resumed from: it is damaged, or not a checkpoint of this run{why}. "
        "Start the run again in another folder with --out."
    )
