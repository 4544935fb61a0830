"""The sets of images with true masks: those that come with the package, and a local folder of datasets.

The folder is named by the environment variable SKINLESION_DATA_DIR when the app is started, never in a page: it holds
one dataset in a layout of `skinlesion.data.layouts`, or a folder for each of several.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.image_choice import Picture, keep_open, local_picture, samples
from dashboard.text import plain
from dashboard.weights import Weights
from skinlesion.data.groups import read_diagnoses
from skinlesion.data.layouts import OFFICIAL, Sample, find_samples
from skinlesion.data.samples import bundled_samples
from skinlesion.data.splits import load_split, packaged_manifest
from skinlesion.errors import SkinlesionError

FOLDER = "SKINLESION_DATA_DIR"
LIMITS = ("24", "100", "400", "all")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set that can be evaluated.

    Attributes:
        name: unique, as it is shown and stands in the address.
        samples: images with masks, in a fixed order that any first part is a fair draw of.
        manifest: of the split that it is a part of; "" if of none.
        part: "train", "val", "test" or "all".
        local: whether it is on this machine rather than in the package.
        diagnoses: by image id, as far as they are known.
        undiagnosed: a sentence on why there are no diagnoses; "" if there are.
    """

    name: str
    samples: tuple[Sample, ...]
    manifest: str
    part: str
    local: bool
    diagnoses: Mapping[str, str]
    undiagnosed: str

    @property
    def key(self) -> str:
        """By which caches know it."""
        return hashlib.sha256("\n".join(str(sample.image) for sample in self.samples).encode()).hexdigest()

    def first(self, limit: str) -> "ImageSet":
        """The first `limit` images ("24", "100" or "400"), or all of them."""
        count = len(self.samples) if limit == "all" else int(limit)
        return replace(self, samples=self.samples[:count])

    def seen_by(self, weights: Weights) -> str:
        """A sentence on whether these weights have been trained on these images; "" where nothing is known."""
        trained = weights.card.get("data", {}).get("manifest")
        if not self.manifest or not trained:
            return ""
        if trained != self.manifest:
            return (
                f"{weights.name} was trained on another split: some of these images may have been in its training set."
            )
        return {
            "test": f"{weights.name} was not trained on these images.",
            "val": f"{weights.name} was not trained on these images, but its epoch was chosen on them.",
        }.get(self.part, f"{weights.name} was trained on most of these images: the scores are too optimistic.")


def image_sets() -> tuple[dict[str, ImageSet], list[str]]:
    """All sets by name, the package's own first; and a sentence for each folder that cannot be used."""
    found = _bundled()
    folder = os.environ.get(FOLDER)
    if not folder:
        return found, []
    if not Path(folder).is_dir():
        return found, [f"{FOLDER} isn't the path of a folder: set it to one and restart the app."]
    local, problems = _local(folder)
    return found | local, problems


@st.cache_resource(max_entries=1, show_spinner=False)
def _bundled() -> dict[str, ImageSet]:
    bundled = bundled_samples()
    kinds = {"Samples (real)": ("real",), "Samples (synthetic)": ("synthetic",), "Samples (all)": ("real", "synthetic")}
    found = {}
    for name, kept in kinds.items():
        chosen = tuple(Sample(s.id, s.image_path, s.mask_path) for s in bundled if s.kind in kept)
        manifest = packaged_manifest("isic2017-paper").hash if kept == ("real",) else ""
        diagnoses = {s.id: s.diagnosis for s in bundled if s.kind in kept and s.diagnosis}
        undiagnosed = "" if diagnoses else "Synthetic images have no diagnoses."
        found[name] = ImageSet(name, chosen, manifest, "test", False, diagnoses, undiagnosed)
    return found


def said_of(error: SkinlesionError) -> str:
    """What an error says, without the folder: a visitor need not know where it is."""
    folder = os.environ.get(FOLDER)
    return str(error).replace(f"{Path(folder)}/", "") if folder else str(error)


@st.cache_resource(max_entries=2, ttl=60, show_spinner="Looking for local images …")
def _local(folder: str) -> tuple[dict[str, ImageSet], list[str]]:
    root = Path(folder)
    found: dict[str, ImageSet] = {}
    problems: list[str] = []
    places = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    for place in places:
        dataset = _layout(place)
        if dataset is None:
            continue
        try:
            for image_set in _parts(place, dataset):
                found[image_set.name] = image_set
        except SkinlesionError as error:
            problems.append(said_of(error))
    if not found and not problems:
        problems.append(
            f"{FOLDER} holds no dataset in a known layout: the official ISIC archives unzipped under one folder, or "
            "folders named images and masks."
        )
    return found, problems


