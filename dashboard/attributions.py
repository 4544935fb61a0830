"""The three attributions of a question and their scores, part by part: what is done is remembered."""

from collections.abc import Callable, Mapping
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
    faithfulness: Faithfulness


def _key(asked: Asked, method: str) -> Asked:
    """Only Grad-CAM depends on the layer."""
    return asked if method == "grad_cam" else asked._replace(layer=None)


def known_answer(asked: Asked, method: str) -> Answer | None:
    """What is remembered."""
    key = _key(asked, method)
    found, score = recall("why", (key, method)), recall("why", (key, method, "score"))
    return None if found is None or score is None else Answer(found, score)


def explain_all(
    model: nn.Module,
    image: Tensor,
    region: np.ndarray,
    asked: Asked,
    tell: Callable[[float, str], None],
    draw: Callable[[str, Answer], None],
    done: Mapping[str, Answer],
) -> dict[str, Answer]:
    """The three methods and their scores; each is drawn when it is there."""
    steps = Steps("why", tell, sum(PASSES.values()) + (ORDERS + len(METHODS)) * CURVES)
    baseline, answers = asked.baseline, {}
    control = steps.run(
        (asked._replace(layer=None), "control"),
        ORDERS * CURVES,
        "Random orders, to compare with",
        lambda report: explain.random_control(model, image, region, baseline=baseline, report=report),
    )
    for method, title in METHODS.items():
        key = _key(asked, method)
        found = steps.run((key, method), PASSES[method], title, _attribution(model, image, region, method, key))
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
    return lambda report: explain.attribute(
        model, image, region, method, layer=key.layer, baseline=key.baseline, report=report
    )


def compare_with_shuffled(
    model: nn.Module,
    image: Tensor,
    region: np.ndarray,
    asked: Asked,
    answers: Mapping[str, Answer],
    tell: Callable[[float, str], None],
) -> dict[str, float]:
    """Each method's map of the network beside its map of the same network with shuffled weights: rank correlation."""
    steps, shuffled = Steps("why", tell, sum(PASSES.values())), explain.shuffled_copy(model)
    found = {}
    for method, title in METHODS.items():
        key = _key(asked, method)
        made = steps.run(
            (key, method, "shuffled"), PASSES[method], title, _attribution(shuffled, image, region, method, key)
        )
        found[method] = explain.similarity(answers[method].attribution.map, made.map)
    return found
