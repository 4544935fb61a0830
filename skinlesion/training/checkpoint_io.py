"""How Lightning's checkpoints (`last.ckpt`) reach the disk and come back."""

import pickle
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
    """

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
            SkinlesionError: the file is damaged, holds more than tensors and plain values, or is of a newer version.
        """
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            raise SkinlesionError(
                f"{path} cannot be resumed from: it is damaged, or not a checkpoint of this program. "
                "Start the run again in another folder with --out."
            ) from error
        written = checkpoint.get("skinlesion_format", 1)
        if written not in READABLE:
            raise SkinlesionError(f"{path} was written by a newer version (format {written!r}): update skinlesion.")
        return {**checkpoint, "state_dict": migrate(checkpoint["state_dict"], written)}

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)
