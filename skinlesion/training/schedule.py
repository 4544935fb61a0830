"""The learning rate as a function of progress alone, so that a resumed run needs no scheduler's state."""

import math
from typing import Literal

Schedule = Literal["cosine", "paper", "onecycle"]

_LEVELS = 50  # VM-UNet's harness has T_max = 50 and changes the rate once an epoch
_RISE = 0.3  # share of a one-cycle run that climbs to the peak
_START = 25  # a one-cycle run starts at lr / _START


def learning_rate(
    progress: float,
    *,
    epochs: int,
    schedule: Schedule = "cosine",
    lr: float = 1e-3,
    min_lr: float = 1e-5,
    warmup_epochs: float = 0,
    t_max: float = 50,
) -> float:
    """The learning rate of a step.

    Args:
        progress: epochs done so far, in [0, epochs]; 2.5 is the middle of the third epoch.
        epochs: of the whole run.
        schedule: "cosine": one half cosine from `lr` to `min_lr` over the run (our reading of "50 cycles", A29).
            "paper": what VM-UNet's harness does: constant within an epoch, down to `min_lr` at epochs 50, 150, 250 and
            back up to `lr` at 100, 200, 300, where such a run ends. "onecycle": a half cosine up from
            `lr` / 25 over the first 30% and one down to `min_lr` over the rest (Smith and Topin, https://arxiv.org/abs/1708.07120,
            without its momentum cycle).
        lr: the highest rate.
        min_lr: the lowest rate.
        warmup_epochs: length of a linear rise from 0 that multiplies "cosine" and "paper".
        t_max: epochs of half a swing of "paper"; a sixth of `epochs` gives a short run the shape of the harness's 300.
    """
    if schedule == "onecycle":
        peak = _RISE * epochs
        if progress < peak:
            return _half_cosine(lr / _START, lr, progress / peak)
        return _half_cosine(lr, min_lr, (progress - peak) / (epochs - peak))
    if schedule == "paper":
        rate = _half_cosine(lr, min_lr, math.floor(_LEVELS * progress / t_max) / _LEVELS)
    else:
        rate = _half_cosine(lr, min_lr, progress / epochs)
    return rate * min(1.0, progress / warmup_epochs) if warmup_epochs else rate


def _half_cosine(start: float, end: float, t: float) -> float:
    """From `start` at t = 0 to `end` at t = 1, back at t = 2, and so on."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
