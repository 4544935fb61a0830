"""Lesson 0: what the course is like, with four short exercises around a trained network."""

import torch
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized, uniform

# --- a mask from a probability ---------------------------------------------------------------------------------------


def to_mask(probability: Tensor, threshold: float) -> Tensor:
    """True where the probability is at least the threshold: (H, W) -> bool (H, W)."""
    return probability >= threshold


def _probabilities(generator: Generator) -> list[Case]:
    exact = torch.tensor([[0.25, 0.5, 0.75], [0.0, 1.0, 0.5]])
    return [
        Case((uniform(generator, 0, 1, 4, 5), 0.5)),
        Case((uniform(generator, 0, 1, 4, 5), 0.2), "a threshold of 0.2"),
        Case((exact, 0.5), "pixels exactly at the threshold"),
        Case((uniform(generator, 0, 1, 7, 2), 0.75), "an image that is taller than wide"),
    ]


TO_MASK = Exercise(
    name="start.to_mask",
    lesson=0,
    title="A mask from a probability",
    statement=r"""
The network gives each pixel a probability of belonging to the lesion. Make the mask: `True` where the probability is
**at least** the threshold. $(H, W) \to$ bool $(H, W)$.
""",
    solution=to_mask,
    example="to_mask(torch.tensor([[0.2, 0.5], [0.7, 0.49]]), 0.5)",
    difficulty=0,
    importance=4,
    minutes=2,
    hints=("A comparison of a tensor with a number gives a tensor of bools.", "`probability >= threshold`"),
    cases=_probabilities,
    wrong=(
        Wrong("more than", lambda p, t: p > t, "A pixel exactly at the threshold counts as lesion: use `>=`, not `>`."),
        Wrong("inside out", lambda p, t: p < t, "This marks the skin. The lesion is where the probability is high."),
        Wrong("always one half", lambda p, t: p >= 0.5, "The threshold is an argument; yours is always 0.5."),
        Wrong("numbers", lambda p, t: (p >= t).float(), "You return zeros and ones as numbers. A mask has dtype bool."),
        Wrong("rounded", lambda p, t: p.round().bool(), "Rounding always means a threshold of 0.5, whatever you pass."),
        Wrong(
            "of the maximum",
            lambda p, t: p >= t * p.max(),
            "The threshold is a probability, not a fraction of the maximum.",
        ),
    ),
    after="Every figure of this course states its threshold.",
)

# --- area ------------------------------------------------------------------------------------------------------------


def area_fraction(mask: Tensor) -> Tensor:
    """The share of each image that is lesion: bool (B, H, W) -> (B,), in [0, 1]."""
    return mask.float().mean(dim=(1, 2))


def _masks(generator: Generator) -> list[Case]:
    shapes = (((2, 4, 4), ""), ((3, 2, 7), "images that are not square"), ((1, 1, 1), "one pixel"))
    return [Case((uniform(generator, 0, 1, *shape) > 0.7,), label) for shape, label in shapes]


