"""One file over HTTP, however often the connection drops.

Bytes go to ``<name>.part`` beside the target; a dropped or killed transfer goes on from there (HTTP Range),
and only a complete file with the right checksum gets the target's name.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path

from skinlesion.errors import FULL, MachineError, SkinlesionError
from skinlesion.version import __version__

OnProgress = Callable[[int, int | None], None]

_TIMEOUT = 30  # seconds of silence
_CHUNK = 1 << 20
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
# A file system's limit on the size of a file (4 GB on FAT32) is, to the user, one more way of being full.


class _Dropped(Exception):  # noqa: N818 - the connection's state, not an error of the user's
    """The transfer stopped in a way that may pass; bytes that arrived are in the part file."""


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    on_progress: OnProgress | None = None,
    attempts: int = 5,
    wait: float = 1.0,
) -> str:
    """Download a file, resuming where an earlier call stopped.

    Args:
        url: An http or https address.
        path: Where the complete file goes; its folder exists.
        sha256: The expected checksum in hexadecimal, or None if none is published.
        on_progress: Called with the bytes so far and the bytes in all (None if the server does not say).
        attempts: Give up after this many consecutive attempts without any new bytes.
        wait: Seconds before the second attempt; doubled for each next one, up to 30.

    Returns:
        The file's SHA-256 in hexadecimal.

    Raises:
        SkinlesionError: No such file on the server, no connection, a full or read-only disk, or a wrong
            checksum. Unless the checksum is wrong, the bytes received are kept.
    """
    part = path.with_name(path.name + ".part")
    in_vain = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, on_progress)
            break
        except _Dropped as error:
            in_vain = 0 if _size(part) > before else in_vain + 1
            if in_vain == attempts:
                raise SkinlesionError(
                    f"{url} cannot be reached ({error}); {megabytes(_size(part))} are kept in {part.name}. "
                    "Check the connection and run the same command again: it resumes from there."
                ) from error
            time.sleep(min(wait * 2**in_vain, 30))
    digest = file_sha256(part)
    if sha256 is not None and digest != sha256.lower():
        part.unlink()
        raise SkinlesionError(
            f"{path.name} has the wrong checksum (SHA-256 {digest}, expected {sha256}) and was removed: "
            "run the same command again; if it happens again, the file on the server has changed."
        )
    os.replace(part, path)
    return digest


def remote_size(url: str) -> int | None:
    """Ask the server for a file's size in bytes; None if it doesn't report one (the download itself will show why)."""
    try:
        with urllib.request.urlopen(_request(url, method="HEAD"), timeout=_TIMEOUT) as response:
            length = response.headers.get("Content-Length", "")
    except (OSError, http.client.HTTPException):
        return None
    return int(length) if length.isdecimal() else None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(size: int) -> str:
    """Write a number of bytes for people, e.g. ``12.5 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def disk_error(path: Path, error: OSError, kept: str = "") -> SkinlesionError:
    """Say in one sentence why a file could not be written, and what to do."""
    if error.errno in FULL:
        return MachineError(
            f"The disk is full, or cannot hold a file as large as {path}: free some space, or choose another "
            f"folder, and run the same command again{kept}."
        )
    return SkinlesionError(f"{path} cannot be written ({error.strerror}): choose a folder that you may write to.")


def _transfer(url: str, part: Path, on_progress: OnProgress | None) -> None:
    """One attempt: append to the part file what it lacks, or write it anew if the server cannot resume."""
    offset = _size(part)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        response = urllib.request.urlopen(_request(url, headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and _range_of(error.headers) == (None, offset):
                return  # nothing lies beyond what is here
            if error.code == 416:
                part.unlink()  # longer than the file on the server: left from another one
                raise _Dropped("the file on the server has changed") from error
            if error.code in _MAY_PASS:
                raise _Dropped(f"{error.code} {error.reason}") from error
            raise SkinlesionError(
                f"{url} answered {error.code} {error.reason}: check the address, or download the file by hand "
                f"into {part.parent}."
            ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Dropped(_reason(error)) from error
    with response:
        resumed = response.status == 206
        if resumed and _range_of(response.headers)[0] != offset:
            part.unlink()
            raise _Dropped("the server sent a different range from the one requested")
        length = response.headers.get("Content-Length", "")
        total = int(length) + (offset if resumed else 0) if length.isdecimal() else None
        done = _write(response, part, offset if resumed else 0, total, on_progress)
    if total is not None and done < total:
        raise _Dropped(f"the connection closed after {megabytes(done)} of {megabytes(total)}")


def _write(
    response: http.client.HTTPResponse, part: Path, done: int, total: int | None, on_progress: OnProgress | None
) -> int:
    """Copy the response to the part file from byte ``done`` on; return where it ended."""
    try:
        with open(part, "ab" if done else "wb") as file:
            while True:
                try:
                    # read1 hands over what has arrived: a connection that breaks later does not take it away.
                    chunk = response.read1(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _Dropped(_reason(error)) from error
                if not chunk:
                    return done
                file.write(chunk)
                done += len(chunk)
                if on_progress:
                    on_progress(done, total)
    except OSError as error:
        kept = f": in this folder it resumes after the first {megabytes(_size(part))}"
        raise disk_error(part, error, kept=kept) from error


def _request(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> urllib.request.Request:
    if not url.startswith(("http://", "https://")):
        raise SkinlesionError(f"{url} is not an http or https address.")
    headers = {"User-Agent": f"skinlesion/{__version__}", **(headers or {})}
    return urllib.request.Request(url, headers=headers, method=method)


def _range_of(headers: Message) -> tuple[int | None, int | None]:
    """First byte and total size of a ``Content-Range``: ``bytes 5-9/10`` or ``bytes */10``; None where not stated."""
    span, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
