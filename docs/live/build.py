"""Assemble the live page: `python docs/live/build.py FOLDER`, a folder that any static host can serve.

It holds our HTML, CSS and JavaScript, the network as an ONNX file with its gates, samples, and the WASM files of
onnxruntime-web, which npm fetches once. The page itself fetches nothing from elsewhere.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from skinlesion import Segmenter, SkinlesionError
from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.data.samples import bundled_samples
from skinlesion.files import make_folder
from skinlesion.onnx_export import GATES, export_onnx

HERE = Path(__file__).parent
PAGE = ("index.html", "style.css", "icon.svg", "main.js", "worker.js", "files.js", "draw.js")
SHARED = HERE.parents[1] / "dashboard" / "components" / "live"  # with the dashboard
RUNTIME = "onnxruntime-web@1.22.0"
# SHA-512 of npm's archive
INTEGRITY = "Ud/+EBo6mhuaQWt/OjaOk0iNWjXqJoeeMFr6xQEERZdIZH2OWpGzuujz7lfuOBjUa6TEE/sc4nb7Da5dNL34fg=="
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
REAL_SAMPLES, SYNTHETIC_SAMPLES = 8, 4


def build(out: Path, *, weights: str = DEFAULT_WEIGHTS, model: Path | None = None) -> Path:
    """Write the page.

    Args:
        out: the folder; files of the same names are replaced.
        weights: as `Segmenter.from_pretrained`.
        model: an ONNX file of these weights with `GATES` that was exported before; None exports one.
    """
    make_folder(out)
    for name in PAGE:
        shutil.copy(HERE / name, out / name)
    for name in ("resize.js", "mask.js"):
        shutil.copy(SHARED / name, out / name)
    _copy_samples(out)
    _fetch_runtime(make_folder(out / "ort"))
    segmenter = Segmenter.from_pretrained(weights)
    if model is None:
        export_onnx(segmenter, out / "model.onnx", points=GATES)
    else:
        shutil.copy(model, out / "model.onnx")
    (out / "card.json").write_text(json.dumps(_card(segmenter, out / "model.onnx")), encoding="utf-8")
    return out


def _copy_samples(out: Path) -> None:
    samples = bundled_samples()
    real = [sample for sample in samples if sample.kind == "real"][:REAL_SAMPLES]
    synthetic = [sample for sample in samples if sample.kind == "synthetic"][-SYNTHETIC_SAMPLES:]
    folder = make_folder(out / "samples")
    for sample in real + synthetic:
        shutil.copy(sample.image_path, folder)
    entries = [{"file": sample.image_path.name, "title": sample.title} for sample in real + synthetic]
    (out / "samples.json").write_text(json.dumps(entries), encoding="utf-8")


def _fetch_runtime(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SkinlesionError("The live page needs onnxruntime-web from npm: install Node.js, which brings npm.")
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            [npm, "pack", "--silent", RUNTIME], cwd=temporary, capture_output=True, text=True, check=False
        )
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise SkinlesionError(f"npm could not fetch {RUNTIME}; check the network. It said: {done.stderr.strip()}")
        digest = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise SkinlesionError(f"npm's {RUNTIME} is not the archive that this page was tested with; don't use it.")
        with tarfile.open(archives[0]) as archive:
            for name in RUNTIME_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())


def _card(segmenter: Segmenter, model: Path) -> dict[str, Any]:
    """The fields of the ONNX file's card that the page needs."""
    import onnx

    properties = onnx.load(model, load_external_data=False).metadata_props
    card = json.loads(next(entry.value for entry in properties if entry.key == "skinlesion"))
    parameters = sum(parameter.numel() for parameter in segmenter.model.parameters())
    kept = {key: card[key] for key in ("preprocessing", "threshold", "onnx")}
    return kept | {"temperature": segmenter.temperature, "parameters": parameters}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Assemble the live page in a folder that any static host can serve.")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help="a name, a run folder or a .safetensors file")
    parser.add_argument("--model", type=Path, help="an ONNX file of these weights, exported with --points gates")
    arguments = parser.parse_args()
    try:
        out = build(arguments.out, weights=arguments.weights, model=arguments.model)
    except SkinlesionError as error:
        print(error, file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"Written: {out} ({size / 1e6:.0f} MB). Serve it with: python -m http.server --directory {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
