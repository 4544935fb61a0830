"""Lesson 13: training."""

import copy
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized, uniform
from skinlesion.losses import bce_dice_loss


def cosine(progress: float, period: float, high: float, low: float) -> float:
    """The rate after `progress` epochs: high at 0, low at `period`, high again at twice the period."""
    return low + (high - low) * (1 + math.cos(math.pi * progress / period)) / 2


COSINE = Exercise(
    name="training.cosine",
    lesson=13,
    title="The cosine schedule",
    statement=r"""
Return $\eta = \eta_{low} + \frac{1}{2}(\eta_{high} - \eta_{low})\,(1 + \cos(\pi\, e / T))$ after `progress` $= e$
epochs with `period` $= T$. Don't stop at $T$: let the formula continue.
""",
    solution=cosine,
    example="[cosine(t, 100.0, 0.01, 0.001) for t in (0.0, 50.0, 100.0)]",
    difficulty=1,
    importance=4,
    minutes=5,
    hints=("It must be high at e = 0 and low at e = T.", "`math.cos(math.pi * progress / period)` goes from 1 to -1."),
    cases=lambda generator: [
        Case((0.0, 50.0, 1.0, 0.1), "the start"),
        Case((20.0, 50.0, 1.0, 0.1)),
        Case((80.0, 50.0, 1.0, 0.1), "later than the period"),
        Case((12.5, 80.0, 3e-1, 1e-2), "a different period, in the middle of an epoch"),
    ],
    wrong=(
        Wrong(
            "degrees",
            lambda e, t, h, lo: cosine(e / 180, t, h, lo),
            "You convert to radians again: pi e / T is already in radians.",
        ),
        Wrong(
            "full turn",
            lambda e, t, h, lo: cosine(2 * e, t, h, lo),
            "2 pi is a full period: at T the rate is high again.",
        ),
        Wrong(
            "no half", lambda e, t, h, lo: lo + (h - lo) * (1 + math.cos(math.pi * e / t)), "The factor 1/2 is missing."
        ),
        Wrong(
            "upside down",
            lambda e, t, h, lo: cosine(e, t, lo, h),
            "Yours starts at the low rate. Start at the high one.",
        ),
        Wrong("no low rate", lambda e, t, h, lo: cosine(e, t, h, 0.0), "You ignore the low rate."),
        Wrong("stopped", lambda e, t, h, lo: cosine(min(e, t), t, h, lo), "You stop at T. Let the formula continue."),
        Wrong("restart", lambda e, t, h, lo: cosine(e % t, t, h, lo), "Yours jumps up at T (warm restarts)."),
    ),
)

AT_END = Exercise(
    name="training.rate_at_end",
    lesson=13,
    title="Predict: where does the paper's schedule end?",
    statement="The rate goes from 1e-3 down to 1e-5 with T = 50, for 300 epochs. What is the rate at epoch 300?",
    solution=1e-3,
    example="After 75 epochs with $T = 50$ the rate is halfway back up, at 5.05e-4.",
    difficulty=2,
    importance=3,
    minutes=3,
    hints=("What is 300 / 50: odd or even?", "cos(6 pi) is 1."),
    wrong=(
        Wrong("low", 1e-5, "It is low at odd multiples of 50: 50, 150, 250. 300 is six times 50."),
        Wrong("middle", 5.05e-4, "It is halfway at 25, 75, ...; 300 is six times 50."),
        Wrong("zero", 0.0, "The rate never falls below 1e-5."),
        Wrong("cosine", 1.0, "That is the cosine, not the rate."),
        Wrong("six times", 6e-3, "The rate doesn't add up over periods."),
    ),
    rtol=0.02,
    atol=0,
    after="It ends at its highest rate: the weights change most just before they are saved.",
)


def average(mean: Tensor, weight: Tensor, decay: float) -> Tensor:
    """One step of an exponential average."""
    return decay * mean + (1 - decay) * weight


