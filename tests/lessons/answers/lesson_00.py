"""Lesson 0: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import functools

import numpy as np
import torch


def marked_in_place(probability, threshold):
    probability[probability >= threshold] = 1
    probability[probability < threshold] = 0
    return probability.bool()


def painted_in_place(image, mask):
    image[mask] = image[~mask].mean(dim=0)
    return image


def zeros_in_the_mean(image, mask):
    return torch.where(mask[..., None], (image * ~mask[..., None]).mean(dim=(0, 1)), image)


def covered_by_median(image, mask):
    return torch.where(mask[..., None], image[~mask].median(dim=0).values, image)


def covered_by_row(image, mask):
    outside = (~mask)[..., None].float()
    color = (image * outside).sum(1, keepdim=True) / outside.sum(1, keepdim=True).clamp(min=1)
    return torch.where(mask[..., None], color, image)


def painted_by_loop_over_channels(image, mask):
    out = image.clone()
    for channel in range(2):
        out[..., channel][mask] = image[..., channel][~mask].mean()
    return out


class Mask:
    """A callable with a state that doesn't matter."""

    def __init__(self):
        self.calls = 0

    def __call__(self, probability, threshold):
        self.calls += 1
        return torch.logical_not(probability < threshold)


def mirrored_columns(network, x):
    columns = torch.arange(x.shape[-1] - 1, -1, -1)
    return torch.index_select(network(x[..., columns]), -1, columns)


def swapped_inside_out(im, m):
    out = im.clone()
    out[~m] = im[m].mean(0)
    return out


def cover_another_way(image, mask):
    out = image.clone()
    for c in range(3):
        out[:, :, c].masked_fill_(mask, image[..., c][~mask].mean().item())
    return out


WRONG = [
    ("start.to_mask", marked_in_place, "changes its argument `p"),
    ("start.to_mask", lambda p, t: torch.where(p >= t, 1, 0), "comparison|bool"),
    ("start.area_fraction", lambda m: m.sum((1, 2)) / m.numel(), "1/2|batch|images"),
    ("start.area_fraction", lambda m: [each.float().mean() for each in m], "torch.stack"),
    ("start.area_fraction", lambda m: m.mean(dim=(1, 2)), "dtype"),
    ("start.seen_in_mirror", lambda network, x: (network(x) + network(x.flip(-1)).flip(-1)) / 2, "mean|average"),
    ("start.seen_in_mirror", lambda network, x: network(x.flip(-2, -1)).flip(-2, -1), "rows|top|half a turn|180"),
    ("start.seen_in_mirror", lambda network, x: torch.fliplr(network(torch.fliplr(x))), "color|channel"),
    ("start.cover", painted_in_place, "changes its argument `image`"),
    ("start.cover", zeros_in_the_mean, "zero|number of pixels|all pixels|every pixel"),
    ("start.to_mask", lambda p, t: p >= p.mean(), "threshold"),
    ("start.area_fraction", lambda m: m.float().mean((1, 2)) * 100, "100"),
    ("start.cover", covered_by_median, "median|mean"),
    ("start.cover", covered_by_row, "Along axis 0"),
    ("start.to_mask", lambda p, t: (p - t).sign().bool(), "."),
    ("start.area_fraction", lambda m: 1 - m.float().mean((1, 2)), "skin|one minus"),
    ("start.seen_in_mirror", lambda network, x: network(x.flip(-1)).flip(-1).sigmoid(), "sigmoid"),
    ("start.cover", painted_by_loop_over_channels, "Along axis 0"),
    ("start.to_mask", lambda p, t: np.where(p.numpy() >= t, 1, 0), "NumPy array"),
    ("start.area_fraction", lambda m: m.sum((1, 2)) / m.shape[-1] ** 2, "size of axis 2 of `mask`"),
    ("start.area_fraction", lambda m: m.sum((1, 2)) / (~m).sum((1, 2)), "by the rest"),
    (
        "start.area_fraction",
        lambda m: m[0].float().mean().reshape(1).repeat(len(m)),
        "only the first entry along axis 0 of `mask`",
    ),
    ("start.seen_in_mirror", lambda n, x: n(x[..., ::-1])[..., ::-1], "step must be greater than zero"),
    ("start.cover", swapped_inside_out, "`mask` is inverted"),
]
RIGHT = [
    ("start.to_mask", Mask()),
    ("start.area_fraction", lambda m: torch.tensor([np.mean(each.numpy()) for each in m], dtype=torch.float32)),
    ("start.to_mask", functools.partial(torch.ge)),
    ("start.to_mask", lambda p, t: ~(p < t)),
    ("start.area_fraction", lambda m: m.flatten(1).sum(1) / m[0].numel()),
    ("start.area_fraction", lambda m: m.double().mean((-1, -2)).float()),
    ("start.seen_in_mirror", mirrored_columns),
    ("start.cover", lambda image, mask: image.masked_scatter(mask[..., None], image[~mask].mean(0).repeat(mask.sum()))),
    ("start.to_mask", lambda probability, threshold: ~probability.lt(threshold)),
    ("start.to_mask", functools.partial(torch.ge)),
    ("start.area_fraction", lambda mask: torch.tensor([sum(map(sum, m.tolist())) / m.numel() for m in mask])),
    ("start.area_fraction", lambda mask: torch.einsum("bhw->b", mask.double()) / mask[0].numel()),
    (
        "start.seen_in_mirror",
        lambda network, x: torch.fliplr(network(x.flip(3)).permute(2, 3, 0, 1)).permute(2, 3, 0, 1),
    ),
    ("start.cover", cover_another_way),
]
