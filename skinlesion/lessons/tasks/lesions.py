"""Lesson 1: images, masks, normalization, agreement, augmentation, leaks."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skinlesion.data.images import normalize
from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.groups import GROUPS

# --- normalization ---------------------------------------------------------------------------------------------------


def _images(generator: Generator) -> list[Case]:
    def draw(low: int, high: int, *shape: int) -> np.ndarray:
        return torch.randint(low, high, shape, generator=generator).numpy().astype(np.uint8)

    tinted = draw(40, 120, 3, 4, 3)
    tinted[..., 0] += 100
    return [
        Case((draw(30, 226, 4, 5, 3),)),
        Case((tinted,), "a red image"),
        Case((np.full((2, 3, 3), 77, dtype=np.uint8),), "an image with a single value"),
        Case((draw(0, 256, 7, 2, 3),), "an image from black to white"),
    ]


def _per_channel(image: np.ndarray) -> np.ndarray:
    x = image.astype(np.float32)
    low, high = x.min((0, 1)), x.max((0, 1))
    return (x - low) / np.maximum(high - low, 1e-9).astype(np.float32)


def _unguarded(image: np.ndarray) -> np.ndarray:
    x = image.astype(np.float32)
    with np.errstate(invalid="ignore"):
        return (x - x.min()) / (x.max() - x.min())


def _standardized(image: np.ndarray) -> np.ndarray:
    x = image.astype(np.float32)
    return (x - x.mean()) / max(float(x.std()), 1e-9)


def _only_divided(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(image.max())


def _eight_bits(image: np.ndarray) -> np.ndarray:
    x = image - image.min()
    return (x * 255 // max(int(x.max()), 1)).astype(np.float32) / 255


def _one_for_one_value(image: np.ndarray) -> np.ndarray:
    x = image.astype(np.float32)
    return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else np.ones_like(x)


def _percentiles(image: np.ndarray) -> np.ndarray:
    x = image.astype(np.float32)
    low, high = np.percentile(x, (1, 99)).astype(np.float32)
    return np.clip((x - low) / max(high - low, np.float32(1)), 0, 1)


NORMALIZE = Exercise(
    name="lesions.normalize",
    lesson=1,
    title="Min-max normalization",
    statement=r"""
Stretch **one image** so that its darkest value becomes 0 and its brightest 1 (A32):

$$x \mapsto \frac{x - \min x}{\max x - \min x}$$

`image` is a NumPy array, uint8 $(H, W, 3)$; return float32 $(H, W, 3)$. One minimum and one maximum for all three
colors together. An image with a single value becomes all zeros.
""",
    solution=normalize,
    takes="image",
    example="normalize(np.array([[[50, 100, 150]]], dtype=np.uint8))",
    difficulty=1,
    importance=4,
    minutes=6,
    hints=(
        "Convert to float32 before you subtract: uint8 has no negative numbers, and no fractions.",
        "`x = image.astype(np.float32)`; then x.min() and x.max() without an axis.",
        "Where the maximum equals the minimum, return zeros before you divide.",
    ),
    cases=_images,
    exact_dtype=True,
    wrong=(
        Wrong(
            "subtracted from below",
            lambda image: ((image - image.max()) / np.float32(max(1, np.ptp(image)))).astype(np.float32),
            "In uint8 a negative difference wraps around to a large number: convert to float32 before you subtract.",
        ),
        Wrong(
            "percentiles",
            _percentiles,
            "You stretch from the 1st to the 99th percentile and clip the rest. Use the darkest and the brightest "
            "value.",
        ),
        Wrong(
            "in eight bits",
            _eight_bits,
            "You compute in uint8, which overflows beyond 255 and has no fractions. Convert to float32 first.",
        ),
        Wrong("one for one value", _one_for_one_value, "An image with a single value must become all zeros, not ones."),
        Wrong(
            "each color by itself",
            _per_channel,
            "You stretch each color separately, which changes the hue: a red image turns gray. Use one minimum and one "
            "maximum for all three.",
        ),
        Wrong(
            "divided by 255",
            lambda image: image.astype(np.float32) / 255,
            "Dividing by 255 doesn't depend on the image: a dark image stays dark.",
        ),
        Wrong(
            "minimum forgotten",
            _only_divided,
            "The brightest value is 1, but the darkest isn't 0: subtract the minimum.",
        ),
        Wrong(
            "standardized",
            _standardized,
            "That gives mean 0 and standard deviation 1. Here, map the extremes to 0 and 1.",
        ),
        Wrong(
            "no guard",
            _unguarded,
            "An image with a single value gives 0/0. Some data sets contain black frames.",
        ),
        Wrong(
            "to 255",
            lambda image: normalize(image, "minmax255"),
            "That is the scale of VM-UNet's code, [0, 255]. Ours is [0, 1].",
        ),
    ),
    after="Any affine map before it (subtracting a mean, dividing by a standard deviation) cancels.",
)

# --- agreement -------------------------------------------------------------------------------------------------------


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """IoU of two annotations of each image, 1 where both are empty.

    Args:
        first: bool (B, H, W).
        second: bool (B, H, W).

    Returns:
        float32 (B,).
    """
    both, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def _readings(generator: Generator) -> list[Case]:
    def masks(density: float, batch: int = 3) -> Tensor:
        return torch.rand(batch, 4, 5, generator=generator) < density

    empty = torch.zeros(2, 4, 5, dtype=torch.bool)
    first = torch.cat([masks(0.5, 1), empty])
    second = torch.cat([masks(0.5, 1), empty[:1], masks(0.4, 1)])
    return [
        Case((masks(0.5), masks(0.6))),
        Case((masks(0.2), masks(0.7)), "one annotator marks more than the other"),
        Case((first, second), "an image without any lesion"),
        Case(
            (torch.rand(2, 7, 3, generator=generator) < 0.3, torch.rand(2, 7, 3, generator=generator) < 0.3),
            "two images",
        ),
    ]


def _no_guard(first: Tensor, second: Tensor) -> Tensor:
    return (first & second).sum((1, 2)) / (first | second).sum((1, 2))


def _row_by_row(first: Tensor, second: Tensor) -> Tensor:
    both, either = (first & second).sum(2), (first | second).sum(2)  # (B, H)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).mean(1)


AGREEMENT = Exercise(
    name="lesions.agreement",
    lesson=1,
    title="Two annotations of one lesion",
    statement=r"""
