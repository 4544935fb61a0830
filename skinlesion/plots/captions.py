"""Captions: what each figure shows and its range, in one or two sentences, for Matplotlib and Plotly alike."""

from collections.abc import Mapping, Sequence

import numpy as np

from skinlesion.plots.rasters import Array
from skinlesion.text import counted

ROUTES = ("rows →", "columns ↓", "rows ←", "columns ↑")  # short: panels are small on a telephone


def span(values: Array, digits: int = 2) -> str:
    """The range of an array: 0.03 to 0.98."""
    return f"{values.min():.{digits}g} to {values.max():.{digits}g}"


def signed(value: float) -> str:
    """A score around zero: +0.12, -0.03, +0.00 (and never -0.00)."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _share(mask: np.ndarray) -> str:
    return f"{100 * mask.mean():.1f}%"


def overlay(mask: np.ndarray, truth: np.ndarray | None) -> str:
    """Of a mask over its image."""
    known = "" if truth is None else f" The true border ({_share(truth)}) is green."
    return f"The predicted lesion in blue, {_share(mask)} of the image.{known}"


def errors(mask: np.ndarray, truth: np.ndarray) -> str:
    """Of TP, FP and FN."""
    return (
        f"Blue: true positives, {_share(mask & truth)} of the image. Purple: false positives, {_share(mask & ~truth)}. "
        f"Orange: false negatives, {_share(truth & ~mask)}. Green line: the true border."
    )


def probability(values: Array, threshold: float | None) -> str:
    """Of a probability map."""
    line = "" if threshold is None else f" The line is the threshold, {threshold:.2f}."
    return f"Probability of lesion, dark 0 to light 1; here {span(values)}.{line}"


def spread(values: Array) -> str:
    """Of the spread over augmented views."""
    return (
        f"Standard deviation of the probability over flipped or rotated views, {span(values)} (at most 0.5): "
        "light where the views disagree."
    )


def difference(a: Array, b: Array, names: tuple[str, str]) -> str:
    """Of two probability maps."""
    return (
        f"Probability of lesion by {names[0]} minus by {names[1]}, -1 to 1; here {span(a - b)}. "
        f"Orange: {names[1]} predicts more lesion; purple: {names[0]} does."
    )


def cra_gates(gate_h: Array, gate_w: Array, product: Array, what: str) -> str:
    """Of one skip's gates."""
    return (
        f"Cross-region attention, {what}. Left strip: the gate of each row, {span(gate_h)}; top strip: of each column, "
        f"{span(gate_w)}; over the image: their product, {span(product)} (at most 1)."
    )


def gate_profiles(names: Sequence[str]) -> str:
    """Of gate profiles before and after a change of the image."""
    return f"Gates along rows and columns, in (0, 1): {', '.join(names)}."


def se_bars(gates: Array, block: str, other: str | None) -> str:
    """Of one block's SE gates."""
    dots = "" if other is None else f" Dots: the same channels, {other}."
    return (
        f"Squeeze-and-excitation in {block}: the gate of each of its {len(gates)} channels, sorted; 0 (suppressed) to "
        f"1 (kept), here {span(gates)}.{dots}"
    )


def se_overview(gates: Mapping[str, Array]) -> str:
    """Of all blocks' SE gates."""
    everything = np.concatenate([*gates.values()])
    return (
        f"Squeeze-and-excitation gates of all channels by block, in the order in which they run; 0 (suppressed) to "
        f"1 (kept), here {span(everything)}. Box: middle half; line: median; whiskers: all."
    )


def channel_maps(maps: Array, what: str) -> str:
    """Of a grid of maps, (H, W, n)."""
    return f"{what}: {maps.shape[-1]} maps on one scale, {span(maps)}; purple above 0, orange below."


def redundancy(correlation: Array, layer: str, mean_absolute: float, rank: float) -> str:
    """Of one layer's correlation matrix."""
    return (
        f"Correlation between all {len(correlation)} channels of {layer}, -1 (orange) to 1 (purple); mean |r| "
        f"{mean_absolute:.2f}, effective rank {rank:.1f} of {len(correlation)}."
    )


def redundancy_by_depth(mean_absolute: Sequence[float]) -> str:
    """Of redundancy over the layers."""
    values = np.asarray(mean_absolute)
    return (
        f"Channel redundancy by layer: mean |r| over pairs of channels ({span(values)}; 0: uncorrelated, 1: redundant) "
        "and effective rank divided by the number of channels (1: all uncorrelated)."
    )


