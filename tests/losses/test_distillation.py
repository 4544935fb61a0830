import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from skinlesion.errors import SkinlesionError
from skinlesion.losses import (
    FeatureDistillationLoss,
    cross_feature_distillation,
    internal_feature_distillation,
)


def randn(*shape, seed=0, dtype=torch.float32, grad=False):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x.requires_grad_(grad)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network_maps(c=4, height=8, width=16, batch=2, grad=True, dtype=torch.float32):
    """Maps with the names and the shapes of the network's, for an input of 4*height x 4*width."""
    stages = {"E1": 0, "E2": 1, "E3": 2, "E4": 3, "D4": 3, "D3": 2, "D2": 1}
    blocks = {
        f"{stage}.{i}": randn(batch, height >> d, width >> d, c << d, seed=2 * k + i, grad=grad, dtype=dtype)
        for k, (stage, d) in enumerate(stages.items())
        for i in (1, 2)
    }
    blocks["D1.1"] = randn(batch, height, width, c, seed=100, grad=grad, dtype=dtype)
    return blocks, randn(batch, 4 * height, 4 * width, c // 4, seed=101, grad=grad, dtype=dtype)


# --- cross feature distillation ---


def test_cfd_by_hand():
    """One student pixel, one teacher channel: pooling and the mean squared error are all that is left."""
    student = torch.tensor([[[[5.0]]]])  # (1, 1, 1, 1)
    teacher = torch.tensor([1.0, 2, 3, 6]).reshape(1, 2, 2, 1)  # (B, H, W, C); mean 3
    assert cross_feature_distillation([student], teacher, generator()).item() == 4
    assert cross_feature_distillation([student, student + 1], teacher, generator()).item() == (4 + 9) / 2


@pytest.mark.parametrize("rcs", ["two_sided", "one_sided", "mean"])
def test_gradient_reaches_every_student_and_not_the_teacher(rcs):
    student, teacher = randn(2, 4, 8, 3, grad=True), randn(2, 8, 16, 3, seed=1, grad=True)
    cross_feature_distillation([student], teacher, generator(), rcs=rcs).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    cross_feature_distillation([student], teacher, generator(), rcs=rcs, detach_teacher=False).backward()
    assert teacher.grad.abs().sum() > 0


@pytest.mark.parametrize(("cs", "ct"), [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("norm", ["mean", "sum"])
def test_the_mean_is_the_average_over_every_possible_draw(cs, ct, norm):
    """Exact: all ordered choices of k student and k teacher channels, by brute force in float64."""
    s, t = randn(2, 3, 4, cs, dtype=torch.float64), randn(2, 3, 4, ct, seed=1, dtype=torch.float64)
    k = min(cs, ct)
    distances = [
        (s[..., list(p)] - t[..., list(q)]).square().sum((1, 2, 3)).mean()
        for p in itertools.permutations(range(cs), k)
        for q in itertools.permutations(range(ct), k)
    ]
    expected = torch.stack(distances).mean() / (1 if norm == "sum" else 3 * 4 * k)
    torch.testing.assert_close(cross_feature_distillation([s], t, rcs="mean", norm=norm), expected)


def test_the_average_over_many_draws_tends_to_the_mean_and_so_does_its_gradient():
    """Tolerance: five standard errors of the average of 1500 draws (the seed is fixed: no unlucky run)."""
    s = randn(1, 2, 3, 6, dtype=torch.float64, grad=True)
    t = randn(1, 4, 6, 3, seed=1, dtype=torch.float64)
    g, values, gradients = generator(), [], []
    for _ in range(1500):
        loss = cross_feature_distillation([s], t, g)
        values.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, s)[0])
    closed = cross_feature_distillation([s], t, rcs="mean")
    (closed_gradient,) = torch.autograd.grad(closed, s)
    for drawn, exact in ((torch.stack(values), closed), (torch.stack(gradients), closed_gradient)):
        error = 5 * drawn.std(0) / math.sqrt(len(drawn))
        assert drawn.std(0).min() > 0
        assert ((drawn.mean(0) - exact).abs() <= error).all()


def test_two_sided_draws_cover_both_sides_without_replacement():
    """Distinct powers of two make every pairing's loss readable: a repeated channel would show."""
    student = torch.tensor([0.0, 0, 0, 0]).reshape(1, 1, 1, 4)
    teacher = torch.tensor([1.0, 2, 4]).reshape(1, 1, 1, 3)
    g = generator()
    assert {cross_feature_distillation([student], teacher, g).item() for _ in range(20)} == {7.0}
    wide = torch.tensor([1.0, 2, 4, 8]).reshape(1, 1, 1, 4)
    narrow = torch.zeros(1, 1, 1, 2)
    seen = {round(2 * cross_feature_distillation([narrow], wide, g).item()) for _ in range(200)}
    assert seen == {1 + 4, 1 + 16, 1 + 64, 4 + 16, 4 + 64, 16 + 64}


def test_one_sided_keeps_the_channels_order():
    teacher = randn(1, 2, 3, 4)
    assert cross_feature_distillation([teacher.clone()], teacher, generator(), rcs="one_sided").item() == 0
    losses = {round(cross_feature_distillation([teacher.clone()], teacher, generator(i)).item(), 6) for i in range(20)}
    assert len(losses) > 5


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5)),
)
def test_any_two_sizes_are_pooled_to_the_smaller(student_size, teacher_size):
    s, t = randn(2, *student_size), randn(2, *teacher_size, seed=1)
    height, width = min(s.shape[1], t.shape[1]), min(s.shape[2], t.shape[2])

    def pool(x):
        return F.adaptive_avg_pool2d(x.movedim(-1, 1), (height, width)).movedim(1, -1)

    expected = cross_feature_distillation([pool(s)], pool(t), generator())
    torch.testing.assert_close(cross_feature_distillation([s], t, generator()), expected)
    assert expected.isfinite()