How much do two annotators agree? Take the pixels that both marked and divide by those that at least one marked
(intersection over union, **IoU**):

$$\mathrm{IoU} = \frac{|A \cap B|}{|A \cup B|}$$

`first` and `second` are bool $(B, H, W)$; return one number for each image, $(B)$. Where both annotators marked
nothing, they agree: return 1.
""",
    solution=agreement,
    example="""
first = torch.tensor([[[True, True, False]]])
agreement(first, torch.tensor([[[False, True, True]]]))
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "`&` is the intersection of two masks and `|` the union. Which axes do you sum over?",
        "`(first & second).sum((1, 2)) / (first | second).sum((1, 2))`, and then handle the case 0 / 0.",
    ),
    cases=_readings,
    wrong=(
        Wrong(
            "ratio of the areas",
            lambda a, b: (
                torch.minimum(a.sum((1, 2)), b.sum((1, 2))) / torch.maximum(a.sum((1, 2)), b.sum((1, 2))).clamp(min=1)
            ),
            "You compare the areas only. Masks of equal size in different corners don't agree.",
        ),
        Wrong(
            "row by row", _row_by_row, "This is the mean of the rows' IoUs. Count the pixels of the whole image first."
        ),
        Wrong(
            "one added above and below",
            lambda a, b: ((a & b).sum((1, 2)) + 1) / ((a | b).sum((1, 2)) + 1),
            "You add 1 to numerator and denominator. That handles 0/0, but it also moves every other IoU toward 1.",
        ),
        Wrong(
            "accuracy",
            lambda first, second: (first == second).float().mean((1, 2)),
            "That counts skin that neither annotator marked, so on a small lesion any two would agree.",
        ),
        Wrong(
            "Dice",
            lambda first, second: torch.where(
                (first.sum((1, 2)) + second.sum((1, 2))) > 0,
                2 * (first & second).sum((1, 2)) / (first.sum((1, 2)) + second.sum((1, 2))).clamp(min=1),
                1.0,
            ),
            "That is the Dice coefficient (lesson 2): divide by the union, not by the sum of both areas.",
        ),
        Wrong("no guard", _no_guard, "Two empty annotations give 0 / 0. They agree, so return 1."),
        Wrong(
            "empty counts as 0",
            lambda first, second: (first & second).sum((1, 2)) / (first | second).sum((1, 2)).clamp(min=1),
            "Two empty annotations get 0, as if they disagreed completely. They agree, so return 1.",
        ),
        Wrong(
            "first as truth",
            lambda first, second: torch.where(
                (first | second).sum((1, 2)) > 0, (first & second).sum((1, 2)) / first.sum((1, 2)).clamp(min=1), 1.0
            ),
            "You divide by the first annotation only, so an annotator who marks the whole image would agree with "
            "everyone.",
        ),
        Wrong(
            "batch pooled",
            lambda first, second: (first & second).sum() / (first | second).sum(),
            "You return one number for the whole batch. Return one per image.",
        ),
        Wrong(
            "exclusive or",
            lambda first, second: torch.where(
                (first | second).sum((1, 2)) > 0,
                (first ^ second).sum((1, 2)) / (first | second).sum((1, 2)).clamp(min=1),
                1.0,
            ),
            "`^` marks where they differ; `&` where both say lesion.",
        ),
    ),
)

