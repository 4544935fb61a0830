"""Intervene: paint on the image, set a gate, or take an activation from another image, and see what the mask does."""

import numpy as np
import streamlit as st

from dashboard import charts, experiments, explanations, frame, state
from dashboard.components.painter import painter
from dashboard.experiments import GateEdit
from dashboard.image_choice import Picture, all_pictures
from dashboard.images import enlarge
from dashboard.jobs import job
from dashboard.picker import choose_picture
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion import explain
from skinlesion.plots.rasters import masked

VIEW = "intervene"
EXPERIMENTS = {"image": "Paint", "gate": "Set a gate", "patch": "Patch activations"}
KINDS = {"module": "A whole module", "channel": "One SE channel", "row": "A CRA row", "column": "A CRA column"}


def show() -> None:
    frame.heading(
        "Intervene",
        "change one thing and see what the mask does. The control is the same change where it shouldn't matter: an "
        "effect counts only if it is larger than the control's.",
    )
    picture = choose_picture()
    weights = frame.chosen()
    if weights is None:
        frame.picture(picture.image, picture.note)
        return
    _experiment(weights, picture)


@st.fragment
def _experiment(weights: Weights, picture: Picture) -> None:
    gated = explanations.has(weights, "se") or explanations.has(weights, "cra")
    options = [key for key in EXPERIMENTS if key != "gate" or gated]
    state.settle("experiment", options, options[0])
    st.segmented_control(
        "Experiment", options, key="experiment", format_func=lambda key: EXPERIMENTS[key], label_visibility="collapsed"
    )
    {"image": _paint, "gate": _gate, "patch": _patch}[state.get("experiment")](weights, picture)
    state.publish(VIEW)


# ------------------------------------------------------------------ painting


def _paint(weights: Weights, picture: Picture) -> None:
    before = explanations.outcome(weights, picture)
    enlarged = enlarge(picture.image)
    lesion = experiments.mask(weights, before.probability, enlarged.shape[:2])
    dark, skin = _colors(enlarged, lesion)
    edits = state.get("edits")
    left, right = st.columns(2, gap="large")
    with left:
        painter(
            masked(enlarged, lesion, None, 0.0, "contour"),
            edits,
            dark=dark,
            skin=skin,
            label="Image with the border of the predicted mask",
            key="painter",
            on_edits=lambda text: st.session_state.update(edits=text),
        )
        st.caption("Drag on the image, or use the arrow keys and Enter. Blue line: the border of the original mask.")
    if not edits:
        with right:
            st.info("Erase part of the lesion, paint a new one on skin, or drag a patch elsewhere.")
            if lesion.any():
                st.button(
                    "Try it: erase half of the lesion", icon=":material/ink_eraser:", on_click=_try, args=(lesion,)
                )
        return
    found = experiments.painted(weights, picture, edits)
    with right:
        _say(_finding(weights, before, found.outcome, found.control, "painting", "the same edit elsewhere"))
        one, two = st.columns(2)
        with one:
            image = experiments.visible(weights, picture, found.image)
            _masked(weights, image, found.outcome, "The painted image and its mask.")
        if found.control is not None and found.control_image is not None:
            with two:
                image = experiments.visible(weights, picture, found.control_image)
                _masked(weights, image, found.control, "Control: the same edit elsewhere.")
    _gates(before, found.outcome, found.control)


def _try(lesion: np.ndarray) -> None:
    """One stamp on the right half of the lesion."""
    rows, columns = (np.flatnonzero(lesion.any(axis)) for axis in (1, 0))
    middle, right = (rows[0] + rows[-1]) / 2 / lesion.shape[0], columns[-1] / lesion.shape[1]
    radius = max(20, round(500 * min(len(rows), len(columns)) / min(lesion.shape)))
    st.session_state["edits"] = f"e.{int(1000 * middle)}.{int(999 * right)}.{min(radius, 999)}"


