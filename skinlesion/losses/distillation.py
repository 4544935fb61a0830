r"""Distillation between the network's own feature maps: CFD (eq. 8), IFD (eq. 9) and their sum (eq. 10).

.. math::
    \mathcal L_{CFD} = \frac{1}{M-1} \sum_m \|\mathrm{RCS}(F_m) - \mathrm{AvgPool}(F_{final})\|^2, \quad
    \mathcal L_{IFD} = \frac{1}{M} \sum_m \|\widetilde F_m - \overline F_m\|^2

The losses are those of SelfReg-UNet (https://arxiv.org/abs/2406.14896).

The functions don't depend on the network: they take plain feature maps, channels last, ``(B, H, W, C)``. Each
map may have its own size and its own number of channels. Half-precision maps are widened to float32 before
they are compared.

Where the paper is silent or ambiguous (A16-A26), the choice and its alternatives are written at the argument.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError

Rcs = Literal["two_sided", "one_sided", "mean"]
Norm = Literal["mean", "sum"]
Halves = Literal["ranked", "index"]
Teacher = Literal["block", "expanded"]
Grouping = Literal["eq", "selfreg"]


class DistillationParts(NamedTuple):
    """Both terms before weighting, and ``total = w_cfd * cfd + w_ifd * ifd``; scalars."""

    cfd: Tensor
    ifd: Tensor
    total: Tensor


def cross_feature_distillation(
    students: Sequence[Tensor],
    teacher: Tensor,
    generator: torch.Generator | None = None,
    *,
    rcs: Rcs = "two_sided",
    norm: Norm = "mean",
    detach_teacher: bool = True,
) -> Tensor:
    """Pull every student map toward the teacher map (eq. 8), averaged over the students: 1/(M-1) (A21).

    Student and teacher are average-pooled to the smaller height and the smaller width of the two (A19; for
    the paper's network only the teacher shrinks). Channels are then matched by random channel selection (RCS,
    A18):

    - ``"two_sided"``: k = min(Cs, Ct) channels without replacement from each, drawn independently, in random
      order, once for the whole batch.
    - ``"one_sided"``: eq. 8 to the letter, RCS of the student only. The k channels drawn keep their order and
      are compared with the teacher's first k. (In random order, this would be the two-sided draw whenever
      Cs >= Ct.)
    - ``"mean"``: no draw, but the expectation of the two-sided loss, in closed form. Averaged over random
      pairs, ``E (s_i - t_j)^2 = (s_i - mean_j t_j)^2 + Var_j t_j``: CFD pulls every student channel to the
      teacher's channel-mean map. The variance is included, so the value is that of an average draw.

    Args:
        students: M-1 maps, each ``(B, h, w, Cs)``.
        teacher: One map, ``(B, H, W, Ct)``.
        generator: CPU generator of the draws; needed unless ``rcs="mean"``. Draws are the same on every
            device.
        rcs: How channels are matched, see above.
        norm: Squared distance averaged over batch, pixels and channels, or summed over pixels and channels
            and averaged over the batch alone (A20: the weight 0.015 only makes sense for the mean).
        detach_teacher: Whether the teacher is a fixed target (A22) or is pulled toward the students as well.

    Returns:
        A scalar >= 0.

    Raises:
        SkinlesionError: No student, a map that is not ``(B, H, W, C)``, different batch sizes, an unknown
            option, or no generator where one is needed.
    """
    _check_option("rcs", rcs, Rcs)
    _check_option("norm", norm, Norm)
    _check_maps([*students, teacher])
    if not students:
        raise SkinlesionError("Cross-feature distillation needs at least one student map; none was given.")
    if generator is None and rcs != "mean":
        raise SkinlesionError(f'rcs="{rcs}" draws channels: pass a torch.Generator, or use rcs="mean".')
    teacher = _widened(teacher.detach() if detach_teacher else teacher)
    pooled: dict[tuple[int, int], Tensor] = {}  # the teacher at each size, made once
    losses = []
    for student in students:
        size = (min(student.shape[1], teacher.shape[1]), min(student.shape[2], teacher.shape[2]))
        if size not in pooled:
            pooled[size] = _average_pool(teacher, size)
        losses.append(_matched_distance(_average_pool(_widened(student), size), pooled[size], generator, rcs, norm))
    return torch.stack(losses).mean()


def internal_feature_distillation(
    maps: Sequence[Tensor], *, halves: Halves = "ranked", norm: Norm = "mean", detach_shallow: bool = False
) -> Tensor:
    """Pull the two halves of every map's channels together (eq. 9), averaged over the maps: 1/M (A21).

    The halves (A23): ``"ranked"`` orders the channels by the mean, over batch and pixels, of the map divided
    by its L2 norm over pixels, from high to low, and compares the upper half with the lower half, rank by
    rank; ``"index"`` splits the channels as they are stored. The upper half is the "shallow" one. Of an odd
    number of channels the middle one is left out.

    Args:
        maps: M maps, each ``(B, H, W, C)`` with C >= 2.
        halves: How channels are split, see above.
        norm: As in :func:`cross_feature_distillation` (A20).
        detach_shallow: Whether only the lower ("deep") half receives gradient (A24); by default, both do.

    Returns:
        A scalar >= 0.

    Raises:
        SkinlesionError: No map, a map that is not ``(B, H, W, C)`` or has one channel, or an unknown option.
    """
    _check_option("halves", halves, Halves)
    _check_option("norm", norm, Norm)
    _check_maps(maps)
    if not maps or min(x.shape[-1] for x in maps) < 2:
        raise SkinlesionError("Internal feature distillation needs at least one map, each with two channels or more.")
    losses = []
    for x in map(_widened, maps):
        half = x.shape[-1] // 2
        if halves == "ranked":
            order = _rank_channels(x)
            shallow, deep = x.index_select(-1, order[:half]), x.index_select(-1, order[-half:])
        else:
            shallow, deep = x[..., :half], x[..., -half:]
        losses.append(_distance(deep, shallow.detach() if detach_shallow else shallow, norm))
    return torch.stack(losses).mean()


class FeatureDistillationLoss(nn.Module):
    """``w_cfd * CFD + w_ifd * IFD`` (eq. 10) over the blocks of a forward pass:
    ``loss(*model.forward_features(x)[1])``.

    The students of CFD, and the maps of IFD, are all blocks but those of stage D1: 14 for the paper's network
    (A17, A25). The module owns the random generator of RCS; its state is part of ``state_dict()``, so a
    resumed run draws the same channels as an uninterrupted one. Every process of a distributed run draws the
    same channels, as one process with the whole batch would. A term whose weight is zero is not computed and
    is 0.

    Args:
        w_cfd: Weight of CFD (A26).
        w_ifd: Weight of IFD (A26).
        teacher: The last D1 block, or the map after the final x4 expansion (A16).
        rcs: See :func:`cross_feature_distillation` (A18).
        norm: See :func:`cross_feature_distillation` (A20).
        detach_teacher: See :func:`cross_feature_distillation` (A22).
        halves: See :func:`internal_feature_distillation` (A23).
        detach_shallow: See :func:`internal_feature_distillation` (A24).
        grouping: ``"eq"`` averages as eqs. 8 and 9 do. ``"selfreg"`` is the sum that SelfReg-UNet's code
            computes with two blocks per stage: twice the CFD, and twice the sum of the encoder's and the decoder's
            mean IFD (A21).
        seed: Seed of the draws.

    Raises:
        SkinlesionError: An unknown option, or a weight that is negative or not finite; in ``forward``, blocks that
            lack a D1 or any other stage.
    """

    def __init__(
        self,
        *,
        w_cfd: float = 0.015,
        w_ifd: float = 0.015,
        teacher: Teacher = "block",
        rcs: Rcs = "two_sided",
        norm: Norm = "mean",
        detach_teacher: bool = True,
        halves: Halves = "ranked",
        detach_shallow: bool = False,
        grouping: Grouping = "eq",
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_option("teacher", teacher, Teacher)
        _check_option("rcs", rcs, Rcs)
        _check_option("norm", norm, Norm)
        _check_option("halves", halves, Halves)
        _check_option("grouping", grouping, Grouping)
        for name, weight in (("w_cfd", w_cfd), ("w_ifd", w_ifd)):
            if not 0 <= weight < math.inf:
                raise SkinlesionError(f"{name} must be a finite number of at least 0; got {weight}.")
        self.w_cfd, self.w_ifd = w_cfd, w_ifd
        self.teacher: Teacher = teacher
        self.rcs: Rcs = rcs
        self.norm: Norm = norm
        self.detach_teacher = detach_teacher
        self.halves: Halves = halves
        self.detach_shallow = detach_shallow
        self.grouping: Grouping = grouping
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, blocks: Mapping[str, Tensor], expanded: Tensor | None = None) -> DistillationParts:
        """Compare the maps of one forward pass.

        Args:
            blocks: The output of every block, ``(B, H, W, C)``, named ``"E1.1"`` ... ``"E4.2"``, ``"D4.1"``
                ... ``"D1.1"``, in the order in which the network runs them.
            expanded: The map after the final expansion, ``(B, 4H, 4W, C/4)``; needed for
                ``teacher="expanded"``.
        """
        students = {name: x for name, x in blocks.items() if not name.startswith("D1.")}
        last = [x for name, x in blocks.items() if name.startswith("D1.")]
        if not students or not last:
            raise SkinlesionError(
                f"Feature distillation needs a block of stage D1, such as D1.1, and blocks of other stages; "
                f"the blocks given are {', '.join(blocks) or '(none)'}."
            )
        if self.teacher == "expanded" and expanded is None:
            raise SkinlesionError('teacher="expanded" needs the expanded map as the second argument of the loss.')
        teacher = expanded if self.teacher == "expanded" and expanded is not None else last[-1]
        zero = teacher.new_zeros((), dtype=torch.promote_types(teacher.dtype, torch.float32))
        cfd = self._cross(list(students.values()), teacher) if self.w_cfd else zero
        ifd = self._internal(students) if self.w_ifd else zero
        return DistillationParts(cfd, ifd, self.w_cfd * cfd + self.w_ifd * ifd)

    def _cross(self, students: Sequence[Tensor], teacher: Tensor) -> Tensor:
        loss = cross_feature_distillation(
            students,
            teacher,
            self.generator,
            rcs=self.rcs,
            norm=self.norm,
            detach_teacher=self.detach_teacher,
        )
        return 2 * loss if self.grouping == "selfreg" else loss

    def _internal(self, maps: Mapping[str, Tensor]) -> Tensor:
        def loss(chosen: Sequence[Tensor]) -> Tensor:
            return internal_feature_distillation(
                chosen, halves=self.halves, norm=self.norm, detach_shallow=self.detach_shallow
            )

        if self.grouping == "eq":
            return loss(list(maps.values()))
        sides = [[x for name, x in maps.items() if name.startswith(side)] for side in "ED"]
        return 2 * torch.stack([loss(side) for side in sides if side]).sum()

    def get_extra_state(self) -> Tensor:
        """The generator's state: a byte tensor, so that any checkpoint format can hold it."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the generator's state."""
        self.generator.set_state(state.cpu())


def _matched_distance(
    student: Tensor, teacher: Tensor, generator: torch.Generator | None, rcs: Rcs, norm: Norm
) -> Tensor:
    """Distance of two maps of one size, (B, h, w, Cs) and (B, h, w, Ct), after their channels are matched."""
    cs, ct = student.shape[-1], teacher.shape[-1]
    k = min(cs, ct)
    if rcs == "mean":
        distance = (student - teacher.mean(-1, keepdim=True)).square().mean()
        distance = distance + teacher.var(-1, correction=0).mean()
        return distance if norm == "mean" else distance * (student[0, ..., 0].numel() * k)
    chosen = torch.randperm(cs, generator=generator)[:k]
    if rcs == "one_sided":
        chosen, met = chosen.sort().values, torch.arange(k)
    else:
        met = torch.randperm(ct, generator=generator)[:k]
    student = student.index_select(-1, chosen.to(student.device))  # (B, h, w, k)
    teacher = teacher.index_select(-1, met.to(teacher.device))  # (B, h, w, k)
    return _distance(student, teacher, norm)


def _distance(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    if norm == "mean":
        return F.mse_loss(a, b)
    return F.mse_loss(a, b, reduction="sum") / a.shape[0]


@torch.no_grad()
def _rank_channels(x: Tensor) -> Tensor:
    """Channel numbers of ``x`` (B, H, W, C), highest mean of the spatially L2-normalized map first."""
    norm = x.square().sum((1, 2)).sqrt().clamp_min(1e-12)  # (B, C); a dead channel ranks as zero
    return (x.sum((1, 2)) / norm).mean(0).argsort(descending=True, stable=True)


def _average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H, W, C) -> (B, h, w, C)."""
    if x.shape[1:3] == size:
        return x
    # The permuted view is PyTorch's channels-last memory format: pooling copies nothing.
    return F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)


def _widened(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_option(name: str, value: str, literal: object) -> None:
    valid = get_args(literal)
    if value not in valid:
        raise SkinlesionError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, valid))}.")


def _check_maps(maps: Sequence[Tensor]) -> None:
    for x in maps:
        if x.ndim != 4:
            raise SkinlesionError(f"A feature map has shape {tuple(x.shape)}; give every map as (B, H, W, C).")
    if len({x.shape[0] for x in maps}) > 1:
        raise SkinlesionError("The feature maps have different batch sizes; take them from one forward pass.")
