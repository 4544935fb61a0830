"""Unpacking an archive that somebody else made, into one new folder and nowhere else."""

import errno
import os
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from skinlesion.data.fetch import disk_error, megabytes
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

# JPEG and PNG do not shrink in a zip, text shrinks tenfold: a hundredfold is an attack on the disk.
_MAX_RATIO = 100
_DEEPEST = 20  # folders inside each other; the official archives have two
# What zipfile raises, besides its own exception, for bytes that are no archive: found by feeding it broken ones.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, IndexError, ValueError, NotImplementedError)


def unzip(archive: Path, folder: Path) -> None:
    """Unpack ``archive`` so that ``folder`` holds its files; a folder of that name inside the archive isn't nested
    in it.

    Every entry is checked before the first is written; the files are unpacked beside ``folder`` under a
    temporary name and renamed together, so ``folder`` is there completely or not at all.

    Args:
        archive: A zip file.
        folder: The folder to make; must not exist.

    Raises:
        SkinlesionError: ``folder`` exists, the archive is damaged or not a zip, an entry would leave the
            folder (absolute path, ``..``, link) or is encrypted or duplicated, the files would be absurdly
            large, or the disk is full.
    """
    if folder.exists():
        raise SkinlesionError(f"{folder} exists already: move it away to unpack {archive.name} again.")
    temporary = folder.with_name(f".{folder.name}.unzipping")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check(archive, entries, folder.parent)
            temporary.mkdir()
            for entry in entries:
                _unpack(opened, entry, temporary)
        inner = temporary / folder.name
        os.replace(inner if inner.is_dir() else temporary, folder)
    except SkinlesionError:  # a ValueError too, which below means damage
        raise
    except FileExistsError as error:
        raise SkinlesionError(
            f"{archive} holds two files with the same name ({_short(str(error.filename))}): do not use it."
        ) from error
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # A broken table of contents makes zipfile seek to before the beginning.
        raise (_damaged(archive, error) if error.errno == errno.EINVAL else disk_error(folder, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(archive: Path, entries: list[zipfile.ZipInfo], target: Path) -> None:
    for entry in entries:
        # A Windows path is as dangerous on Windows as an absolute one is here: backslash and drive letter are refused.
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise SkinlesionError(
                f"{archive} would write outside its folder ({_short(entry.filename)}): do not use it."
            )
        if len(path.parts) > _DEEPEST:
            raise SkinlesionError(
                f"{archive} holds folders nested {len(path.parts)} deep ({_short(entry.filename)}): do not use it."
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise SkinlesionError(f"{archive} holds a link or device ({_short(entry.filename)}): do not use it.")
        if entry.flag_bits & 1:
            raise SkinlesionError(f"{archive} is encrypted ({_short(entry.filename)}): the official archives are not.")
    size = sum(entry.file_size for entry in entries)
    if size > _MAX_RATIO * archive.stat().st_size:
        raise SkinlesionError(
            f"{archive} would grow more than {_MAX_RATIO} times, to {megabytes(size)}: do not use it."
        )
    free = shutil.disk_usage(target).free
    if size > free:
        raise SkinlesionError(
            f"{archive} needs {megabytes(size)} to unpack and {target} has {megabytes(free)} free: free some space "
            "and run the same command again."
        )


def _short(name: str) -> str:
    return printable(name if len(name) <= 80 else f"{name[:80]}...")


def _damaged(archive: Path, error: Exception) -> SkinlesionError:
    return SkinlesionError(
        f"{archive} is damaged or not a zip archive ({_short(str(error))}): delete it and download it again."
    )


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path) -> None:
    path = root / entry.filename
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Mode x never follows or overwrites anything; reading to the end checks the entry's CRC.
    with opened.open(entry) as source, open(path, "xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
