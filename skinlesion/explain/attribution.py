"""Why this mask: Captum's attributions for a segmentation (integrated gradients, Grad-CAM, occlusion).

Captum explains one number. Here it is the mean logit over a region: the mask that was predicted, or a single pixel.
(Captum's own tutorial takes the sum; the mean gives the same picture, in interpretable units.)

An attribution estimates what this model's output depends on. It isn't a proof, and it can misrepresent the model: see
`skinlesion.explain.faithfulness` and `skinlesion.explain.shuffled_copy`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.cancellation import Progress
from skinlesion.explain.common import check_image, shared_copy
from skinlesion.explain.layers import Layer, find_layer, with_points
from skinlesion.hooks import intervene

Method = Literal["integrated_gradients", "grad_cam", "occlusion"]
Baseline = Literal["skin", "blur", "black"]
Region = NDArray[np.bool_]

STEPS = 32  # of integrated gradients
BATCH = 4  # images in one pass
WINDOW = 8  # occlusion windows along the shorter side


@dataclass(frozen=True, eq=False)
class Attribution:
    """The result of one attribution method.

    Attributes:
        method: its name.
        layer: of Grad-CAM, else None.
        map: (H, W); positive values are evidence for lesion, negative ones against. Grad-CAM has no negative values.
        region: the region that is explained, bool (H, W).
        score: the mean logit over the region.
        baseline_score: the same for the baseline image; None for Grad-CAM, which has none.
        seconds: computation time.
    """

    method: Method
    layer: str | None
    map: NDArray[np.float32]
    region: Region
    score: float
    baseline_score: float | None
    seconds: float

    @property
    def completeness_gap(self) -> float | None:
        """How far integrated gradients are from adding up to score - baseline_score, as a fraction; else None."""
        if self.method != "integrated_gradients" or self.baseline_score is None:
            return None
        difference = self.score - self.baseline_score
        return abs(float(self.map.sum(dtype=np.float64)) - difference) / max(abs(difference), 1e-12)


@torch.no_grad()
def predicted_region(model: nn.Module, image: Tensor, threshold: float = 0.5) -> Region:
    """The mask that the model predicts, at the size of the prepared image; bool (H, W).

    Args:
        model: any model of the kit; it is left as it was.
        image: (1, C, H, W).
        threshold: lowest probability that counts as lesion.
    """
    check_image(image)
    return (shared_copy(model)(image).sigmoid() >= threshold)[0, 0].cpu().numpy()


def pixel_region(size: tuple[int, int], pixel: tuple[int, int]) -> Region:
    """A region of one pixel (row, column) of an image of `size` (height, width).

    Raises:
        SkinlesionError: the pixel is outside.
    """
    if not (0 <= pixel[0] < size[0] and 0 <= pixel[1] < size[1]):
        raise SkinlesionError(f"Pixel {pixel} is outside the image of {size[0]} x {size[1]}.")
    region = np.zeros(size, dtype=bool)
    region[pixel] = True
    return region


def baseline_image(image: Tensor, region: Region, kind: Baseline = "skin") -> Tensor:
    """The baseline of an attribution: an image without information.

    Black, the usual baseline, doesn't work here, because lesions are dark. The default is a uniform color, the median
    outside the region.

    Args:
        image: (1, C, H, W).
        region: bool (H, W).
        kind: "skin"; "blur", a strong blur of the image; or "black".

    Returns:
        (1, C, H, W).

    Raises:
        SkinlesionError: the kind is unknown.
    """
    if kind == "black":
        return torch.zeros_like(image)
    if kind == "blur":
        side = max(3, min(image.shape[2:]) // 4 | 1)  # odd
        blurred = image
        for _ in range(3):  # three box blurs are close to a Gaussian
            padded = F.pad(blurred, [side // 2] * 4, mode="replicate")
            blurred = F.avg_pool2d(padded, side, stride=1)
        return blurred
    if kind == "skin":
        outside = torch.from_numpy(~region).to(image.device)
        pixels = image[0][:, outside] if bool(outside.any()) else image[0].flatten(1)  # (C, pixels)
        return pixels.median(dim=1).values[None, :, None, None].expand_as(image).contiguous()
    raise SkinlesionError(f"Unknown baseline {kind!r}; choose one of: {', '.join(get_args(Baseline))}.")


class RegionScore:
    """The number that is explained: image (B, C, H, W) -> the mean logit over a region, (B,).

    Args:
        model: a private copy in evaluation mode.
        region: bool (H, W).
        progress: counts the images that are run, and may stop.
    """

    def __init__(self, model: nn.Module, region: Region, progress: Progress | None = None) -> None:
        self.model = model
        self.weights = torch.from_numpy(region / region.sum()).float()  # (H, W)
        self.progress = progress

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B,)."""
        if self.progress is not None:
            self.progress.check()
        logits = self.model(images)[:, 0]  # (B, H, W)
        score = (logits * self.weights.to(logits)).sum((1, 2))
        if self.progress is not None:
            self.progress.advance(len(images))
        return score


