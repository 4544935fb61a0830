"""Lesson 16: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import torch

from skinlesion import lessons
from skinlesion.hooks import intervene, observe


def with_graph(network, images, pattern):
    with observe(network, pattern) as seen:
        network(images)
    return dict(seen)


def logits_with_graph(network, images, donors, pattern):
    with torch.no_grad(), observe(network, pattern) as seen:
        network(donors)
    with intervene(network, dict(seen)):
        return network(images)


def solution(name):
    return lessons.solution(name).answer


def doses_added(network, images, donors, point, shares):
    given = solution("intervention.record")(network, donors, point)[point]
    with torch.no_grad():
        out = []
        for share in shares:
            with intervene(network, {point: lambda own, share=share: own + share * given}):
                out.append(network(images).mean((1, 2, 3)))
    return torch.stack(out)


def uniform_noise(change, generator):
    noise = torch.rand(change.shape, generator=generator)
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


def recorded_in_training_mode(network, images, pattern):
    network.train()
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return dict(seen)


def donors_reversed(network, images, donors, pattern):
    return solution("intervention.transfer")(network, images, donors.flip(0), pattern)


def noise_of_the_largest_value(change, generator):
    noise = torch.randn(change.shape, generator=generator)
    scale = change.flatten(1).abs().amax(1) / noise.flatten(1).abs().amax(1)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


def dose_in_probability(network, images, donors, point, shares):
    given = solution("intervention.record")(network, donors, point)[point]
    out = []
    for share in shares:
        mixed = {point: lambda own, share=share: own + share * (given - own)}
        with torch.no_grad(), intervene(network, mixed):
            out.append(network(images).sigmoid().mean((1, 2, 3)))
    return torch.stack(out)


def recorded_names_only(network, images, pattern):
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return list(seen)


def transfer_then_average(network, images, donors, pattern):
    given = solution("intervention.record")(network, donors, pattern)
    own = solution("intervention.record")(network, images, pattern)
    with torch.no_grad(), intervene(network, {k: (given[k] + own[k]) / 2 for k in given}):
        return network(images)


def same_size_by_shuffle(change, generator):
    line = change.flatten(1)
    return line[:, torch.randperm(line.shape[1], generator=generator)].view_as(change)


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


def _nested(network, images, donors, first, second, *, second_from_patched=False):
    with torch.no_grad(), observe(network, first, second) as seen:
        network(donors)
    given = dict(seen)
    if second_from_patched:
        with torch.no_grad(), intervene(network, {first: given[first]}), observe(network, second) as seen:
            network(images)
        given[second] = seen[second]
    logits = {}
    for names in ((), (first,), (second,), (first, second)):
        with torch.no_grad(), intervene(network, {name: given[name] for name in names}):
            logits[names] = network(images).flatten(1).mean(1)
    return (logits[first, second] - logits[first,]) - (logits[second,] - logits[()])


def graph_kept(net, im, pat):
    with observe(net, pat) as s:
        net(im)
    return dict(s)


def numpy_arrays(net, im, pat):
    with torch.no_grad(), observe(net, pat) as s:
        net(im)
    return {k: v.numpy() for k, v in s.items()}


def keys_list(net, im, pat):
    with torch.no_grad(), observe(net, pat) as s:
        net(im)
    return list(s.items())


def probabilities(net, im, don, pat):
    return solution("intervention.transfer")(net, im, don, pat).sigmoid()


def same_size_another_way(change, generator):
    out = torch.randn(change.shape, generator=generator)
    for one, other in zip(out, change, strict=False):
        one *= torch.linalg.vector_norm(other) / torch.linalg.vector_norm(one)
    return out


WRONG = [
    ("intervention.record", with_graph, "graph|no_grad"),
    ("intervention.transfer", logits_with_graph, "graph|no_grad"),
    ("intervention.recovered", lambda c, k, p: (c - p) / (c - k), "missing|share"),
    ("intervention.dose", doses_added, "added"),
    ("intervention.same_size", uniform_noise, "normal|direction"),
    ("intervention.record", recorded_in_training_mode, "mode"),
    ("intervention.transfer", donors_reversed, "donor|order|image"),
    ("intervention.recovered", lambda c, k, p: (p - k) / (c - k + 1e-1), "close|constant"),
    ("intervention.same_size", noise_of_the_largest_value, "norm"),
    ("intervention.dose", dose_in_probability, "logit|sigmoid"),
    ("intervention.record", recorded_names_only, "expected a dict"),
    ("intervention.transfer", transfer_then_average, "average"),
    ("intervention.same_size", same_size_by_shuffle, "normal|permut|shuffl|numbers"),
    ("intervention.recovered", lambda c, k, p: (p - k) / (c - k).mean(), "mean|average"),
    ("intervention.interaction", lambda *given: _nested(*given, second_from_patched=True), r"^(?!.*Error)"),
    ("intervention.record", graph_kept, "graph"),
    ("intervention.record", numpy_arrays, "NumPy array"),
    ("intervention.record", keys_list, "expected a dictionary"),
    ("intervention.transfer", probabilities, "a sigmoid is applied"),
    (
        "intervention.same_size",
        lambda ch, g: (
            lambda r: r * (ch.flatten(1).norm(dim=1) / r.flatten(1).norm(dim=1)).view(-1, *[1] * (ch.dim() - 1))
        )(torch.rand(ch.shape, generator=g)),
        "same sign",
    ),
    ("intervention.recovered", lambda c, k, p: (p - k) / c, "`clean` in place of"),
    (
        "intervention.same_size",
        lambda ch, g: (
            lambda r: r * (ch.flatten(1).abs().amax(1) / r.flatten(1).abs().amax(1)).view(-1, *[1] * (ch.dim() - 1))
        )(torch.randn(ch.shape, generator=g)),
        "norms of your change",
    ),
]
RIGHT = [
    ("intervention.recovered", lambda c, k, p: 1 - (c - p) / (c - k)),
    ("intervention.record", recorded_detached),
    ("intervention.transfer", transferred_by_functions),
    ("intervention.same_size", direction_by_loop),
    ("intervention.interaction", _nested),
    ("intervention.recovered", lambda clean, corrupted, patched: 1 - (clean - patched) / (clean - corrupted)),
    ("intervention.same_size", same_size_another_way),
]
