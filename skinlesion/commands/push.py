"""`skinlesion push`."""

import tyro

from skinlesion.hub_upload import push as upload


def push(weights: tyro.conf.Positional[str], repository: tyro.conf.Positional[str], *, private: bool = False) -> None:
    """Upload weights and their model card to the Hugging Face Hub, from which any machine can load them by name.

    Log in first with `hf auth login`.

    Args:
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        repository: USER/NAME on the hub; created if it doesn't exist.
        private: Make a new repository private.
    """
    print(f"{upload(weights, repository, private=private)}: load it with --weights {repository}.")
