"""Lesson 1, bonus: groups of images that show the same lesion."""

from collections.abc import Sequence

import torch
from torch import Generator

from skinlesion.lessons.exercise import Case, Exercise, Wrong


def groups(pairs: list[tuple[int, int]], count: int) -> list[int]:
    """The group of each of `count` images, when the images of every pair belong together.

    Args:
        pairs: indices of two images of the same lesion.
        count: number of images.

    Returns:
        One number per image: 0, 1, 2, .. in the order in which the groups' first images appear.
    """
    group = list(range(count))
    for a, b in pairs:
        old, new = group[b], group[a]
        group = [new if each == old else each for each in group]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(group))}
    return [numbers[each] for each in group]


# A number that moves along a chain by one image in each pass over the pairs needs many passes.
_CHAINS = [(i, i + 1) for i in range(7)] + [(i, i + 1) for i in range(14, 7, -1)]


def _some_pairs(generator: Generator) -> list[Case]:
    many = torch.randint(24, (14, 2), generator=generator).tolist()
    return [
        Case(([(0, 2), (2, 4)], 5), "a chain of three"),
        Case(([(5, 1), (4, 3), (3, 1)], 7), "two pairs that a third one joins, larger index first"),
        Case(([], 3), "no pairs"),
        Case(([(1, 3), (0, 1), (3, 1), (2, 2)], 4), "a repeated pair, and an image paired with itself"),
        Case((_CHAINS, 16), "two long chains, listed upward and downward"),
        Case(([(a, b) for a, b in many], 24), "many pairs"),
    ]


def _numbered(group: list[int]) -> list[int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(group))}
    return [numbers[each] for each in group]


def _one_image_moved(pairs: list[tuple[int, int]], count: int) -> list[int]:
    group = list(range(count))
    for a, b in pairs:
        group[b] = group[a]
    return _numbered(group)


def _smaller_index(pairs: list[tuple[int, int]], count: int) -> list[int]:
    group = list(range(count))
    for a, b in pairs:
        group[a] = group[b] = min(group[a], group[b])
    return _numbered(group)


def _a_group_a_pair(pairs: list[tuple[int, int]], count: int) -> list[int]:
    group = list(range(count))
    for number, (a, b) in enumerate(pairs, start=count):
        group[a] = group[b] = number
    return _numbered(group)


def _not_renumbered(pairs: list[tuple[int, int]], count: int) -> list[int]:
    found = groups(pairs, count)
    return [found.index(each) for each in found]


def _singles_left_out(pairs: list[tuple[int, int]], count: int) -> list[int]:
    found = groups(pairs, count)
    kept = [each if found.count(each) > 1 else None for each in found]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(each for each in kept if each is not None))}
    return [-1 if each is None else numbers[each] for each in kept]


def _from_one(pairs: list[tuple[int, int]], count: int) -> list[int]:
    return [each + 1 for each in groups(pairs, count)]


def _all_in_one(pairs: Sequence[tuple[int, int]], count: int) -> list[int]:
    paired = {i for pair in pairs for i in pair}
    group = [count if i in paired else i for i in range(count)]
    order = list(dict.fromkeys(group))
    return [order.index(each) for each in group]


GROUPS = Exercise(
    name="lesions.groups",
    lesson=1,
    title="From pairs to lesions",
    statement="""
A near-duplicate search returns *pairs* of images, but `whole_lesions` needs to know which lesion each image shows. If
images 0 and 2 show the same lesion, and so do 2 and 4, then 0, 2 and 4 all show the same lesion, although no pair says
that 0 and 4 belong together.

Given pairs of indices and the number of images, return a list with the group of each image. Images that are connected
by pairs, directly or through other images, share a group; an image without a partner is a group of its own. Number the
groups 0, 1, 2, ... in the order in which their first images appear.
""",
    solution=groups,
    example="groups([(0, 2), (2, 4)], 5)",
    difficulty=3,
    importance=2,
    minutes=12,
    bonus=True,
    hints=(
        "Start with a group for every image: `group = list(range(count))`. What has to happen for one pair (a, b)?",
        "*Every* image that is in b's group has to move to a's group, not only b.",
        "For the numbers: `dict.fromkeys(group)` has each group once, in the order of first appearance.",
    ),
    cases=_some_pairs,
    wrong=(
        Wrong(
            "one group for all pairs",
            _all_in_one,
            "You put all images that have any partner into one group. Only those connected by pairs belong together.",
        ),
        Wrong(
            "only one image moves",
            _one_image_moved,
            "You move only image b. When two groups meet, all images of one group have to move to the other.",
        ),
        Wrong(
            "smaller index for the pair",
            _smaller_index,
            "You give the pair the smaller number, but other images of their groups keep the larger one.",
        ),
        Wrong(
            "a group for each pair",
            _a_group_a_pair,
            "Every pair makes a new group, so an image in two pairs leaves the first one.",
        ),
        Wrong(
            "numbers with gaps",
            _not_renumbered,
            "These are the right groups, numbered by their first image. Number them 0, 1, 2, ... without gaps.",
        ),
        Wrong("single images left out", _singles_left_out, "An image without a partner is a group of its own."),
        Wrong("numbered from one", _from_one, "The groups are right, but the numbers must start at 0."),
        Wrong(
            "connections ignored",
            lambda pairs, count: list(range(count)),
            "That gives every image a group of its own, whatever the pairs say.",
        ),
    ),
    after="This is finding the connected components of a graph. The package groups near-duplicates in the same way.",
)
