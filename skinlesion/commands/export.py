"""`skinlesion export`."""

from pathlib import Path

import tyro

from skinlesion.errors import SkinlesionError
from skinlesion.model_card import export as run_export


def export(
    weights: tyro.conf.Positional[str],
    *,
    out: Path,
    half: bool = False,
    threshold: float | None = None,
    results: tuple[Path, ...] = (),
    overwrite: bool = False,
) -> None:
    """Write weights to one file that holds their results, and a model card beside it.

    Args:
        weights: A run folder, a .safetensors file or a name.
        out: The .safetensors file; the card is the same name with .md.
        half: Store the weights in 16 bits, half the size.
        threshold: Least probability that counts as lesion from now on; choose it on the validation part.
        results: Files of `skinlesion evaluate --json`, measured on these weights.
        overwrite: Replace the files if they exist.
    """
    card = out.with_suffix(".md")
    for path in (out, card):
        if path.exists() and not overwrite:
            raise SkinlesionError(f"{path} exists already: choose another --out, or replace it with --overwrite.")
    paths = run_export(weights, out, half=half, threshold=threshold, results=results)
    print(f"Written: {' and '.join(map(str, paths))} ({out.stat().st_size / 1e6:.1f} MB)")