def test_cfd_gradcheck():
    s, t = randn(2, 4, 2, 3, dtype=torch.float64, grad=True), randn(2, 2, 3, 2, seed=1, dtype=torch.float64)
    for rcs in ("two_sided", "one_sided", "mean"):
        assert torch.autograd.gradcheck(lambda x, rcs=rcs: cross_feature_distillation([x], t, generator(3), rcs=rcs), s)


# --- internal feature distillation ---


@pytest.mark.parametrize("halves", ["ranked", "index"])
def test_ifd_is_zero_when_the_halves_are_equal(halves):
    """The second channel is the first one mirrored: all ranks tie exactly, and ties keep the order."""
    a = randn(2, 3, 5, 1).mul(8).round()
    half = torch.cat([a, a.flip(1)], -1)
    assert internal_feature_distillation([torch.cat([half, half], -1)], halves=halves).item() == 0
    assert internal_feature_distillation([torch.cat([half, half + 1], -1)], halves=halves).item() > 0


def test_ranked_halves_by_hand():
    """One pixel row: channels rank by sum / norm, here 3 > 1 > 2 > 0, so 3 meets 2 and 1 meets 0."""
    x = torch.tensor([[-3.0, 1.0, 0.0, 2.0], [-3.0, 0.0, 0.0, 2.0]]).reshape(1, 1, 2, 4)  # (B, H, W, C)
    pair_32, pair_10 = (2**2 + 2**2) / 2, (4**2 + 3**2) / 2
    assert internal_feature_distillation([x]).item() == pytest.approx((pair_32 + pair_10) / 2)
    pair_02, pair_13 = (3**2 + 3**2) / 2, (1**2 + 2**2) / 2
    assert internal_feature_distillation([x], halves="index").item() == pytest.approx((pair_02 + pair_13) / 2)


def test_ranking_ignores_the_scale_of_a_channel_in_each_image():
    x = torch.stack([torch.full((2, 2), v) for v in (1.0, -1.0)], -1)[None]  # (1, 2, 2, 2)
    noisy = randn(1, 2, 2, 2, seed=5)
    maps = torch.cat([x, noisy], -1)
    order = maps.sum((1, 2)) / maps.square().sum((1, 2)).sqrt()
    assert order[0, 0] == order.max()  # a constant positive map has the largest mean of all
    assert order[0, 1] == order.min()
    scaled = maps * torch.tensor([0.01, 1, 50, 3])
    scaled_order = scaled.sum((1, 2)) / scaled.square().sum((1, 2)).sqrt()
    high, low = order.argsort(descending=True)[0, :2], order.argsort(descending=True)[0, 2:]
    assert torch.equal(order.argsort(), scaled_order.argsort())
    expected = F.mse_loss(scaled[..., low], scaled[..., high])
    torch.testing.assert_close(internal_feature_distillation([scaled]), expected)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 10**6))
def test_ranked_halves_do_not_depend_on_the_order_of_channels(permutation, seed):
    x = randn(2, 3, 4, 6, seed=seed, dtype=torch.float64)
    torch.testing.assert_close(internal_feature_distillation([x[..., permutation]]), internal_feature_distillation([x]))


