"""A network as one ONNX file, which needs neither PyTorch nor this package to run.

The file holds the whole network, the selective scan included (see `skinlesion.scan.onnx`), for images of the
checkpoint's size in batches of any size. Its metadata hold the checkpoint's card under the key "skinlesion".
"""

import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.data.images import read_image
from skinlesion.data.samples import bundled_samples
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing
from skinlesion.hooks import observe
from skinlesion.model import set_engine
from skinlesion.segmenter import Segmenter, check_threshold

TOLERANCE = 1e-4  # largest accepted difference from PyTorch, of any value in any output
KEY = "skinlesion"
GATES = ("*.cra.gate_h", "*.cra.gate_w", "*.se.gate")
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_BATCHES = (1, 2)  # sizes of the batches that are compared


def export_onnx(
    segmenter: Segmenter, out: str | Path, *, points: Sequence[str] = (), threshold: float | None = None
) -> dict[str, float]:
    """Write a network to an ONNX file, if ONNX Runtime's outputs match PyTorch's.

    The input "image" is float32 (B, 3, height, width) as `Segmenter.prepare` makes it. The first output is "logits",
    (B, 1, height, width); its sigmoid is the probability of lesion.

    Args:
        segmenter: the network with its card.
        out: the file; it is replaced if it exists.
        points: named activations to return as well, or patterns, as for `skinlesion.observe`: "S2.cra.gate_h", or all
            of `GATES`. Each becomes an output of that name.
        threshold: lowest probability that counts as lesion, for the card; by default the segmenter's.

    Returns:
        The largest absolute difference between ONNX Runtime and PyTorch for each output, on images that come with the
        package.

    Raises:
        SkinlesionError: a package is missing, the network has no such point, it uses an operation that ONNX lacks, or
            a difference exceeds `TOLERANCE`; nothing is written then.
    """
    _require_packages()
    if Path(out).suffix != ".onnx":
        raise SkinlesionError(f"{out} must end in .onnx.")
    card = {**segmenter.card, "threshold": check_threshold(segmenter.threshold if threshold is None else threshold)}
    copied = copy.deepcopy(segmenter.model).cpu().eval()
    if segmenter.engine is not None:  # the network scans
        set_engine(copied, "cpu")  # whose operator is the one that is translated
    network = _WithPoints(copied, points)
    images = _images(segmenter)
    names = network.output_names(images[:1])
    model = _translate(network, images[:2], names)
    model.metadata_props[KEY] = json.dumps({**card, "onnx": {"points": names[1:], "tolerance": TOLERANCE}})
    data = _serialize(model)
    differences = _compare(data, network, images, names)
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= TOLERANCE:  # NaN doesn't count as a match
        raise SkinlesionError(
            f"{out} was not written: in ONNX Runtime the output {worst} differs by {differences[worst]:.1e} from "
            f"PyTorch's, more than {TOLERANCE:g}; use another checkpoint, or update onnxruntime."
        )
    with replacing(out) as temporary:
        temporary.write_bytes(data)
    return differences


class _WithPoints(nn.Module):
    """A network that returns named activations too."""

    def __init__(self, model: nn.Module, patterns: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.patterns = tuple(patterns)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> logits (B, 1, H, W) and the activations, in the order in which they are computed."""
        return tuple(self.named(image).values())

    def named(self, image: Tensor) -> dict[str, Tensor]:
        """The same by name."""
        if not self.patterns:  # which would observe everything
            return {"logits": self.model(image)}
        with observe(self.model, *self.patterns) as seen:
            logits = self.model(image)
        return {"logits": logits, **seen}

    @torch.inference_mode()
    def output_names(self, image: Tensor) -> list[str]:
        """The names of what `forward` returns."""
        return list(self.named(image))


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SkinlesionError(f"The export to ONNX needs {' and '.join(missing)}: pip install 'skinlesion[onnx]'.")


def _images(segmenter: Segmenter) -> Tensor:
    """The images for the comparison, prepared for the network; (B, 3, H, W)."""
    samples = bundled_samples()[-sum(_BATCHES) :]
    return segmenter.prepare([read_image(sample.image_path) for sample in samples]).cpu()


def _translate(network: _WithPoints, images: Tensor, names: Sequence[str]) -> Any:
    """The network as an ONNX model, an `onnx_ir.Model`."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    from skinlesion.scan.onnx import OPSET, TRANSLATIONS

    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=list(names),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                custom_translation_table=TRANSLATIONS,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise SkinlesionError(
                f"{type(network.model).__name__} cannot be translated to ONNX: {_first_line(error)}"
            ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # which would quote the source code and its paths
    return program.model


def _serialize(model: Any) -> bytes:
    import onnx_ir

    return onnx_ir.to_proto(model).SerializeToString()


def _compare(data: bytes, network: _WithPoints, images: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The largest absolute difference of each output, in batches of different sizes."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes differ between versions
        raise SkinlesionError(
            f"ONNX Runtime cannot load the network ({_first_line(error)}); update onnxruntime."
        ) from error
    largest = dict.fromkeys(names, 0.0)
    for batch in images.split(_BATCHES):
        with torch.inference_mode():
            expected = network(batch)
        found = session.run(list(names), {"image": batch.numpy()})
        for name, ours, theirs in zip(names, expected, found, strict=True):
            largest[name] = float(np.maximum(largest[name], np.abs(ours.numpy() - theirs).max()))
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's exporter from reporting its own progress and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