AREA = Exercise(
    name="start.area_fraction",
    lesson=0,
    title="How much of the image is lesion",
    statement=r"""
Return the area of each mask as a fraction of its image: bool $(B, H, W) \to (B)$, each in $[0, 1]$.
""",
    solution=area_fraction,
    example="area_fraction(torch.tensor([[[True, False], [False, False]], [[True, True], [True, False]]]))",
    difficulty=0,
    importance=3,
    minutes=3,
    hints=("The mean of zeros and ones is the share of ones.", "`mask.float().mean(dim=(1, 2))`"),
    cases=_masks,
    wrong=(
        Wrong(
            "of the whole batch",
            lambda m: m.sum(dim=(1, 2)) / m.numel(),
            "You divide by the number of pixels in all images: `mask.numel()` counts the whole batch.",
        ),
        Wrong(
            "pixels",
            lambda m: m.sum(dim=(1, 2)).float(),
            "This is a number of pixels. Divide it by the number of pixels in an image.",
        ),
        Wrong(
            "one for all",
            lambda m: m.float().mean(),
            "You return one number for the whole batch. Return one per image.",
        ),
        Wrong("the skin", lambda m: (~m).float().mean(dim=(1, 2)), "This is the share of the skin around the lesion."),
        Wrong(
            "a square is assumed",
            lambda m: m.sum(dim=(1, 2)) / m.shape[1] ** 2,
            "You divide by the height squared, which is right only for square images.",
        ),
        Wrong(
            "by rows",
            lambda m: m.float().mean(dim=2),
            "This is a fraction per row. Take the mean over rows and columns.",
        ),
        Wrong(
            "whole division",
            lambda m: (m.sum(dim=(1, 2)) // m[0].numel()).float(),
            "`//` is integer division: a mask that doesn't fill its image becomes 0.",
        ),
    ),
)

# --- the mirror ------------------------------------------------------------------------------------------------------


def seen_in_mirror(network: nn.Module, x: Tensor) -> Tensor:
    """The network's output for the mirrored images, mirrored back: (B, 3, H, W) -> (B, 1, H, W)."""
    return network(x.flip(-1)).flip(-1)


def _mirror_cases(generator: Generator) -> list[Case]:
    network = randomized(generator, nn.Conv2d(3, 1, 3, padding=1)).requires_grad_(False)
    return [
        Case((network, normal(generator, 2, 3, 4, 5))),
        Case((network, normal(generator, 1, 3, 3, 3)), "as many channels as rows and columns"),
        Case((network, normal(generator, 3, 3, 6, 2)), "three images, taller than wide"),
    ]


def _up_down(network: nn.Module, x: Tensor) -> Tensor:
    return network(x.flip(-2)).flip(-2)


def _quarter_turn(network: nn.Module, x: Tensor) -> Tensor:
    return network(x.transpose(-1, -2)).transpose(-1, -2)


MIRROR = Exercise(
    name="start.seen_in_mirror",
    lesson=0,
    title="A second prediction, from the mirror image",
    statement=r"""
Mirror the images left to right, run the network, and mirror its output back, so that you can compare it with the
output for the original images. `network` maps $(B, 3, H, W)$ to $(B, 1, H, W)$.
""",
    solution=seen_in_mirror,
    example="""
x = torch.arange(6.0).reshape(1, 1, 2, 3)
seen_in_mirror(lambda image: image.cumsum(-1), x)
""",
    difficulty=1,
    importance=3,
    minutes=4,
    bonus=True,
    hints=("The columns are the last axis. `x.flip(-1)` reverses them.", "`network(x.flip(-1)).flip(-1)`"),
    cases=_mirror_cases,
    wrong=(
        Wrong(
            "mean of both",
            lambda network, x: (network(x) + network(x.flip(-1)).flip(-1)) / 2,
            "This is the mean of both predictions. Return only the second one, so that the two can be compared.",
        ),
        Wrong(
            "half a turn",
            lambda network, x: network(x.flip(-2, -1)).flip(-2, -1),
            "You reversed the rows too: that is a rotation by 180 degrees, not a mirror image.",
        ),
        Wrong(
            "not mirrored back", lambda network, x: network(x.flip(-1)), "The output is still mirrored: flip it back."
        ),
        Wrong(
            "not mirrored at all",
            lambda network, x: network(x),
            "This is the network's output for the original images.",
        ),
        Wrong(
            "only the answer", lambda network, x: network(x).flip(-1), "Mirror the images before you run the network."
        ),
        Wrong("upside down", _up_down, "You mirrored top to bottom: axis -2 holds the rows."),
        Wrong(
            "channels reversed",
            lambda network, x: network(x.flip(1)),
            "Axis 1 holds the colors: red and blue are swapped.",
        ),
        Wrong("transposed", _quarter_turn, "You swapped rows and columns: that is a transpose, not a mirror image."),
    ),
    after="Averaging both predictions is called test-time augmentation. The dashboard's version of it uses four flips.",
)

# --- the control -----------------------------------------------------------------------------------------------------


def cover(image: Tensor, mask: Tensor) -> Tensor:
    """The image with the masked pixels painted in the mean color of the others: (H, W, 3), bool (H, W) -> (H, W, 3)."""
    return torch.where(mask[..., None], image[~mask].mean(dim=0), image)


def _pictures(generator: Generator) -> list[Case]:
    cases = []
    for height, width, label in (
        (4, 5, ""),
        (3, 3, "as many channels as rows and columns"),
        (6, 4, "a lesion at the edge"),
    ):
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[1:3, 1:3] = True
        mask[4:, 2:] = True
        cases.append(Case((uniform(generator, 0, 255, height, width, 3), mask), label))
    return cases


def _paint(image: Tensor, mask: Tensor, color: Tensor | float) -> Tensor:
    return torch.where(mask[..., None], torch.as_tensor(color), image)


COVER = Exercise(
    name="start.cover",
    lesson=0,
    title="The control: remove the lesion",
    statement=r"""
Paint over the lesion. Every pixel of the mask gets the **mean color of the pixels outside it**; the other pixels stay
the same. `image` $(H, W, 3)$ of floats, `mask` bool $(H, W)$ -> $(H, W, 3)$. Don't modify the input image.
""",
    solution=cover,
    example="""
image = torch.tensor([[[9.0, 0.0, 0.0], [1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]])
cover(image, torch.tensor([[True, False, False]]))
""",
    difficulty=2,
    importance=3,
    minutes=6,
    hints=(
        "`image[~mask]` holds the pixels outside the mask, one row of three color values per pixel.",
        "Make a new image with `torch.where(mask[..., None], color, image)`, or write into `image.clone()`.",
    ),
    cases=_pictures,
    wrong=(
        Wrong(
            "added everywhere",
            lambda image, mask: image * ~mask[..., None] + image[~mask].mean(0),
            "You add the mean color to every pixel. Multiply it by the mask first, or use torch.where.",
        ),
        Wrong(
            "the lesion counted as black",
            lambda image, mask: _paint(image, mask, (image * ~mask[..., None]).mean(dim=(0, 1))),
            "You set the lesion to zero but divide by the number of all pixels, so the lesion counts as black. Divide "
            "by the number of pixels outside it.",
        ),
        Wrong(
            "black",
            lambda image, mask: _paint(image, mask, 0.0),
            "Black looks like a very dark lesion, so this is not a control.",
        ),
        Wrong(
            "the lesion's own color",
            lambda image, mask: _paint(image, mask, image[mask].mean(dim=0)),
            "This is the mean color of the lesion. The skin is outside: `~mask`.",
        ),
        Wrong(
            "mean of everything",
            lambda image, mask: _paint(image, mask, image.mean(dim=(0, 1))),
            "The mean of the whole image includes the lesion, so a pale shadow remains.",
        ),
        Wrong(
            "gray",
            lambda image, mask: _paint(image, mask, image[~mask].mean()),
            "One number for all three colors gives gray. Average over the pixels only: `dim=0`.",
        ),
        Wrong(
            "the skin painted",
            lambda image, mask: _paint(image, ~mask, image[~mask].mean(dim=0)),
            "You painted the skin and left the lesion.",
        ),
        Wrong("unchanged", lambda image, mask: image.clone(), "Nothing was painted."),
    ),
    after="A control asks: does the effect disappear with its cause? Every lesson has one.",
)

EXERCISES = (TO_MASK, AREA, MIRROR, COVER)