EMA = Exercise(
    name="training.average",
    lesson=13,
    title="An average of the weights",
    statement="""
Compute one step of an exponential moving average: weight `mean` by `decay` and `weight` by the rest. Return a new
tensor.
""",
    solution=average,
    example="average(torch.tensor(1.0), torch.tensor(3.0), 0.9)",
    difficulty=1,
    importance=3,
    minutes=3,
    bonus=True,
    hints=("The two coefficients add up to one.", "`decay * mean + (1 - decay) * weight`"),
    cases=lambda g: _weights(g),
    wrong=(
        Wrong(
            "swapped", lambda m, w, d: average(w, m, d), "You swapped the coefficients: it forgets almost everything."
        ),
        Wrong("sum", lambda m, w, d: d * m + w, "The coefficients don't add up to one, so the average grows."),
        Wrong("plain", lambda m, w, d: (m + w) / 2, "That is a plain mean. Use `decay`."),
        Wrong("weight", lambda m, w, d: w, "You return the weight; nothing is averaged."),
        Wrong("minus", lambda m, w, d: d * m - (1 - d) * w, "You subtract the weight. Add it."),
        Wrong(
            "in place",
            lambda m, w, d: m.mul_(d).add_((1 - d) * w),
            "You change the argument `mean` in place. Return a new tensor.",
        ),
    ),
)


def _weights(generator: Generator) -> list[Case]:
    return [Case((normal(generator, 3, 2), normal(generator, 3, 2), decay)) for decay in (0.9, 0.998)]


# --- the loop --------------------------------------------------------------------------------------------------------

Batch = tuple[Tensor, Tensor]


def bare_loop(
    new_network: Callable[[], nn.Module], batches: Sequence[Batch], rates: Sequence[float], decay: float
) -> list[float]:
    """Train a network with AdamW, one step a batch.

    Args:
        new_network: makes the network.
        batches: images (B, 3, H, W) and masks (B, 1, H, W).
        rates: learning rate of each step.
        decay: weight decay.

    Returns:
        The loss of each step, as numbers.
    """
    network = new_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    losses = []
    for (images, masks), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _varied(
    *,
    train: bool = True,
    zero: bool = True,
    clip: bool = True,
    coupled: bool = False,
    plain: bool = False,
    anew: bool = False,
    late: bool = False,
    after: bool = False,
    constant: bool = False,
    sigmoid: bool = False,
) -> Callable[..., list[float]]:
    """The loop with one of its lines wrong."""

    def loop(
        new_network: Callable[[], nn.Module], batches: Sequence[Batch], rates: Sequence[float], decay: float
    ) -> list[float]:
        network = new_network()
        if train:
            network.train()
        kind = torch.optim.SGD if plain else torch.optim.Adam if coupled else torch.optim.AdamW
        optimizer = kind(network.parameters(), weight_decay=decay)
        losses = []
        for (images, masks), rate in zip(batches, rates, strict=True):
            if anew:
                optimizer = kind(network.parameters(), weight_decay=decay)
            for group in [] if late else optimizer.param_groups:
                group["lr"] = rates[0] if constant else rate
            logits = network(images)
            loss = bce_dice_loss(logits.sigmoid() if sigmoid else logits, masks)
            if zero:
                optimizer.zero_grad()
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses.append(bce_dice_loss(network(images), masks).item() if after else loss.item())
        return losses

    return loop


def _small_network(generator: Generator) -> Callable[[], nn.Module]:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    network = randomized(generator, layers, scale=6.0).eval()
    return lambda: copy.deepcopy(network)


def _loops(generator: Generator) -> list[Case]:
    cases = []
    for steps, decay, label in ((5, 0.01, ""), (6, 5.0, "strong weight decay")):
        batches = [
            (normal(generator, 3, 3, 4, 4), (uniform(generator, 0, 1, 3, 1, 4, 4) > 0.5).float()) for _ in range(steps)
        ]
        rates = [0.02 * (1 + step) for step in range(steps)]
        cases.append(Case((_small_network(generator), batches, rates, decay), label))
    return cases


