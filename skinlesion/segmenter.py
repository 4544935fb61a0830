"""The main API: weights, preprocessing and threshold in one object that turns an image into a mask.

>>> from skinlesion import Segmenter
>>> result = Segmenter.from_pretrained("small").segment("photo.jpg")     # doctest: +SKIP
>>> result.mask, result.area_fraction, result.confidence                 # doctest: +SKIP
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from skinlesion.any_image import ImageLike, as_array
from skinlesion.checkpoint import WEIGHTS, find_weights, load_checkpoint
from skinlesion.cleanup import clean_mask
from skinlesion.data.images import normalize, resize_image
from skinlesion.device import enough_memory
from skinlesion.domain import Domain, domain_features
from skinlesion.errors import MachineError, SkinlesionError
from skinlesion.hooks import observe
from skinlesion.model import has_scan, set_engine
from skinlesion.probability import calibrated, resize_probability
from skinlesion.scan import choose_engine, choose_fitting_device
from skinlesion.segmentation import Segmentation
from skinlesion.text import printable
from skinlesion.user_network import logits_of

Augmentation = bool | Literal["none", "flips", "dihedral"]
CLEAN = {"auto": None, "on": True, "off": False}  # the spelling of `clean` on the command line


class Prediction(NamedTuple):
    """A model's output for a batch, at the model's own size.

    Attributes:
        mean: lesion probability, averaged over the views, float32 (B, 1, height, width) on the CPU, not calibrated.
        spread: its standard deviation over the views, likewise; None with one view.
        ood_score: (B,), see `Segmentation.ood_score`; None if the weights weren't calibrated.
    """

    mean: Tensor
    spread: Tensor | None
    ood_score: np.ndarray | None


class Segmenter:
    """A model with its preprocessing. Using it changes nothing in it, so threads may share one.

    Args:
        model: gives logits (B, 1, H, W) for an image (B, 3, H, W); it is moved to `device` and put in evaluation mode.
        card: as in `skinlesion.checkpoint`; "preprocessing" and, where given, "threshold", "clean", "temperature"
            and "domain" are used.
        device: where to run: cpu, cuda, cuda:N, mps, a `torch.device`, or auto, which uses a CUDA GPU if there is one
            that the scan engine runs on.
        engine: the selective scan's engine, "auto", one of `skinlesion.scan.ENGINES`, or a registered engine.

    Attributes:
        model, card: as given.
        device: the `torch.device` that was chosen.
        size: (height, width) that images are resized to for the model.
        threshold: the default one, in (0, 1).
        clean: whether masks are cleaned up by default, see `skinlesion.cleanup.clean_mask`.
        temperature: for calibrating probabilities; 1 if the card has none.
        domain: the fitted out-of-distribution score (`skinlesion.domain`); None if the card has none.
        engine: the engine that runs; None for a model without selective scan.
        path: the checkpoint's file; None if the segmenter was not made from one.

    Raises:
        SkinlesionError: the device or the engine is not available, or the model does not take RGB images.
    """

    def __init__(
        self, model: nn.Module, card: dict[str, Any], *, device: str | torch.device = "cpu", engine: str = "auto"
    ) -> None:
        channels = getattr(getattr(model, "config", None), "in_channels", 3)
        if channels != 3:
            raise SkinlesionError(f"This model takes {channels}-channel images; a Segmenter supports RGB only.")
        scans = has_scan(model)
        self.device = choose_fitting_device(device, engine if scans else None)
        try:
            with enough_memory(self.device):
                self.model = model.to(self.device).eval()
        except RuntimeError as error:
            why = printable(str(error).strip().partition("\n")[0])
            raise MachineError(f"The device {self.device} cannot be used ({why}); try cpu.") from error
        self.card = card
        self.size: tuple[int, int] = tuple(card["preprocessing"]["size"])
        self.threshold: float = card.get("threshold", 0.5)
        self.clean: bool = card.get("clean", False)
        self.temperature: float = card.get("temperature", 1.0)
        self.domain = Domain.from_card(card["domain"]) if card.get("domain") is not None else None
        self.path: Path | None = None
        self.engine: str | None = None
        if scans:
            self.engine = choose_engine(engine, self.device)
            set_engine(model, self.engine)

    def __repr__(self) -> str:
        height, width = self.size
        network = self.card.get("model", {}).get("name", type(self.model).__name__)
        return f"<Segmenter {self.name}: {network} at {height} x {width} on {self.device}>"

    @property
    def name(self) -> str:
        """What to call it: the shipped weights' name, RUN/best for a run folder, the model's name without a file."""
        if self.path is None:
            return str(self.card.get("model", {}).get("name", "model"))
        return self.path.stem if self.path.parent == WEIGHTS else f"{self.path.resolve().parent.name}/{self.path.stem}"

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, device: str | torch.device = "cpu", engine: str = "auto"
    ) -> "Segmenter":
        """Load weights by name ("small"), .safetensors file or run folder.

        Raises:
            SkinlesionError: as `load_checkpoint` and `Segmenter`.
        """
        path = find_weights(name_or_path)
        model, card = load_checkpoint(path)
        segmenter = cls(model, card, device=device, engine=engine)
        segmenter.path = path
        return segmenter

    def segment(
        self,
        image: ImageLike,
        *,
        threshold: float | None = None,
        tta: Augmentation = False,
        clean: bool | None = None,
    ) -> Segmentation:
        """Find the lesion in one image of any size.

        Args:
            image: a path, a file's bytes, a Pillow image, uint8 (H, W, 3) RGB, or a tensor (3, H, W); see `as_array`.
            threshold: lowest probability that counts as lesion, in (0, 1); by default the checkpoint's.
            tta: test-time augmentation: True or "flips" averages the four flips, "dihedral" the eight
                flips and quarter turns.
            clean: keep only the largest region of the mask and fill its holes; by default as the checkpoint says.

        Raises:
            SkinlesionError: the image cannot be read, or an option is out of range.
        """
        return self.segment_batch([image], threshold=threshold, tta=tta, clean=clean)[0]

    def segment_batch(
        self,
        images: Sequence[ImageLike],
        *,
        threshold: float | None = None,
        tta: Augmentation = False,
        clean: bool | None = None,
    ) -> list[Segmentation]:
        """Segment several images in one pass of the model; arguments as `segment`, sizes may differ.

        All images are in memory at once: split a long list into several calls.
        """
        if isinstance(images, str | Path | bytes | Image.Image):
            raise SkinlesionError("segment_batch takes a list of images; for a single image, use segment.")
        images = list(images)  # an array (B, H, W, 3) and a tensor (B, 3, H, W) are lists of images, too
        if not images:
            return []
        threshold = check_threshold(self.threshold if threshold is None else threshold)
        start = time.perf_counter()
        arrays = [as_array(image) for image in images]
        mean, spread, ood_score = self.predict(arrays, tta=tta)
        found = []
        for i, array in enumerate(arrays):
            size = array.shape[:2]
            probability = self.at_size(mean[i : i + 1], size)[0, 0].numpy()  # (H, W)
            deviation = None
            if spread is not None:
                deviation = resize_probability(spread[i : i + 1], size)[0, 0].numpy()  # (H, W)
            score = None if ood_score is None else float(ood_score[i])
            mask = self.mask(probability, threshold, clean=clean)
            found.append((array, probability, mask, threshold, deviation, score))
        seconds = (time.perf_counter() - start) / len(arrays)
        return [Segmentation(*maps, seconds) for maps in found]

    def mask(self, probability: np.ndarray, threshold: float, *, clean: bool | None = None) -> np.ndarray:
        """The mask of a probability map, bool (H, W); `threshold` and `clean` as in `segment`."""
        if clean not in (None, True, False):  # "off" would count as true
            raise SkinlesionError(f"clean must be True, False or None (as the weights say), not {clean!r}.")
        mask: np.ndarray = probability >= threshold
        return clean_mask(mask) if (self.clean if clean is None else clean) else mask

    def prepare(self, images: Sequence[np.ndarray]) -> Tensor:
        """Images as the model takes them, for functions that look inside it (`skinlesion.explain`).

        Args:
            images: uint8 (H, W, 3) each.

        Returns:
            float32 (B, 3, height, width) on the segmenter's device.
        """
        mode = self.card["preprocessing"]["normalize"]
        arrays = [normalize(resize_image(image, self.size), mode) for image in images]
        batch = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)  # (B, 3, height, width)
        return batch.to(self.device).contiguous()

    @torch.inference_mode()
    def predict(self, images: Sequence[np.ndarray], *, tta: Augmentation = False) -> Prediction:
        """The model's output at its own size; `at_size` resizes and calibrates it.

        Args:
            images: uint8 (H, W, 3) each.
            tta: as `segment`.

        Raises:
            MachineError: there is not enough memory.
        """
        views: list[Tensor] = []
        ood_score = None
        with enough_memory(self.device):
            batch = self.prepare(images)
            for do, undo in _views(tta):
                if self.domain is None or views:
                    logits = logits_of(self.model, do(batch))
                else:  # the first view is the image itself
                    with observe(self.model, *self.domain.points) as seen:
                        logits = logits_of(self.model, do(batch))
                    ood_score = self.domain.score(domain_features(seen, self.domain.points))
                views.append(undo(logits.float().sigmoid()))
        stack = torch.stack(views)  # (V, B, 1, height, width)
        if not bool(torch.isfinite(stack).all()):
            raise SkinlesionError("The model's output is not finite: the weights are damaged. Use another checkpoint.")
        spread = stack.std(0, correction=0) if len(views) > 1 else None
        return Prediction(stack.mean(0).cpu(), None if spread is None else spread.cpu(), ood_score)

    def at_size(self, probability: Tensor, size: tuple[int, int]) -> Tensor:
        """Lesion probability at another size, calibrated: what every map, score and confidence is made from.

        Calibration divides the logit of the resized probability by the checkpoint's temperature. This doesn't change a
        probability of 1/2, and so it doesn't change the mask at a threshold of 1/2.

        Args:
            probability: (B, 1, height, width), of `predict`.
            size: the new (height, width).
        """
        resized = resize_probability(probability, size)
        return calibrated(resized, self.temperature, out=None if resized is probability else resized)


def check_threshold(threshold: float) -> float:
    """Return the threshold if it is a number between 0 and 1.

    Raises:
        SkinlesionError: it isn't.
    """
    if isinstance(threshold, str) or not 0 < threshold < 1:
        raise SkinlesionError(f"The threshold must be a number between 0 and 1, not {threshold!r}.")
    return threshold


def tta_name(tta: Augmentation) -> str:
    """The test-time augmentation as it is written in tables: none, flips or dihedral."""
    return ("flips" if tta else "none") if isinstance(tta, bool) else tta


def _views(tta: Augmentation) -> Iterator[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Pairs of a symmetry of the square and its inverse, on (..., H, W)."""
    if tta not in (False, True, "none", "flips", "dihedral"):
        raise SkinlesionError(f"Unknown test-time augmentation {tta!r}; choose 'none', 'flips' or 'dihedral'.")
    name = tta_name(tta)
    for turned in (False, True) if name == "dihedral" else (False,):
        for axes in ((),) if name == "none" else ((), (-1,), (-2,), (-2, -1)):

            def do(x: Tensor, axes: tuple[int, ...] = axes, turned: bool = turned) -> Tensor:
                return (x.mT if turned else x).flip(axes)

            def undo(x: Tensor, axes: tuple[int, ...] = axes, turned: bool = turned) -> Tensor:
                return x.flip(axes).mT if turned else x.flip(axes)

            yield do, undo
