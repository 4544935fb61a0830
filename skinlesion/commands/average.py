"""`skinlesion average`."""

from pathlib import Path

from skinlesion.averaging import average_checkpoints
from skinlesion.errors import SkinlesionError
from skinlesion.flags import Words


def average(weights: Words, *, out: Path) -> None:
    """Average the weights of several checkpoints of one run; the average is often better than any of them.

    Args:
        weights: Run folders (for their best epoch), .safetensors files, names of weights, or RUN/checkpoints/last.ckpt
            for a run's last epoch.
        out: The new .safetensors file.
    """
    if out.exists():
        raise SkinlesionError(f"{out} exists already: choose another name, or move it away.")
    average_checkpoints(weights, out)
    print(f"{out}: the mean of {len(weights)} checkpoints.")
