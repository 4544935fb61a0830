"""What a function does besides returning is seen, in cases and in properties, and named."""

import numpy as np
import pytest
import torch
from torch import nn

from skinlesion import lessons
from skinlesion.lessons.catalog import find
from skinlesion.lessons.conduct import Calls, Memory, Watched, copied


def _write(x):
    x += 1


def _resize(x):
    x.resize_(1)


def _widen(x):
    x.data = x.data.double()


def _require(x):
    x.requires_grad_()


def _forget(x):
    x.requires_grad_(False)


@pytest.mark.parametrize(
    ("action", "what"),
    [
        (_write, "values"),
        (_resize, "values"),
        (_widen, "values"),
        (_require, "requires_grad"),
        (lambda x: x + 1, None),
        (lambda x: x.view(-1), None),
    ],
)
def test_what_becomes_of_a_tensor(action, what):
    x = torch.ones(2, 3)
    memory = Memory((x,))
    action(x)
    assert memory.change() == (None if what is None else (0, what))


def test_a_gradient_that_is_switched_off_is_seen():
    x = torch.ones(2, requires_grad=True)
    memory = Memory((x,))
    _forget(x)
    assert memory.change() == (0, "requires_grad")


@pytest.mark.parametrize(
    ("action", "what"),
    [
        (lambda n: n.train()(torch.randn(4, 3)), "statistics"),
        (lambda n: n.train(), "training mode"),
        (lambda n: n[1].requires_grad_(False), "requires_grad"),
        (lambda n: nn.init.zeros_(n[0].weight), "values"),
        (lambda n: n.double(), "values"),
        (lambda n: n.pop(1), "values"),
        (lambda n: n(torch.randn(4, 3)), None),
    ],
)
def test_what_becomes_of_a_network(action, what):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    memory = Memory((1, network))
    action(network)
    assert memory.change() == (None if what is None else (1, what))


@pytest.mark.parametrize(
    "value", [[1, 2], {"a": [torch.ones(2)]}, np.ones(3), (np.ones(2), [torch.zeros(1)]), torch.Generator()], ids=type
)
def test_a_copy_is_equal_and_apart(value):
    twin = copied(value)
    assert Memory((twin,), (value,)).change() is None
    if isinstance(value, list | dict):
        value.clear()
    elif isinstance(value, np.ndarray):
        value[0] = 7
    elif isinstance(value, tuple):
        value[1][0].add_(1)
    else:
        torch.rand(1, generator=value)
        return
    assert Memory((twin,), (value,)).change() == (0, "values")


def test_a_watched_function_tells_its_own_errors_from_those_of_the_test():
    def fails(x):
        raise ValueError

    watched = Watched(fails, ("x",))
    with pytest.raises(ValueError):
        watched(1)
    assert isinstance(watched.error, ValueError)
    right = Watched(lambda x: x, ("x",))
    right(1)
    assert right.error is None


def test_a_result_that_a_property_cannot_use_is_said_to_be_one():
    result = lessons.check("lesions.whole_lesions", lambda lesion, fraction, generator: None)
    assert "what your function returned, None" in result.message
    assert "raised an error" not in result.message


def test_forbidden_functions_are_seen_however_they_are_called():
    with Calls(frozenset(["conv2d", "backward", "grad"])) as calls:
        x = torch.ones(1, 1, 3, 3, requires_grad=True)
        nn.Conv2d(1, 1, 3)(x).sum().backward()
        torch.autograd.grad(x.sum(), x)
    assert calls.found == ["conv2d", "backward", "grad"]
    assert Calls(frozenset()).found == []


def test_a_result_with_a_graph_is_refused_only_where_plain_numbers_are_asked():
    plain = {exercise.name for exercise in lessons.exercises() if exercise.plain}
    assert {"intervention.record", "looking.deletion_curve", "training.bare_loop"} <= plain
    assert not find("se.squeeze").plain


def _counting():
    calls = []

    def answer(x):
        calls.append(1)
        return x.mean((1, 2)) + 1e-2 * len(calls)

    return answer


@pytest.mark.parametrize("answer", [_counting(), lambda x: x.mean((1, 2)) + 1e-2 * torch.rand(1)])
def test_a_result_that_varies_between_calls_is_named(answer):
    assert "another result" in str(lessons.check("se.squeeze", answer))


def test_dropout_in_a_result_is_named_as_random():
    answer = lessons.solution("cmn.channel_mixing").answer
    result = lessons.check("cmn.channel_mixing", lambda *args: torch.dropout(answer(*args), 0.5, True))
    assert "another result" in result.likely
