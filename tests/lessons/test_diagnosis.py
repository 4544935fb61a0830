"""What a wrong result gives away, and which single slip explains it; and a comparison that never raises."""

import decimal
import fractions
import math
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skinlesion import lessons
from skinlesion.lessons import symptoms
from skinlesion.lessons.compare import difference
from skinlesion.lessons.diagnosis.variants import variants

E = np.array([[0.2, 0.7, 0.4], [0.9, 0.1, 0.35], [0.6, 0.55, 0.8]])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (1 - E, "one minus"),
        (E**2, "the square of"),
        (E**0.5, "square root"),
        (1 / E, "one divided by"),
        (np.log(E), "logarithm of"),
        (np.exp(E), "exponential"),
        (E / (1 - E), "by the rest"),
        (3 * E - 1, "3 times the expected result minus 1"),
        (E / math.log(2), "1 / ln 2"),
        (1 / (1 + (1 / E - 1) ** 0.3), "multiplied by 0.3"),
        (np.concatenate([E[:, 1:], np.zeros((3, 1))], 1), "the values come too early, by 1"),
        (100 * E, "100 times"),
        (E / 9, "1/9 times"),
        (-E, "sign"),
        (E.T, "Axes 0 and 1 are swapped"),
        (E[::-1], "Axis 0 runs backward"),
        (np.roll(E, 1, 1), "one position too"),
        (E + 0.25, "off by the same 0.25"),
        (0 * E, "zero"),
    ],
)
def test_an_array_gives_away_how_it_is_related(wrong, says):
    assert says in symptoms.of_values(wrong, E, 1e-4, 1e-5)


def test_signs_that_are_lost_are_seen():
    assert "rounded to whole" in symptoms.of_values(np.round(5 * E), 5 * E, 1e-4, 1e-5)
    signed = E - 0.5
    assert "the sign is lost" in symptoms.of_values(np.abs(signed), signed, 1e-4, 1e-5)
    assert "negative values set to 0" in symptoms.of_values(signed.clip(0), signed, 1e-4, 1e-5)


def test_traces_say_where():
    assert "All values are 1" in symptoms.traces(np.ceil(E), E, 1e-4, 1e-5)
    assert "0.37 times" in symptoms.traces(0.37 * E, E, 1e-4, 1e-5)
    last = E.copy()
    last[2] += [0.3, -0.1, 0.2]
    assert symptoms.traces(last, E, 1e-4, 1e-5) == "Along axis 0, the values at 0, 1 are right; those at 2 are wrong."
    edge = E + 0.3
    edge[1, 1] = E[1, 1]
    assert "at the edge" in symptoms.traces(edge, E, 1e-4, 1e-5)
    assert "close" in symptoms.traces(E * np.array([1.001, 1.01, 1.004]), E, 1e-4, 1e-5)
    flat = np.broadcast_to(E.mean(1, keepdims=True), E.shape) + 0.01
    assert "All values along axis 1 are the same" in symptoms.traces(flat, E, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("mine", "right", "says"),
    [
        ((3, 2), (2, 3), "wrong order"),
        ((2, 1, 3), (2, 3), "keepdim"),
        ((6,), (2, 3), "arranged"),
        ((2,), (2, 3), "One axis is missing"),
        ((2, 3, 4), (2, 3), "one axis too many"),
        ((2, 4), (2, 3), "Axis 1 has size 4 instead of 3"),
    ],
)
def test_a_shape_gives_away_what_happened(mine, right, says):
    assert says in symptoms.of_shapes(mine, right)


def test_a_single_number_is_not_overread():
    assert symptoms.of_numbers(0.5, 0.25, 1e-4, 1e-5).startswith("It is 2 times")
    assert symptoms.of_numbers(0.31, 0.47, 1e-4, 1e-5) == ""
    assert symptoms.of_numbers(math.inf, 0.47, 1e-4, 1e-5) == ""


