"""Lesson 1: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import random

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skinlesion import lessons
from skinlesion.lessons.catalog import find


def in_eight_bits(image):
    image = image - image.min()
    return (image * 255 // max(image.max(), 1)).astype(np.float32) / 255


def ones_for_one_value(image):
    x = image.astype(np.float32)
    return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else np.ones_like(x)


def turned_the_other_way(image, mask, generator):
    quarters = int(torch.randint(4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, -quarters, (0, 1))


def turned_by_chance_of_python(image, mask, generator):
    quarters = random.randrange(4)
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


def nearest_by_pixel(image, images, masks):
    nearest = (images - image).square().sum(1).argmin(0)
    return masks.gather(0, nearest[None])[0]


def always_three_lesions(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = {names[i] for i in torch.randperm(len(names), generator=generator)[:3].tolist()}
    return (
        [i for i, name in enumerate(lesion) if name not in chosen],
        [i for i, name in enumerate(lesion) if name in chosen],
    )


def lesions_counted_from_zero(lesion, fraction, generator):
    count = max(lesion) + 1
    chosen = set(torch.randperm(count, generator=generator)[: round(fraction * count)].tolist())
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def percentiles(image):
    x = image.astype(np.float32)
    low, high = np.percentile(x, (1, 99)).astype(np.float32)
    return np.clip((x - low) / max(high - low, np.float32(1)), 0, 1)


def row_by_row_agreement(a, b):
    both, either = (a & b).sum(2), (a | b).sum(2)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).mean(1)


def flipped_instead(image, mask, generator):
    if torch.rand((), generator=generator) < 0.5:
        return image.flip(-1), mask.flip(-1)
    return image, mask


def three_turns_at_most(image, mask, generator):
    quarters = int(torch.randint(1, 4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


def standardized_first(image, images, masks):
    def centered(x):
        return x - x.mean((-1, -2), keepdim=True)

    return masks[(centered(images) - centered(image)).square().sum((1, 2, 3)).argmin()]


def names_sorted_not_drawn(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = set(names[: round(fraction * len(names))])
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def truncated_count(lesion, fraction, generator):
    names = sorted(set(lesion))
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: int(fraction * len(names))]}
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def over_the_maximum_only(image):
    x = image.astype(np.float32)
    return (x - x.min()) / x.max() if x.max() else x


def solution(name):
    return lessons.solution(name).answer


def turned_clockwise_mask_only(image, mask, generator):
    quarters = int(torch.randint(4, (), generator=generator))
    return image, torch.rot90(mask, quarters, (0, 1))


def second_nearest(image, images, masks):
    return masks[(images - image).square().sum((1, 2, 3)).argsort()[1]]


def test_lesions_repeated(lesion, fraction, generator):
    names = sorted(set(lesion))
    chosen = {
        names[i] for i in torch.randint(len(names), (round(fraction * len(names)),), generator=generator).tolist()
    }
    return [i for i, n in enumerate(lesion) if n not in chosen], [i for i, n in enumerate(lesion) if n in chosen]


def turned_by_transposes(image, mask, generator):
    for _ in range(int(torch.randint(0, 4, (1,), generator=generator).item())):
        image, mask = image.transpose(1, 2).flip(1), mask.T.flip(0)
    return image, mask


def normalized_by_epsilon(image):
    x = torch.from_numpy(image).float()
    return ((x - x.amin()) / (x.amax() - x.amin() + 1e-8)).numpy()


def split_by_generator(lesion, fraction, generator):
    names = list(dict.fromkeys(lesion))
    test = set(np.array(names)[torch.randperm(len(names), generator=generator).numpy()][: round(fraction * len(names))])
    where = np.array([name in test for name in lesion])
    return np.flatnonzero(~where), np.flatnonzero(where)


def _components(pairs, count):
    rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()  # numbered by first appearance


def _twice(pairs, count):
    group = list(range(count))
    for a, b in [*pairs, *pairs]:
        group[a] = group[b] = max(group[a], group[b])
    names = list(dict.fromkeys(group))
    return [names.index(each) for each in group]


def appends_python_loop_skips_empty_images(a, b):
    return torch.stack([(x & y).sum() / (x | y).sum() for x, y in zip(a, b, strict=False) if (x | y).any()])


def random_module_instead_of_generator(im, m, g):
    k = random.randrange(4)
    return torch.rot90(im, k, (1, 2)), torch.rot90(m, k, (0, 1))


def global_randperm(lesion, f, g):
    names = sorted(set(lesion))
    o = torch.randperm(len(names)).tolist()
    t = {names[i] for i in o[: round(f * len(names))]}
    return [i for i, x in enumerate(lesion) if x not in t], [i for i, x in enumerate(lesion) if x in t]


class Remember:
    def __new__(cls, image, images, masks):
        return min(zip(images, masks, strict=False), key=lambda p: float(((p[0] - image) ** 2).sum()))[1]


def whole_lesions_another_way(lesion, fraction, generator):
    lesion = np.array(lesion)
    names = np.unique(lesion)
    chosen = names[torch.randperm(len(names), generator=generator).numpy()[: round(fraction * len(names))]]
    inside = np.isin(lesion, chosen)
    return np.flatnonzero(~inside).tolist(), np.flatnonzero(inside).tolist()


def groups_another_way(pairs, count):
    group, number = [None] * count, 0
    for start in range(count):
        if group[start] is None:
            stack = [start]
            while stack:
                at = stack.pop()
                if group[at] is None:
                    group[at] = number
                    stack += [b for a, b in pairs if a == at] + [a for a, b in pairs if b == at]
            number += 1
    return group


def turn_another_way(image, mask, generator):
    k = torch.randint(4, (1,), generator=generator).item()
    for _ in range(k):
        image, mask = image.transpose(1, 2).flip(1), mask.T.flip(0)
    return image, mask


WRONG = [
    ("lesions.normalize", in_eight_bits, "uint8|overflow|float32"),
    ("lesions.normalize", lambda i: (i - i.min()) / max(int(i.max()) - int(i.min()), 1), "float64"),
    ("lesions.normalize", ones_for_one_value, "single value|zero"),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) + 1) / ((a | b).sum((1, 2)) + 1), "add"),
    ("lesions.agreement", lambda a, b: (a == b).float().mean((1, 2)), "skin|accuracy|neither"),
    ("lesions.turn", turned_the_other_way, "mask was not rotated like its image"),
    ("lesions.turn", turned_by_chance_of_python, "generator"),
    ("lesions.remember", nearest_by_pixel, "pixel"),
    ("lesions.remember", lambda x, xs, ms: ms[(xs - x).square().sum((0, 2, 3)).argmin()], "axis|axes|over the images"),
    ("lesions.whole_lesions", always_three_lesions, "fraction"),
    ("lesions.whole_lesions", lesions_counted_from_zero, "number|names|different lesions"),
    ("lesions.normalize", percentiles, "percentile|extremes|outlier|clip|close"),
    ("lesions.agreement", row_by_row_agreement, "row|mean"),
    ("lesions.turn", flipped_instead, "rotated"),
    ("lesions.turn", three_turns_at_most, "Never drawn: 0"),
    ("lesions.remember", standardized_first, ""),
    ("lesions.whole_lesions", names_sorted_not_drawn, "always the same"),
    ("lesions.whole_lesions", truncated_count, "round"),
    ("lesions.normalize", over_the_maximum_only, "in place of `high - low`"),
    ("lesions.agreement", lambda a, b: solution("lesions.agreement")(a, b).mean(), "shape"),
    ("lesions.turn", turned_clockwise_mask_only, "not rotated like|mask"),
    ("lesions.remember", second_nearest, "argmin|second|\\."),
    ("lesions.whole_lesions", test_lesions_repeated, "test set has"),
    ("lesions.groups", _twice, r"^(?!.*Error)"),
    ("lesions.groups", lambda pairs, count: sorted(_components(pairs, count)), r"^(?!.*Error)"),
    (
        "lesions.normalize",
        lambda im: 2 * (im.astype(np.float32) - im.min()) / max(1, int(im.max()) - int(im.min())) - 1,
        "2 times the expected result minus 1",
    ),
    ("lesions.agreement", lambda a, b: (a & b).sum((1, 2)) / (a ^ b).sum((1, 2)).clamp(min=1), "by the rest"),
    ("lesions.agreement", appends_python_loop_skips_empty_images, "size 2 instead of 3"),
    ("lesions.turn", random_module_instead_of_generator, "does not come from `generator`"),
    ("lesions.whole_lesions", global_randperm, "draw with `generator`"),
]
RIGHT = [
    ("lesions.turn", lambda image, mask, generator: list(find("lesions.turn").solution(image, mask, generator))),
    ("lesions.turn", turned_by_transposes),
    ("lesions.normalize", normalized_by_epsilon),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) / (a | b).sum((1, 2))).nan_to_num(1.0)),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) + 1e-9) / ((a | b).sum((1, 2)) + 1e-9)),
    ("lesions.remember", lambda x, xs, ms: ms[torch.cdist(x.flatten()[None], xs.flatten(1)).argmin()]),
    ("lesions.whole_lesions", split_by_generator),
    ("lesions.groups", _components),
    (
        "lesions.normalize",
        lambda image: (lambda x: np.divide(x - x.min(), np.ptp(x) or 1, dtype=np.float32))(image.astype(np.float32)),
    ),
    (
        "lesions.normalize",
        lambda image: np.float32(
            (image.astype(float) - image.min()) / (float(image.max()) - float(image.min()) + 1e-9)
        ),
    ),
    (
        "lesions.agreement",
        lambda first, second: torch.nan_to_num((first & second).sum((1, 2)) / (first | second).sum((1, 2)), nan=1.0),
    ),
    ("lesions.remember", Remember),
    ("lesions.whole_lesions", whole_lesions_another_way),
    ("lesions.groups", groups_another_way),
    ("lesions.turn", turn_another_way),
]
