"""What the views of the inside show, computed once for all visitors: by weights, picture, and what is asked."""

import dataclasses
import re

import numpy as np
import streamlit as st
import torch

from dashboard.image_choice import Picture, samples
from dashboard.weights import LOADED, Weights, load
from skinlesion import explain
from skinlesion.segmenter import Segmenter

SMALL, LARGE = 256, 12  # results of all visitors that are remembered: of some kilobytes, of some megabytes


def image_of(weights: Weights, picture: Picture):
    """The picture as the network takes it, float32 (1, 3, h, w)."""
    return load(weights).prepare([picture.full()])


def layer_names(weights: Weights) -> list[str]:
    """The layers of a network, in the order in which they run."""
    return _layers(weights.digest, load(weights))


def block_names(weights: Weights) -> list[str]:
    """The blocks of the paper's network (E1.1, ..., D1.1), which hold the scan; none in other networks."""
    return [name for name in layer_names(weights) if re.fullmatch(r"[ED]\d+\.\d+", name)]


@st.cache_resource(max_entries=LOADED, show_spinner=False)
def _layers(digest: str, _segmenter: Segmenter) -> list[str]:
    return list(explain.layers(_segmenter.model))


def has(weights: Weights, part: str) -> bool:
    """Whether a network has "cra", "se", or "cmn"."""
    return part in explain.ablatable_parts(load(weights).model)


