"""Weights on the Hugging Face hub (https://huggingface.co/docs/hub): `Segmenter.from_pretrained("user/repo")`.

A repository holds one checkpoint, `skinlesion.safetensors`, beside its model card. What comes from there is checked
like any other checkpoint: no pickle, and no code that the file names.
"""

import re
from pathlib import Path

from skinlesion.checkpoint import find_weights, read_card, tensors_hash
from skinlesion.errors import SkinlesionError
from skinlesion.model_card import model_card
from skinlesion.text import printable

FILE = "skinlesion.safetensors"
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_HEADER = """---
license: other
library_name: skinlesion
pipeline_tag: image-segmentation
---
"""


def is_repository(name: str) -> bool:
    """Whether a name could be "user/repo"; a path whose first folder is here is not."""
    return _REPOSITORY.fullmatch(name) is not None and not Path(name).parent.exists()


def download(repository: str) -> Path:
    """The checkpoint of a repository, from the hub or from the hub's cache on this machine.

    Args:
        repository: "user/repo".

    Raises:
        SkinlesionError: huggingface_hub is missing, there is no such repository or file, or the hub can't be reached.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise SkinlesionError(
            f"There are no weights {repository!r} here. If that is a repository on the Hugging Face hub: "
            "pip install 'skinlesion[hub]'."
        ) from error
    try:
        return Path(hf_hub_download(repository, FILE, etag_timeout=5))
    except (OSError, ValueError) as error:  # the hub's own errors are of both kinds
        why = printable(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        raise SkinlesionError(
            f"There are no weights {printable(repository)!r}: neither a file here nor a repository with {FILE} on the "
            f"Hugging Face hub ({why})."
        ) from error


def push(name_or_path: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint and its model card; the token is that of `hf auth login`.

    Args:
        name_or_path: as `find_weights`.
        repository: "user/repo"; created if it doesn't exist.
        private: make a new repository private.

    Returns:
        Its address.

    Raises:
        SkinlesionError: huggingface_hub is missing, the name is not one of a repository, or the hub refuses.
    """
    path = find_weights(name_or_path)
    if _REPOSITORY.fullmatch(repository) is None:
        raise SkinlesionError(f"{printable(repository)!r} is not the name of a repository: give USER/NAME.")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as error:
        raise SkinlesionError("Uploading needs huggingface_hub: pip install 'skinlesion[hub]'.") from error
    page = _HEADER + model_card(read_card(path), name=repository.split("/")[1], digest=tensors_hash(path))
    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        files = [CommitOperationAdd(FILE, path), CommitOperationAdd("README.md", page.encode())]
        api.create_commit(repository, files, commit_message="Upload weights")
    except (OSError, ValueError) as error:
        raise SkinlesionError(f"The hub refused {printable(repository)}: {printable(str(error))}") from error
    return str(address)