def _layout(folder: Path) -> str | None:
    """Which layout a folder seems to have, by the names of what is in it."""
    names = {path.name.lower() for path in folder.iterdir() if path.is_dir()}
    for dataset, parts in OFFICIAL.items():
        if names & {name.lower() for part in parts for name in (part.images, part.masks)}:
            return dataset
    if {"images", "masks"} <= names:
        return "folder"
    return "vmunet" if (folder / "train" / "images").is_dir() else None


def _parts(folder: Path, dataset: str) -> list[ImageSet]:
    everything = find_samples(folder, dataset)
    title = state.tidy(folder.name)
    parts: dict[str, tuple[list[Sample], str]] = {}
    if dataset in OFFICIAL:
        try:
            manifest = load_split(everything, dataset)
        except SkinlesionError:  # a part of the archives: then there is no such split of it, and all is one set
            pass
        else:
            for part in ("test", "val"):
                wanted = set(manifest.parts[part])
                parts[part] = [s for s in everything if s.id in wanted], manifest.hash
            parts["all"] = everything, manifest.hash
    parts = parts or {"all": (everything, "")}
    diagnoses, undiagnosed = _diagnoses(folder)
    return [
        ImageSet(f"{title} ({part})", tuple(sorted(chosen, key=_lot)), manifest, part, True, diagnoses, undiagnosed)
        for part, (chosen, manifest) in parts.items()
    ]


def _diagnoses(folder: Path) -> tuple[dict[str, str], str]:
    """Diagnoses by image id, in words that an address can carry; and why there are none."""
    table = folder / "metadata.csv"
    if not table.is_file():
        return {}, f"{folder.name} has no diagnoses: put a metadata.csv with the columns id and diagnosis into it."
    try:
        return {id: state.tidy(name) for id, name in read_diagnoses(table).items()}, ""
    except SkinlesionError as error:
        return {}, said_of(error)


def _lot(sample: Sample) -> str:
    return hashlib.sha256(sample.id.encode()).hexdigest()


def choose_set(weights: Sequence[Weights]) -> ImageSet:
    """Draw the widgets and return the set, reduced to the chosen number of images."""
    sets, problems = image_sets()
    for problem in problems:
        st.warning(f"Left out: {plain(problem)}", icon=":material/folder_off:")
    state.settle("set", list(sets), next(iter(sets)))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Images",
            list(sets),
            key="set",
            width=280,
            format_func=lambda name: f"{name}: {len(sets[name].samples)} images",
            help=f"With true masks. For images of your own, start the app with the environment variable {FOLDER} set "
            "to a folder with ISIC data, or with the folders images and masks.",
        )
        chosen = sets[state.get("set")]
        if len(chosen.samples) > int(LIMITS[0]):
            st.segmented_control("How many", LIMITS, key="images", help="The first ones in a fixed random order.")
            chosen = chosen.first(state.get("images"))
    if said := " ".join(filter(None, dict.fromkeys(chosen.seen_by(each) for each in weights))):
        st.caption(plain(said))
    return chosen


def picture_of(images: ImageSet, sample: Sample) -> Picture:
    """The picture to look at closely.

    Raises:
        SkinlesionError: a file cannot be read.
    """
    return _local_picture(str(sample.image), sample) if images.local else samples()[sample.id]


def address_of(images: ImageSet, sample: Sample) -> str:
    """What an image is called in an address: its id, for a local set with the set's name before it."""
    return f"{images.name}/{sample.id}" if images.local else sample.id


def open_local(address: str) -> bool:
    """Put the image of a local set that an address names among those that can be chosen; False if there is none.

    Raises:
        SkinlesionError: a file cannot be read.
    """
    name, _, id = address.partition("/")
    images = image_sets()[0].get(name)
    sample = next((sample for sample in images.samples if sample.id == id), None) if images else None
    if images is None or sample is None or not images.local:
        return False
    keep_open(address, picture_of(images, sample))
    return True


@st.cache_resource(max_entries=16, show_spinner=False)
def _local_picture(path: str, _sample: Sample) -> Picture:
    return local_picture(_sample)
