"""`skinlesion export`."""

from pathlib import Path

import tyro

from skinlesion.commands.outputs import require_new
from skinlesion.errors import SkinlesionError
from skinlesion.model_card import export as run_export


def export(
    weights: tyro.conf.Positional[str],
    *,
    out: Path | None = None,
    onnx: Path | None = None,
    half: bool = False,
    threshold: float | None = None,
    results: tuple[Path, ...] = (),
    points: tuple[str, ...] = (),
    overwrite: bool = False,
) -> None:
    """Write weights and their results to one file, with a model card beside it, or the network to an ONNX file.

    Args:
        weights: A run folder, a .safetensors file or a name (see `skinlesion doctor`).
        out: The .safetensors file; the model card has the same name with .md.
        onnx: The .onnx file: the whole network, which runs without PyTorch. It is written only if ONNX
            Runtime's outputs match PyTorch's.
        half: For --out: store the weights in 16 bits, which halves the file.
        threshold: Lowest probability that counts as lesion, stored in the file; choose it on the validation set.
        results: For --out: files written by `skinlesion evaluate --json` with these weights.
        points: For --onnx: activations to return besides the logits, such as S2.cra.gate_h or '*.se.gate'; "gates"
            for all gates of CRA and SE.
        overwrite: Replace the files if they exist.
    """
    if out is None and onnx is None:
        raise SkinlesionError("Say what to write: --out FILE.safetensors, --onnx FILE.onnx, or both.")
    if out is None and (half or results):
        raise SkinlesionError("--half and --results are for --out; export the checkpoint first, and that file to ONNX.")
    if onnx is None and points:
        raise SkinlesionError("--points is for --onnx; a checkpoint has all points anyway.")
    require_new([out, out and out.with_suffix(".md"), onnx], overwrite=overwrite)
    if onnx is not None:
        _export_onnx(weights, onnx, points=points, threshold=threshold)
    if out is not None:
        paths = run_export(weights, out, half=half, threshold=threshold, results=results)
        print(f"Written: {' and '.join(map(str, paths))} ({out.stat().st_size / 1e6:.1f} MB)")


def _export_onnx(weights: str, path: Path, *, points: tuple[str, ...], threshold: float | None) -> None:
    from skinlesion.onnx_export import GATES, export_onnx
    from skinlesion.segmenter import Segmenter

    patterns = [pattern for name in points for pattern in (GATES if name == "gates" else (name,))]
    differences = export_onnx(Segmenter.from_pretrained(weights), path, points=patterns, threshold=threshold)
    size = path.stat().st_size / 1e6
    print(
        f"Written: {path} ({size:.1f} MB, {len(differences)} outputs); largest difference from PyTorch "
        f"{max(differences.values()):.1e}"
    )
