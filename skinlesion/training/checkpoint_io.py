"""How Lightning's checkpoints (`last.ckpt`) reach the disk and come back."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, replacing
from skinlesion.migration import FORMAT, READABLE, migrate
from skinlesion.schema import fields_mismatch

_SPARE = 100_000  # numbers of a tensor that is no weight, such as the state of a random generator


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
        with replacing(path) as temporary, open(temporary, "wb") as file:
            try:
                torch.save({**checkpoint, "skinlesion_format": FORMAT}, file)
            except RuntimeError as error:  # PyTorch's writer, after what the system said
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

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
        except MemoryError as error:
            raise damaged_checkpoint(path, " (it asks for more memory than there is)") from error
        except Exception as error:  # a damaged pickle makes the reader raise almost anything
            raise damaged_checkpoint(path) from error
        if not isinstance(checkpoint, dict):
            raise damaged_checkpoint(path)
        written = checkpoint.get("skinlesion_format", 1)
        if type(written) is not int or written not in READABLE:
            raise SkinlesionError(f"{path} was written by a newer version (format {written!r}): update skinlesion.")
        if wrong := fields_mismatch(checkpoint, {"state_dict": dict[str, Any]} if self._shapes is None else _FIELDS):
            raise damaged_checkpoint(path, f" ({wrong})")
        if self._shapes is not None:
            _bound(path, checkpoint, sum(math.prod(shape) for shape in self._shapes.values() if shape))
        state = migrate(checkpoint["state_dict"], written)
        if self._shapes is not None:
            found = {name: _shape(value) for name, value in state.items()}
            names = {**self._shapes, **found}
            if other := [name for name in names if self._shapes.get(name, 0) != found.get(name, 0)]:
                raise damaged_checkpoint(path, f" ({other[0]} is missing, unknown or of another shape)")
        return {**checkpoint, "state_dict": state}

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


# What Lightning's checkpoint is made of, as far as this package relies on it.
_FIELDS = {
    "epoch": int,
    "global_step": int,
    "loops": dict[str, Any],
    "state_dict": dict[str, Any],
    "optimizer_states": list[dict[str, Any]],
    "callbacks": {"RunRecord": dict[str, Any]},
}


def _bound(path: Any, checkpoint: dict[str, Any], numbers: int) -> None:
    """Reject a tensor that is larger than the network's whole state: copying it would fill the memory."""
    waiting: list[Any] = [checkpoint]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor) and value.numel() > numbers + _SPARE:
            raise damaged_checkpoint(path, f" (a tensor of {value.numel():,} numbers does not belong there)")
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def damaged_checkpoint(path: Any, why: str = "") -> SkinlesionError:
    """The error for a checkpoint that a run can't be resumed from."""
    return SkinlesionError(
        f"The run cannot be resumed from {path}: the file is damaged, or not a checkpoint of this run{why}. "
        "Start the run again in another folder with --out."
    )