def routes(height: int, width: int) -> str:
    """Of the four scan routes."""
    return (
        f"The four directions of the scan over a {height} x {width} grid of tokens. In each direction, the state at a "
        "token depends only on the tokens before it."
    )


def implicit_attention(merged: Array, token: tuple[int, int], direction: str, reduction: str) -> str:
    """Of what a token reads or writes."""
    verb = "depends on" if direction == "reads" else "influences"
    measure = {
        "norm": "norm of the weights over channels",
        "sum": "sum of the weights over channels",
        "contribution": "norm over channels of weight times input",
    }[reduction]
    return (
        f"What the token at {token} (cross) {verb} through the scan, in each direction and merged: {measure}, "
        f"{span(merged)} when merged. Colors follow the square root and end at the largest weight outside the token."
    )


def step_maps(maps: Array) -> str:
    """Of Delta."""
    return (
        f"Step size Delta of each token, mean over channels, for each direction and their mean: {span(maps)}. Large "
        "(light): the token replaces much of the state; small: the state barely changes."
    )


def receptive_fields(sides: Mapping[str, int]) -> str:
    """Of effective receptive fields."""
    half = "; ".join(f"{name} {side} pixels" for name, side in sides.items())
    return (
        "Effective receptive field: how much each pixel changes the output at the cross, relative to the maximum; "
        f"colors follow the fourth root. The square contains half of the total: {half} wide."
    )


def attribution(values: Array, method: str, layer: str | None, score: float | None) -> str:
    """Of one attribution."""
    names = {"integrated_gradients": "Integrated gradients", "grad_cam": "Grad-CAM", "occlusion": "Occlusion"}
    where = "" if layer is None else f" at {layer}"
    scored = "" if score is None else f" Faithfulness {signed(score)} (0 is chance)."
    return (
        f"{names.get(method, method)}{where}: evidence for lesion in the outlined region (purple) and against it "
        f"(orange), {span(values)}; colors end at the 99th percentile.{scored}"
    )


def faithfulness(score: float) -> str:
    """Of deletion and insertion curves."""
    return (
        "Mean probability of lesion in the region while the image is deleted, most important parts first (the curve "
        f"should fall early), or inserted in the same order (it should rise early). Gain over random orders "
        f"(dotted): {signed(score)}."
    )


def reliability(ece: float) -> str:
    """Of a calibration curve."""
    return (
        "How often a pixel is lesion (0 to 1) against the probability that was predicted (0 to 1); on the diagonal a "
        f"probability means what it says. Bars: share of pixels. Expected calibration error {ece:.3f}."
    )


def histogram(values: Array, label: str) -> str:
    """Of scores."""
    return (
        f"{label} of {counted(len(values), 'image')}: median {np.median(values):.3f} (line), mean {values.mean():.3f}, "
        f"{span(values, 3)}."
    )


def threshold_curve(thresholds: Array, scores: Mapping[str, Array], threshold: float) -> str:
    """Of pooled scores against the threshold."""
    name, values = next(iter(scores.items()))
    best = int(np.argmax(values))
    here = float(np.interp(threshold, thresholds, values))
    return (
        f"Scores of all pixels together at every threshold. {name} is {here:.3f} at the threshold in use, "
        f"{threshold:.2f} (dotted), and would be {values[best]:.3f} at {thresholds[best]:.2f}, the best "
        "for these images."
    )


def paired_scores(a: Array, b: Array, names: tuple[str, str], label: str) -> str:
    """Of two systems' scores on the same images."""
    return (
        f"{label} of {counted(len(a), 'image')}, {span(np.concatenate([a, b]))}, one dot per image. Blue, on or below "
        f"the diagonal: {names[0]} is better or equal, {int((a >= b).sum())} images; orange, above it: {names[1]} is "
        f"better, {int((a < b).sum())}."
    )


def training_curves(epochs: Sequence[float], best_epoch: int | None) -> str:
    """Of a run."""
    best = "" if best_epoch is None else f" Dotted: the epoch that was kept, {best_epoch}."
    return f"Losses, their parts, validation scores and learning rate over {counted(len(epochs), 'epoch')}.{best}"


def architecture(parameters: int) -> str:
    """Of the U."""
    return (
        f"The network with the sizes of this model: height x width x channels, and parameters, {parameters:,} in all. "
        "Down the left: encoder; up the right: decoder; between: skips."
    )


def compared_runs(names: Sequence[str]) -> str:
    """Of several runs."""
    return (
        f"Validation IoU, validation loss, training loss and learning rate over epochs of {len(names)} runs: "
        f"{', '.join(names)}."
    )