def test_index_halves_do_depend_on_the_order_of_channels():
    x = randn(2, 3, 4, 6)
    swapped = x[..., [3, 1, 2, 4, 0, 5]]
    before, after = (internal_feature_distillation([m], halves="index").item() for m in (x, swapped))
    assert before != pytest.approx(after)


def test_an_odd_number_of_channels_leaves_out_the_middle_one():
    x = torch.tensor([7.0, 100.0, 4.0]).reshape(1, 1, 1, 3)
    assert internal_feature_distillation([x], halves="index").item() == 9
    ranked = torch.tensor([[2.0, -2, 1], [2, -2, -1]]).reshape(1, 1, 2, 3)
    ranked.requires_grad_()
    loss = internal_feature_distillation([ranked])
    loss.backward()
    assert loss.item() == 16
    assert ranked.grad[..., 2].abs().sum() == 0


@pytest.mark.parametrize("halves", ["ranked", "index"])
def test_detach_shallow_lets_only_the_lower_half_move(halves):
    x = randn(2, 3, 4, 6, grad=True)
    value = internal_feature_distillation([x], halves=halves)
    detached = internal_feature_distillation([x], halves=halves, detach_shallow=True)
    torch.testing.assert_close(value, detached)
    moved = [int((torch.autograd.grad(v, x)[0].abs().sum((0, 1, 2)) > 0).sum()) for v in (value, detached)]
    assert moved == [6, 3]


