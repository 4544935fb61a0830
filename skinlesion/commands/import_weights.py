"""`skinlesion import-weights`."""

from pathlib import Path

import tyro

from skinlesion.errors import SkinlesionError
from skinlesion.import_weights import import_weights as run_import


def import_weights(
    file: tyro.conf.Positional[Path], *, out: Path, preset: str = "vmunet", seed: int = 0, overwrite: bool = False
) -> None:
    """Convert a published VM-UNet or VMamba checkpoint to this package's format.

    Args:
        file: A .pth file; only tensors and plain values are read from it.
        out: The .safetensors file to write.
        preset: vmunet, or paper for the paper's network, whose SE, CMN and CRA are randomly initialized.
        seed: Seed for initializing the weights that the file lacks.
        overwrite: Replace the output file if it exists.
    """
    if out.exists() and not overwrite:
        raise SkinlesionError(f"{out} exists already: choose another --out, or replace it with --overwrite.")
    print(run_import(file, out, preset=preset, seed=seed))
    print(f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