class Odd:
    """Every operation raises."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None

    def __repr__(self):
        raise RuntimeError


class OddDict(dict):
    def __iter__(self):
        raise RuntimeError


class OddFloat(float):
    def __abs__(self):
        raise RuntimeError

    def __sub__(self, other):
        raise RuntimeError


ODD = [
    None,
    ...,
    Odd(),
    Odd,
    OddDict(a=1),
    OddFloat(2),
    10**400,
    decimal.Decimal("0.1"),
    fractions.Fraction(1, 3),
    1j,
    b"bytes",
    "text",
    {1, 2},
    range(3),
    types.SimpleNamespace(),
    iter([1]),
    lambda x: x,
    [],
    [[], [1]],
    {},
    {"a": Odd()},
    [1, Odd()],
    torch.ones(2, device="meta"),
    torch.ones((), device="meta"),
    torch.ones(2).to_sparse(),
    torch.ones(2, dtype=torch.complex64),
    torch.ones(2, dtype=torch.bfloat16),
    torch.ones(0),
    torch.full((2,), math.nan),
    torch.nn.Parameter(torch.zeros(2)),
    np.array([1, "a"], dtype=object),
    np.array(["a", "b"]),
    np.array([1j, 2]),
    np.array(None),
    np.datetime64("2020-01-01"),
    np.ma.masked_array([1.0, 2.0], mask=[True, False]),
]
EXPECTED = [
    torch.tensor([5.0, 6.0]),
    torch.tensor(5.0),
    torch.tensor([True, False]),
    np.array([5.0, 6.0]),
    5,
    5.5,
    True,
    "right",
    [5, torch.tensor([5.0])],
    (5.0, 6.0),
    {"a": 5.0},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", ODD, ids=[type(each).__name__ for each in ODD])
@pytest.mark.parametrize("loose", [True, False])
def test_a_comparison_never_raises_and_always_finds_the_difference(odd, loose):
    for expected in EXPECTED:
        found = difference(odd, expected, 1e-4, 1e-5, loose=loose)
        assert found is not None
        assert found.message
    assert not lessons.check("se.squeeze", lambda x: odd)
    assert not lessons.check("scores.dsc_from_iou", lambda iou: odd)


@pytest.mark.filterwarnings("ignore")  # both kinds are announced as prototypes
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    ],
)
def test_a_tensor_of_an_unusual_kind_is_named(make):
    for expected in EXPECTED:
        assert difference(make(), expected, 1e-4, 1e-5, loose=True) is not None
    found = difference(make(), EXPECTED[0], 1e-4, 1e-5)
    assert found is not None
    assert "expected an ordinary one" in found.message


def test_an_infinite_number_is_not_close_to_a_finite_one():
    assert difference(1.0, math.inf, 1e-4, 1e-5) is not None
    assert difference(torch.tensor([1.0]), torch.tensor([math.inf]), 1e-4, 1e-5) is not None
    assert difference(torch.tensor([math.inf]), torch.tensor([math.inf]), 1e-4, 1e-5) is None
    assert difference(math.inf, math.inf, 1e-4, 1e-5) is None


def test_precision_is_free_only_where_nothing_is_said_about_it():
    one, other = torch.tensor([1.0]), torch.tensor([1.0]).double()
    assert difference(other, one, 0, 0) is not None
    assert difference(other, one, 0, 0, loose=True) is None
    assert difference(1.0, torch.tensor(1.0), 0, 0, loose=True) is None
    assert difference(torch.tensor([1.0]), torch.tensor(1.0), 0, 0, loose=True) is not None


def squeeze_of(x):
    return lessons.solution("se.squeeze").answer(x)


def gate_of(*args):
    return lessons.solution("se.gate").answer(*args)


def without_bias(x, fc1, dwconv, fc2):
    t = F.linear(x, fc1.weight)
    return fc2(F.gelu(t + dwconv(t.movedim(-1, 1)).movedim(1, -1)))


def depthwise_of(*args):
    return lessons.solution("cmn.depthwise").answer(*args)


def recurrence_of(*args):
    return lessons.solution("ssm.recurrence").answer(*args)


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("se.squeeze", lambda x: squeeze_of(x.square()), "`x` is squared first"),
        ("se.gate", lambda m, one, two: torch.sigmoid(F.tanh(m @ one.T) @ two.T), "tanh"),
        (
            "cra.apply_gates",
            lambda x, h, w: x * h[:, :, None] * (1 - w[:, None]),
            "`gate_w` is replaced by one minus itself",
        ),
        ("ssm.recurrence", lambda a, b, c, u: recurrence_of(a, b, c, u.flip(0)), "from its end"),
        ("se.gate", lambda mean, one, two: gate_of(gate_of(mean, one, two), one, two), "applied twice"),
        ("cmn.channel_mixing", without_bias, "the bias of `fc1` is left out"),
        ("cmn.depthwise", lambda x, w, b: depthwise_of(x, w, b.roll(1)), "`bias` is shifted by one position"),
    ],
)
def test_a_single_slip_is_found(name, answer, says):
    result = lessons.check(name, answer)
    assert not result
    assert says in result.likely


def test_variants_differ_from_the_source_and_are_python():
    lines = ["def f(x, y=1.0):", "    z = 0", "    for i in range(3):", "        z = z + x * i", "        x = abs(x)"]
    source = "\n".join([*lines, "    return (z - y) / 2"])
    made = list(variants(source))
    texts = [text for text, _ in made]
    assert all(each != source for _, each in made)
    for _, each in made:
        compile(each, "variant", "exec")
    for part in ("`z - x * i` in place of `z + x * i`", "without `x = abs(x)`", "`2.0` in place of `1.0`"):
        assert any(part in text for text in texts), part
