"""Weights on the Hugging Face Hub (https://huggingface.co/docs/hub), for `Segmenter.from_pretrained("user/repo")`.

A repository holds one checkpoint, `skinlesion.safetensors`, beside its model card. What comes from there is checked
like any other checkpoint: no pickle, and no code that the file names.
"""

import re
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

FILE = "skinlesion.safetensors"
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def is_repository(name: str) -> bool:
    """Whether a name could be "user/repo"; a path whose first folder is here is not."""
    return REPOSITORY.fullmatch(name) is not None and not Path(name).parent.exists()


def download(repository: str) -> Path:
    """The checkpoint of a repository, from the hub or from the hub's cache on this machine.

    Args:
        repository: "user/repo".

    Raises:
        SkinlesionError: huggingface_hub is missing, there is no such repository or file, or the hub can't be reached.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
    except ImportError as error:
        raise SkinlesionError(
            f"No weights named {repository!r} were found here. If this is a repository on the Hugging Face Hub: "
            "pip install 'skinlesion[hub]'."
        ) from error
    there = _reachable(constants.ENDPOINT)
    try:
        return Path(hf_hub_download(repository, FILE, etag_timeout=5, local_files_only=not there))
    except (OSError, ValueError) as error:  # the hub's own errors are of both kinds
        why = printable(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        why = why if there else f"{constants.ENDPOINT} can't be reached, and there is no cached copy"
        raise SkinlesionError(
            f"Unknown weights {printable(repository)!r}: neither a file here nor a repository with {FILE} on the "
            f"Hugging Face Hub ({why})."
        ) from error


def _reachable(address: str) -> bool:
    """Whether a server answers at the address; the hub's own client would try for half a minute."""
    parts = urlsplit(address)
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(parts.hostname or ""):
        return True  # as far as can be told from here
    try:
        socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), 5).close()
    except OSError:
        return False
    return True
