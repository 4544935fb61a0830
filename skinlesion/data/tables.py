"""Reading the CSV tables that people keep beside their images, whatever spreadsheet wrote them."""

import csv
import io
from pathlib import Path

from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

_MAX_BYTES = 50_000_000
_SEPARATORS = ",;\t"  # spreadsheets write semicolons where the comma is the decimal point


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """The column names, in lower case, and the rows of a table separated by commas, semicolons or tabs.

    The separator is the most frequent of these in the header. Rows may be shorter or longer than the header.

    Raises:
        SkinlesionError: it cannot be read, is too large, or is not a CSV table in UTF-8.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SkinlesionError(f"{printable(path)} is too large; keep only the columns that are needed.")
        text = path.read_text("utf-8-sig")
        header = text.partition("\n")[0]
        rows = list(csv.reader(io.StringIO(text), delimiter=max(_SEPARATORS, key=header.count)))
    except OSError as error:
        raise SkinlesionError(f"{printable(path)} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SkinlesionError(f"{printable(path)} is not a CSV table in UTF-8: save it as one.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    return names, rows[1:]


def image_name(cell: str) -> str:
    """The name of the image that a table's cell means: without folders and without an image's suffix."""
    name = plain(cell).replace("\\", "/").rpartition("/")[2]
    suffix = Path(name).suffix
    return name[: len(name) - len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name


def plain(cell: str) -> str:
    """A cell without the apostrophe that `skinlesion.text.cell` puts before what looks like a formula."""
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@") else cell