def test_the_half_that_learns_is_the_deep_one():
    x = randn(2, 3, 4, 6, grad=True)
    loss = internal_feature_distillation([x], halves="index", detach_shallow=True)
    assert (torch.autograd.grad(loss, x)[0].abs().sum((0, 1, 2)) > 0).tolist() == 3 * [False] + 3 * [True]
    # Means of the normalized channels 3 > 2 > 1 > 0: channels 3 and 2 are shallow.
    pattern = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    x = torch.stack([pattern - 3, pattern - 2.5, pattern - 1, pattern], -1)[None].requires_grad_()
    loss = internal_feature_distillation([x], detach_shallow=True)
    assert (torch.autograd.grad(loss, x)[0].abs().sum((0, 1, 2)) > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("name", ["w_cfd", "w_ifd"])
@pytest.mark.parametrize("weight", [-1.0, -1e-9, float("nan"), float("inf")])
def test_a_weight_that_is_negative_or_not_finite_is_refused(name, weight):
    with pytest.raises(SkinlesionError, match=rf"{name}.*at least 0"):
        FeatureDistillationLoss(**{name: weight})


def test_ifd_gradcheck():
    x = randn(2, 2, 3, 5, dtype=torch.float64, grad=True)
    for halves in ("ranked", "index"):
        for norm in ("mean", "sum"):
            assert torch.autograd.gradcheck(
                lambda m, h=halves, n=norm: internal_feature_distillation([m], halves=h, norm=n), x
            )


def test_a_dead_channel_gives_finite_gradients():
    x = randn(2, 2, 3, 4)
    x[..., 1] = 0
    internal_feature_distillation([x.requires_grad_()]).backward()
    assert x.grad.isfinite().all()


def test_the_sum_norm_is_the_squared_length_averaged_over_images():
    x = randn(3, 2, 5, 6)
    mean, total = (internal_feature_distillation([x], norm=norm) for norm in ("mean", "sum"))
    torch.testing.assert_close(total, mean * 2 * 5 * 3)
    t = randn(3, 2, 5, 4, seed=1)
    mean, total = (cross_feature_distillation([x], t, generator(1), norm=norm) for norm in ("mean", "sum"))
    torch.testing.assert_close(total, mean * 2 * 5 * 4)


# --- the module ---


def test_module_equals_the_two_functions_on_the_fourteen_maps():
    blocks, expanded = network_maps()
    students = list(blocks.values())[:14]
    parts = FeatureDistillationLoss(w_cfd=0.5, w_ifd=2.0, seed=7)(blocks, expanded)
    torch.testing.assert_close(parts.cfd, cross_feature_distillation(students, blocks["D1.1"], generator(7)))
    torch.testing.assert_close(parts.ifd, internal_feature_distillation(students))
    torch.testing.assert_close(parts.total, 0.5 * parts.cfd + 2 * parts.ifd)


def test_module_gradient_reaches_every_student_and_no_teacher():
    blocks, expanded = network_maps()
    FeatureDistillationLoss()(blocks, expanded).total.backward()
    assert [name for name, x in blocks.items() if x.grad is None] == ["D1.1"]
    assert all(x.grad.abs().sum() > 0 for name, x in blocks.items() if name != "D1.1")
    assert expanded.grad is None


def test_module_with_the_expanded_map_as_teacher():
    blocks, expanded = network_maps()
    parts = FeatureDistillationLoss(teacher="expanded", rcs="mean")(blocks, expanded)
    expected = cross_feature_distillation(list(blocks.values())[:14], expanded, rcs="mean")
    torch.testing.assert_close(parts.cfd, expected)
    with pytest.raises(SkinlesionError, match="expanded"):
        FeatureDistillationLoss(teacher="expanded")(blocks)


def test_selfreg_grouping_is_two_times_cfd_and_both_sides_of_ifd():
    blocks, _ = network_maps()
    eq, selfreg = (FeatureDistillationLoss(grouping=g, seed=1)(blocks) for g in ("eq", "selfreg"))
    torch.testing.assert_close(selfreg.cfd, 2 * eq.cfd)
    students = list(blocks.values())[:14]
    encoder, decoder = map(internal_feature_distillation, (students[:8], students[8:]))
    torch.testing.assert_close(selfreg.ifd, 2 * (encoder + decoder))
    torch.testing.assert_close(eq.ifd, (8 * encoder + 6 * decoder) / 14)


def test_saved_generator_draws_on_where_it_stopped(tmp_path):
    blocks, expanded = network_maps(grad=False)
    loss = FeatureDistillationLoss(seed=3)
    loss(blocks, expanded)
    torch.save(loss.state_dict(), tmp_path / "state.pt")
    unbroken = [loss(blocks, expanded).cfd for _ in range(3)]
    resumed = FeatureDistillationLoss(seed=99)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close([resumed(blocks, expanded).cfd for _ in range(3)], unbroken, rtol=0, atol=0)
    assert not torch.equal(unbroken[0], unbroken[1])
    twin = copy.deepcopy(resumed)
    assert torch.equal(twin(blocks).cfd, resumed(blocks).cfd)


def test_drawing_leaves_the_global_generator_alone():
    blocks, _ = network_maps()
    before = torch.get_rng_state()
    FeatureDistillationLoss()(blocks)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_term_of_weight_zero_is_zero_and_the_other_is_untouched():
    blocks, _ = network_maps()
    both = FeatureDistillationLoss()(blocks)
    only_ifd = FeatureDistillationLoss(w_cfd=0)(blocks)
    only_cfd = FeatureDistillationLoss(w_ifd=0)(blocks)
    assert only_ifd.cfd.item() == 0 == only_cfd.ifd.item()
    assert torch.equal(only_ifd.ifd, both.ifd)
    assert torch.equal(only_cfd.cfd, both.cfd)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_compared_in_float32(dtype):
    blocks, expanded = network_maps(dtype=dtype)
    wide = {name: x.detach().float() for name, x in blocks.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = FeatureDistillationLoss()(blocks, expanded)
    assert parts.total.dtype == torch.float32
    torch.testing.assert_close(parts, FeatureDistillationLoss()(wide))
    parts.total.backward()
    assert all(x.grad.isfinite().all() for name, x in blocks.items() if name != "D1.1")


def test_unusable_input_is_named():
    x = randn(2, 3, 4, 6)
    blocks, _ = network_maps()
    with pytest.raises(SkinlesionError, match=r"rcs='both'.*'two_sided', 'one_sided', 'mean'"):
        FeatureDistillationLoss(rcs="both")
    with pytest.raises(SkinlesionError, match=r"halves='top'.*'ranked', 'index'"):
        internal_feature_distillation([x], halves="top")
    with pytest.raises(SkinlesionError, match=r"torch\.Generator"):
        cross_feature_distillation([x], x)
    with pytest.raises(SkinlesionError, match=r"\(3, 4, 6\).*\(B, H, W, C\)"):
        cross_feature_distillation([x[0]], x, generator())
    with pytest.raises(SkinlesionError, match="different batch sizes"):
        cross_feature_distillation([x[:1]], x, generator())
    with pytest.raises(SkinlesionError, match="at least one student"):
        cross_feature_distillation([], x, generator())
    with pytest.raises(SkinlesionError, match="two channels"):
        internal_feature_distillation([x[..., :1]])
    del blocks["D1.1"]
    with pytest.raises(SkinlesionError, match=r"stage D1.*E1\.1, .*D2\.2"):
        FeatureDistillationLoss()(blocks)