def _colors(image: np.ndarray, lesion: np.ndarray) -> tuple[list[int], list[int]]:
    """The lesion's and the skin's median colors, for the preview in the browser."""
    inside = lesion if lesion.any() else image.mean(2) <= np.quantile(image.mean(2), 0.1)
    outside = ~inside if not inside.all() else inside
    return [np.median(image[part], axis=0).astype(int).tolist() for part in (inside, outside)]  # type: ignore[return-value]


# ------------------------------------------------------------------ gates


def _gate(weights: Weights, picture: Picture) -> None:
    before = explanations.outcome(weights, picture)
    edit, other = _edit(weights, picture, before)
    after = experiments.gated(weights, picture, edit, other)
    control = experiments.gated_control(weights, picture, edit, state.get("draw"))
    if edit.kind == "module":
        controlled = "the same gates in random order"
    else:
        controlled = f"{edit.kind} {experiments.random_index(edit, before, state.get('draw'))}, chosen at random"
    _say(_finding(weights, before, after, control, _name(edit, other), controlled))
    enlarged = enlarge(picture.image)
    for column, outcome, caption in zip(
        st.columns(3, gap="medium"),
        (before, after, control),
        ("Before.", "After.", f"Control: {controlled}."),
        strict=True,
    ):
        with column:
            _masked(weights, enlarged, outcome, caption)
    _gates(before, after, control)


def _edit(weights: Weights, picture: Picture, before: explain.Outcome) -> tuple[GateEdit, Picture | None]:
    """The widgets, and what they choose."""
    blocks = [name.removesuffix(".se.gate") for name in before.gates if name.endswith(".se.gate")]
    skips = [name.removesuffix(".cra.gate_h") for name in before.gates if name.endswith(".cra.gate_h")]
    kinds = [kind for kind in KINDS if kind == "module" or (blocks if kind == "channel" else skips)]
    state.settle("gate", kinds, kinds[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("What", kinds, key="gate", format_func=lambda key: KINDS[key], width=190)
        kind = state.get("gate")
        if kind == "module":
            edit, other = _module(picture, [*sorted(skips), *blocks])
        else:
            key, names = ("block", blocks) if kind == "channel" else ("skip", skips)
            state.settle(key, names, names[0])
            st.selectbox("Block" if kind == "channel" else "Skip", names, key=key, width=110)
            module, index = state.get(key), "channel" if kind == "channel" else "line"
            point = {"channel": "se.gate", "row": "cra.gate_h", "column": "cra.gate_w"}[kind]
            gate = before.gates[f"{module}.{point}"]
            largest = int(np.argmax(gate if gate.ndim == 1 else gate.mean(1)))
            state.settle(index, range(len(gate)), largest)
            st.number_input(kind.capitalize(), 0, len(gate) - 1, key=index, width=130)
            st.slider("Gate", 0.0, 1.0, step=0.05, key="value", width=200)
            edit, other = GateEdit(kind, module, state.get(index), state.get("value"), ""), None
        st.button("Another control", icon=":material/casino:", on_click=_redraw, help="Draws a new random control.")
    return edit, other


def _module(picture: Picture, modules: list[str]) -> tuple[GateEdit, Picture | None]:
    state.settle("module", modules, modules[0])
    st.selectbox("Module", modules, key="module", width=110, help="S: CRA of a skip. E and D: SE of a block.")
    words = {"mean": "Their mean", "image": "Another image's"}
    st.segmented_control("Its gates become", list(words), key="to", format_func=lambda key: words[key])
    if state.get("to") == "mean":
        return GateEdit("module", state.get("module"), 0, 0.0, ""), None
    other = _other_picture(picture)
    return GateEdit("module", state.get("module"), 0, 0.0, other.key), other


def _other_picture(picture: Picture) -> Picture:
    pictures = all_pictures()
    ids = [id for id in pictures if id != picture.id]
    state.settle("versus", ids, ids[0])
    st.selectbox("Image B", ids, key="versus", format_func=lambda id: pictures[id].title, width=280)
    return pictures[state.get("versus")]


def _redraw() -> None:
    st.session_state["draw"] = state.get("draw") % 999 + 1


def _name(edit: GateEdit, other: Picture | None) -> str:
    if edit.kind == "module":
        what = "their mean" if other is None else f"those of {plain(other.title)}"
        return f"setting the gates of {edit.module} to {what}"
    return f"setting the gate of {edit.kind} {edit.index} in {edit.module} to {edit.value:.2f}"


# ------------------------------------------------------------------ patching


def _patch(weights: Weights, picture: Picture) -> None:
    other = _other_picture(picture)
    left, right = st.columns([1, 2], gap="large")
    with left:
        for each, letter in ((picture, "A"), (other, "B")):
            _masked(
                weights, enlarge(each.image), explanations.outcome(weights, each), f"{letter}: {plain(each.title)}."
            )
    with right:
        rows, columns, names = experiments.grid_of(weights)
        count = sum(bool(name) for line in names for name in line)
        found = job(
            "patching",
            (weights.digest, picture.key, other.key),
            lambda tell: experiments.patching(weights, picture, other, tell),
            label=f"Patch {count or 'all'} activations of B into A",
            icon=":material/swap_horiz:",
        )
        if found is None:
            st.caption("Runs the network on A once for each activation, with that activation replaced by B's.")
            return
        rows, columns, values = found
        _say(_patching_finding(rows, columns, values))
        frame.figure(charts.effects(rows, columns, values), "effects")


def _patching_finding(rows: list[str], columns: list[str], values: np.ndarray) -> str:
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), axis=None)[:3]
    best = ", ".join(
        f"{rows[i // len(columns)]} ({columns[i % len(columns)]}) {values.flat[i]:.2f}" for i in order.tolist()
    )
    outputs = values[:, -1]
    idle = [row for row, value in zip(rows, outputs, strict=True) if value < 0.05]
    alone = f" Patching only the output of {' or '.join(idle)} has an effect below 0.05." if idle else ""
    return f"**These activations carry over most of B's mask: {best}.**{alone}"


