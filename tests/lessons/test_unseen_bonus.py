"""The later bonus exercises: wrong answers that no bank holds are rejected, and unusual right ones pass."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skinlesion import intervene, lessons, observe
from skinlesion.reproduce.claims import holm


def _components(pairs, count):
    rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()  # numbered by first appearance


def _twice(pairs, count):
    group = list(range(count))
    for a, b in [*pairs, *pairs]:
        group[a] = group[b] = max(group[a], group[b])
    names = list(dict.fromkeys(group))
    return [names.index(each) for each in group]


def _outline_score(neighbors=1, metric="chessboard", outer=False):
    shape = ndimage.generate_binary_structure(2, neighbors)

    def score(prediction, truth, tolerance):
        masks = [np.pad(mask.numpy(), 4) for mask in (prediction, truth)]
        if outer:
            edges = [ndimage.binary_dilation(mask, shape) & ~mask for mask in masks]
        else:
            edges = [mask & ~ndimage.binary_erosion(mask, shape) for mask in masks]
        if not all(edge.any() for edge in edges):
            return float(edges[0].any() == edges[1].any())
        if metric == "chessboard":
            far = [ndimage.distance_transform_cdt(~edge, metric) for edge in edges]
        else:
            far = [ndimage.distance_transform_edt(~edge) for edge in edges]
        shares = [(far[1][edges[0]] <= tolerance).mean(), (far[0][edges[1]] <= tolerance).mean()]
        return np.float64(0 if sum(shares) == 0 else 2 * shares[0] * shares[1] / sum(shares))

    return score


def _hochberg(p):
    order = np.argsort(p)
    scaled = (len(p) - np.arange(len(p))) * p[order]
    out = np.empty_like(scaled)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out


def _sidak(p):
    order = np.argsort(p)
    out = np.empty_like(p)
    out[order] = np.maximum.accumulate(1 - (1 - p[order]) ** (len(p) - np.arange(len(p))))
    return out


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


RIGHT = [
    ("lesions.groups", _components),
    ("scores.boundary_f1", _outline_score()),
    ("critique.holm", lambda p: np.array(holm(p.tolist()))),
    ("intervention.interaction", _nested),
]
WRONG = [
    ("lesions.groups", _twice),
    ("lesions.groups", lambda pairs, count: sorted(_components(pairs, count))),
    ("scores.boundary_f1", _outline_score(neighbors=2)),
    ("scores.boundary_f1", _outline_score(metric="euclidean")),
    ("scores.boundary_f1", _outline_score(outer=True)),
    ("critique.holm", _hochberg),
    ("critique.holm", _sidak),
    ("intervention.interaction", lambda *given: _nested(*given, second_from_patched=True)),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[name for name, _ in RIGHT])
def test_an_unusual_right_answer_passes(name, answer):
    result = lessons.check(name, answer)
    assert result, result


@pytest.mark.parametrize(("name", "answer"), WRONG, ids=[f"{i}: {name}" for i, (name, _) in enumerate(WRONG)])
def test_a_wrong_answer_that_is_not_in_the_bank_is_rejected(name, answer):
    result = lessons.check(name, answer)
    assert result.status == "failed"
    assert "Error" not in str(result)
