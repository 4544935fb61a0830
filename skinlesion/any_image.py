"""Images in any form that a user may pass: a path, bytes, a Pillow image, an array or a tensor."""

import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from skinlesion.data.images import read_image, rgb_array
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

ImageLike = str | Path | bytes | bytearray | memoryview | np.ndarray | Image.Image | Tensor
MAX_DOWNLOAD = 50_000_000  # bytes


def as_array(image: ImageLike) -> np.ndarray:
    """Convert an image in any supported form to uint8 (H, W, 3) RGB; files and Pillow images are turned upright.

    Args:
        image: a path, a file's bytes, a Pillow image, a uint8 array (H, W, 3), or a tensor (3, H, W), uint8 or floating
            point in [0, 1].

    Raises:
        SkinlesionError: the form isn't supported, or the file cannot be read.
    """
    if isinstance(image, Image.Image):
        return rgb_array(image)
    if isinstance(image, bytearray | memoryview):
        image = bytes(image)
    if isinstance(image, str | Path | bytes):
        return read_image(image)
    if isinstance(image, Tensor):
        image = _from_tensor(image)
    if not isinstance(image, np.ndarray):
        raise SkinlesionError(
            f"Give a path, a file's bytes, a Pillow image, an array or a tensor, not {type(image).__name__}; several "
            "images go to segment_batch."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise SkinlesionError(
            f"An array must be a uint8 RGB image (H, W, 3); got {image.dtype} {image.shape}. "
            "Give the file's path instead, or convert it first."
        )
    return image


def _from_tensor(tensor: Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] != 3 or tensor.numel() == 0:
        raise SkinlesionError(f"A tensor must be one RGB image (3, H, W); got {tuple(tensor.shape)}.")
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):  # False for NaN
            raise SkinlesionError("A floating-point tensor must be in [0, 1]: undo its normalization first.")
        tensor = (tensor.float() * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise SkinlesionError(f"A tensor must be uint8 or floating point in [0, 1], not {tensor.dtype}.")
    return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())  # (H, W, 3)


def fetch_image(url: str, *, timeout: float = 20.0) -> bytes:
    """Download an image's bytes for `Segmenter.segment`, which never goes online itself.

    Args:
        url: an address that begins with https:// or http://.
        timeout: how long to wait for the server, in seconds.

    Raises:
        SkinlesionError: the download fails, or the file is larger than 50 MB.
    """
    if urlsplit(url).scheme not in ("https", "http"):
        raise SkinlesionError(f"{printable(url)} is not an https or http address.")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            data: bytes = answer.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError) as error:
        raise SkinlesionError(f"{printable(url)} cannot be downloaded ({printable(error)}).") from error
    if len(data) > MAX_DOWNLOAD:
        raise SkinlesionError(f"{printable(url)} is larger than {MAX_DOWNLOAD // 1_000_000} MB: give a smaller image.")
    return data
