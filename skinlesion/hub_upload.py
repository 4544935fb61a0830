"""Uploading weights and their model card to the Hugging Face Hub, from which `skinlesion.hub` downloads them."""

from pathlib import Path

from skinlesion.checkpoint import find_weights, read_card, tensors_hash
from skinlesion.errors import SkinlesionError
from skinlesion.hub import FILE, REPOSITORY
from skinlesion.model_card import model_card
from skinlesion.text import printable

_HEADER = """---
license: other
library_name: skinlesion
pipeline_tag: image-segmentation
---
"""


def push(name_or_path: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint and its model card; the token is that of `hf auth login`.

    Args:
        name_or_path: as `find_weights`.
        repository: "user/repo"; created if it doesn't exist.
        private: make a new repository private.

    Returns:
        The repository's address.

    Raises:
        SkinlesionError: huggingface_hub is missing, the name is not one of a repository, or the hub refuses.
    """
    path = find_weights(name_or_path)
    if REPOSITORY.fullmatch(repository) is None:
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
