"""Lesson 16, bonus: do two parts carry the same information?"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from skinlesion import create_model, intervene, observe
from skinlesion.lessons.exercise import Case, Exercise, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized


def interaction(network: nn.Module, images: Tensor, donors: Tensor, first: str, second: str) -> Tensor:
    """How much more two activations change each image's mean logit together than separately.

    Args:
        network: with named points, in evaluation mode.
        images: (B, 3, H, W).
        donors: (B, 3, H, W); donor i gives its activations to image i.
        first: the name of an activation.
        second: the name of another one.

    Returns:
        Effect of both minus the effects of each, (B,); negative where they are redundant.
    """
    with torch.no_grad(), observe(network, first) as one, observe(network, second) as other:
        network(donors)

    def mean_logit(points: dict[str, Tensor]) -> Tensor:
        with torch.no_grad(), intervene(network, points):
            return network(images).mean((1, 2, 3))  # (B,)

    return mean_logit({**one, **other}) - mean_logit(dict(one)) - mean_logit(dict(other)) + mean_logit({})


def _point_pairs(generator: Generator) -> list[Case]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
        network = create_model("tiny", dim=8, depths=(1, 1), decoder_depths=(1, 1), d_state=2, drop_path=0.0).eval()
    network = randomized(generator, network, 0.3)
    cases = []
    for count, first, second, label in (
        (3, "S2.cra.output", "E2.1.output", "a skip and the stage below it"),
        (1, "E2.1.output", "D1.1.output", "one image; the second point comes after the first"),
        (2, "E1.1.cmn.output", "E1.1.ss2d.output", "both branches of one block"),
    ):
        images, donors = (normal(generator, count, 3, 16, 24) for _ in range(2))
        cases.append(Case((network, images, donors, first, second), label))
    return cases


def _effects(
    network: nn.Module, images: Tensor, donors: Tensor, first: str, second: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean logits with both, the first, the second and neither replaced."""
    with torch.no_grad(), observe(network, first) as one, observe(network, second) as other:
        network(donors)
    found = []
    for points in ({**one, **other}, dict(one), dict(other), {}):
        with torch.no_grad(), intervene(network, points):
            found.append(network(images).mean((1, 2, 3)))
    return found[0], found[1], found[2], found[3]


def _mistaken(name: str, change: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], diagnosis: str) -> Wrong:
    return Wrong(
        name,
        lambda network, images, donors, first, second: change(*_effects(network, images, donors, first, second)),
        diagnosis,
    )


INTERACTION = Exercise(
    name="intervention.interaction",
    lesson=16,
    title="Patch both",
    statement=r"""
Patching one part at a time can't tell whether two parts carry the *same* information. Patching both can. Let $m$ be an
image's mean logit, and let its index say which activations come from the donor: none, the first, the second, or both.
The **interaction**

$$(m_{12} - m) - (m_1 - m) - (m_2 - m)$$

is the effect of both minus the two single effects. It is zero if the effects add up, negative if two parts that raise
the logits are redundant, and positive if they need each other.

Return it for each image, $(B,)$. `first` and `second` name two points, and donor $i$ provides the activations for
image $i$. Compute no
gradients.
""",
    solution=interaction,
    takes="network, images, donors, first, second",
    example="""
from skinlesion import create_model
network = create_model("tiny", depths=(1, 1), decoder_depths=(1, 1)).eval()
images, donors = (torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
all_of_it = (network(donors) - network(images)).mean()
bool(torch.isclose(interaction(network, images, donors, "E1.1.output", "D1.1.output"), -all_of_it, atol=1e-6).all())
""",
    difficulty=3,
    importance=2,
    minutes=12,
    bonus=True,
    hints=(
        "You need four runs of the images: with both activations replaced, with each one alone, and with none.",
        "`intervene` takes a dict with as many points as you like, and an empty one too.",
        "Expand the parentheses: both - first - second + none.",
    ),
    cases=_point_pairs,
    seconds=20.0,
    wrong=(
        _mistaken(
            "none forgotten",
            lambda both, one, other, none: both - one - other,
            "The run without a replacement is missing: subtract effects, not logits.",
        ),
        _mistaken(
            "sign",
            lambda both, one, other, none: one + other - both - none,
            "The sign is reversed: redundant parts have a negative interaction.",
        ),
        _mistaken(
            "effect of both",
            lambda both, one, other, none: both - none,
            "That is the effect of both. Subtract the effect of each one alone.",
        ),
        _mistaken(
            "one of the effects",
            lambda both, one, other, none: both - one - other + none - (other - none),
            "The second effect is subtracted twice.",
        ),
        _mistaken(
            "mean over the batch",
            lambda both, one, other, none: (both - one - other + none).mean(),
            "You average over the images. Return one number per image.",
        ),
        _mistaken(
            "absolute value",
            lambda both, one, other, none: (both - one - other + none).abs(),
            "Keep the sign: it distinguishes redundant parts from parts that need each other.",
        ),
        Wrong(
            "donors receive",
            lambda network, images, donors, first, second: interaction(network, donors, images, first, second),
            "You run the donors with the images' activations. It is the other way around.",
        ),
    ),
    after="This is the interaction of two factors in a factorial experiment (lesson 15).",
)
