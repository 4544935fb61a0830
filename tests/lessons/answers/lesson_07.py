"""Lesson 7: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def _in_place(x):
    x -= x.min()
    return x.mean(dim=(1, 2))


def _grad_off(x):
    x.requires_grad_(False)
    return x.mean(dim=(1, 2))


def _own_seed(x, generator):
    order = torch.randperm(x.shape[1] * x.shape[2])
    return x.flatten(1, 2)[:, order].unflatten(1, x.shape[1:3])


def scaled_in_place(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((1, 2)) @ fc1.T) @ fc2.T)
    with torch.no_grad():
        x *= s[:, None, None]
    return x, s


def one_gate_for_all(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((0, 1, 2))[None] @ fc1.T) @ fc2.T).expand(len(x), -1)
    return x * s[:, None, None], s


def rows_then_columns(x, generator):
    rows, columns = (torch.randperm(n, generator=generator) for n in x.shape[1:3])
    return x[:, rows][:, :, columns]


def gate_with_mean_norm(mean, fc1, fc2):
    mean = (mean - mean.mean(-1, keepdim=True)) / (mean.std(-1, keepdim=True) + 1e-5)
    return torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)


def gate_kept_with_axes(x, fc1, fc2):
    s = torch.sigmoid(torch.relu(x.mean((1, 2), keepdim=True) @ fc1.T) @ fc2.T)
    return x * s, s


def squeezed_by_ceiling(dim, ratio):
    return 2 * dim * -(-dim // ratio)


def blocks_of_rows(x, generator):
    line = x.flatten(1, 2)
    shift = int(torch.randint(1, line.shape[1], (), generator=generator))
    return line.roll(shift, 1).view_as(x)


def squeezed_with_eps(x):
    return x.sum((1, 2)) / (x.shape[1] * x.shape[2] + 1)


def gate_without_batch(mean, fc1, fc2):
    return torch.sigmoid(torch.relu(mean[0] @ fc1.T) @ fc2.T).expand(len(mean), -1)


def squeeze_view(x):
    return x.permute(0, 3, 1, 2).flatten(2).mean(-1)


def shuffled_by_argsort(x, generator):
    order = torch.argsort(torch.rand(x.shape[1] * x.shape[2], generator=generator))
    return x.reshape(len(x), -1, x.shape[-1]).index_select(1, order).reshape(x.shape)


def each_image_by_itself(x, generator):
    return torch.stack([i.flatten(0, 1)[torch.randperm(i[..., 0].numel(), generator=generator)].view_as(i) for i in x])


class Gate:
    def __call__(self, mean, fc1, fc2):
        hidden = fc1 @ mean.T
        return torch.special.expit(fc2 @ (hidden * (hidden > 0))).T


WRONG = [
    ("se.squeeze", _in_place, ""),
    ("se.squeeze", _grad_off, ""),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).double(), ""),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).half(), ""),
    ("se.squeeze", lambda x: x.mean(dim=1).amax(dim=1), ""),
    ("se.squeeze", lambda x: x.flatten(1, 2).median(dim=1).values, ""),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).detach(), ""),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).tolist(), ""),
    ("se.squeeze", lambda x: x[:1].mean(dim=(1, 2)).expand(len(x), -1), ""),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).to_sparse(), ""),
    ("se.squeeze", lambda x: x.square().mean(dim=(1, 2)).sqrt(), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(F.gelu(mean @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(F.leaky_relu(mean @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.tanh(torch.relu(mean @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: F.hardsigmoid(torch.relu(mean @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean.mean(0, keepdim=True) @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(torch.relu(mean) @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: 2 * torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T).round(), ""),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean @ fc1.detach().T) @ fc2.T), ""),
    ("se.parameters", lambda dim, ratio: 2 * dim * math.ceil(dim / ratio), ""),
    ("se.parameters", lambda dim, ratio: 2 * dim * max(1, round(dim / ratio)), ""),
    ("se.parameters", lambda dim, ratio: 2 * dim * max(8, dim // ratio), ""),
    ("se.parameters", lambda dim, ratio: str(2 * dim * max(1, dim // ratio)), ""),
    ("se.parameters", lambda dim, ratio: 10**400, ""),
    ("se.shuffle_pixels", _own_seed, ""),
    ("se.shuffle_pixels", lambda x, generator: x.flip(1, 2), ""),
    ("se.shuffle_pixels", lambda x, generator: x.roll((1, 2), (1, 2)), ""),
    ("se.squeeze", lambda x: x.sum((1, 2)) / x.shape[1] ** 2, "square|height|width"),
    ("se.squeeze", lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), "axis|axes|channels"),
    ("se.forward", scaled_in_place, "changes its argument `x`"),
    ("se.forward", one_gate_for_all, "batch|images"),
    ("se.shuffle_pixels", rows_then_columns, "row"),
    ("se.gate", gate_with_mean_norm, "normal|mean"),
    ("se.forward", gate_kept_with_axes, "keepdim"),
    ("se.parameters", squeezed_by_ceiling, "in place of `dim // ratio`"),
    ("se.shuffle_pixels", blocks_of_rows, "shift|order|random|neighbors|roll"),
    ("se.squeeze", squeezed_with_eps, "close|one|1|constant"),
    ("se.gate", gate_without_batch, "first entry"),
    ("se.gate", lambda m, a, b: torch.sigmoid(torch.relu(m @ a.T) @ b.T / m.shape[1] ** 0.5), "argument is multiplied"),
]
RIGHT = [
    ("se.squeeze", lambda x: torch.einsum("bhwc->bc", x) / (x.shape[1] * x.shape[2])),
    ("se.squeeze", lambda x: F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1)),
    ("se.squeeze", lambda x: torch.stack([each.flatten(0, 1).mean(0) for each in x])),
    ("se.gate", lambda mean, fc1, fc2: F.linear(F.linear(mean, fc1).clamp(min=0), fc2).sigmoid()),
    ("se.gate", lambda mean, fc1, fc2: 1 / (1 + torch.exp(-torch.einsum("bk,ck->bc", F.relu(mean @ fc1.T), fc2)))),
    ("se.parameters", lambda dim, ratio: np.int64(dim * (dim // ratio or 1) * 2)),
    ("se.parameters", lambda *sizes: torch.tensor(2 * sizes[0] * max(1, sizes[0] // sizes[1]))),
    ("se.squeeze", squeeze_view),
    ("se.parameters", lambda dim, ratio: (dim + dim) * (dim // ratio if dim >= ratio else 1)),
    ("se.shuffle_pixels", shuffled_by_argsort),
    ("se.shuffle_pixels", each_image_by_itself),
    ("se.squeeze", lambda x: F.avg_pool2d(x.permute(0, 3, 1, 2), x.shape[1:3]).squeeze(-1).squeeze(-1)),
    ("se.gate", Gate()),
    (
        "se.forward",
        lambda x, fc1, fc2: (lambda s: (torch.einsum("bhwc,bc->bhwc", x, s), s))(
            torch.sigmoid(F.linear(F.relu(F.linear(x.mean([1, 2]), fc1)), fc2))
        ),
    ),
    (
        "se.parameters",
        lambda dim, ratio: sum(math.prod(s) for s in [(max(dim // ratio, 1), dim), (dim, max(dim // ratio, 1))]),
    ),
]
