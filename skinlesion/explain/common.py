"""What all explanations share: checks, reading activations, and copies around the same weights.

A shared model serves several people at once, so nothing here changes it: activations are read with `observe`, and
whatever needs another mode works on a private copy around the same weights.
"""

import copy

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.hooks import observe


def shared_copy(model: nn.Module) -> nn.Module:
    """A private copy of a model's modules around the same parameters and buffers, in evaluation mode.

    Hooks, modes and replaced parts of the copy do not reach the model, and no weight is copied.

    Args:
        model: any module.
    """
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def evaluating(model: nn.Module) -> nn.Module:
    """The model itself if all of it is in evaluation mode, else a `shared_copy`.

    In training mode a forward pass would change the statistics of batch normalization, and drop paths at random.
    """
    return shared_copy(model) if any(module.training for module in model.modules()) else model


def check_image(image: Tensor, *, single: bool = True) -> None:
    """Refuse what is not one prepared image (or a batch of them).

    Raises:
        SkinlesionError: it is not a floating-point tensor (1, C, H, W), or (B, C, H, W) unless `single`.
    """
    valid = isinstance(image, Tensor) and image.is_floating_point() and image.dim() == 4 and image.numel() > 0
    if not valid or (single and image.shape[0] != 1):
        shape = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        expected = (
            "one prepared image, a float tensor (1, 3, H, W)" if single else "images, a float tensor (B, 3, H, W)"
        )
        raise SkinlesionError(f"Give {expected}, as Segmenter.prepare makes it; got {shape}.")


@torch.no_grad()
def read(model: nn.Module, image: Tensor, *names: str) -> dict[str, Tensor]:
    """Run a network on one image and return activations.

    Args:
        model: any network with these points, in any mode; it is left as it was.
        image: (1, C, H, W).
        *names: points, or patterns such as "*.se.gate".

    Returns:
        Point -> tensor.

    Raises:
        SkinlesionError: the network has no such point, or the image is not one image.
    """
    check_image(image)
    network = evaluating(model)
    with observe(network, *names) as seen:
        network(image)
    return dict(seen)


def model_name(model: nn.Module) -> str:
    """What to call a model in a message."""
    return str(getattr(model, "name", type(model).__name__))


def cell_size(model: nn.Module, level: int) -> int:
    """Image pixels along one side of a cell of the grid at a level (1 for E1 and D1, 2 for E2, D2 and S2, ...)."""
    return model.config.patch_size * 2 ** (level - 1)  # type: ignore[union-attr]
