"""Lesson 3: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from skinlesion import lessons
from skinlesion.lessons.catalog import find


def _square_only(gradient, fraction):
    side = min(gradient.shape[1:])
    return find("unet.side_holding").solution(gradient[:, :side, :side], fraction)


def eats_the_list(layers):
    side, step = 1, 1
    while layers:
        kernel, stride = layers.pop(0)
        side, step = side + (kernel - 1) * step, step * stride
    return side


def side_without_allowance(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.sum()
    rows = (torch.arange(share.shape[0]) - (share.shape[0] - 1) // 2).abs()
    columns = (torch.arange(share.shape[1]) - (share.shape[1] - 1) // 2).abs()
    distance = torch.maximum(rows[:, None], columns)
    return next(2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction - 1e-6)


def round_disk(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.sum()
    rows = torch.arange(share.shape[0]) - share.shape[0] // 2
    columns = torch.arange(share.shape[1]) - share.shape[1] // 2
    distance = (rows[:, None].square() + columns.square()).sqrt()
    return next(2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction - 1e-6)


def strided_u(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(x[..., ::2, ::2] if i else x)
        skips.append(x)
    for i, stage in enumerate(decoder):
        x = stage(torch.cat([skips[-2 - i], up[i](x)], dim=1))
    return x


def hidden_in_place(image, at, radius):
    row, column = at
    keep = torch.zeros(image.shape[1:], dtype=torch.bool)
    keep[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = True
    image[:, ~keep] = 0
    return image


def field_with_jump(layers):
    side, step = 1, 1
    for kernel, stride in layers:
        side = side * stride + kernel - stride
        step *= stride
    return side


def decoder_from_the_top(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    for i in range(len(up)):
        x = decoder[-1 - i](torch.cat([skips[-2 - i], up[i](x)], 1))
    return x


def share_of_the_largest(gradient, fraction):
    share = gradient.abs().sum(0)
    share = share / share.max()
    rows = (torch.arange(share.shape[0]) - share.shape[0] // 2).abs()
    columns = (torch.arange(share.shape[1]) - share.shape[1] // 2).abs()
    distance = torch.maximum(rows[:, None], columns)
    return next((2 * r + 1 for r in range(99) if share[distance <= r].sum() >= fraction), 0)


def solution(name):
    return lessons.solution(name).answer


def per_image_correlation(features):
    return torch.stack([solution("unet.likeness")(each[None]) for each in features]).mean()


def u_without_last_pool(x, encoder, up, decoder):
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(torch.relu(x))
    skips.pop()
    for enlarge, stage in zip(up, decoder, strict=True):
        x = stage(torch.cat([skips.pop(), enlarge(x)], 1))
    return x


def one_pixel_too_wide(image, at, radius):
    return solution("unet.hide_far")(image, at, radius + 1)


class Field:
    """From the last layer back to the image."""

    def __call__(self, layers):
        return functools.reduce(lambda side, layer: (side - 1) * layer[1] + layer[0], reversed(layers), 1)


def u_by_recursion(x, encoder, up, decoder):
    if len(encoder) == 1:
        return encoder[0](x)
    skip = encoder[0](x)

    def below(y, first=True):
        return u_by_recursion(F.max_pool2d(y, 2), encoder[1:], up[:-1], decoder[:-1])

    return decoder[-1](torch.cat((skip, up[-1](below(skip))), 1))


def numpy_correlation(features):
    x = features.flatten(0, 2).numpy().astype(np.float64)
    r = np.abs(np.corrcoef(x.T))
    return torch.tensor(r[np.triu_indices(len(r), 1)].mean())


def hidden_by_mask(image, at, radius):
    rows = (torch.arange(image.shape[1]) - at[0]).abs() <= radius
    columns = (torch.arange(image.shape[2]) - at[1]).abs() <= radius
    return image * torch.outer(rows, columns)


def skips_in_the_order_down(x, enc, up, dec):
    skips = []
    for i, e in enumerate(enc):
        x = e(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    for u, d, s in zip(up, dec, skips, strict=False):
        x = d(torch.cat([s, u(x)], 1))
    return x


def abs_after_color_sum(g, f):
    return solution("unet.side_holding")(g.sum(0, keepdim=True).abs().expand(3, -1, -1), f)


def field_another_way(layers):
    return 1 + sum((k - 1) * math.prod(s for _, s in layers[:i]) for i, (k, _) in enumerate(layers))


def forward_another_way(x, encoder, up, decoder):
    def u(x, n):
        y = encoder[n](x)
        if n + 1 == len(encoder):
            return y
        below = u(F.max_pool2d(y, 2), n + 1)
        return decoder[len(decoder) - 1 - n](torch.cat((y, up[len(up) - 1 - n](below)), 1))

    return u(x, 0)


def side_holding_another_way(gradient, fraction):
    s = gradient.abs().sum(0).double()
    i, j = s.shape[0] // 2, s.shape[1] // 2
    r = 0
    while s[max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1].sum() / s.sum() < fraction - 1e-6:
        r += 1
    return 2 * r + 1


WRONG = [
    ("unet.side_holding", _square_only, ""),
    ("unet.field", eats_the_list, "changes its argument `layers`"),
    ("unet.side_holding", side_without_allowance, "even|// 2|middle"),
    ("unet.side_holding", round_disk, "square|round|disk|circle"),
    ("unet.forward", strided_u, "maximum"),
    ("unet.likeness", lambda x: torch.corrcoef(x.flatten(0, 2)).abs().mean(), "pixels|diagonal|channel"),
    ("unet.hide_far", hidden_in_place, "changes its argument `image`"),
    ("unet.field", field_with_jump, "stride|step|order|end"),
    ("unet.forward", decoder_from_the_top, "in reverse order"),
    ("unet.side_holding", share_of_the_largest, "total|largest|sum"),
    ("unet.likeness", per_image_correlation, "image"),
    ("unet.field", lambda layers: solution("unet.field")(layers[::-1]), "in reverse order"),
    ("unet.forward", u_without_last_pool, ""),
    ("unet.hide_far", one_pixel_too_wide, "one too large"),
    ("unet.forward", skips_in_the_order_down, "Sizes of tensors must match"),
    ("unet.side_holding", abs_after_color_sum, "signs cancel"),
    (
        "unet.likeness",
        lambda x: torch.stack(
            [
                (torch.corrcoef(i.flatten(0, 1).T).abs().sum() - x.shape[-1]) / (x.shape[-1] * (x.shape[-1] - 1))
                for i in x
            ]
        ).mean(),
        "Each image is processed separately",
    ),
]
RIGHT = [
    ("unet.field", Field()),
    ("unet.forward", u_by_recursion),
    ("unet.likeness", numpy_correlation),
    ("unet.hide_far", hidden_by_mask),
    ("unet.field", field_another_way),
    ("unet.forward", forward_another_way),
    ("unet.side_holding", side_holding_another_way),
    (
        "unet.likeness",
        lambda f: torch.tensor(
            np.abs(np.corrcoef(f.detach().numpy().reshape(-1, f.shape[-1]), rowvar=False))[
                ~np.eye(f.shape[-1], dtype=bool)
            ].mean()
        ),
    ),
    (
        "unet.hide_far",
        lambda image, at, radius: (
            image
            * torch.outer(
                (torch.arange(image.shape[1]) - at[0]).abs() <= radius,
                (torch.arange(image.shape[2]) - at[1]).abs() <= radius,
            )
        ),
    ),
]