LOOP = Exercise(
    name="training.bare_loop",
    lesson=13,
    title="The loop",
    statement=r"""
Train a network, one step per batch, and return the losses as Python numbers. `new_network()` makes it, in evaluation
mode. Use `torch.optim.AdamW` with `decay`, set each step's rate from `rates` (`group["lr"]` of
`optimizer.param_groups`), the loss `bce_dice_loss(logits, masks)`, and clip the gradient's norm to 1 before the step.
""",
    solution=bare_loop,
    example="""
def new():
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 1)
pair = (torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
bare_loop(new, [pair, pair], [0.1, 0.1], 0.01)
""",
    difficulty=3,
    importance=5,
    minutes=12,
    hints=(
        "Six lines per batch: rate, loss, zero_grad, backward, clip, step. And one line before the loop.",
        "`new_network().train()`; `torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)` after backward.",
        "Collect `loss.item()`, not `loss`: a tensor keeps its whole graph in memory.",
    ),
    cases=_loops,
    plain=True,
    wrong=(
        Wrong(
            "SGD",
            _varied(plain=True),
            "This is plain gradient descent (SGD). Use AdamW, which keeps moments of each gradient.",
        ),
        Wrong(
            "rate set after the step",
            _varied(late=True),
            "You set each rate after its step, so every step uses the previous rate (and the first one the default).",
        ),
        Wrong(
            "loss after the step",
            _varied(after=True),
            "You return the losses after each step. Return the loss that the step is computed from.",
        ),
        Wrong(
            "a new optimizer for each step",
            _varied(anew=True),
            "You make a new optimizer for each step, so AdamW's moments are lost. Make it once, before the loop.",
        ),
        Wrong(
            "no zero_grad",
            _varied(zero=False),
            "You never set the gradients to zero, so each step uses the sum of all of them.",
        ),
        Wrong(
            "evaluation mode",
            _varied(train=False),
            "The network is in evaluation mode: BatchNorm and dropout behave differently there.",
        ),
        Wrong(
            "no clipping, or after the step",
            _varied(clip=False),
            "The gradient isn't clipped to norm 1 when the optimizer uses it: clip after backward and before step.",
        ),
        Wrong("Adam", _varied(coupled=True), "You use Adam, whose weight decay goes through the moments. Use AdamW."),
        Wrong("one rate", _varied(constant=True), "You use the first rate in every step."),
        Wrong("sigmoid twice", _varied(sigmoid=True), "You apply the sigmoid twice: the loss takes logits."),
    ),
    after="The rest of a trainer is convenience: progress, logs, checkpoints, several devices.",
)

# --- the score -------------------------------------------------------------------------------------------------------