# ------------------------------------------------------------------ what all have in common


def _say(finding: str) -> None:
    with st.container(key="finding"):  # by which programs find it, whatever its words
        st.markdown(finding)


def _finding(
    weights: Weights,
    before: explain.Outcome,
    after: explain.Outcome,
    control: explain.Outcome | None,
    what: str,
    controlled: str,
) -> str:
    """The change of the mask in words, the control beside it."""
    dice, first, second = _change(weights, before, after)
    text = (
        f"**After {what}, the mask has a Dice of {dice:.3f} with the original mask**; the lesion's area goes from "
        f"{100 * first:.1f}% to {100 * second:.1f}% of the image."
    )
    if control is None:
        return f"{text} There is no control: the edit is too large to fit anywhere else."
    same, _, third = _change(weights, before, control)
    verdict = (
        "So the effect is specific to this edit."
        if 1 - dice > 2 * (1 - same) and dice < 0.99
        else "So the mask hardly depends on it."
        if dice >= 0.99
        else "So the effect isn't clearly larger than the control's."
    )
    return f"{text} Control ({controlled}): Dice {same:.3f}, area {100 * third:.1f}%. {verdict}"


def _change(weights: Weights, before: explain.Outcome, after: explain.Outcome) -> tuple[float, float, float]:
    """Dice between the masks, and both areas as parts of the image."""
    size = (before.probability.shape[0], before.probability.shape[1])
    a, b = (experiments.mask(weights, each.probability, size) for each in (before, after))
    total = a.sum() + b.sum()
    return float(2 * (a & b).sum() / total) if total else 1.0, float(a.mean()), float(b.mean())


def _masked(weights: Weights, image: np.ndarray, outcome: explain.Outcome, caption: str) -> None:
    shown = enlarge(image)
    found = experiments.mask(weights, outcome.probability, shown.shape[:2])
    frame.picture(masked(shown, found, None, 0.35, "fill"), f"{caption} Lesion: {100 * found.mean():.1f}%.")


def _gates(before: explain.Outcome, after: explain.Outcome, control: explain.Outcome | None) -> None:
    if not before.gates:
        return
    changes = explain.gate_changes(before, after)
    drawn = charts.gate_changes(changes, None if control is None else explain.gate_changes(before, control))
    frame.figure(drawn, "gate-changes")


show()
