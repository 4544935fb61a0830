"""The attributions of a question and their scores, part by part: what is done is remembered."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from dashboard.steps import Steps, recall
from skinlesion import explain
from skinlesion.explain.attribution import STEPS, Attribution
from skinlesion.explain.faithfulness import ORDERS, POINTS, Faithfulness

METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients", "occlusion": "Occlusion"}
# Images that each method runs, backward passes counted twice: the bar follows them.
PASSES = {"grad_cam": 3, "integrated_gradients": 3 * STEPS, "occlusion": 226}
CURVES = 2 * POINTS
MOST_STEPS = 128  # of integrated gradients, which double until the map adds up
TOLERANCE = 0.1  # of what the map should add up to


class Asked(NamedTuple):
    """Everything that an answer depends on: what caches know it by."""

    weights: str
    picture: str
    pixel: tuple[int, int] | None
    baseline: str
    layer: str | None


class Answer(NamedTuple):
    """One method's."""

    attribution: Attribution
    faithfulness: Faithfulness | None  # not measured yet

    @property
    def converged(self) -> bool:
        """Whether the map adds up; always, for methods that don't promise it."""
        gap = self.attribution.completeness_gap
        return gap is None or gap <= TOLERANCE


def passes(methods: Sequence[str]) -> int:
    """How many images the network runs for these methods and their scores, backward passes counted twice."""
    return sum(PASSES[method] + CURVES for method in methods) + ORDERS * CURVES if methods else 0


def _key(asked: Asked, method: str) -> Asked:
    """Only Grad-CAM depends on the layer."""
    return asked if method == "grad_cam" else asked._replace(layer=None)


def known_answer(asked: Asked, method: str) -> Answer | None:
    """What is remembered."""
    key = _key(asked, method)
    found, score = recall("why", (key, method)), recall("why", (key, method, "score"))
    return None if found is None else Answer(found, score)


def explain_all(
    model: nn.Module,
    image: Tensor,
    region: np.ndarray,
    asked: Asked,
    methods: Sequence[str],
    tell: Callable[[float, str], None],
    draw: Callable[[str, Answer], None],
    done: Mapping[str, Answer],
) -> dict[str, Answer]:
    """The maps, each drawn when it is there, and then their scores."""
    steps = Steps("why", tell, passes(methods))
    baseline, answers = asked.baseline, {}
    for method in methods:
        key, new = _key(asked, method), known_answer(asked, method) is None
        found = steps.run(
            (key, method), PASSES[method], METHODS[method], _attribution(model, image, region, method, key)
        )
        answers[method] = Answer(found, None)
        if new:
            draw(method, answers[method])
    control = steps.run(
        (asked._replace(layer=None), "control"),
        ORDERS * CURVES,
        "Random orders, for comparison",
        lambda report: explain.random_control(model, image, region, baseline=baseline, report=report),
    )
    for method in methods:
        key, title, found = _key(asked, method), METHODS[method], answers[method].attribution
        score = steps.run(
            (key, method, "score"),
            CURVES,
            f"{title}: faithfulness",
            lambda report, found=found: explain.faithfulness(
                model, image, found, control, baseline=baseline, report=report
            ),
        )
        answers[method] = Answer(found, score)
        if method not in done:
            draw(method, answers[method])
    return answers


def _attribution(
    model: nn.Module, image: Tensor, region: np.ndarray, method: str, key: Asked
) -> Callable[[Callable[[float], None]], Attribution]:
    def run(report: Callable[[float], None]) -> Attribution:
        steps = STEPS
        while True:
            found = explain.attribute(
                model, image, region, method, layer=key.layer, baseline=key.baseline, steps=steps, report=report
            )
            if Answer(found, None).converged or steps >= MOST_STEPS:
                return found
            steps *= 2

    return run


def compare_with_shuffled(
    model: nn.Module,
    image: Tensor,
    region: np.ndarray,
    asked: Asked,
    answers: Mapping[str, Answer],
    tell: Callable[[float, str], None],
) -> dict[str, float]:
    """Each method's map of the network beside its map of the same network with shuffled weights: rank correlation."""
    steps, shuffled = Steps("why", tell, sum(PASSES[method] for method in answers)), explain.shuffled_copy(model)
    found = {}
    for method in answers:
        key, title = _key(asked, method), METHODS[method]
        made = steps.run(
            (key, method, "shuffled"), PASSES[method], title, _attribution(shuffled, image, region, method, key)
        )
        found[method] = explain.similarity(answers[method].attribution.map, made.map)
    return found