def held_out_iou(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Pooled IoU of a network on images that it was not trained on; images (B, 3, H, W), masks (B, 1, H, W)."""
    network.eval()
    with torch.no_grad():
        found = network(images) > 0
    truth = masks > 0.5
    return float((found & truth).sum() / (found | truth).sum())


def _scored(
    network: nn.Module, images: Tensor, masks: Tensor, score: Callable[[Tensor, Tensor], Tensor], level: float = 0.0
) -> float:
    network.eval()
    with torch.no_grad():
        return float(score(network(images) > level, masks > 0.5))


def _per_image(found: Tensor, truth: Tensor) -> Tensor:
    return ((found & truth).flatten(1).sum(1) / (found | truth).flatten(1).sum(1)).mean()


def _in_training_mode(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    twin = copy.deepcopy(network).train()
    with torch.no_grad():
        found = twin(images) > 0
    return float((found & (masks > 0.5)).sum() / (found | (masks > 0.5)).sum())


def _iou(found: Tensor, truth: Tensor) -> Tensor:
    return (found & truth).sum() / (found | truth).sum()


def _dice(found: Tensor, truth: Tensor) -> Tensor:
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def _held_out(generator: Generator) -> list[Case]:
    cases = []
    for batch, height, width in ((4, 5, 6), (2, 4, 4)):
        masks = uniform(generator, 0, 1, batch, 1, height, width) < uniform(generator, 0.2, 0.9, batch, 1, 1, 1)
        cases.append(
            Case((_small_network(generator)().train(), normal(generator, batch, 3, height, width), masks.float()))
        )
    return cases


SCORE = Exercise(
    name="training.held_out_iou",
    lesson=13,
    title="The metric: IoU on held-out images",
    statement=r"""
Return the IoU of the network's masks with the true ones, **pooled** over all pixels of all images, as a number. The
network outputs logits and may be in training mode when you get it. You don't need gradients.
""",
    solution=held_out_iou,
    example="""
logits = torch.tensor([[[[2.0, -1.0], [3.0, -4.0]]]])
truth = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
held_out_iou(nn.Identity(), logits, truth)
""",
    difficulty=2,
    importance=4,
    minutes=6,
    hints=(
        "Set the mode first. Then: for which logits is the probability above one half?",
        "`network.eval()`, `network(images) > 0`.",
    ),
    cases=_held_out,
    wrong=(
        Wrong(
            "training mode", _in_training_mode, "The network is in training mode, so its output depends on the batch."
        ),
        Wrong(
            "one half of a logit",
            lambda network, images, masks: _scored(network, images, masks, _iou, 0.5),
            "The outputs are logits: a probability of one half is a logit of 0.",
        ),
        Wrong(
            "mean over images",
            lambda network, images, masks: _scored(network, images, masks, _per_image),
            "That is the mean of the images' IoUs. Pool instead: one intersection and one union over all pixels.",
        ),
        Wrong("Dice", lambda network, images, masks: _scored(network, images, masks, _dice), "That is the Dice score."),
        Wrong(
            "accuracy",
            lambda network, images, masks: _scored(network, images, masks, lambda f, t: (f == t).float().mean()),
            "That is the accuracy: true negatives count too.",
        ),
        Wrong(
            "of the truth",
            lambda network, images, masks: _scored(network, images, masks, lambda f, t: (f & t).sum() / t.sum()),
            "You divide by the true mask only. Divide by the union.",
        ),
    ),
)

# --- stop and go on --------------------------------------------------------------------------------------------------


def snapshot(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Everything that a run needs to continue: {"network", "optimizer", "random"}."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    return copy.deepcopy(state)


_KEYS = ("network", "optimizer", "random")
_LIVE = "What you kept changed as the run went on: state_dict() returns the tensors themselves. Copy them."
_NO_KEYS = "It must be a dictionary with the keys network, optimizer, and random."
_NO_BUFFERS = "The network's state is incomplete: BatchNorm's running means are buffers, not parameters."
_NO_OPTIMIZER = "The optimizer's state is incomplete: AdamW would start again with empty moments."
_OBJECTS = "You keep the objects themselves. Keep their `state_dict()`: numbers, which any later program can load."
_NUMPY = (
    "That is NumPy's random state. Dropout and the order of the images come from torch's: `torch.get_rng_state()`. "
    "(Keep both if you like, in a dictionary.)"
)
_PYTHON = "That is Python's random state (`random`). Dropout comes from torch's: `torch.get_rng_state()`."
_NO_RANDOM = "That isn't the current state of the random numbers (`torch.get_rng_state()`)."


def _goes_on(answer: Callable[..., Any], generator: Generator) -> str | None:
    """Take a snapshot in the middle of a run, let the run go on, and look at what was kept."""
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        _steps(network, optimizer)
        right = snapshot(network, optimizer)
        kept = answer(network, optimizer)
        if not isinstance(kept, dict) or set(kept) != set(_KEYS):
            return _NO_KEYS
        if isinstance(kept["network"], nn.Module) or isinstance(kept["optimizer"], torch.optim.Optimizer):
            return _OBJECTS
        early = copy.deepcopy(kept)
        _steps(network, optimizer)
    if not _same(kept, early):
        return _LIVE
    if not _same(kept["network"], right["network"]):
        return _NO_BUFFERS
    if not _same(kept["optimizer"], right["optimizer"]):
        return _NO_OPTIMIZER
    return None if _holds(kept["random"], right["random"]) else _wrong_random(kept["random"])


def _steps(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or (type(one) is type(other) and isinstance(one, int | float | str) and one == other)


def _holds(kept: Any, state: Tensor) -> bool:
    """Whether torch's random state is kept, by itself or beside others."""
    if isinstance(kept, dict | list | tuple):
        return any(_holds(each, state) for each in (kept.values() if isinstance(kept, dict) else kept))
    return isinstance(kept, Tensor) and _same(kept, state)


def _wrong_random(kept: Any) -> str:
    """What a random state is that isn't torch's."""
    if isinstance(kept, np.random.Generator | np.random.RandomState):
        return _NUMPY
    parts = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, tuple) else ()
    if any(isinstance(each, str) and each in ("MT19937", "PCG64") for each in parts):
        return _NUMPY
    return _PYTHON if isinstance(kept, tuple) and len(kept) == 3 and isinstance(kept[1], tuple) else _NO_RANDOM


