"""Which checkpoints there are, and the one segmenter of each that all visitors share."""

import functools
import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.text import plain
from skinlesion.checkpoint import DEFAULT_WEIGHTS, WEIGHTS, available_weights, read_card, tensors_hash
from skinlesion.errors import SkinlesionError
from skinlesion.explain import ablated_model
from skinlesion.segmenter import Segmenter

FOLDER = "SKINLESION_WEIGHTS_DIR"
DEVICE = "SKINLESION_DEVICE"
LOADED = 6  # segmenters in memory at most; the paper's network has 173 MB


@dataclass(frozen=True, eq=False)
class Weights:
    """A checkpoint that can be chosen.

    Attributes:
        name: unique, as it is shown and stands in the address.
        path: the file.
        card: its card, see `skinlesion.checkpoint`.
        digest: of its tensors and its card; caches know it by this.
        shipped: whether it comes with the package.
        base: the checkpoint whose modules are ablated; None for a file as it is.
        ablated: those modules, see `skinlesion.explain.ablated_model`.
    """

    name: str
    path: Path
    card: dict[str, Any]
    digest: str
    shipped: bool
    base: "Weights | None" = None
    ablated: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The network's name."""
        return self.card["model"]["name"]

    @property
    def threshold(self) -> float:
        """The checkpoint's own."""
        return self.card.get("threshold", 0.5)


@functools.lru_cache(maxsize=64)
def _describe(path: Path, modified: int, size: int) -> tuple[dict[str, Any], str]:
    """Card and digest of a file that has not changed since."""
    card = read_card(path)
    text = json.dumps(card, sort_keys=True)
    return card, hashlib.sha256(f"{tensors_hash(path)} {text}".encode()).hexdigest()


def catalogue() -> tuple[dict[str, Weights], list[str]]:
    """All checkpoints by name, the default and the shipped ones first; and a sentence for each that cannot be used."""
    names = sorted(available_weights(), key=lambda name: name != DEFAULT_WEIGHTS)
    places = [(WEIGHTS / f"{name}.safetensors", True) for name in names]
    problems: list[str] = []
    folder = os.environ.get(FOLDER)
    if folder and not Path(folder).is_dir():
        problems.append(f"{FOLDER} isn't the path of a folder: set it to one and restart the app.")
    elif folder:
        places += [(path, False) for path in _files(Path(folder))]
    found: dict[str, Weights] = {}
    for path, shipped in places:
        name = path.parent.name if path.stem == "best" else path.stem
        name = state.tidy(name)
        while name in found:
            name += "+"
        try:
            status = path.stat()
            card, digest = _describe(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            problems.append(f"{path.name}: {error.strerror}.")
        except SkinlesionError as error:
            problems.append(str(error).replace(str(path), path.name))  # a visitor need not know the folder
        else:
            found[name] = Weights(name, path, card, digest, shipped)
    return found, problems


def _files(folder: Path) -> list[Path]:
    """Anything in the folder that claims to be a checkpoint, or to hold one."""
    files = [path for path in folder.iterdir() if path.suffix in (".safetensors", ".ckpt", ".pt", ".pth")]
    return sorted([*files, *folder.glob("*/best.safetensors")])


def load(weights: Weights) -> Segmenter:
    """The segmenter of a checkpoint; one for all visitors, never changed.

    Raises:
        SkinlesionError: it cannot be used after all.
    """
    if weights.base is not None:
        return _ablated(weights.digest, weights.ablated, load(weights.base))
    return _load(weights.digest, weights.path)


def ablate(weights: Weights, parts: tuple[str, ...], name: str) -> Weights:
    """The same checkpoint with modules ablated; caches tell them apart by the digest."""
    digest = hashlib.sha256(f"{weights.digest} without {parts}".encode()).hexdigest()
    return replace(weights, name=name, digest=digest, base=weights, ablated=parts)


@st.cache_resource(max_entries=LOADED, show_spinner=False)
def _ablated(digest: str, parts: tuple[str, ...], _segmenter: Segmenter) -> Segmenter:
    copy = ablated_model(_segmenter.model, parts)  # around the same weights
    return Segmenter(copy, _segmenter.card, device=_segmenter.device)


@st.cache_resource(max_entries=LOADED, show_spinner="Loading the network …")
def _load(digest: str, _path: Path) -> Segmenter:
    return Segmenter.from_pretrained(_path, device=device())


def device() -> str:
    """Where networks should run, as `Segmenter` takes it."""
    return os.environ.get(DEVICE) or "auto"


def choose(label: str = "Weights", key: str = "weights") -> Weights | None:
    """The widget that chooses among them; None, and a message, where there are none."""
    found, problems = catalogue()
    for problem in problems:
        st.warning(f"Left out: {plain(problem)}", icon=":material/warning:")
    if not found:
        no_weights()
        return None
    state.settle(key, list(found), next(iter(found)))
    st.selectbox(label, list(found), key=key)
    return found[state.get(key)]


def no_weights() -> None:
    """Say that there is nothing to segment with, and what to do."""
    st.error(
        "**There are no trained weights here**, so nothing can be segmented yet. Train some (`skinlesion train "
        "--recipe cpu --preset small …`), put the run folder or its `best.safetensors` into a folder, and start the "
        f"app with `{FOLDER}` set to that folder.",
        icon=":material/error:",
    )
