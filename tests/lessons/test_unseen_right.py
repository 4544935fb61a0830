"""Right answers in styles that no solution uses: every one passes."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from skinlesion import lessons
from skinlesion.hooks import intervene, observe
from skinlesion.losses import bce_dice_loss


def confusion_by_codes(prediction, truth):
    codes = 3 - (prediction.int() + 2 * truth.int())  # TP 0, FN 1, FP 2, TN 3
    counted = torch.stack([torch.bincount(each.flatten(), minlength=4) for each in codes])
    return counted[:, [0, 2, 1, 3]]


def dice_of_exponentials(logits, target):
    p = 1 / (1 + torch.exp(-logits))
    each = [1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, target, strict=True)]
    return sum(each) / len(each)


def stable_by_maximum(logits, target):
    return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean()


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


def hidden_by_mask(image, at, radius):
    rows = (torch.arange(image.shape[1]) - at[0]).abs() <= radius
    columns = (torch.arange(image.shape[2]) - at[1]).abs() <= radius
    return image * torch.outer(rows, columns)


def numpy_correlation(features):
    x = features.flatten(0, 2).numpy().astype(np.float64)
    r = np.abs(np.corrcoef(x.T))
    return torch.tensor(r[np.triu_indices(len(r), 1)].mean())


def numpy_convolution(u, kernel):
    return torch.from_numpy(np.convolve(u.detach().numpy(), kernel.detach().numpy())[: len(u)])


def fourier_convolution(u, kernel):
    n = 2 * len(u)
    return torch.fft.irfft(torch.fft.rfft(u, n) * torch.fft.rfft(kernel, n), n)[: len(u)]


def scan_by_einsum(u, delta, A, B, C):
    decay = torch.einsum("bld,dn->bldn", delta, A).exp()
    write = torch.einsum("bld,bld,bln->bldn", delta, u, B)
    states = list(itertools.accumulate(zip(decay.unbind(1), write.unbind(1), strict=True), step, initial=0))
    return torch.einsum("bldn,bln->bld", torch.stack(states[1:], 1), C)


def step(h, pair):
    return pair[0] * h + pair[1]


def where_large(value):
    return torch.where(value > 20, value, torch.log(torch.expm1(value)))


def remembers_in_python(steps, rate, tokens):
    return sum(math.exp(rate * tokens * s) > 0.5 for s in steps.tolist()) / len(steps)


def routes_by_lists(height, width):
    rows = list(range(height * width))
    columns = [i * width + j for j in range(width) for i in range(height)]
    return torch.tensor([rows, columns, rows[::-1], columns[::-1]])


def gathered(x, routes):
    line = x.flatten(1, 2)[:, None].expand(-1, len(routes), -1, -1)
    return line.gather(2, routes.long()[None, :, :, None].expand(len(x), -1, -1, x.shape[-1]))


def scattered(y, routes, height, width):
    out = y.new_zeros(y.shape[0], height * width, y.shape[-1])
    for k in range(y.shape[1]):
        out = out.index_add(1, routes[k].long(), y[:, k])
    return out.reshape(len(y), height, width, -1)


def attention_by_loops(delta, a, B, C):
    M, length = torch.zeros(len(delta), len(delta)), len(delta)
    time = delta.cumsum(0)
    for t in range(length):
        decay = torch.exp((time[t] - time[: t + 1])[:, None] * a)
        M[t, : t + 1] = (C[t] * decay * delta[: t + 1, None] * B[: t + 1]).sum(-1)
    return M


def odd_and_even(combine, a, b):
    """Blelloch's order: pairs first, then the rest."""
    length = a.shape[1]
    if length == 1:
        return b

    def scan(a, b):
        n = a.shape[1]
        if n == 1:
            return a, b
        m = n - n % 2
        pair = combine((a[:, 0:m:2], b[:, 0:m:2]), (a[:, 1:m:2], b[:, 1:m:2]))
        odd = scan(*pair)
        later = combine((odd[0][:, : (n - 1) // 2], odd[1][:, : (n - 1) // 2]), (a[:, 2::2], b[:, 2::2]))
        out = []
        for first, mid, other in ((a, odd[0], later[0]), (b, odd[1], later[1])):
            whole = torch.empty_like(first)
            whole[:, 1::2] = mid
            whole[:, 0::2] = torch.cat([first[:, :1], other], 1)
            out.append(whole)
        return tuple(out)

    return scan(a, b)[1]


def each_image_by_itself(x, generator):
    return torch.stack([i.flatten(0, 1)[torch.randperm(i[..., 0].numel(), generator=generator)].view_as(i) for i in x])


def unfolded(x, weight, bias):
    windows = F.unfold(x.permute(0, 3, 1, 2), 3, padding=1).unflatten(1, (x.shape[-1], 9))
    return (torch.einsum("bcpl,cp->blc", windows, weight.flatten(1)) + bias).reshape(x.shape)


def influence_by_jacobian(function, x):
    i, j = x.shape[1] // 2, x.shape[2] // 2
    return torch.autograd.functional.jacobian(lambda x: function(x)[0, i, j], x).abs().sum((1, 2, 3))


def bernoulli(branch, rate, generator):
    kept = torch.bernoulli(torch.full((branch.shape[0], 1, 1, 1), 1 - rate), generator=generator)
    return branch * kept / (1 - rate)


def einsum_means(x):
    return [torch.einsum("bhwc->bhc", x) / x.shape[2], torch.einsum("bhwc->bwc", x) / x.shape[1]]


def gates_in_parts(x, conv1, bn1, conv_h, conv_w):
    z = torch.cat((x.mean(2), x.mean(1)), 1)
    f = F.linear(z, conv1.weight, conv1.bias)
    f = bn1(f.flatten(0, 1)).view_as(f)
    f = f * F.relu6(f + 3) / 6
    return conv_h(f[:, : x.shape[1]]).sigmoid(), conv_w(f[:, -x.shape[2] :]).sigmoid()


def energy_of_the_first(map_):
    u, s, v = torch.linalg.svd(map_.double(), full_matrices=False)
    return float((s[0] * torch.outer(u[:, 0], v[0])).square().sum() / map_.double().square().sum())


def four_slices(x):
    return torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)


def pooled_channels_first(x, factor):
    return F.avg_pool2d(x.movedim(-1, 1), factor).movedim(1, -1)


def derangement(maps):
    order = list(range(len(maps)))
    return torch.stack([maps[i] for i in (*order[1:], order[0])])


def all_pairs(student, teacher):
    return (student[..., None] - teacher[..., None, :]).square().mean()


def restores_the_mode(network, images, masks):
    was = network.training
    network.eval()
    with torch.inference_mode():
        found, truth = network(images).sigmoid().round().bool(), masks.bool()
    network.train(was)
    return torch.logical_and(found, truth).sum() / torch.logical_or(found, truth).sum()


def saved_in_memory(network, optimizer):
    import io

    file = io.BytesIO()
    torch.save([network.state_dict(), optimizer.state_dict(), torch.random.get_rng_state()], file)
    file.seek(0)
    return dict(zip(("network", "optimizer", "random"), torch.load(file), strict=True))


def another_loop(new_network, batches, rates, decay):
    network = new_network()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: rates[min(k, len(rates) - 1)])
    losses = []
    for images, masks in batches:
        network.zero_grad()
        loss = bce_dice_loss(network(images), masks)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(network.parameters()), max_norm=1)
        optimizer.step()
        schedule.step()
        losses += [float(loss.detach())]
    return tuple(losses)


