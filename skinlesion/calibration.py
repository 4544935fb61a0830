"""Calibrating trained weights: a temperature for their confidence, an out-of-distribution score, and whether to clean
up masks.

All three are determined from the training and validation sets alone. The temperature makes the mean confidence of
the validation images equal their mean Dice score, which is what the confidence is meant to estimate. The weights
don't change, and no probability crosses 1/2.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from skinlesion.cleanup import clean_mask
from skinlesion.data.images import resize_mask
from skinlesion.data.outliers import outlier, plain_skin
from skinlesion.data.sample import Sample
from skinlesion.data.sample import read_pair as read_sample
from skinlesion.data.transforms import TrainingTransform, Window
from skinlesion.domain import Domain, domain_features, domain_points, fit_domain
from skinlesion.errors import SkinlesionError
from skinlesion.evaluation import read_pair
from skinlesion.hooks import observe
from skinlesion.metrics import confusion_counts, ratios
from skinlesion.probability import calibrated, resize_probability
from skinlesion.protocol import TRUTH_SIZE
from skinlesion.segmentation import soft_dice_confidence
from skinlesion.segmenter import Segmenter

BATCH = 8
OUTLIERS = 1500
PLAIN_SKIN = 200  # at most, of the training images' corners
VIEWS = 3  # of each image, in addition to the image itself
_TEMPERATURES = (0.2, 20.0)
_CROP_SIDE = 224  # pixels
T = TypeVar("T")


class Fit(NamedTuple):
    """Results on the validation set.

    Attributes:
        temperature: positive.
        clean: whether cleaned masks have the higher pooled IoU, on the images and on crops.
        iou: pooled IoU of the original masks and of the cleaned ones.
        dice: mean Dice score over the images, of cleaned masks if `clean`.
        before: mean confidence without the temperature.
        after: mean confidence with the temperature.
    """

    temperature: float
    clean: bool
    iou: tuple[float, float]
    dice: float
    before: float
    after: float


def fit(segmenter: Segmenter, samples: Sequence[Sample]) -> Fit:
    """Find the temperature at which mean confidence equals mean Dice score, and whether cleaned masks are better.

    Cleaned masks count as better if their pooled IoU is higher both on the images and on one crop of each.

    Args:
        segmenter: the weights to calibrate; a temperature that they already have is ignored.
        samples: validation images with masks.

    Raises:
        SkinlesionError: no temperature between 0.2 and 20 makes them equal, or a file cannot be used.
    """
    images = _Masks.of(segmenter, map(_pair, samples))
    crops = _Masks.of(segmenter, (_crop(sample, number) for number, sample in enumerate(samples)))
    clean = all(each.iou(cleaned=True) > each.iou(cleaned=False) for each in (images, crops))
    masks, target = images.cleaned if clean else images.plain, images.dice(cleaned=clean)

    def confidence(temperature: float) -> float:
        scaled = calibrated(images.probability, temperature).numpy()
        return float(np.mean([soft_dice_confidence(*each) for each in zip(scaled, masks, strict=True)]))

    low, high = (confidence(temperature) for temperature in _TEMPERATURES)
    if not high < target < low:
        raise SkinlesionError(
            f"No temperature makes the mean confidence equal the mean Dice score, {target:.3f}: it ranges from "
            f"{high:.3f} to {low:.3f}. These weights miss too much; train them longer."
        )
    value = float(brentq(lambda t: confidence(t) - target, *_TEMPERATURES, xtol=1e-3))
    iou = (images.iou(cleaned=False), images.iou(cleaned=True))
    return Fit(value, clean, iou, target, confidence(1.0), confidence(value))


class _Masks(NamedTuple):
    """Predictions at the ground truth's size, (N, S, S): probability, original and cleaned masks, ground truth."""

    probability: torch.Tensor
    plain: NDArray[np.bool_]
    cleaned: NDArray[np.bool_]
    truth: NDArray[np.bool_]

    @classmethod
    def of(cls, segmenter: Segmenter, pairs: Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> "_Masks":
        size = (TRUTH_SIZE, TRUTH_SIZE)
        maps: list[torch.Tensor] = []
        truths: list[NDArray[np.bool_]] = []
        for part in _batches(pairs):
            images, masks = zip(*part, strict=True)
            maps.append(resize_probability(segmenter.predict(images).mean.cpu(), size)[:, 0])
            truths.extend(masks)
        probability = torch.cat(maps)
        plain = (probability >= 0.5).numpy()
        return cls(probability, plain, np.stack([clean_mask(mask) for mask in plain]), np.stack(truths))

    def _counts(self, cleaned: bool) -> NDArray[np.int64]:
        predicted = self.cleaned if cleaned else self.plain
        return confusion_counts(torch.from_numpy(predicted), torch.from_numpy(self.truth)).numpy()

    def iou(self, *, cleaned: bool) -> float:
        """Pooled over all pixels."""
        return float(ratios(self._counts(cleaned).sum(0))["iou"])

    def dice(self, *, cleaned: bool) -> float:
        """Mean over the images."""
        return float(ratios(self._counts(cleaned))["dsc"].mean())


def _pair(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return read_pair(sample, (TRUTH_SIZE, TRUTH_SIZE))


def _crop(sample: Sample, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A crop around the lesion, as if the camera were closer."""
    if sample.mask is None:
        raise SkinlesionError(f"{sample.id} has no mask.")
    image, mask = Window()(*read_sample(sample), _CROP_SIDE, np.random.default_rng((number, 2)))
    return image, resize_mask(mask, (TRUTH_SIZE, TRUTH_SIZE))


def find_domain(
    segmenter: Segmenter,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    *,
    false_alarms: float = 0.02,
    progress: Callable[[str], object] = lambda _: None,
) -> Domain:
    """Fit the out-of-distribution score; see `skinlesion.domain`.

    The training images and augmented views of each count as in distribution, synthetic outliers and corners of plain
    skin as out of distribution. The views are magnified, turned and recolored as in training with `--augmentation
    zoom`: dermoscopy images from other sources differ in these ways and must not be flagged.

    Raises:
        SkinlesionError: the network has no encoder stages E1 to E3, or a file cannot be used.
    """
    names = domain_points(segmenter.model)

    def features(images: Iterator[NDArray[np.uint8]]) -> NDArray[np.float64]:
        found = []
        for part in _batches(images):
            with torch.inference_mode(), observe(segmenter.model, *names) as seen:
                segmenter.model(segmenter.prepare(part))
            found.append(domain_features(seen, names))
        return np.concatenate(found)

    progress("training images")
    inside = features(_with_views(train))
    progress("outliers")
    outside = features(outlier(seed) for seed in range(OUTLIERS))
    skin = [corner for image, mask in map(read_sample, train) if (corner := plain_skin(image, mask)) is not None]
    if skin:
        outside = np.concatenate([outside, features(iter(skin[:PLAIN_SKIN]))])
    progress("validation images")
    return fit_domain(names, inside, outside, features(_with_views(validation)), false_alarms=false_alarms)


def calibrate(
    segmenter: Segmenter, train: Sequence[Sample], validation: Sequence[Sample], **options: Any
) -> dict[str, Any]:
    """The segmenter's card with "temperature", "clean" and "domain" added, and the scores behind them in "calibration".

    The options are those of `find_domain`. Raises the errors of `find_domain` and `fit`.
    """
    found = fit(segmenter, validation)
    domain = find_domain(segmenter, train, validation, **options)
    measured = {"val_dice": found.dice, "confidence": found.before, "calibrated": found.after}
    measured |= {"val_iou": found.iou[0], "val_iou_cleaned": found.iou[1]}
    return {
        **segmenter.card,
        "temperature": found.temperature,
        "clean": found.clean,
        "domain": domain.to_card(),
        "calibration": {**measured, "images": len(validation)},
    }


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _with_views(samples: Sequence[Sample]) -> Iterator[NDArray[np.uint8]]:
    """Each image, followed by a view of it as another camera might have taken it."""
    view = TrainingTransform("zoom", size=_CROP_SIDE)
    for number, (image, mask) in enumerate(map(read_sample, samples)):
        yield image
        for turn in range(VIEWS):
            yield view(image, mask, epoch=turn, index=number)[0]
