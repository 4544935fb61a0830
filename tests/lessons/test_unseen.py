"""Answers that the bank doesn't hold: plausible wrong ones are rejected, unusual right ones pass."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skinlesion import lessons
from skinlesion.lessons.catalog import find
from skinlesion.lessons.compare import describe, difference


def _in_place(x):
    x -= x.min()
    return x.mean(dim=(1, 2))


def _grad_off(x):
    x.requires_grad_(False)
    return x.mean(dim=(1, 2))


def _ignores_size(part, u, delta, A, B, C, size):
    return find("fast_scan.chunked").solution(part, u, delta, A, B, C, 2)


def _own_seed(x, generator):
    order = torch.randperm(x.shape[1] * x.shape[2])
    return x.flatten(1, 2)[:, order].unflatten(1, x.shape[1:3])


def _exploding(delta, a, B, C):
    time = delta.cumsum(0)
    decay = torch.exp((time[:, None] - time[None, :])[..., None] * a)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B) * torch.ones(len(delta), len(delta)).tril()


def _square_only(gradient, fraction):
    side = min(gradient.shape[1:])
    return find("unet.side_holding").solution(gradient[:, :side, :side], fraction)


WRONG = [
    ("se.squeeze", _in_place),
    ("se.squeeze", _grad_off),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).double()),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).half()),
    ("se.squeeze", lambda x: x.mean(dim=1).amax(dim=1)),
    ("se.squeeze", lambda x: x.flatten(1, 2).median(dim=1).values),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).detach()),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).tolist()),
    ("se.squeeze", lambda x: x[:1].mean(dim=(1, 2)).expand(len(x), -1)),
    ("se.squeeze", lambda x: x.mean(dim=(1, 2)).to_sparse()),
    ("se.squeeze", lambda x: x.square().mean(dim=(1, 2)).sqrt()),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(F.gelu(mean @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(F.leaky_relu(mean @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: torch.tanh(torch.relu(mean @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: F.hardsigmoid(torch.relu(mean @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean.mean(0, keepdim=True) @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(torch.relu(mean) @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: 2 * torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T).round()),
    ("se.gate", lambda mean, fc1, fc2: torch.sigmoid(torch.relu(mean @ fc1.detach().T) @ fc2.T)),
    ("se.parameters", lambda dim, ratio: 2 * dim * math.ceil(dim / ratio)),
    ("se.parameters", lambda dim, ratio: 2 * dim * max(1, round(dim / ratio))),
    ("se.parameters", lambda dim, ratio: 2 * dim * max(8, dim // ratio)),
    ("se.parameters", lambda dim, ratio: str(2 * dim * max(1, dim // ratio))),
    ("se.parameters", lambda dim, ratio: 10**400),
    ("se.shuffle_pixels", _own_seed),
    ("se.shuffle_pixels", lambda x, generator: x.flip(1, 2)),
    ("se.shuffle_pixels", lambda x, generator: x.roll((1, 2), (1, 2))),
    ("fast_scan.chunked", _ignores_size),
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1) >= rate) / (1 - rate)),
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1, generator=g) >= rate)),
    ("block.drop_path", lambda x, rate, g: x * (torch.rand(len(x), 1, 1, 1, generator=g) < rate) / (1 - rate)),
    ("block.drop_path", lambda x, rate, g: F.dropout(x, rate)),
    ("ss2d.implicit_attention", _exploding),
    ("unet.side_holding", _square_only),
    ("training.cosine", lambda e, period, high, low: low + (high - low) * (1 + math.cos(math.pi * e / 50)) / 2),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 + math.cos(math.pi * (e // 1) / t)) / 2),
    ("training.cosine", lambda e, t, high, low: low + high * (1 + math.cos(math.pi * e / t)) / 2),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 + math.cos(math.pi * e / (t - 1))) / 2),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * (1 - e / t)),
    ("training.cosine", lambda e, t, high, low: max(low, high * math.cos(math.pi * e / 2 / t))),
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n).flip(0)[:, None]).sum(-1)),
    ("ssm.kernel", lambda a, b, c, n: (c * a ** torch.arange(n)[:, None]).sum(-1)),
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n)[:, None]).mean(-1)),
    ("ssm.kernel", lambda a, b, c, n: (c * b * a ** torch.arange(n).clamp(max=5)[:, None]).sum(-1)),
]
RIGHT = [
    ("se.squeeze", lambda x: torch.einsum("bhwc->bc", x) / (x.shape[1] * x.shape[2])),
    ("se.squeeze", lambda x: F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1)),
    ("se.squeeze", lambda x: torch.stack([each.flatten(0, 1).mean(0) for each in x])),
    ("se.gate", lambda mean, fc1, fc2: F.linear(F.linear(mean, fc1).clamp(min=0), fc2).sigmoid()),
    ("se.gate", lambda mean, fc1, fc2: 1 / (1 + torch.exp(-torch.einsum("bk,ck->bc", F.relu(mean @ fc1.T), fc2)))),
    ("se.parameters", lambda dim, ratio: np.int64(dim * (dim // ratio or 1) * 2)),
    ("se.parameters", lambda *sizes: torch.tensor(2 * sizes[0] * max(1, sizes[0] // sizes[1]))),
    ("lesions.turn", lambda image, mask, generator: list(find("lesions.turn").solution(image, mask, generator))),
    ("ssm.kernel", lambda a, b, c, n: torch.vander(a, n, increasing=True).T @ (b * c)),
    ("ssm.kernel", lambda a, b, c, n: torch.stack([(c * b * a**j).sum() for j in range(n)])),
    ("training.cosine", lambda e, t, high, low: low + (high - low) * math.cos(math.pi * e / t / 2) ** 2),
    ("training.cosine", lambda e, t, h, low: np.float64((h + low) / 2 + (h - low) / 2 * np.cos(np.pi * e / t))),
]


@pytest.mark.parametrize(("name", "answer"), WRONG, ids=[f"{i}: {name}" for i, (name, _) in enumerate(WRONG)])
def test_a_wrong_answer_that_is_not_in_the_bank_is_rejected(name, answer):
    assert not lessons.check(name, answer)


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[f"{i}: {name}" for i, (name, _) in enumerate(RIGHT)])
def test_an_unusual_right_answer_passes(name, answer):
    result = lessons.check(name, answer)
    assert result, result


def test_what_a_function_does_to_an_argument_is_named():
    assert "requires_grad" in str(lessons.check("se.squeeze", _grad_off))


def test_float32_for_float64_is_named():
    found = difference(torch.ones(2), torch.ones(2).double(), 0, 0)
    assert found is not None
    assert "float32" in found.likely


def test_a_lambda_is_used_like_a_function():
    answer = RIGHT[0][1]
    assert lessons.use("se.squeeze", answer) is answer


def test_an_object_that_cannot_be_shown_is_described():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert "Odd" in describe(Odd())
    assert not lessons.check("se.squeeze", lambda x: Odd())
