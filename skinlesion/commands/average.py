"""`skinlesion average`."""

from pathlib import Path

import tyro

from skinlesion.averaging import average_checkpoints
from skinlesion.errors import SkinlesionError


def average(weights: tyro.conf.Positional[tuple[str, ...]], *, out: Path) -> None:
    """Average the weights of several checkpoints of one run; the result is often better than each.

    Args:
        weights: Run folders (their best epoch), .safetensors files, names, or RUN/checkpoints/last.ckpt for a run's
            last epoch.
        out: The new .safetensors file.
    """
    if out.exists():
        raise SkinlesionError(f"{out} exists already: choose another name, or move it away.")
    average_checkpoints(weights, out)
    print(f"{out}: the mean of {len(weights)} checkpoints.")
