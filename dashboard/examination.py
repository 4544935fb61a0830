"""Evaluating every image of a set: its scores, a thumbnail of its errors, and the groups it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.image_choice import samples
from dashboard.images import data_uri
from dashboard.predict import predict
from dashboard.sets import ImageSet, said_of
from dashboard.weights import Weights, load
from skinlesion.data import groups
from skinlesion.data.images import resize_image
from skinlesion.data.layouts import Sample
from skinlesion.errors import SkinlesionError
from skinlesion.evaluation import read_pair
from skinlesion.explain.image_scores import Case, examine
from skinlesion.plots.rasters import confusion
from skinlesion.protocol import TRUTH_SIZE

TILE = 132  # pixels of a thumbnail
_SIZE = (TRUTH_SIZE, TRUTH_SIZE)


@dataclass(frozen=True, eq=False)
class Examined:
    """One image that was evaluated.

    Attributes:
        sample: which.
        case: its scores.
        tile: a thumbnail with its true positives, false positives and false negatives, as a data URI.
        groups: by kind (`skinlesion.data.groups.GROUPS`), the name of the group it falls into.
    """

    sample: Sample
    case: Case
    tile: str
    groups: dict[str, str]


@dataclass(frozen=True, eq=False)
class Examination:
    """A set that was looked at.

    Attributes:
        images: in the set's order.
        problems: a sentence for each image that could not be used.
    """

    images: tuple[Examined, ...]
    problems: tuple[str, ...]


def examine_set(weights: Weights, images: ImageSet, report: Callable[[float], None]) -> Examination:
    """Run the network over a set and score every image at the weights' own threshold, as `skinlesion evaluate` does.

    Args:
        weights: what to examine.
        images: the set.
        report: called with the fraction done, in [0, 1], after each image.

    Raises:
        SkinlesionError: not one image can be used.
    """
    found, problems = [], []
    for number, sample in enumerate(images.samples, start=1):
        try:
            found.append(_examined(weights, images, sample))
        except SkinlesionError as error:
            problems.append(said_of(error))
        report(number / len(images.samples))
    if not found:
        raise SkinlesionError(f"None of the images of this set can be used. {problems[0]}")
    return Examination(tuple(found), tuple(problems))


def _examined(weights: Weights, images: ImageSet, sample: Sample) -> Examined:
    image, truth = read_pair(sample, _SIZE)
    if images.local:  # thousands of these would push everything else out of the memory for predictions
        segmenter = load(weights)
        probability = segmenter.at_size(segmenter.predict([image]).mean, _SIZE)[0, 0].numpy()
    else:
        probability = predict(weights, samples()[sample.id]).at(_SIZE)
    case = examine(sample.id, probability, truth, weights.threshold)
    tile = confusion(resize_image(image, _SIZE), probability >= weights.threshold, truth, 0.6)
    found = {"tone": groups.tone(groups.typology_angle(image, truth))}
    found |= {"size": groups.size(truth), "border": groups.border(truth)}
    found |= {"diagnosis": images.diagnoses.get(sample.id, groups.UNKNOWN)}
    return Examined(sample, case, data_uri(resize_image(tile, (TILE, TILE)), quality=80), found)
