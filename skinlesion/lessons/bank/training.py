"""Lesson 13: training."""

import math

from torch import Generator, Tensor

from skinlesion.lessons.bank.inputs import normal
from skinlesion.lessons.exercise import Case, Exercise, Wrong


def cosine(progress: float, period: float, high: float, low: float) -> float:
    """The rate after `progress` epochs: high at 0, low at `period`, high again at twice the period."""
    return low + (high - low) * (1 + math.cos(math.pi * progress / period)) / 2


COSINE = Exercise(
    name="training.cosine",
    lesson=13,
    title="The cosine schedule",
    statement=r"""
Return $\eta = \eta_{low} + \frac{1}{2}(\eta_{high} - \eta_{low})\,(1 + \cos(\pi\, e / T))$ after `progress` $= e$
epochs with `period` $= T$. Do not stop at $T$: let the formula go on.
""",
    solution=cosine,
    difficulty=1,
    minutes=5,
    hints=("At e = 0 it must be high, at e = T low.", "`math.cos(math.pi * progress / period)` goes from 1 to -1."),
    cases=lambda generator: [
        Case((0.0, 50.0, 1.0, 0.1), "the start"),
        Case((20.0, 50.0, 1.0, 0.1)),
        Case((80.0, 50.0, 1.0, 0.1), "later than the period"),
    ],
    wrong=(
        Wrong("full turn", lambda e, t, h, lo: cosine(2 * e, t, h, lo), "2 pi is a whole turn: at T you are up again."),
        Wrong("no half", lambda e, t, h, lo: lo + (h - lo) * (1 + math.cos(math.pi * e / t)), "The half is missing."),
        Wrong("upside down", lambda e, t, h, lo: cosine(e, t, lo, h), "It starts at the low rate."),
        Wrong("no low rate", lambda e, t, h, lo: cosine(e, t, h, 0.0), "The lowest rate is ignored."),
        Wrong("stopped", lambda e, t, h, lo: cosine(min(e, t), t, h, lo), "You stop at T; the formula goes on."),
        Wrong("restart", lambda e, t, h, lo: cosine(e % t, t, h, lo), "That jumps up at T (warm restarts)."),
    ),
)

AT_END = Exercise(
    name="training.rate_at_end",
    lesson=13,
    title="Predict: where does the paper's schedule end?",
    statement="A rate from 1e-3 down to 1e-5, T = 50, and 300 epochs. Which rate does epoch 300 reach? Give a number.",
    solution=1e-3,
    difficulty=2,
    minutes=3,
    hints=("What is 300 / 50: odd or even?", "cos(6 pi) is 1."),
    wrong=(
        Wrong("low", 1e-5, "It is low at odd multiples of 50: 50, 150, 250. 300 is six times 50."),
        Wrong("middle", 5.05e-4, "The middle is at 25, 75, ..; 300 is six times 50."),
        Wrong("zero", 0.0, "The rate never falls below 1e-5."),
        Wrong("cosine", 1.0, "That is the cosine, not the rate."),
        Wrong("six times", 6e-3, "The periods do not add up."),
    ),
    rtol=0.02,
    atol=0,
    after="It ends at its highest rate: the weights are shaken most just before they are saved.",
)


def average(mean: Tensor, weight: Tensor, decay: float) -> Tensor:
    """One step of an exponential average."""
    return decay * mean + (1 - decay) * weight


EMA = Exercise(
    name="training.average",
    lesson=13,
    title="An average of the weights",
    statement="One step of an exponential average: `decay` of `mean` and the rest of `weight`. Return a new tensor.",
    solution=average,
    difficulty=1,
    minutes=3,
    hints=("The two shares add up to one.", "`decay * mean + (1 - decay) * weight`"),
    cases=lambda g: _weights(g),
    wrong=(
        Wrong("swapped", lambda m, w, d: average(w, m, d), "The shares are swapped: it forgets almost everything."),
        Wrong("sum", lambda m, w, d: d * m + w, "The shares do not add up to one: the average grows."),
        Wrong("plain", lambda m, w, d: (m + w) / 2, "That is a plain mean; decay is ignored."),
        Wrong("weight", lambda m, w, d: w, "You return the weight; nothing is averaged."),
        Wrong("minus", lambda m, w, d: d * m - (1 - d) * w, "The weight is subtracted."),
        Wrong("in place", lambda m, w, d: m.mul_(d).add_((1 - d) * w), "Your function changes its argument `mean`"),
    ),
)


def _weights(generator: Generator) -> list[Case]:
    return [Case((normal(generator, 3, 2), normal(generator, 3, 2), decay)) for decay in (0.9, 0.998)]


EXERCISES = (COSINE, AT_END, EMA)
