"""ONNX files against PyTorch: `python benchmarks/onnx_export.py [NAME ...]`.

Every shipped checkpoint and every network of the zoo that scans (untrained, with the published sizes) is exported. The
difference is the largest of any output, the gates included, on images that come with the package; the exporter
refuses more than 1e-4. The seconds are of processor time, which other programs hardly change: one image, one thread,
the fastest of several runs in turns.

Writes benchmarks/results/onnx.json and onnx.md; with names only those networks are measured anew.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from skinlesion import Segmenter, create_model
from skinlesion.benchmark.timing import machine
from skinlesion.checkpoint import available_weights
from skinlesion.hooks import points
from skinlesion.onnx_export import GATES, TOLERANCE, export_onnx

RESULTS = Path(__file__).parent / "results"
# Untrained networks, and the side of their images.
ZOO = {"tiny": 128, "small": 128, "paper": 256, "vmunet": 256, "medmamba": 256, "hcmamba": 256}
ROUNDS = 5


def segmenters() -> dict[str, Callable[[], Segmenter]]:
    """How to make each network, by the name that the table shows."""
    made: dict[str, Callable[[], Segmenter]] = {
        f"{name} (shipped)": lambda name=name: Segmenter.from_pretrained(name) for name in available_weights()
    }
    return made | {name: lambda name=name, side=side: untrained(name, side) for name, side in ZOO.items()}


def untrained(name: str, side: int) -> Segmenter:
    """A network of the zoo with random weights."""
    torch.manual_seed(0)
    return Segmenter(create_model(name), {"preprocessing": {"size": [side, side], "normalize": "minmax"}})


def fastest(*calls: Callable[[], object]) -> list[float]:
    """Processor seconds of each call, the calls in turns."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            best[i] = min(best[i], time.process_time() - start)
    return best


def measure(segmenter: Segmenter) -> dict[str, Any]:
    """Export a network, and run the file beside PyTorch."""
    known = points(segmenter.model)
    gates = GATES if any(name.endswith(".cra.gate_h") for name in known) else ()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        start = time.process_time()
        differences = export_onnx(segmenter, path, points=gates)
        seconds = time.process_time() - start
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
        size = path.stat().st_size
    image = torch.rand(1, 3, *segmenter.size)
    with torch.inference_mode():
        ours, theirs = fastest(
            lambda: session.run(["logits"], {"image": image.numpy()}), lambda: segmenter.model(image)
        )
    return {
        "side": segmenter.size[0],
        "parameters": sum(p.numel() for p in segmenter.model.parameters()),
        "outputs": len(differences),
        "largest_difference": max(differences.values()),
        "onnxruntime_seconds": ours,
        "torch_seconds": theirs,
        "export_seconds": seconds,
        "bytes": size,
    }


def table(report: dict[str, Any]) -> str:
    """The results as a Markdown page."""
    lines = [
        "# The networks as ONNX files",
        "",
        "Written by `python benchmarks/onnx_export.py`. The exporter refuses a difference from PyTorch over "
        f"{TOLERANCE:g}. Seconds of processor time for one image on one thread of {report['machine']['processor']}; "
        f"onnxruntime {report['onnxruntime']}, torch {report['machine']['torch']}. Networks that aren't shipped are "
        "untrained.",
        "",
        "| network | image | parameters | file, MB | outputs | largest difference | ONNX Runtime, s | PyTorch, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in report["networks"].items():
        lines.append(
            f"| {name} | {row['side']} x {row['side']} | {row['parameters']:,} | {row['bytes'] / 1e6:.1f} | "
            f"{row['outputs']} | {row['largest_difference']:.1e} | {row['onnxruntime_seconds']:.3f} | "
            f"{row['torch_seconds']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all networks, or those that are named."""
    torch.set_num_threads(1)
    path = RESULTS / "onnx.json"
    networks = json.loads(path.read_text("utf-8"))["networks"] if path.exists() else {}
    makers = segmenters()
    for name in sys.argv[1:] or makers:
        networks[name] = measure(makers[name]())
        print(name, networks[name], flush=True)
        report = {
            "machine": machine(),
            "onnxruntime": onnxruntime.__version__,
            "networks": {name: networks[name] for name in makers if name in networks},
        }
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "onnx.md").write_text(table(report), encoding="utf-8")


if __name__ == "__main__":
    main()
