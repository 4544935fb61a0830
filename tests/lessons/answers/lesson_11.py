"""Lesson 11: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch
import torch.nn.functional as F

from skinlesion import lessons


def pixel_unshuffled(x):
    return F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def pixel_shuffled(x, factor):
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def solution(name):
    return lessons.solution(name).answer


def always_by_two(x, factor):
    return solution("network.depth_to_space")(x, 2)


def centered_padding(network, image, multiple):
    high, wide = (-n % multiple for n in image.shape[-2:])
    sides = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
    y = network(F.pad(image, sides, mode="replicate"))
    return y[..., sides[2] : sides[2] + image.shape[-2], sides[0] : sides[0] + image.shape[-1]]


def thirty_two(network, image, multiple):
    return solution("network.at_any_size")(network, image, 32)


def shuffled_maps(maps):
    return maps[torch.randperm(len(maps))]


def merged_clockwise(x):
    parts = (x[:, 0::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2], x[:, 1::2, 0::2])
    return torch.cat(parts, dim=-1)


def skip_halved(x, encoder, merging, skips, expanding, decoder):
    kept = []
    for i, stage in enumerate(encoder):
        if i:
            x = merging[i - 1](x)
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i:
            x = expanding[i - 1]((x + skips[len(kept) - i](kept[-i])) / 2)
        x = stage(x)
    return x


def skip_added_to_itself(x, encoder, merging, skips, expanding, decoder):
    kept = []
    for i, stage in enumerate(encoder):
        if i:
            x = merging[i - 1](x)
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i:
            skip = kept[-i]
            x = expanding[i - 1](x + skip + skips[len(kept) - i](skip))
        x = stage(x)
    return x


def reflected(network, image, multiple):
    high, wide = (-n % multiple for n in image.shape[-2:])
    padded = F.pad(
        image, (0, wide, 0, high), mode="reflect" if max(high, wide) < min(image.shape[-2:]) else "replicate"
    )
    return network(padded)[..., : image.shape[-2], : image.shape[-1]]


def halves_exchanged(maps):
    half = len(maps) // 2
    return torch.cat([maps[half : 2 * half], maps[:half], maps[2 * half :]])


def merged_with_channels_first(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 5, 4, 2).reshape(b, h // 2, w // 2, 4 * c)


def skips_detached(x, encoder, merging, skips, expanding, decoder):
    return solution("network.run_u")(
        x, encoder, merging, [lambda y, s=s: s(y.detach()) for s in skips], expanding, decoder
    )


def cropped_too_much(network, image, multiple):
    y = solution("network.at_any_size")(network, image, multiple)
    return y[..., : image.shape[-2] // multiple * multiple, : image.shape[-1] // multiple * multiple]


def split_recursively(x, factor):
    c = x.shape[-1] // factor**2
    rows = [torch.cat([x[..., k * c : (k + 1) * c] for k in range(0)] or [x[..., :0]], -1)]
    del rows
    out = x.new_zeros(x.shape[0], factor * x.shape[1], factor * x.shape[2], c)
    for i in range(factor):
        for j in range(factor):
            k = i * factor + j
            out[:, i::factor, j::factor] = x[..., k * c : (k + 1) * c]
    return out


def four_slices(x):
    return torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)


def derangement(maps):
    order = list(range(len(maps)))
    return torch.stack([maps[i] for i in (*order[1:], order[0])])


def at_any_size_another_way(network, image, multiple):
    *_, height, width = image.shape
    rows = torch.arange(-(-height // multiple) * multiple).clamp(max=height - 1)
    columns = torch.arange(-(-width // multiple) * multiple).clamp(max=width - 1)
    return network(image[:, :, rows][..., columns]).narrow(2, 0, height).narrow(3, 0, width)


WRONG = [
    ("network.space_to_depth", pixel_unshuffled, "interleaved|together|channel"),
    ("network.depth_to_space", pixel_shuffled, "channel"),
    ("network.depth_to_space", always_by_two, "factor"),
    ("network.at_any_size", centered_padding, "below|right|both sides|corner"),
    ("network.at_any_size", thirty_two, "multiple"),
    ("network.transplant", shuffled_maps, "keeps its own map"),
    ("network.skeleton", lambda d: solution("network.skeleton")(d) - 1, "bias"),
    ("network.space_to_depth", merged_clockwise, "order"),
    ("network.run_u", skip_halved, "/ 2` in place of"),
    ("network.run_u", skip_added_to_itself, "skip"),
    ("network.at_any_size", reflected, "mirror|reflect|edge|repeat"),
    ("network.transplant", halves_exchanged, "keeps its own"),
    ("network.space_to_depth", merged_with_channels_first, "interleaved|channels"),
    ("network.run_u", skips_detached, "gradient|detach"),
    ("network.at_any_size", cropped_too_much, "axis|shape|size"),
    (
        "network.space_to_depth",
        lambda x: F.avg_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1).repeat(1, 1, 1, 4),
        "values along axis 3 are the same",
    ),
    ("network.transplant", lambda m: m.roll(1, 1), "complete and in place"),
]
RIGHT = [
    ("network.depth_to_space", split_recursively),
    ("network.grid_at_the_bottom", [4, 5]),
    ("network.space_to_depth", four_slices),
    ("network.transplant", derangement),
    (
        "network.space_to_depth",
        lambda x: x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3),
    ),
    (
        "network.depth_to_space",
        lambda x, factor: torch.cat(
            [
                torch.stack(x.chunk(factor**2, -1)[i * factor : (i + 1) * factor], 3).flatten(2, 3)
                for i in range(factor)
            ],
            2,
        ).reshape(len(x), factor * x.shape[1], factor * x.shape[2], -1),
    ),
    ("network.at_any_size", at_any_size_another_way),
]
