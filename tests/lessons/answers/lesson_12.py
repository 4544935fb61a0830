"""Lesson 12: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch
import torch.nn.functional as F

from skinlesion import lessons


def pooled_without_permute(x, factor):
    return F.avg_pool2d(x, factor)


def teacher_changed(student, teacher, student_channels, teacher_channels):
    teacher.requires_grad_(False)
    return F.mse_loss(student[..., student_channels], teacher[..., teacher_channels])


def one_draw(student, teacher):
    order = torch.randperm(teacher.shape[-1])
    wide = order.repeat(student.shape[-1])[: student.shape[-1]]
    return (student - teacher[..., wide]).square().mean()


def solution(name):
    return lessons.solution(name).answer


def detached_halves(x):
    return solution("distill.ifd")(x.detach())


def both_move(student, teacher, student_channels, teacher_channels):
    return (student[..., student_channels] - teacher[..., teacher_channels]).square().mean()


def cfd_per_image(student, teacher, student_channels, teacher_channels):
    gap = student[..., student_channels] - teacher.detach()[..., teacher_channels]
    return gap.square().flatten(1).sum(1).mean()


def ranked_by_norm(x):
    return x.square().sum((1, 2)).sqrt().mean(0).argsort(descending=True)


def ifd_with_middle_lost(x):
    order, half = solution("distill.rank_channels")(x), x.shape[-1] // 2
    return F.mse_loss(x[..., order[: half - 1]], x[..., order[half:-1]])


def cfd_normalized(student, teacher, student_channels, teacher_channels):
    one, two = student[..., student_channels], teacher.detach()[..., teacher_channels]
    return F.mse_loss(F.normalize(one, dim=-1), F.normalize(two, dim=-1))


def rank_by_first_image(x):
    return solution("distill.rank_channels")(x[:1])


def ranked_by_normalize(x):
    return F.normalize(x.flatten(1, 2), dim=1).mean((0, 1)).sort(descending=True).indices


def pooled_channels_first(x, factor):
    return F.avg_pool2d(x.movedim(-1, 1), factor).movedim(1, -1)


def all_pairs(student, teacher):
    return (student[..., None] - teacher[..., None, :]).square().mean()


WRONG = [
    ("distill.average_pool", pooled_without_permute, "axes|axis|channels"),
    ("distill.cfd", teacher_changed, "requires_grad"),
    ("distill.expected_cfd", one_draw, "draw|random|closed form"),
    ("distill.rank_channels", lambda x: solution("distill.rank_channels")(x).float(), "int"),
    ("distill.ifd", detached_halves, "gradient"),
    ("distill.redundancy", lambda x: torch.corrcoef(x.flatten(0, 2).T).abs().mean(), "diagonal"),
    ("distill.cfd", both_move, "teacher|gradient"),
    ("distill.cfd", cfd_per_image, "sum"),
    ("distill.rank_channels", ranked_by_norm, "norm|mean"),
    ("distill.ifd", ifd_with_middle_lost, ""),
    ("distill.average_pool", lambda x, f: solution("distill.average_pool")(x, f).mean(-1), "One axis is missing"),
    ("distill.cfd", cfd_normalized, "normalize"),
    ("distill.rank_channels", rank_by_first_image, "first entry"),
    ("distill.cfd", lambda s, t, i, j: (s[..., i] - t[..., i].detach()).square().mean(), "out of bounds"),
    ("distill.cfd", torch.no_grad()(lambda s, t, i, j: (s[..., i] - t[..., j]).square().mean()), "no gradient"),
    (
        "distill.expected_cfd",
        lambda s, t: ((s - t.mean(-1, keepdim=True)).square() + t.var(-1, keepdim=True)).mean(),
        "correction=0",
    ),
]
RIGHT = [
    ("distill.rank_channels", ranked_by_normalize),
    ("distill.average_pool", pooled_channels_first),
    ("distill.expected_cfd", all_pairs),
    (
        "distill.average_pool",
        lambda x, factor: sum(x[:, i::factor, j::factor] for i in range(factor) for j in range(factor)) / factor**2,
    ),
    (
        "distill.cfd",
        lambda student, teacher, student_channels, teacher_channels: F.mse_loss(
            student.index_select(-1, torch.as_tensor(student_channels)),
            teacher.detach().index_select(-1, torch.as_tensor(teacher_channels)),
        ),
    ),
    (
        "distill.rank_channels",
        lambda x: (
            torch.sort(
                torch.stack([F.normalize(i.flatten(0, 1), dim=0).mean(0) for i in x]).mean(0), descending=True
            ).indices
        ),
    ),
]
