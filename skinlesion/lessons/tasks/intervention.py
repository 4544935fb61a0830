"""Lesson 16: causal claims about a trained network, tested by intervention."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor, nn

from skinlesion import create_model, intervene, observe
from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.lessons.tasks.inputs import normal, randomized
from skinlesion.lessons.tasks.interaction import INTERACTION

# --- the network that the cases use ----------------------------------------------------------------------------------


def _network(generator: Generator) -> nn.Module:
    """A small network with named points and random weights, ready for evaluation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
        network = create_model("tiny", dim=8, depths=(1, 1), decoder_depths=(1, 1), d_state=2, drop_path=0.0).eval()
    return randomized(generator, network, 0.3)


def _images(generator: Generator, count: int, height: int = 16, width: int = 24) -> Tensor:
    return normal(generator, count, 3, height, width)


# --- record ----------------------------------------------------------------------------------------------------------


def record(network: nn.Module, images: Tensor, pattern: str) -> dict[str, Tensor]:
    """The activations at all points that match a pattern, without a graph.

    Args:
        network: with named points, in evaluation mode.
        images: (B, 3, H, W).
        pattern: such as "*.se.gate".

    Returns:
        Point -> activation.
    """
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return dict(seen)


def _record_cases(generator: Generator) -> list[Case]:
    network = _network(generator)
    return [
        Case((network, _images(generator, 3), "*.se.gate"), "SE's gates of three images"),
        Case((network, _images(generator, 1, 24, 16), "D1.1.output"), "one point"),
        Case((network, _images(generator, 2, 16, 16), "*.cra.gate_?"), "CRA's gates"),
    ]


def _changed_record(change: Callable[[dict[str, Tensor]], object]) -> Callable[..., object]:
    return lambda network, images, pattern: change(record(network, images, pattern))


RECORD = Exercise(
    name="intervention.record",
    lesson=16,
    title="Read activations",
    statement=r"""
Every interesting tensor of the network has a name, a *point*: `E2.1.se.gate`, `S2.cra.gate_h`, `D1.1.output`.
`observe(network, pattern)` is a context manager: it records what runs inside it, and the object that it returns is a
dict of point -> tensor.

Run `network` on `images` $(B, 3, H, W)$ and return a plain dict of the activations at all points that match `pattern`.
Compute no gradients.
""",
    solution=record,
    takes="network, images, pattern",
    example="""
from skinlesion import create_model
network = create_model("tiny", depths=(1, 1), decoder_depths=(1, 1)).eval()
gates = record(network, torch.zeros(2, 3, 16, 16), "*.se.gate")
{name: list(gate.shape) for name, gate in gates.items()}
""",
    difficulty=1,
    importance=5,
    minutes=6,
    hints=(
        "`with observe(network, pattern) as seen:` and call the network inside.",
        "`with torch.no_grad(), observe(network, pattern) as seen: network(images)`, then `return dict(seen)`.",
    ),
    cases=_record_cases,
    seconds=20.0,
    plain=True,
    wrong=(
        Wrong(
            "all points",
            lambda network, images, pattern: record(network, images, "*"),
            "You record every point: the pattern is not used.",
        ),
        Wrong(
            "one image",
            _changed_record(lambda seen: {name: each[:1] for name, each in seen.items()}),
            "Only the first image is recorded. Keep the whole batch.",
        ),
        Wrong(
            "mean over the batch",
            _changed_record(lambda seen: {name: each.mean(0, keepdim=True) for name, each in seen.items()}),
            "The activations are averaged over the batch. Keep one per image.",
        ),
        Wrong(
            "a list",
            _changed_record(lambda seen: list(seen.values())),
            "Return a dict of point -> tensor: without the names you can't tell where a tensor comes from.",
        ),
        Wrong(
            "short names",
            _changed_record(lambda seen: {name.rpartition(".")[2]: each for name, each in seen.items()}),
            "The names are shortened, so points of different blocks overwrite each other. Keep the full names.",
        ),
        Wrong(
            "the output",
            lambda network, images, pattern: {pattern: network(images).detach()},
            "This is the network's output. The recorded activations are in the object that `observe` returns.",
        ),
    ),
)

# --- transfer --------------------------------------------------------------------------------------------------------


