"""Which images belong together: several of one lesion or one patient, which must stay on one side of a split.

``groups.csv`` beside the data has a column of image names and one or more columns of groups, like HAM10000's
metadata::

    image_id,lesion_id
    ISIC_0027419,HAM_0000118
    ISIC_0025030,HAM_0000118
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from skinlesion.data.sample import Sample
from skinlesion.data.tables import image_name, plain, read_table
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing
from skinlesion.text import printable, table_writer

FILE = "groups.csv"
_IMAGE_COLUMNS = ("image", "image_id", "image_name", "isic_id", "id", "file", "filename", "name")
_GROUP_COLUMNS = ("group", "group_id", "lesion", "lesion_id", "patient", "patient_id", "case", "case_id")


def with_groups(samples: Sequence[Sample], path: Path) -> list[Sample]:
    """The samples with their groups from a table. Images that it doesn't list stay ungrouped.

    Raises:
        SkinlesionError: it cannot be read, has no column for images or groups, or lists none of these images.
    """
    named = read_groups(path)
    links: list[tuple[str, str]] = []
    first: dict[tuple[int, str], str] = {}
    by_name = {sample.image.stem: sample.id for sample in samples} | {sample.id: sample.id for sample in samples}
    known = 0
    for name, values in named:
        id = by_name.get(name)
        if id is None:
            continue
        known += 1
        for column, value in enumerate(values):
            if value:
                links.append((first.setdefault((column, value), id), id))
    if not known:
        listed = f"it begins with {printable(named[0][0])!r}" if named else "it has no complete row"
        raise SkinlesionError(
            f"{printable(path)} lists none of the images ({listed}): its column of images must hold their file names."
        )
    together = [members for members in joined([sample.id for sample in samples], links) if len(members) > 1]
    group_of = {id: members[0] for members in together for id in members}
    return [replace(sample, group=group_of.get(sample.id)) for sample in samples]


def read_groups(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Image name without suffix -> its groups, one for each column of groups.

    Raises:
        SkinlesionError: it cannot be read, or has no such columns.
    """
    header, rows = read_table(path)
    image = next((header.index(name) for name in _IMAGE_COLUMNS if name in header), None)
    groups = [place for place, name in enumerate(header) if name in _GROUP_COLUMNS and place != image]
    if image is None or not groups:
        raise SkinlesionError(
            f"{printable(path)} needs a header with a column of images ({', '.join(_IMAGE_COLUMNS[:4])}, ...) and one "
            f"of groups ({', '.join(_GROUP_COLUMNS[1:6:2])}, ...); found {printable(', '.join(header[:6])) or 'none'}."
        )
    wide = [row for row in rows if len(row) > max(image, *groups)]
    return [(image_name(row[image]), tuple(plain(row[place]) for place in groups)) for row in wide]


def write_groups(path: Path, groups: Iterable[Sequence[str]]) -> None:
    """Write groups of image names as a table that `read_groups` reads; whole or not at all.

    Raises:
        SkinlesionError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:
        writer = table_writer(file)
        writer.writerow(["image", "group"])
        for number, members in enumerate(groups, start=1):
            for name in members:
                writer.writerow([name, f"group-{number:04d}"])


def joined(ids: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Join ids that are linked by pairs, directly or through others (union-find); each group sorted.

    Pairs of absent ids are ignored.
    """
    ids = sorted(ids)
    parent = {id: id for id in ids}

    def find(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    for a, b in pairs:
        if a in parent and b in parent:
            parent[find(a)] = find(b)
    groups: dict[str, list[str]] = {}
    for id in ids:
        groups.setdefault(find(id), []).append(id)
    return list(groups.values())


def group_pairs(samples: Iterable[Sample]) -> list[tuple[str, str]]:
    """Links between the ids of each group."""
    first: dict[str, str] = {}
    return [(first.setdefault(s.group, s.id), s.id) for s in samples if s.group is not None]