def gates(weights: Weights, picture: Picture) -> dict[str, explain.SkipGates]:
    """The gates of every skip."""
    return _gates(weights.digest, picture.key, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Computing the gates …")
def _gates(digest: str, key: str, _weights: Weights, _picture: Picture) -> dict[str, explain.SkipGates]:
    return explain.cra_gates(load(_weights).model, image_of(_weights, _picture))


def masked_after(weights: Weights, image: np.ndarray) -> np.ndarray:
    """The network's probability, float32 (h, w), for an image that was changed, float32 (h, w, C)."""
    with torch.inference_mode():
        segmenter = load(weights)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(segmenter.device)  # (1, C, h, w)
        return segmenter.model(pixels)[0, 0].sigmoid().float().cpu().numpy()


def other_responses(
    weights: Weights, picture: Picture, change: explain.Shift | explain.Rotate
) -> list[dict[str, explain.SkipGates]]:
    """The gates of the package's other images after the same change: what chance looks like."""
    others = [other for other in samples().values() if other.key != picture.key]
    return [_changed_gates(weights.digest, other.key, change, weights, other) for other in others]


@st.cache_resource(max_entries=SMALL, show_spinner="Running the control images …")
def _changed_gates(
    digest: str, key: str, change: explain.Shift | explain.Rotate, _weights: Weights, _picture: Picture
) -> dict[str, explain.SkipGates]:
    found = explain.cra_gates(load(_weights).model, change.image(image_of(_weights, _picture)))
    # The features aren't needed, and they are most of the memory.
    return {
        name: dataclasses.replace(skip, before=skip.before[:0], after=skip.after[:0]) for name, skip in found.items()
    }


def response(weights: Weights, picture: Picture, change: explain.Shift | explain.Rotate) -> explain.GateResponse:
    """The gates of the picture after a shift or a rotation."""
    return _response(weights.digest, picture.key, change, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Running the changed image …")
def _response(
    digest: str, key: str, change: explain.Shift | explain.Rotate, _weights: Weights, _picture: Picture
) -> explain.GateResponse:
    return explain.gate_response(load(_weights).model, image_of(_weights, _picture), change)


def covered(weights: Weights, picture: Picture, cover: explain.Cover, *, control: bool = False) -> explain.GateResponse:
    """The gates of the picture with the predicted lesion covered, or for the control as much skin elsewhere.

    The mask follows from weights and picture.
    """
    return _covered(weights.digest, picture.key, control, weights, picture, cover)


@st.cache_resource(max_entries=LARGE, show_spinner="Running the covered image …")
def _covered(
    digest: str, key: str, control: bool, _weights: Weights, _picture: Picture, _cover: explain.Cover
) -> explain.GateResponse:
    return explain.gate_response(load(_weights).model, image_of(_weights, _picture), _cover)


def channel_gates(weights: Weights, picture: Picture) -> dict:
    """The gate of every channel of every block, (C,) each."""
    return _channel_gates(weights.digest, picture.key, weights, picture)


@st.cache_resource(max_entries=SMALL, show_spinner="Computing the channel gates …")
def _channel_gates(digest: str, key: str, _weights: Weights, _picture: Picture) -> dict:
    return explain.se_gates(load(_weights).model, image_of(_weights, _picture))


def excitation(weights: Weights, picture: Picture, block: str) -> explain.Excitation:
    """One block's gates and maps."""
    return _excitation(weights.digest, picture.key, block, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Computing the feature maps …")
def _excitation(digest: str, key: str, block: str, _weights: Weights, _picture: Picture) -> explain.Excitation:
    return explain.excitation(load(_weights).model, image_of(_weights, _picture), block)


def scan(weights: Weights, picture: Picture, block: str) -> explain.ScanInputs:
    """The inputs and parameters of one block's scan."""
    return _scan(weights.digest, picture.key, block, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Computing the scan …")
def _scan(digest: str, key: str, block: str, _weights: Weights, _picture: Picture) -> explain.ScanInputs:
    return explain.scan_inputs(load(_weights).model, image_of(_weights, _picture), block)


def correlation(weights: Weights, picture: Picture, layer: str) -> explain.Redundancy:
    """The correlation of the channels of one layer."""
    return _correlation(weights.digest, picture.key, layer, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Correlating the channels …")
def _correlation(digest: str, key: str, layer: str, _weights: Weights, _picture: Picture) -> explain.Redundancy:
    maps = explain.feature_maps(load(_weights).model, image_of(_weights, _picture))
    return explain.redundancy(layer, maps[layer])


def summaries(weights: Weights, picture: Picture) -> tuple[list[explain.ModuleSummary], int]:
    """Every module's gates over the package's images and this one, and how many images they are."""
    others = [other for other in samples().values() if other.key != picture.key]
    return _summaries(weights.digest, picture.key, weights, picture, others), 1 + len(others)


@st.cache_resource(max_entries=LARGE, show_spinner="Comparing the gates of all images …")
def _summaries(
    digest: str, key: str, _weights: Weights, _picture: Picture, _others: list[Picture]
) -> list[explain.ModuleSummary]:
    seen = [outcome(_weights, each) for each in (_picture, *_others)]
    effects = explain.ablation_effects(load(_weights).model, image_of(_weights, _picture), _weights.threshold)
    return explain.module_summaries(seen, 0, effects, _weights.threshold)


def outcome(weights: Weights, picture: Picture) -> explain.Outcome:
    """Probability and gates of the image as it is."""
    return _outcome(weights.digest, picture.key, weights, picture)


@st.cache_resource(max_entries=SMALL, show_spinner=False)
def _outcome(digest: str, key: str, _weights: Weights, _picture: Picture) -> explain.Outcome:
    return explain.outcomes(load(_weights).model, image_of(_weights, _picture))[0]


def parts(weights: Weights) -> list[explain.Part]:
    """The parts of the paper's network, for images of the weights' own size."""
    return _parts(weights.digest, load(weights))


@st.cache_resource(max_entries=LOADED, show_spinner=False)
def _parts(digest: str, _segmenter: Segmenter) -> list[explain.Part]:
    return explain.architecture(_segmenter.model, *_segmenter.size)


def mixing(weights: Weights, picture: Picture, block: str) -> tuple[np.ndarray, np.ndarray]:
    """What goes into a block's CMN and what it adds, mean over channels, (H, W) each."""
    return _mixing(weights.digest, picture.key, block, weights, picture)


@st.cache_resource(max_entries=SMALL, show_spinner="Computing CMN …")
def _mixing(digest: str, key: str, block: str, _weights: Weights, _picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    seen = explain.read(load(_weights).model, image_of(_weights, _picture), f"{block}.cmn.*")
    before, added = (seen[f"{block}.cmn.{part}"][0].mean(-1).float().cpu().numpy() for part in ("input", "output"))
    return before, added


def field(weights: Weights, picture: Picture, place: tuple[float, float]) -> explain.ReceptiveField:
    """The receptive field of the output at a pixel, (row, column) as fractions of height and width in [0, 1).

    Raises:
        SkinlesionError: the output there doesn't depend on the image.
    """
    return _field(weights.digest, picture.key, place, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner="Measuring the receptive field …")
def _field(
    digest: str, key: str, place: tuple[float, float], _weights: Weights, _picture: Picture
) -> explain.ReceptiveField:
    pixels = image_of(_weights, _picture)
    at = int(place[0] * pixels.shape[2]), int(place[1] * pixels.shape[3])
    return explain.receptive_field(load(_weights).model, pixels, at=at)
