"""Plotly figures for the app and for moving things in a lesson; they work offline and follow the page's theme."""

from skinlesion.plots.interactive.architecture import architecture
from skinlesion.plots.interactive.attention import cra_gates, gate_profiles
from skinlesion.plots.interactive.attribution import attribution, faithfulness, receptive_fields
from skinlesion.plots.interactive.base import add_picker
from skinlesion.plots.interactive.channels import channel_maps, redundancy, redundancy_by_depth, se_bars, se_overview
from skinlesion.plots.interactive.comparison import paired_scores, threshold_curve
from skinlesion.plots.interactive.evaluation import compared_runs, histogram, reliability, training_curves
from skinlesion.plots.interactive.masks import difference, errors, overlay, probability, spread
from skinlesion.plots.interactive.scan import implicit_attention, routes, step_maps

__all__ = [
    "add_picker",
    "architecture",
    "attribution",
    "channel_maps",
    "compared_runs",
    "cra_gates",
    "difference",
    "errors",
    "faithfulness",
    "gate_profiles",
    "histogram",
    "implicit_attention",
    "overlay",
    "paired_scores",
    "probability",
    "receptive_fields",
    "redundancy",
    "redundancy_by_depth",
    "reliability",
    "routes",
    "se_bars",
    "se_overview",
    "spread",
    "step_maps",
    "threshold_curve",
    "training_curves",
]