def transfer(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    """Logits of images when the activations at some points come from other images.

    Args:
        network: with named points, in evaluation mode.
        images: (B, 3, H, W).
        donors: (B, 3, H, W); donor i gives its activations to image i.
        pattern: of the points that are replaced.

    Returns:
        Logits (B, 1, H, W).
    """
    given = record(network, donors, pattern)
    with torch.no_grad(), intervene(network, given):
        return network(images)


def _transfer_cases(generator: Generator) -> list[Case]:
    network = _network(generator)
    cases = []
    for count, pattern in ((3, "*.se.gate"), (2, "S2.cra.output"), (1, "*.cra.gate_w")):
        cases.append(
            Case((network, _images(generator, count), _images(generator, count), pattern), f"points {pattern}")
        )
    return cases


def _transfer_first(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    name, value = next(iter(record(network, donors, pattern).items()))
    with torch.no_grad(), intervene(network, {name: value}):
        return network(images)


def _transfer_mean(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    own, other = record(network, images, pattern), record(network, donors, pattern)
    with torch.no_grad(), intervene(network, {name: (own[name] + other[name]) / 2 for name in own}):
        return network(images)


def _transfer_added(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    other = record(network, donors, pattern)
    added = {name: (lambda tensor, value=value: tensor + value) for name, value in other.items()}
    with torch.no_grad(), intervene(network, added):
        return network(images)


TRANSFER = Exercise(
    name="intervention.transfer",
    lesson=16,
    title="Replace activations",
    statement=r"""
`intervene(network, {point: tensor})` is a context manager too: inside it the network continues with the given tensor at
each named point, as if it had computed it. (You can also give a function of the activation instead of a tensor.)

Return the logits of `images` $(B, 3, H, W)$ when the activations at **all** points that match `pattern` are those of
`donors` $(B, 3, H, W)$: donor $i$ provides those of image $i$. Compute no gradients. Swapping gates, transplanting
maps and
activation patching are all this function, with different patterns and donors.
""",
    solution=transfer,
    takes="network, images, donors, pattern",
    example="""
from skinlesion import create_model
network = create_model("tiny", depths=(1, 1), decoder_depths=(1, 1)).eval()
images, donors = (torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
bool(torch.equal(transfer(network, images, donors, "D1.1.output"), network(donors)))
""",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "First record the donors' activations with the function from the last exercise, then run the images with them.",
        "`given = record(network, donors, pattern)`, then `with torch.no_grad(), intervene(network, given):` and run "
        "the images inside it.",
    ),
    cases=_transfer_cases,
    seconds=20.0,
    plain=True,
    wrong=(
        Wrong(
            "nothing replaced",
            lambda network, images, donors, pattern: network(images).detach(),
            "These are the images' own logits: nothing was replaced. Call the network inside `intervene`.",
        ),
        Wrong(
            "the donors' output",
            lambda network, images, donors, pattern: network(donors).detach(),
            "These are the donors' logits: everything was replaced. Replace only the named points.",
        ),
        Wrong(
            "the wrong way round",
            lambda network, images, donors, pattern: transfer(network, donors, images, pattern),
            "You run the donors with the images' activations. It is the other way around.",
        ),
        Wrong(
            "the first point only",
            _transfer_first,
            "You replace only one point. Replace all points that match the pattern.",
        ),
        Wrong(
            "half replaced",
            _transfer_mean,
            "You average the image's activations and the donor's. Replace them.",
        ),
        Wrong("added", _transfer_added, "You add the donor's activation to the image's own. Replace it."),
        Wrong(
            "one donor for all",
            lambda network, images, donors, pattern: transfer(
                network, images, donors[:1].expand_as(donors) if len(donors) > 1 else donors.flip(-1), pattern
            ),
            "All images get the same donor's activations. Use donor i for image i.",
        ),
    ),
)

# --- recovered -------------------------------------------------------------------------------------------------------


def recovered(clean: Tensor, corrupted: Tensor, patched: Tensor) -> Tensor:
    """The fraction of the difference between two runs that a patch restores.

    Args:
        clean: the score of each image, (B,).
        corrupted: the score without what is studied, (B,).
        patched: the score of the corrupted run with some activations of the clean one, (B,).

    Returns:
        (B,): 0 for nothing, 1 for everything; it may lie outside.
    """
    return (patched - corrupted) / (clean - corrupted)


def _scores(generator: Generator) -> list[Case]:
    cases = []
    for count, label in ((4, ""), (1, "one image"), (6, "six images")):
        clean, corrupted = normal(generator, count) + 5, normal(generator, count) - 5
        cases.append(Case((clean, corrupted, normal(generator, count) * 8), label))
    return cases


RECOVERED = Exercise(
    name="intervention.recovered",
    lesson=16,
    title="How much does a patch restore?",
    statement=r"""
Activation patching has three runs: the *clean* image; a *corrupted* one, in which what you study is missing; and the
corrupted one with some activations *patched in* from the clean run. Each gives a score per image, $(B)$. Return the
fraction of the difference between clean and corrupted that the patch restores: 0 where it changes nothing, 1 where it
restores
everything. Values outside $[0, 1]$ are possible; keep them.
""",
    solution=recovered,
    example="recovered(torch.tensor([4.0, 4.0]), torch.tensor([-6.0, 0.0]), torch.tensor([-1.0, 5.0]))",
    difficulty=1,
    importance=4,
    minutes=4,
    hints=(
        "What has the patch changed, and by how much could it have changed it?",
        "`(patched - corrupted) / (clean - corrupted)`.",
    ),
    cases=_scores,
    wrong=(
        Wrong(
            "not normalized",
            lambda clean, corrupted, patched: patched - corrupted,
            "This is the change itself. Divide it by the largest possible one, clean - corrupted.",
        ),
        Wrong(
            "share of the clean score",
            lambda clean, corrupted, patched: patched / clean,
            "This is a share of the clean score: a corrupted run without a patch wouldn't give zero.",
        ),
        Wrong(
            "what is missing",
            lambda clean, corrupted, patched: (clean - patched) / (clean - corrupted),
            "This is what is still missing: one minus the answer.",
        ),
        Wrong(
            "clipped",
            lambda clean, corrupted, patched: ((patched - corrupted) / (clean - corrupted)).clamp(0, 1),
            "You clip the share to [0, 1]. A patch that overshoots or does harm should be visible.",
        ),
        Wrong(
            "mean of the batch",
            lambda clean, corrupted, patched: (
                (patched.mean() - corrupted.mean()) / (clean.mean() - corrupted.mean()) + torch.zeros_like(clean)
            ),
            "You average the scores before dividing. Return one share per image.",
        ),
        Wrong(
            "absolute",
            lambda clean, corrupted, patched: ((patched - corrupted) / (clean - corrupted)).abs(),
            "The sign is lost: a patch that makes things worse counts as a gain.",
        ),
    ),
)

# --- a control of the same size --------------------------------------------------------------------------------------


def same_size(change: Tensor, generator: Generator) -> Tensor:
    """A random change whose norm is, image by image, that of a given one.

    Args:
        change: (B, ...).
        generator: the only source of randomness.

    Returns:
        Of the same shape.
    """
    noise = torch.randn(change.shape, generator=generator)
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)  # (B,)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


def _norms(function: Callable[..., Tensor], generator: Generator) -> str | None:
    change = normal(generator, 4, 5, 6) * torch.tensor([1.0, 3.0, 0.1, 0.0])[:, None, None]
    made = function(change.clone(), Generator().manual_seed(0))
    if not isinstance(made, Tensor) or made.shape != change.shape:
        return "Return a tensor of the same shape as `change`."
    own, theirs = made.flatten(1).norm(dim=1), change.flatten(1).norm(dim=1)
    if torch.allclose(own, theirs, rtol=1e-4, atol=1e-6):
        return None
    if abs(float(own.square().sum() - theirs.square().sum())) < 1e-3 * float(theirs.square().sum()):
        return "The norm of the whole batch is right, but not that of each image. Scale each image separately."
    return "The norms of your change differ from those of the given one. Scale each image's random numbers to its norm."


def _direction(function: Callable[..., Tensor], generator: Generator) -> str | None:
    change = normal(generator, 2, 400)
    one, again, other = (function(change.clone(), Generator().manual_seed(seed)) for seed in (0, 0, 1))
    if abs(float(torch.cosine_similarity(one, change).abs().max())) > 0.3:
        return "Your change points along the given one (or against it): that is the effect itself, not a control."
    if not torch.equal(one, again):
        return "Two calls with generators in the same state differ: draw from `generator`."
    if torch.equal(one, other):
        return "Two different generators give the same change: draw from `generator`."
    if bool((one >= 0).all()) or bool((one <= 0).all()):
        return "Your random numbers all have the same sign. Draw normal ones: `torch.randn(..., generator=generator)`."
    if abs(float(torch.cosine_similarity(one[:1], one[1:]))) > 0.3:
        return "All images get the same direction. Draw a separate one for each."
    spike = torch.zeros(1, 4000)
    spike[0, 7] = 5.0
    made = function(spike.clone(), Generator().manual_seed(2)).double()
    if float((made != 0).double().mean()) < 0.5:
        return "You shuffle the numbers of the change. Draw normal random numbers."
    kurtosis = float(
        made.pow(4).mean() / made.square().mean() ** 2
    )  # 3 for a normal distribution, 1.8 for a uniform one
    if abs(kurtosis - 3) > 0.6:
        return "Your random numbers aren't normal (are they uniform?): `torch.randn(..., generator=generator)`."
    return None


def _scaled(noise: Tensor, change: Tensor) -> Tensor:
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


SAME_SIZE = Exercise(
    name="intervention.same_size",
    lesson=16,
    title="The control: a random change of the same size",
    statement=r"""
You replaced an activation and the mask changed. Would *any* change of this size have done that? The control needs a
random change with the same norm. Given `change` $(B, \dots)$, return a tensor of its shape: for each image, normal
random numbers drawn from `generator`, scaled so that their norm equals that of the image's change.
""",
    solution=same_size,
    example="""
change = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
same_size(change, torch.Generator().manual_seed(0)).norm(dim=1)
""",
    difficulty=2,
    importance=5,
    minutes=8,
    hints=(
        "`torch.randn(change.shape, generator=generator)`, then one factor for each image.",
        "The factor is the ratio of the norms of the flattened images, viewed as (B, 1, ..).",
    ),
    properties=(Property("the same norm, image by image", _norms), Property("a random direction", _direction)),
    wrong=(
        Wrong(
            "moved to other places",
            lambda change, g: change.flatten(1)[:, torch.randperm(change[0].numel(), generator=g)].view_as(change),
            "You shuffle the numbers of the change. Draw normal random numbers.",
        ),
        Wrong(
            "not scaled",
            lambda change, generator: torch.randn(change.shape, generator=Generator().manual_seed(3)),
            "The norms of your change differ from those of the given one. Scale each image's random numbers to its "
            "norm.",
        ),
        Wrong(
            "the batch's norm",
            lambda change, generator: (lambda noise: noise * change.norm() / noise.norm())(
                torch.randn(change.shape, generator=generator)
            ),
            "The norm of the whole batch is right, but not that of each image. Scale each image separately.",
        ),
        Wrong(
            "the change itself",
            lambda change, generator: -change,
            "Your change points along the given one (or against it): that is the effect itself, not a control.",
        ),
        Wrong(
            "own random numbers",
            lambda change, generator: _scaled(torch.randn(change.shape), change),
            "Two calls with generators in the same state differ: draw from `generator`.",
        ),
        Wrong(
            "seeded inside",
            lambda change, generator: _scaled(torch.randn(change.shape, generator=Generator().manual_seed(0)), change),
            "Two different generators give the same change: draw from `generator`.",
        ),
        Wrong(
            "one direction for all",
            lambda change, generator: _scaled(
                torch.randn(change[:1].shape, generator=generator).expand_as(change), change
            ),
            "All images get the same direction. Draw a separate one for each.",
        ),
    ),
)

# --- bonus: dose and response ----------------------------------------------------------------------------------------


def dose(network: nn.Module, images: Tensor, donors: Tensor, point: str, shares: list[float]) -> Tensor:
    """Mean logit of each image while one activation moves from its own value to a donor's.

    Args:
        network: with named points, in evaluation mode.
        images: (B, 3, H, W).
        donors: (B, 3, H, W).
        point: the activation's name.
        shares: of the donor, 0 for the image's own activation and 1 for the donor's.

    Returns:
        (len(shares), B).
    """
    given = record(network, donors, point)[point]
    means = []
    for share in shares:
        with torch.no_grad(), intervene(network, {point: partial(torch.lerp, end=given, weight=share)}):
            means.append(network(images).mean((1, 2, 3)))
    return torch.stack(means)


def _dose_cases(generator: Generator) -> list[Case]:
    network = _network(generator)
    images = [_images(generator, 2) for _ in range(2)]
    return [
        Case((network, *images, "S2.cra.output", [0.0, 0.25, 1.0]), "a skip"),
        Case((network, *images, "D2.1.output", [0.5]), "one share"),
    ]


def _mistaken_dose(name: str, change: Callable[..., object], diagnosis: str) -> Wrong:
    def answer(network: nn.Module, images: Tensor, donors: Tensor, point: str, shares: list[float]) -> object:
        return change(network, images, donors, point, shares)

    return Wrong(name, answer, diagnosis)


def _in_probability(network: nn.Module, images: Tensor, donors: Tensor, point: str, shares: list[float]) -> Tensor:
    given = record(network, donors, point)[point]
    means = []
    for share in shares:
        with torch.no_grad(), intervene(network, {point: partial(torch.lerp, end=given, weight=share)}):
            means.append(network(images).sigmoid().mean((1, 2, 3)))
    return torch.stack(means)


DOSE = Exercise(
    name="intervention.dose",
    lesson=16,
    title="Dose and response",
    statement=r"""
If something is a cause, more of it has a larger effect. Let the activation at `point` move from the image's own value
$a$ to the
donor's value $a'$: $a + s\,(a' - a)$ for each share $s$ in `shares`. Return the mean logit of each image for each
share, `(len(shares), B)`.
""",
    solution=dose,
    takes="network, images, donors, point, shares",
    example="""
from skinlesion import create_model
network = create_model("tiny", depths=(1, 1), decoder_depths=(1, 1)).eval()
images, donors = (torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
curve = dose(network, images, donors, "D1.1.output", [0.0, 0.5, 1.0])
(list(curve.shape), bool(torch.isclose(curve[2], network(donors).mean()).all()))
""",
    difficulty=3,
    importance=2,
    minutes=10,
    bonus=True,
    hints=(
        "`intervene` takes a function of the image's own activation: `lambda own: own + share * (given - own)`.",
        "In a loop a lambda sees the variable's last value: bind it with a default argument, `share=share`.",
    ),
    cases=_dose_cases,
    seconds=20.0,
    plain=True,
    wrong=(
        Wrong(
            "probabilities", _in_probability, "You average probabilities. Return the mean *logit*, without a sigmoid."
        ),
        _mistaken_dose(
            "shares reversed",
            lambda network, images, donors, point, shares: dose(
                network, images, donors, point, [1 - share for share in shares]
            ),
            "A share of 0 must give the image's own result, and 1 the donor's: yours are reversed.",
        ),
        _mistaken_dose(
            "added",
            lambda network, images, donors, point, shares: torch.stack(
                [_added(network, images, donors, point, share) for share in shares]
            ),
            "The donor's activation is added on top: own + s given. Interpolate instead: own + s (given - own).",
        ),
        _mistaken_dose(
            "donors receive",
            lambda network, images, donors, point, shares: dose(network, donors, images, point, shares),
            "You run the donors. Run the images, with the donors' activations.",
        ),
        _mistaken_dose(
            "transposed",
            lambda network, images, donors, point, shares: dose(network, images, donors, point, shares).T,
            "Return one row per share and one column per image: yours is transposed.",
        ),
        _mistaken_dose(
            "mean over the batch",
            lambda network, images, donors, point, shares: dose(network, images, donors, point, shares).mean(1),
            "You average over the images. Keep one column per image.",
        ),
        _mistaken_dose(
            "outputs mixed",
            lambda network, images, donors, point, shares: torch.stack(
                [
                    (1 - share) * network(images).mean((1, 2, 3))
                    + share * transfer(network, images, donors, point).mean((1, 2, 3))
                    for share in shares
                ]
            ).detach(),
            "You mix the two outputs. Mix the activation, and let the network compute the rest.",
        ),
    ),
)


def _added(network: nn.Module, images: Tensor, donors: Tensor, point: str, share: float) -> Tensor:
    given = record(network, donors, point)[point]
    with torch.no_grad(), intervene(network, {point: lambda own: own + share * given}):
        return network(images).mean((1, 2, 3))


EXERCISES = (RECORD, TRANSFER, RECOVERED, SAME_SIZE, DOSE, INTERACTION)