SNAPSHOT = Exercise(
    name="training.snapshot",
    lesson=13,
    title="The control: what a stopped run needs to continue",
    statement=r"""
Return `{"network": ..., "optimizer": ..., "random": ...}`: everything that a run on one processor needs to continue as
if it had never stopped. It must not change while the run continues.
""",
    solution=snapshot,
    example="""
network = nn.Linear(1, 1)
sorted(snapshot(network, torch.optim.AdamW(network.parameters())))
""",
    difficulty=2,
    importance=4,
    minutes=6,
    hints=(
        "Both have a `state_dict()`. The random numbers (dropout, the order of images) have `torch.get_rng_state()`.",
        "`state_dict()` does not copy. `copy.deepcopy` does.",
    ),
    properties=(Property("the run can continue from it", _goes_on),),
    wrong=(
        Wrong(
            "NumPy's random state",
            lambda n, o: snapshot(n, o) | {"random": np.random.RandomState(0).get_state()},
            _NUMPY,
        ),
        Wrong("Python's random state", lambda n, o: snapshot(n, o) | {"random": random.getstate()}, _PYTHON),
        Wrong(
            "the objects themselves", lambda n, o: copy.deepcopy({"network": n, "optimizer": o, "random": 0}), _OBJECTS
        ),
        Wrong(
            "not copied",
            lambda n, o: {"network": n.state_dict(), "optimizer": o.state_dict(), "random": torch.get_rng_state()},
            _LIVE,
        ),
        Wrong("weights alone", lambda n, o: copy.deepcopy(n.state_dict()), _NO_KEYS),
        Wrong(
            "parameters, no buffers",
            lambda n, o: snapshot(n, o) | {"network": copy.deepcopy(dict(n.named_parameters()))},
            _NO_BUFFERS,
        ),
        Wrong(
            "no moments",
            lambda n, o: snapshot(n, o) | {"optimizer": copy.deepcopy(o.state_dict()["param_groups"])},
            _NO_OPTIMIZER,
        ),
        Wrong("a seed", lambda n, o: snapshot(n, o) | {"random": torch.initial_seed()}, _NO_RANDOM),
        Wrong("a generator anew", lambda n, o: snapshot(n, o) | {"random": Generator().get_state()}, _NO_RANDOM),
    ),
)

EXERCISES = (COSINE, AT_END, LOOP, SCORE, EMA, SNAPSHOT)
