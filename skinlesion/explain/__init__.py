"""Looking inside: gates, channels, the scan, receptive fields, attributions. Plain arrays out, nothing left behind.

>>> from skinlesion import Segmenter, explain                           # doctest: +SKIP
>>> segmenter = Segmenter.from_pretrained("small")                      # doctest: +SKIP
>>> image = segmenter.prepare([photo])                                  # doctest: +SKIP
>>> explain.cra_gates(segmenter.model, image)["S2"].product()           # doctest: +SKIP
"""

from skinlesion.explain.architecture import LayerSize, Part, architecture, layer_sizes
from skinlesion.explain.attention import SkipGates, cra_gates
from skinlesion.explain.attribution import (
    Attribution,
    attribute,
    baseline_image,
    pixel_region,
    predicted_region,
)
from skinlesion.explain.channels import (
    Excitation,
    Habits,
    channel_habits,
    excitation,
    gate_differences,
    se_gates,
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
from skinlesion.explain.looking import look, shared_copy
from skinlesion.explain.neutral import neutral_copy, neutral_parts
from skinlesion.explain.progress import Canceled
from skinlesion.explain.receptive_field import ReceptiveField, receptive_field
from skinlesion.explain.redundancy import Redundancy, channel_correlation, redundancy, redundancy_by_depth
from skinlesion.explain.response import (
    Cover,
    GateResponse,
    Rotate,
    Shift,
    SkipResponse,
    gate_response,
)
from skinlesion.explain.scan import ROUTE_NAMES, ScanInputs, route_coordinates, scan_inputs, step_maps

__all__ = [
    "ROUTE_NAMES",
    "Attribution",
    "Canceled",
    "Cover",
    "Curves",
    "Excitation",
    "Faithfulness",
    "GateResponse",
    "Habits",
    "ImplicitAttention",
    "Layer",
    "LayerSize",
    "Part",
    "ReceptiveField",
    "Redundancy",
    "Rotate",
    "ScanInputs",
    "Shift",
    "SkipGates",
    "SkipResponse",
    "architecture",
    "attention_weights",
    "attribute",
    "baseline_image",
    "channel_correlation",
    "channel_habits",
    "cra_gates",
    "excitation",
    "faithfulness",
    "feature_maps",
    "gate_differences",
    "gate_response",
    "implicit_attention",
    "layer_sizes",
    "layers",
    "look",
    "neutral_copy",
    "neutral_parts",
    "pixel_region",
    "predicted_region",
    "random_control",
    "receptive_field",
    "redundancy",
    "redundancy_by_depth",
    "route_coordinates",
    "scan_inputs",
    "se_gates",
    "shared_copy",
    "shuffled_copy",
    "similarity",
    "step_maps",
]