def one_point_at_a_time(score, image, base, steps):
    total = torch.zeros_like(image)
    for k in range(steps):
        point = torch.lerp(base, image, (k + 0.5) / steps).requires_grad_()
        score(point).backward(torch.ones(1))
        total += point.grad
    return torch.einsum("bchw,bchw->hw", image - base, total) / steps


def curve_by_loop(score, image, base, importance, points):
    order = importance.flatten().sort(descending=True).indices
    curve = []
    for k in range(points):
        now = image.clone().flatten(2)
        chosen = order[: k * len(order) // (points - 1)]
        now[..., chosen] = base.flatten(2)[..., chosen]
        curve.append(score(now.view_as(image)).item())
    return torch.tensor(curve)


def spearman(a, b):
    return stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic


def bootstrap_by_loop(counts, draws):
    scores = []
    for draw in draws:
        tp, fp, fn, _ = sum(counts[i] for i in draw)
        scores.append(tp / (tp + fp + fn))
    return np.array(scores)


def recorded_detached(network, images, pattern):
    with observe(network, pattern) as seen:
        network(images)
    return {name: value.detach().clone() for name, value in seen.items()}


def transferred_by_functions(network, images, donors, pattern):
    with torch.inference_mode(), observe(network, pattern) as seen:
        network(donors)
    with torch.no_grad(), intervene(network, {k: (lambda own, k=k: seen[k].clone()) for k in dict(seen)}):
        return network(images)


def direction_by_loop(change, generator):
    made = [torch.randn(each.shape, generator=generator) for each in change]
    return torch.stack([n * c.norm() / n.norm() for n, c in zip(made, change, strict=True)])


def normalized_by_epsilon(image):
    x = torch.from_numpy(image).float()
    return ((x - x.amin()) / (x.amax() - x.amin() + 1e-8)).numpy()


def mirrored_columns(network, x):
    columns = torch.arange(x.shape[-1] - 1, -1, -1)
    return torch.index_select(network(x[..., columns]), -1, columns)


def split_by_generator(lesion, fraction, generator):
    names = list(dict.fromkeys(lesion))
    test = set(np.array(names)[torch.randperm(len(names), generator=generator).numpy()][: round(fraction * len(names))])
    where = np.array([name in test for name in lesion])
    return np.flatnonzero(~where), np.flatnonzero(where)


RIGHT = [
    ("start.to_mask", functools.partial(torch.ge)),
    ("start.to_mask", lambda p, t: ~(p < t)),
    ("start.area_fraction", lambda m: m.flatten(1).sum(1) / m[0].numel()),
    ("start.area_fraction", lambda m: m.double().mean((-1, -2)).float()),
    ("start.seen_in_mirror", mirrored_columns),
    ("start.cover", lambda image, mask: image.masked_scatter(mask[..., None], image[~mask].mean(0).repeat(mask.sum()))),
    ("lesions.normalize", normalized_by_epsilon),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) / (a | b).sum((1, 2))).nan_to_num(1.0)),
    ("lesions.agreement", lambda a, b: ((a & b).sum((1, 2)) + 1e-9) / ((a | b).sum((1, 2)) + 1e-9)),
    ("lesions.remember", lambda x, xs, ms: ms[torch.cdist(x.flatten()[None], xs.flatten(1)).argmin()]),
    ("lesions.whole_lesions", split_by_generator),
    ("scores.confusion", confusion_by_codes),
    ("scores.iou", lambda c: torch.nan_to_num(c[..., 0].double() / c[..., :3].double().sum(-1), nan=1.0)),
    ("scores.dsc_from_iou", lambda iou: 1 - (1 - iou) / (1 + iou)),
    ("scores.pooled_and_mean", lambda c: [*map(float, lessons.solution("scores.pooled_and_mean")(c))]),
    ("loss.bce", stable_by_maximum),
    ("loss.dice", dice_of_exponentials),
    ("unet.field", Field()),
    ("unet.forward", u_by_recursion),
    ("unet.likeness", numpy_correlation),
    ("unet.hide_far", hidden_by_mask),
    ("ssm.discretize", lambda A, B, d: [(A * d).exp(), B * ((A * d).exp() - 1) / A]),
    (
        "ssm.recurrence",
        lambda a, b, c, u: numpy_free_convolution(u, (c * b * a ** torch.arange(len(u))[:, None]).sum(1)),
    ),
    ("ssm.kernel", lambda a, b, c, n: torch.from_numpy(np.vander(a.numpy(), n, increasing=True).T @ (b * c).numpy())),
    ("ssm.causal_convolution", numpy_convolution),
    ("ssm.causal_convolution", fourier_convolution),
    ("ssm.selective_scan", scan_by_einsum),
    ("ssm.project", lambda x, w, n: torch.tensor_split(F.linear(x, w), (len(w) - 2 * n, len(w) - n), dim=-1)),
    ("ssm.step_size", lambda low, w, b: torch.log1p(torch.exp(torch.einsum("blr,dr->bld", low, w) + b))),
    ("ssm.inverse_softplus", where_large),
    (
        "ssm.initial_steps",
        lambda n, low, high, g: low * (high / low) ** torch.rand(n, generator=g, dtype=torch.float64),
    ),
    ("ssm.remembers", remembers_in_python),
    ("ssm.remembers", lambda s, rate, n: (s * n * -rate < math.log(2)).float().mean()),
    ("ss2d.four_routes", routes_by_lists),
    ("ss2d.cross_scan", gathered),
    ("ss2d.cross_merge", scattered),
    ("ss2d.implicit_attention", attention_by_loops),
    ("fast_scan.growth", lambda x, y: np.polyfit(x.log().numpy(), y.log().numpy(), 1)[0]),
    ("fast_scan.growth", lambda x, y: stats.linregress(x.log10().numpy(), y.log10().numpy()).slope),
    ("fast_scan.combine", lambda one, two: [one[0] * two[0], torch.addcmul(two[1], two[0], one[1])]),
    ("fast_scan.prefix", odd_and_even),
    ("se.shuffle_pixels", each_image_by_itself),
    ("cmn.depthwise", unfolded),
    ("cmn.influence", influence_by_jacobian),
    ("block.drop_path", bernoulli),
    ("cra.directional_means", einsum_means),
    ("cra.gates", gates_in_parts),
    ("cra.apply_gates", functools.partial(torch.einsum, "bhwc,bhc,bwc->bhwc")),
    ("cra.rank_one_share", energy_of_the_first),
    ("network.space_to_depth", four_slices),
    ("network.transplant", derangement),
    ("distill.average_pool", pooled_channels_first),
    ("distill.expected_cfd", all_pairs),
    ("training.bare_loop", another_loop),
    ("training.held_out_iou", restores_the_mode),
    ("training.average", lambda mean, weight, decay: torch.lerp(weight, mean, decay)),
    ("training.snapshot", saved_in_memory),
    ("looking.image_share", lambda g: np.var(g.numpy(), axis=0).mean() / np.var(g.numpy())),
    ("looking.region_score", lambda z, r: (z.squeeze(1) * r).sum((-1, -2)) / r.sum()),
    ("looking.integrated_gradients", one_point_at_a_time),
    ("looking.deletion_curve", curve_by_loop),
    ("looking.rank_similarity", spearman),
    ("critique.dsc_range", lambda iou: [200 * (iou + s) / (100 + iou + s) + s for s in (-0.005, 0.005)]),
    ("critique.bootstrap_pooled", bootstrap_by_loop),
    ("critique.runs_needed", lambda d, s: -int(-2 * ((1.96 + 0.84) * s / d) ** 2 // 1)),
    ("intervention.record", recorded_detached),
    ("intervention.transfer", transferred_by_functions),
    ("intervention.same_size", direction_by_loop),
]


def numpy_free_convolution(u, kernel):
    rows = [F.pad(u, (j, 0))[: len(u)] for j in range(len(u))]
    return kernel @ torch.stack(rows)


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[f"{i}: {r[0]}" for i, r in enumerate(RIGHT)])
def test_an_unusual_right_answer_passes(name, answer):
    result = lessons.check(name, answer)
    assert result, result
