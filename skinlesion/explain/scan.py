"""The selective scan inside one block, for one image: its routes, its step sizes, and its parameters."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import cell_size, model_name, read
from skinlesion.hooks import find_point, points
from skinlesion.model import SS2D
from skinlesion.scan.reference import four_routes

ROUTE_NAMES = ("along rows", "down columns", "along rows, backward", "down columns, backward")


def route_coordinates(height: int, width: int) -> NDArray[np.int64]:
    """Where each of the four routes is at each step, for animation.

    Args:
        height: rows of the grid.
        width: columns of the grid.

    Returns:
        (4, height * width, 2): route, step, (row, column); the routes in the order of `ROUTE_NAMES`.
    """
    order = four_routes(height, width).numpy().astype(np.int64)
    return np.stack(np.divmod(order, width), axis=-1)


@dataclass(frozen=True, eq=False)
class ScanInputs:
    """Inputs, parameters and output of one block's scan, for one image.

    Attributes:
        block: its name.
        x: input, (H, W, D).
        step: step sizes Delta after bias and softplus, positive, (H, W, K, D).
        A: negative decay rates, (K, D, N).
        B: input weights of each token, (H, W, K, N).
        C: output weights of each token, (H, W, K, N).
        D: direct path, (K, D).
        merged: the sum of the routes' results, (H, W, D).
        cell: image pixels along one side of a token.
    """

    block: str
    x: Tensor
    step: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    merged: Tensor
    cell: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.x.shape[0], self.x.shape[1]

    def check(self, token: tuple[int, int]) -> None:
        """Refuse a token outside the grid.

        Raises:
            SkinlesionError: it is outside.
        """
        if not all(0 <= position < side for position, side in zip(token, self.grid, strict=True)):
            raise SkinlesionError(
                f"Token {token} is outside the {self.grid[0]} x {self.grid[1]} grid of block {self.block}, "
                f"whose tokens are {self.cell} pixels wide."
            )


def scan_inputs(model: nn.Module, image: Tensor, block: str = "E1.1") -> ScanInputs:
    """The inputs of a block's scan for one image.

    Args:
        model: the paper's network, with any of its modules switched off; it is left as it was.
        image: (1, C, H, W).
        block: E1.1, .., D1.1.

    Raises:
        SkinlesionError: the model is of another kind, or has no such block.
    """
    blocks = [name.removesuffix(".ss2d.y") for name in points(model) if name.endswith(".ss2d.y")]
    if not blocks:
        raise SkinlesionError(f"{model_name(model)} has no scan in its blocks: use the paper's network or VM-UNet.")
    if block not in blocks:
        raise SkinlesionError(f"{model_name(model)} has no block {block!r}; choose one of: {', '.join(blocks)}.")
    seen = read(model, image, f"{block}.ss2d.*")
    found = {part: seen[f"{block}.ss2d.{part}"][0] for part in ("x", "delta", "B", "C", "y")}
    ss2d = find_point(model, f"{block}.ss2d.y")[0]
    assert isinstance(ss2d, SS2D)
    step = F.softplus(found["delta"] + ss2d.dt_projs_bias.detach())
    return ScanInputs(
        block=block,
        x=found["x"],
        step=step,
        A=-torch.exp(ss2d.A_logs.detach()),
        B=found["B"],
        C=found["C"],
        D=ss2d.Ds.detach(),
        merged=found["y"],
        cell=cell_size(model, int(block[1 : block.index(".")])),
    )


def step_maps(inputs: ScanInputs) -> NDArray[np.float32]:
    """The step size Delta of each token, averaged over channels, for each route; (K, H, W), positive."""
    return inputs.step.mean(-1).permute(2, 0, 1).float().cpu().numpy()  # (H, W, K) -> (K, H, W)
