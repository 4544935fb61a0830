r"""Groups of images by what makes them difficult: skin tone, lesion size, whether it touches the frame, diagnosis.

The individual typology angle (Chardin et al., https://doi.org/10.1111/j.1467-2494.1991.tb00561.x) grades skin by its
color in CIE L*a*b*:

.. math:: \mathrm{ITA} = \arctan\frac{L^* - 50}{b^*} \cdot \frac{180}{\pi}

Here it is measured on the image's own background, so it is a property of the image and not of a person: lighting, white
balance and exposure affect it as much as skin does, and a lesion that fills the frame leaves little to measure.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from skinlesion.data.sample import Sample
from skinlesion.data.tables import image_name, plain, read_table
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

# Name and lowest angle in degrees, from light to dark (Del Bino and Bernerd, https://doi.org/10.1111/bjd.12529).
TONES = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -91.0),
)
# Name and lowest fraction of the image that is lesion, from small to large.
SIZES = (("under 5%", 0.0), ("5 to 20%", 0.05), ("20 to 50%", 0.2), ("over 50%", 0.5))
Balance = Literal["none", "tone"]  # which groups training oversamples
UNKNOWN = "unknown"
_FLAGS = ("melanoma", "seborrheic_keratosis")  # of ISIC 2017
GROUPS = ("tone", "size", "border", "diagnosis")

_SIDE = 128  # pixels; a median over the background needs no more
_MARGIN = 0.05  # of the side: the lesion's halo is not background
_DARK_CORNER = 20.0  # L*: the microscope's black frame, hair and ink
_LEAST = 0.01  # part of the image that must be background


def typology_angle(image: np.ndarray, mask: np.ndarray) -> float:
    """The individual typology angle of an image's background.

    The background is everything 5% of the side away from the lesion that is lighter than L* = 20; the angle is that of
    its median L* and b*.

    Args:
        image: uint8 (H, W, 3) RGB.
        mask: bool (H, W), the lesion.

    Returns:
        Degrees in [-90, 90], large for light skin; NaN where less than 1% of the image is background.
    """
    side = (_SIDE, _SIDE)
    small = np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX))
    lesion = np.asarray(Image.fromarray(mask).resize(side, Image.Resampling.NEAREST))
    far = ndimage.distance_transform_edt(~lesion) > _MARGIN * _SIDE if lesion.any() else np.ones(side, bool)
    lab = to_lab(small)
    background = lab[far & (lab[..., 0] > _DARK_CORNER)]
    if len(background) < _LEAST * _SIDE**2:
        return float("nan")
    lightness, _, yellow = np.median(background, axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1e-6))))


def to_lab(image: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of an sRGB image, for the white point D65.

    Args:
        image: uint8 (..., 3).

    Returns:
        float64 (..., 3): L* in [0, 100], a* and b* signed.
    """
    srgb = image / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1
    xyz = linear @ to_xyz.T / to_xyz.sum(1)  # 1 for white
    x, y, z = np.moveaxis(np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def tone(angle: float) -> str:
    """The name of an angle's group in `TONES`; "unknown" for NaN."""
    return UNKNOWN if np.isnan(angle) else next(name for name, least in TONES if angle >= least)


def size(mask: np.ndarray) -> str:
    """The name in `SIZES` of a mask's share of the image, whose bounds belong to the larger group."""
    share = float(mask.mean())
    return [name for name, least in SIZES if share >= least][-1]


def border(mask: np.ndarray) -> str:
    """Whether the lesion reaches the outermost row or column of pixels."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return "touches the frame" if edge.any() else "inside the frame"


def read_diagnoses(path: str | Path) -> dict[str, str]:
    """Diagnoses by image id from a `metadata.csv`.

    Columns are `id` (or `image_id`, `isic_id`, `image`) and either `diagnosis` (or `dx`) or the two flags of ISIC
    2017, `melanoma` and `seborrheic_keratosis`, whose zeros mean a nevus.

    Raises:
        SkinlesionError: the file cannot be read or has no such columns.
    """
    path = Path(path)
    columns, rows = read_table(path)
    id = next((columns.index(name) for name in ("id", "image_id", "isic_id", "image") if name in columns), None)
    named = next((columns.index(name) for name in ("diagnosis", "dx") if name in columns), None)
    if id is None or (named is None and not set(_FLAGS) <= set(columns)):
        raise SkinlesionError(
            f"{printable(path)} has no diagnoses: it needs a column `id` and either `diagnosis` or the flags "
            "`melanoma` and `seborrheic_keratosis`."
        )
    flags = [] if named is not None else [(flag, columns.index(flag)) for flag in _FLAGS]
    found = {}
    for row in rows:
        cells = [plain(each) for each in row] + [""] * (len(columns) - len(row))
        found[image_name(cells[id])] = _flagged(cells, flags) if named is None else cells[named] or UNKNOWN
    return found


def diagnoses_of(samples: Iterable[Sample], path: Path) -> dict[str, str]:
    """The diagnosis of each sample's id, from a `metadata.csv`; images that it doesn't list are left out.

    Raises:
        SkinlesionError: there is no such table, it cannot be used, or it lists none of the images.
    """
    if not path.exists():
        raise SkinlesionError(
            f"There are no diagnoses to group by: {printable(path)} doesn't exist. Put a table there with the columns "
            "id (the image's name) and diagnosis."
        )
    by_name = read_diagnoses(path)
    names = {sample.id: sample.id if sample.id in by_name else sample.image.stem for sample in samples}
    found = {id: by_name[name] for id, name in names.items() if name in by_name}
    if not found:
        raise SkinlesionError(
            f"{printable(path)} lists none of the images: its column of ids must hold their file names."
        )
    return found


def _flagged(cells: Sequence[str], flags: Sequence[tuple[str, int]]) -> str:
    """The first flag that is set, of those at the given places."""
    for flag, place in flags:
        if cells[place] in ("1", "1.0", "true", "True"):
            return flag.replace("_", " ")
    return "nevus"


class GroupOf:
    """Collects the groups that images fall into.

    Args:
        by: any of `GROUPS`.
        diagnoses: the diagnosis of each id, for "diagnosis".

    Raises:
        SkinlesionError: an unknown kind of group, or diagnoses are requested but there are none.
    """

    def __init__(self, by: Sequence[str], diagnoses: Mapping[str, str]) -> None:
        for each in by:
            if each not in GROUPS:
                raise SkinlesionError(f"Images cannot be grouped by {each!r}; choose from {', '.join(GROUPS)}.")
        if "diagnosis" in by and not diagnoses:
            raise SkinlesionError("There are no diagnoses to group by: put a metadata.csv beside the images.")
        self.by, self.diagnoses = tuple(dict.fromkeys(by)), diagnoses
        self.found: dict[str, tuple[str, ...]] = {}

    def add(self, id: str, image: np.ndarray, mask: np.ndarray) -> None:
        """Note the groups of an image, uint8 (H, W, 3), with its mask, bool of any size and the same frame."""
        find = {
            "tone": lambda: tone(typology_angle(image, mask)),
            "size": lambda: size(mask),
            "border": lambda: border(mask),
            "diagnosis": lambda: self.diagnoses.get(id, UNKNOWN),
        }
        self.found[id] = tuple(find[each]() for each in self.by)

    def of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """By each kind of group, the names of the given images' groups."""
        return {each: [self.found[id][i] for id in ids] for i, each in enumerate(self.by)}


def in_order(by: str, names: Sequence[str]) -> list[str]:
    """Group names as a table lists them: light to dark, small to large, otherwise alphabetical; unknown last."""
    known = {"tone": [name for name, _ in TONES], "size": [name for name, _ in SIZES]}.get(by, sorted(set(names)))
    order = [name for name in known if name != UNKNOWN] + [UNKNOWN]
    return [name for name in order if name in names]
