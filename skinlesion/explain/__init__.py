"""Looking inside: gates, channels, the scan, receptive fields, attributions. Returns plain arrays and leaves no hooks.

>>> from skinlesion import Segmenter, explain                           # doctest: +SKIP
>>> segmenter = Segmenter.from_pretrained("small")                      # doctest: +SKIP
>>> image = segmenter.prepare([photo])                                  # doctest: +SKIP
>>> explain.cra_gates(segmenter.model, image)["S2"].product()           # doctest: +SKIP
"""

from skinlesion.explain.ablation import ablatable_parts, ablated, ablated_model
from skinlesion.explain.architecture import LayerSize, Part, architecture, layer_sizes
from skinlesion.explain.attention import SkipGates, cra_gates, map_correlation
from skinlesion.explain.attribution import (
    Attribution,
    attribute,
    baseline_image,
    pixel_region,
    predicted_region,
)
from skinlesion.explain.cancellation import Canceled
from skinlesion.explain.channels import (
    Excitation,
    GateRange,
    excitation,
    gate_differences,
    gate_ranges,
    se_gates,
)
from skinlesion.explain.common import read, shared_copy
from skinlesion.explain.experiments import (
    Outcome,
    gate_changes,
    gate_points,
    outcomes,
    set_channel,
    set_line,
    to_mean,
    to_other,
    to_shuffled,
)
from skinlesion.explain.faithfulness import (
    Curves,
    Faithfulness,
    faithfulness,
    random_control,
    shuffled_copy,
    similarity,
)
from skinlesion.explain.implicit import ImplicitAttention, attention_weights, implicit_attention
from skinlesion.explain.layers import Layer, feature_maps, layers
from skinlesion.explain.overview import ModuleSummary, ablation_effects, findings, module_summaries
from skinlesion.explain.patching import patch_effects
from skinlesion.explain.receptive_field import ReceptiveField, receptive_field
from skinlesion.explain.redundancy import Redundancy, channel_correlation, redundancy, redundancy_by_depth
from skinlesion.explain.response import (
    Cover,
    Following,
    GateResponse,
    Rotate,
    Shift,
    SkipResponse,
    following,
    gate_response,
    moved_aside,
)
from skinlesion.explain.scan import ROUTE_NAMES, ScanInputs, route_coordinates, scan_inputs, step_maps
from skinlesion.explain.stamps import Stamp, colors, control_stamps, stamped

__all__ = [
    "ROUTE_NAMES",
    "Attribution",
    "Canceled",
    "Cover",
    "Curves",
    "Excitation",
    "Faithfulness",
    "Following",
    "GateRange",
    "GateResponse",
    "ImplicitAttention",
    "Layer",
    "LayerSize",
    "ModuleSummary",
    "Outcome",
    "Part",
    "ReceptiveField",
    "Redundancy",
    "Rotate",
    "ScanInputs",
    "Shift",
    "SkipGates",
    "SkipResponse",
    "Stamp",
    "ablatable_parts",
    "ablated",
    "ablated_model",
    "ablation_effects",
    "architecture",
    "attention_weights",
    "attribute",
    "baseline_image",
    "channel_correlation",
    "colors",
    "control_stamps",
    "cra_gates",
    "excitation",
    "faithfulness",
    "feature_maps",
    "findings",
    "following",
    "gate_changes",
    "gate_differences",
    "gate_points",
    "gate_ranges",
    "gate_response",
    "implicit_attention",
    "layer_sizes",
    "layers",
    "map_correlation",
    "module_summaries",
    "moved_aside",
    "outcomes",
    "patch_effects",
    "pixel_region",
    "predicted_region",
    "random_control",
    "read",
    "receptive_field",
    "redundancy",
    "redundancy_by_depth",
    "route_coordinates",
    "scan_inputs",
    "se_gates",
    "set_channel",
    "set_line",
    "shared_copy",
    "shuffled_copy",
    "similarity",
    "stamped",
    "step_maps",
    "to_mean",
    "to_other",
    "to_shuffled",
]