# --- augmentation ----------------------------------------------------------------------------------------------------


def turn(image: Tensor, mask: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Rotate an image (3, H, W) and its mask (H, W) together by a random number of quarter turns, 0 to 3."""
    quarters = int(torch.randint(4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


def _pair() -> tuple[Tensor, Tensor]:
    plane = torch.arange(12).reshape(3, 4)
    return torch.stack([plane, plane + 20, plane + 40]).float(), plane > 5


def _turned(image: Tensor) -> int | None:
    """By how many quarter turns `_pair`'s image was rotated; None if the result isn't a rotated copy."""
    original = _pair()[0]
    return next((k for k in range(4) if torch.equal(image, torch.rot90(original, k, (1, 2)))), None)


def _is_right_pair(function: Callable[..., tuple[Tensor, Tensor]], generator: Generator) -> str | None:
    for _ in range(16):
        result = function(*_pair(), generator)
        if not isinstance(result, tuple | list) or len(result) != 2:
            return "Return two values, the image and its mask."
        image, mask = result
        quarters = _turned(image)
        if quarters is None:
            return "The image isn't a rotated copy: rotate it in the plane of H and W, axes 1 and 2."
        if not torch.equal(mask, torch.rot90(_pair()[1], quarters, (0, 1))):
            return "The mask was not rotated like its image: draw one number and use it for both."
    return None


def _draws_each_time(function: Callable[..., tuple[Tensor, Tensor]], generator: Generator) -> str | None:
    seen = [_turned(function(*_pair(), generator)[0]) for _ in range(64)]
    if len(set(seen)) == 1:
        return "Every call rotates by the same number of quarter turns: draw with `generator`, inside the function."
    if set(seen) != {0, 1, 2, 3}:
        missing = ", ".join(str(k) for k in range(4) if k not in seen)
        return f"Never drawn: {missing} quarter turns. All of 0, 1, 2, and 3 must occur."
    first = [_turned(function(*_pair(), torch.Generator().manual_seed(5))[0]) for _ in range(12)]
    if len(set(first)) > 1:
        return (
            "The number does not come from `generator`: the same seed gives different rotations, so no run can be "
            "repeated."
        )
    return None


def _apart(image: Tensor, mask: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    first, second = torch.randint(4, (2,), generator=generator).tolist()
    return torch.rot90(image, first, (1, 2)), torch.rot90(mask, second, (0, 1))


def _global_draw(image: Tensor, mask: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    return turn(image, mask, torch.default_generator)


def _up_to(limit: int) -> Callable[..., tuple[Tensor, Tensor]]:
    def function(image: Tensor, mask: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        quarters = int(torch.randint(limit, (), generator=generator))
        return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))

    return function


TURN = Exercise(
    name="lesions.turn",
    lesson=1,
    title="Rotate image and mask together",
    statement="""
A lesion has no up or down. Rotate an image $(3, H, W)$ and its mask $(H, W)$ by 0, 1, 2 or 3 quarter turns
(`torch.rot90`), each equally likely. Draw the number **in every call**, with `generator`
(`torch.randint(4, (), generator=generator)`), and use it for both. Return (image, mask).
""",
    solution=turn,
    example="""
image = torch.arange(4.0).reshape(1, 2, 2)
turn(image, image[0] > 2, torch.Generator().manual_seed(1))
""",
    difficulty=1,
    importance=4,
    minutes=7,
    bonus=True,
    hints=(
        "One number, two uses. Which axes are height and width in the image, and which in the mask?",
        "`torch.rot90(image, k, (1, 2))` and `torch.rot90(mask, k, (0, 1))`.",
    ),
    properties=(
        Property("image and mask stay together", _is_right_pair),
        Property("a new draw in every call", _draws_each_time),
    ),
    wrong=(
        Wrong(
            "mask left behind",
            lambda image, mask, generator: (turn(image, mask, generator)[0], mask),
            "The mask was not rotated like its image: draw one number and use it for both.",
        ),
        Wrong("drawn twice", _apart, "The mask was not rotated like its image: draw one number and use it for both."),
        Wrong(
            "colors turned",
            lambda image, mask, generator: (torch.rot90(image, 1, (0, 1)), mask),
            "The image isn't a rotated copy: rotate it in the plane of H and W, axes 1 and 2.",
        ),
        Wrong(
            "one angle for the whole run",
            lambda image, mask, generator: turn(image, mask, torch.Generator().manual_seed(1)),
            "Every call rotates by the same number of quarter turns: draw with `generator`, inside the function.",
        ),
        Wrong("never 3", _up_to(3), "Never drawn: 3 quarter turns. All of 0, 1, 2, and 3 must occur."),
        Wrong(
            "somebody else's random numbers",
            _global_draw,
            "The number does not come from `generator`: the same seed gives different rotations, so no run can be "
            "repeated.",
        ),
        Wrong(
            "image only",
            lambda image, mask, generator: turn(image, mask, generator)[0],
            "Return two values, the image and its mask.",
        ),
    ),
)

# --- a predictor that only remembers ---------------------------------------------------------------------------------


def remember(image: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """The mask of the training image that differs least.

    Args:
        image: (3, H, W).
        images: of the training set, (n, 3, H, W).
        masks: of the same images, bool (n, H, W).

    Returns:
        bool (H, W).
    """
    return masks[(images - image).square().sum((1, 2, 3)).argmin()]


def _memory(generator: Generator) -> list[Case]:
    cases = []
    for n, label in ((4, ""), (7, "more images")):
        images = torch.randn(n, 3, 4, 4, generator=generator)
        image = images[n // 2] + 0.3 * torch.randn(3, 4, 4, generator=generator)
        cases.append(Case((image, images, torch.rand(n, 4, 4, generator=generator) < 0.5), label))
    images = torch.randn(5, 3, 4, 4, generator=generator)
    images[3] += 5
    opposite = torch.tensor([2.0, 0.1, -3.0, 1.0, 4.0])[:, None, None, None] * torch.ones(5, 3, 4, 4)
    masks = torch.rand(5, 4, 4, generator=generator) < 0.5
    cases.append(Case((images[1] * 0.9, images, masks), "one very bright image"))
    cases.append(Case((torch.full((3, 4, 4), 0.3), opposite, masks), "uniform gray images"))
    mixed = torch.randn(6, 3, 5, 3, generator=generator)
    halves = torch.cat([mixed[2, :, :3], mixed[4, :, 3:]], dim=1)  # its lower pixels are nearest to another image
    cases.append(Case((halves, mixed, torch.rand(6, 5, 3, generator=generator) < 0.5), "an image made of two others"))
    return cases


def _pixel_by_pixel(image: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    nearest = (images - image).square().sum(1).argmin(0)  # (H, W)
    return masks.gather(0, nearest[None])[0]


REMEMBER = Exercise(
    name="lesions.remember",
    lesson=1,
    title="A program that only memorizes",
    statement=r"""
Write the worst segmentation program that can still get a good score. It has learned nothing: it looks for the training
image with the smallest squared difference to `image`, summed over all colors and pixels, and returns *that image's*
mask.

`image` $(3, H, W)$, `images` $(n, 3, H, W)$, `masks` bool $(n, H, W)$ -> bool $(H, W)$.
""",
    solution=remember,
    example="""
images = torch.stack([torch.zeros(3, 1, 2), torch.ones(3, 1, 2)])
masks = torch.tensor([[[False, True]], [[True, False]]])
remember(torch.full((3, 1, 2), 0.8), images, masks)
""",
    difficulty=2,
    importance=3,
    minutes=8,
    hints=(
        "images - image broadcasts over the first axis. Square, and sum over everything but the first.",
        "`.argmin()` gives the index of the smallest; index `masks` with it.",
    ),
    cases=_memory,
    wrong=(
        Wrong(
            "cosine",
            lambda image, images, masks: masks[F.cosine_similarity(images.flatten(1), image.flatten()[None]).argmax()],
            "Cosine similarity ignores brightness: a dark copy counts as equal. Use the squared difference.",
        ),
        Wrong(
            "mean color",
            lambda image, images, masks: masks[(images.mean((2, 3)) - image.mean((1, 2))).square().sum(1).argmin()],
            "You compare the mean colors of whole images. Take the difference at each pixel, and then the sum.",
        ),
        Wrong(
            "pixel by pixel",
            _pixel_by_pixel,
            "You look for the nearest image at each pixel separately, so the mask is a patchwork of several. Sum over "
            "all pixels first.",
        ),
        Wrong(
            "sum over the images",
            lambda image, images, masks: masks[(images - image).square().sum((0, 2, 3)).argmin() % len(masks)],
            "You sum over axis 0, the images, and keep the colors. Sum over axes 1 to 3 and keep the images.",
        ),
        Wrong(
            "the most different",
            lambda image, images, masks: masks[(images - image).square().sum((1, 2, 3)).argmax()],
            "argmax picks the image that differs most.",
        ),
        Wrong(
            "not squared",
            lambda image, images, masks: masks[(images - image).sum((1, 2, 3)).argmin()],
            "Without the square, positive and negative differences cancel, and the darkest image wins.",
        ),
        Wrong(
            "largest product",
            lambda image, images, masks: masks[(images * image).sum((1, 2, 3)).argmax()],
            "The largest product is not the smallest difference: a very bright image always wins.",
        ),
        Wrong(
            "mean of all masks",
            lambda image, images, masks: masks.float().mean(0) > 0.5,
            "That is the average mask, whatever the image is. Use the image.",
        ),
        Wrong(
            "image for mask",
            lambda image, images, masks: images[(images - image).square().sum((1, 2, 3)).argmin()],
            "You return the training image. Return its mask.",
        ),
        Wrong(
            "always the first",
            lambda image, images, masks: masks[0],
            "You return the first mask, whatever the image is.",
        ),
    ),
)

# --- a split that keeps lesions whole --------------------------------------------------------------------------------


def whole_lesions(lesion: Sequence[int], fraction: float, generator: Generator) -> tuple[list[int], list[int]]:
    """Split images so that all images of a lesion are on one side.

    Args:
        lesion: which lesion each image shows.
        fraction: share of the lesions that goes into the test set.
        generator: draws the lesions.

    Returns:
        Indices of the training images and of the test images, each in increasing order.
    """
    names = sorted(set(lesion))
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: round(fraction * len(names))]}
    train = [i for i, name in enumerate(lesion) if name not in chosen]
    return train, [i for i, name in enumerate(lesion) if name in chosen]


_LESION = [0, 1, 2, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9, 9, 1, 0]


def _is_a_split(function: Callable[..., tuple[list[int], list[int]]], generator: Generator) -> str | None:
    train, test = function(list(_LESION), 0.3, generator)
    if not set(train) | set(test) <= set(range(len(_LESION))):
        return "Return indices of images (0 to n - 1), not lesion numbers."
    if sorted([*train, *test]) != list(range(len(_LESION))):
        return "Some image is missing or on both sides: every image belongs to exactly one side."
    return None


def _keeps_whole(function: Callable[..., tuple[list[int], list[int]]], generator: Generator) -> str | None:
    for _ in range(8):
        train, test = function(list(_LESION), 0.3, generator)
        if {_LESION[i] for i in train} & {_LESION[i] for i in test}:
            return "A lesion is on both sides: draw lesions, not images."
        count = len({_LESION[i] for i in test})
        if count == 7:
            return (
                "The lists are swapped: training comes first, and `fraction` is the share of lesions in the test set."
            )
        if count != 3:
            return f"The test set has {count} of 10 lesions; with `fraction` 0.3 it should have 3."
    return None


def _is_drawn(function: Callable[..., tuple[list[int], list[int]]], generator: Generator) -> str | None:
    parts = {tuple(sorted(function(list(_LESION), 0.3, generator)[1])) for _ in range(8)}
    if len(parts) == 1:
        return "The test set is always the same: draw it with `generator`."
    same = {tuple(sorted(function(list(_LESION), 0.3, torch.Generator().manual_seed(1))[1])) for _ in range(4)}
    return None if len(same) == 1 else "The same seed gives different splits: draw with `generator` only."


def _by_image(lesion: Sequence[int], fraction: float, generator: Generator) -> tuple[list[int], list[int]]:
    order = torch.randperm(len(lesion), generator=generator).tolist()
    cut = round(fraction * len(lesion))
    return sorted(order[cut:]), sorted(order[:cut])


def _last_lesions(lesion: Sequence[int], fraction: float, generator: Generator) -> tuple[list[int], list[int]]:
    chosen = sorted(set(lesion))[-round(fraction * len(set(lesion))) :]
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def _one_image_each(lesion: Sequence[int], fraction: float, generator: Generator) -> tuple[list[int], list[int]]:
    train, test = whole_lesions(lesion, fraction, generator)
    return train, [i for k, i in enumerate(test) if lesion[i] not in [lesion[j] for j in test[:k]]]


def _names(lesion: Sequence[int], fraction: float, generator: Generator) -> tuple[list[int], list[int]]:
    train, test = whole_lesions(lesion, fraction, generator)
    return [100 + lesion[i] for i in train], [100 + lesion[i] for i in test]


_OTHER = [104, 7, 7, 33, 104, 52, 1, 9, 33]


def _asked_number(function: Callable[..., tuple[list[int], list[int]]], generator: Generator) -> str | None:
    """Another list, in which the lesions have any numbers as names, and other fractions."""
    for fraction in 4 * (0.45, 0.2):
        train, test = function(list(_OTHER), fraction, generator)
        if sorted([*train, *test]) != list(range(len(_OTHER))):
            return "With lesion numbers like 104, some image is missing or on both sides: the numbers are only names."
        count, asked = len({_OTHER[i] for i in test}), round(fraction * 6)
        if count == int(fraction * 6) != asked:
            return f"{fraction} * 6 is {fraction * 6:.1f}, so `round` gives {asked}; you take {count}."
        if count == 3 != asked:
            return f"The test set always has three lesions: `fraction` isn't used (here it is {fraction})."
        if count != asked:
            return (
                f"The test set has {count} of 6 lesions; `round({fraction} * 6)` is {asked}. Count the "
                "different lesions: their numbers are names and may have gaps."
            )
    return None


SPLIT = Exercise(
    name="lesions.whole_lesions",
    lesson=1,
    title="The control: a split that keeps lesions whole",
    statement="""
Several images may show the same lesion. Write a split that puts all of them on the same side. `lesion` lists, for each
image, the number of its lesion. Draw `round(fraction * n)` of the n different **lesions** for the test set,
with `generator` (`torch.randperm(n, generator=generator)`). Return two lists of indices: training images, test images.
""",
    solution=whole_lesions,
    example="whole_lesions([7, 7, 8, 9, 9, 9], 0.34, torch.Generator().manual_seed(0))",
    difficulty=2,
    importance=4,
    minutes=10,
    hints=(
        "Draw from `sorted(set(lesion))`, not from the images.",
        "Then each image goes where its lesion went: `[i for i, name in enumerate(lesion) if name in chosen]`.",
    ),
    properties=(
        Property("every image on one side", _is_a_split),
        Property("no lesion on both sides", _keeps_whole),
        Property("the right number of lesions", _asked_number),
        Property("reproducible from the seed", _is_drawn),
    ),
    wrong=(
        Wrong(
            "always three",
            lambda lesion, fraction, g: whole_lesions(lesion, 3 / len(set(lesion)), g),
            "The test set always has three lesions: `fraction` isn't used (here it is 0.2).",
        ),
        Wrong("images drawn", _by_image, "A lesion is on both sides: draw lesions, not images."),
        Wrong(
            "parts swapped",
            lambda lesion, fraction, generator: whole_lesions(lesion, fraction, generator)[::-1],
            "The lists are swapped: training comes first, and `fraction` is the share of lesions in the test set.",
        ),
        Wrong("the last ones", _last_lesions, "The test set is always the same: draw it with `generator`."),
        Wrong(
            "one image a lesion",
            _one_image_each,
            "Some image is missing or on both sides: every image belongs to exactly one side.",
        ),
        Wrong("names for places", _names, "Return indices of images (0 to n - 1), not lesion numbers."),
        Wrong(
            "half of them",
            lambda lesion, fraction, generator: whole_lesions(lesion, 0.5, generator),
            "The test set has 5 of 10 lesions; with `fraction` 0.3 it should have 3.",
        ),
    ),
    after="The package does the same, with hashes in place of random numbers: skinlesion.data.splits.",
)

EXERCISES = (NORMALIZE, AGREEMENT, TURN, REMEMBER, SPLIT, GROUPS)
