"""The table of predictions, written row by row: it is complete whenever the work stops, and can be continued."""

import csv
import errno
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.files import cannot_write, replacing
from skinlesion.text import cell, printable, table_writer

FILE = "predictions.csv"


class PredictionTable:
    """A CSV file that grows by one row at a time.

    Args:
        path: where.
        columns: their names.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self._file: io.FileIO | None = None

    def read(self) -> list[dict[str, str]]:
        """The rows of an earlier batch, by column; [] without a file. A truncated last line is left out.

        Raises:
            SkinlesionError: the file is not such a table.
        """
        wrong = SkinlesionError(
            f"{printable(self.path)} cannot be continued: it is not a table of predictions from this version. "
            "Choose another --out."
        )
        try:
            data = self.path.read_bytes()
            complete = data[: data.rfind(b"\n") + 1].decode("utf-8")
            rows = list(csv.reader(io.StringIO(complete, newline="")))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SkinlesionError(f"{printable(self.path)} cannot be read ({error.strerror}).") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise wrong from error
        if rows and tuple(rows[0]) != self.columns:
            raise wrong
        return [dict(zip(self.columns, row, strict=True)) for row in rows[1:] if len(row) == len(self.columns)]

    def start(self, kept: Sequence[Mapping[str, str]] = ()) -> None:
        """Start the file, with those rows that are still valid.

        Raises:
            SkinlesionError: it cannot be written.
        """
        rows = [self.columns, *([row[name] for name in self.columns] for row in kept)]
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(map(_line, rows)))
        # Without a buffer: a row is one write, which nothing interrupts halfway.
        self._file = self.path.open("ab", buffering=0)

    def append(self, row: Sequence[Any]) -> None:
        """Add a row, whole or not at all.

        Raises:
            SkinlesionError: there is no room.
        """
        assert self._file is not None
        end = self._file.seek(0, os.SEEK_END)
        line = _line([cell(value) for value in row])
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "there is no room for another row")
        except OSError as error:
            self._file.truncate(end)
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO(newline="")
    table_writer(text).writerow(cells)
    return text.getvalue().encode()