def check_region(image: Tensor, region: Region) -> None:
    """Refuse an empty region, or one that is not of the image's size.

    Raises:
        SkinlesionError: the region is empty or has another size.
    """
    check_image(image)
    if region.shape != tuple(image.shape[2:]) or region.dtype != bool:
        raise SkinlesionError(
            f"The region must be bool {tuple(image.shape[2:])}, the prepared image's size; "
            f"got {region.dtype} {region.shape}."
        )
    if not region.any():
        raise SkinlesionError("The region is empty: lower the threshold, or ask about one pixel.")


def attribute(
    model: nn.Module,
    image: Tensor,
    region: Region,
    method: Method = "integrated_gradients",
    *,
    layer: str | None = None,
    baseline: Baseline = "skin",
    steps: int = STEPS,
    report: Callable[[float], None] | None = None,
    canceled: Callable[[], bool] | None = None,
) -> Attribution:
    """Explain the mean logit over a region.

    Args:
        model: any model of the kit. Captum puts hooks on what it explains: it gets a private copy.
        image: (1, C, H, W), as `Segmenter.prepare` makes it.
        region: bool (H, W), from `predicted_region` or `pixel_region`.
        method: "integrated_gradients" (Sundararajan et al., arxiv.org/abs/1703.01365): along the straight line from the
            baseline to the image; "grad_cam" (Selvaraju et al., arxiv.org/abs/1610.02391): a layer's channels
            weighted by their mean gradient; "occlusion" (Zeiler and Fergus, arxiv.org/abs/1311.2901): windows replaced
            by the baseline.
        layer: for Grad-CAM only, a name from `skinlesion.explain.layers`.
        baseline: for integrated gradients and occlusion, see `baseline_image`.
        steps: of integrated gradients.
        report: called with the fraction done, in [0, 1].
        canceled: called before each pass; if it returns True, the computation stops.

    Raises:
        SkinlesionError: an option does not fit.
        Canceled: `canceled` returned True.
    """
    check_region(image, region)
    if method not in get_args(Method):
        raise SkinlesionError(f"Unknown method {method!r}; choose one of: {', '.join(get_args(Method))}.")
    if (layer is None) == (method == "grad_cam"):
        raise SkinlesionError("Grad-CAM needs a layer, such as layer='D2.2'; the other methods take none.")
    start = time.perf_counter()
    copy = with_points(model)
    image = image.detach()
    with torch.no_grad():
        score = float(RegionScore(copy, region)(image))
    base_score = None
    if method == "grad_cam" and layer is not None:
        progress = Progress(1, report, canceled)
        found = _grad_cam(copy, find_layer(model, layer), image, region, progress)
    else:
        base = baseline_image(image, region, baseline)
        with torch.no_grad():
            base_score = float(RegionScore(copy, region)(base))
        if method == "integrated_gradients":
            progress = Progress(steps, report, canceled)
            found = _integrated_gradients(copy, image, base, region, steps, progress)
        else:
            found = _occlusion(copy, image, base, region, report, canceled)
    return Attribution(method, layer, found, region, score, base_score, time.perf_counter() - start)


def _plain(attribution: Tensor) -> NDArray[np.float32]:
    return attribution[0].sum(0).detach().float().cpu().numpy()  # (1, C, H, W) -> (H, W)


def _integrated_gradients(
    copy: nn.Module, image: Tensor, base: Tensor, region: Region, steps: int, progress: Progress
) -> NDArray[np.float32]:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(RegionScore(copy, region, progress))
    return _plain(method.attribute(image, baselines=base, n_steps=steps, internal_batch_size=BATCH))


def _occlusion(
    copy: nn.Module,
    image: Tensor,
    base: Tensor,
    region: Region,
    report: Callable[[float], None] | None,
    canceled: Callable[[], bool] | None,
) -> NDArray[np.float32]:
    from captum.attr import Occlusion

    channels, *size = image.shape[1:]
    window = max(2, min(size) // WINDOW)
    stride = max(1, window // 2)
    windows = int(np.prod([-(-max(side - window, 0) // stride) + 1 for side in size]))
    progress = Progress(windows + 1, report, canceled)  # and the image itself
    with torch.no_grad():
        found = Occlusion(RegionScore(copy, region, progress)).attribute(
            image,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=base,
            perturbations_per_eval=BATCH,
        )
    return _plain(found / channels)  # Captum writes a window's effect into each color


def _grad_cam(copy: nn.Module, layer: Layer, image: Tensor, region: Region, progress: Progress) -> NDArray[np.float32]:
    from captum.attr import LayerGradCam

    tap = nn.Identity()  # Captum explains a module: the activation takes a detour through this one, channels first

    def detour(y: Tensor) -> Tensor:
        return tap(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if layer.channels_last else tap(y)

    method = LayerGradCam(RegionScore(copy, region, progress), tap)
    with intervene(copy, {layer.point: detour}):
        found = method.attribute(image, relu_attributions=True).detach()  # (1, 1, h, w)
    size = [side * layer.cell for side in found.shape[2:]]  # of the padded image
    enlarged = F.interpolate(found, size=size, mode="bilinear", align_corners=False)
    return _plain(enlarged[..., : region.shape[0], : region.shape[1]])
