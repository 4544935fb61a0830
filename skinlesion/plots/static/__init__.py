"""Matplotlib figures for lessons. Each function returns a figure that shows itself in Jupyter, caption included."""

from skinlesion.plots.static.architecture import architecture
from skinlesion.plots.static.attention import cra_gates, gate_profiles
from skinlesion.plots.static.attribution import attribution, faithfulness, receptive_fields
from skinlesion.plots.static.channels import channel_maps, redundancy, redundancy_by_depth, se_bars, se_overview
from skinlesion.plots.static.comparison import paired_scores, threshold_curve
from skinlesion.plots.static.evaluation import compared_runs, histogram, reliability, training_curves
from skinlesion.plots.static.masks import difference, errors, overlay, probability, spread
from skinlesion.plots.static.picture import Picture
from skinlesion.plots.static.scan import implicit_attention, routes, step_maps

__all__ = [
    "Picture",
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
