r"""Muon for the hidden weight matrices, AdamW for all other weights.

Muon (Jordan et al., 2024) turns each step's momentum :math:`M = U S V^T` into about :math:`U V^T`: all directions of a
matrix are learned at the same pace, even those whose gradients are small. The polar factor comes from a few
iterations of an odd polynomial, so nothing but matrix products is needed. A step is scaled to the root mean square
of AdamW's steps (Liu et al., https://arxiv.org/abs/2502.16982), so both take learning rates of the same order.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan's: in five rounds takes singular values of 0.002 to 1 to 0.68 .. 1.2
_ROUNDS = 5
_RMS = 0.2  # of an AdamW step over its learning rate, as https://arxiv.org/abs/2502.16982 measured it
_LEAST_SIDE = 8  # a narrower matrix has too few directions to even out
RATIO = 2.5  # Muon's learning rate over AdamW's


def orthogonalize(matrices: Tensor) -> Tensor:
    """About the nearest matrices with orthonormal rows or columns.

    Args:
        matrices: (n, a, b).

    Returns:
        (n, a, b). Singular values above 0.002 of a matrix's norm become about 0.7 to 1.2, smaller ones less.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices  # (n, short, long)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = _POLYNOMIAL
    for _ in range(_ROUNDS):
        gram = x @ x.transpose(1, 2)  # (n, short, short)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # a X + (b G + c G G) X
    return x.transpose(1, 2) if tall else x


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """The weights that Muon trains: those of linear layers, at least 8 wide on both sides."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [layer.weight for layer in layers if min(layer.weight.shape) >= _LEAST_SIDE]


class Muon(torch.optim.Optimizer):
    """Two groups of weights, with "lr" and "ratio" each: AdamW's, and the hidden matrices at `RATIO` times the rate.

    Args:
        model: what to train.
        lr: AdamW's learning rate.
        weight_decay: decoupled, of both.
        momentum: Muon's, in Nesterov's form.
        betas: AdamW's.
        eps: AdamW's.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        hidden = hidden_matrices(model)
        chosen = {id(weight) for weight in hidden}
        others = [weight for weight in model.parameters() if id(weight) not in chosen]
        groups: list[dict[str, Any]] = [{"params": others, "ratio": 1.0, "steps": 0}]
        if hidden:
            groups.append({"params": hidden, "ratio": RATIO, "lr": RATIO * lr})
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self.momentum, self.betas, self.eps = momentum, betas, eps

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what the closure returns."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        adamw, *muon = self.param_groups
        self._step_adamw(adamw)
        for group in muon:
            self._step_muon(group)
        return result

    def _step_adamw(self, group: dict[str, Any]) -> None:
        weights, gradients = _with_gradients(group)
        if not weights:
            return
        for weight in weights:
            if not self.state[weight]:
                self.state[weight].update(mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        means = [self.state[weight]["mean"] for weight in weights]
        squares = [self.state[weight]["square"] for weight in weights]
        group["steps"] += 1
        first, second = self.betas
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - second ** group["steps"]) ** 0.5)
        torch._foreach_add_(roots, self.eps)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(weights, means, roots, -group["lr"] / (1 - first ** group["steps"]))

    def _step_muon(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, gradient in zip(*_with_gradients(group), strict=True):
            by_shape[weight.shape].append((weight, gradient))
        for shape, pairs in by_shape.items():
            weights, gradients = [weight for weight, _ in pairs], [gradient for _, gradient in pairs]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["mean"] = torch.zeros_like(weight)
            means = [self.state[weight]["mean"] for weight in weights]
            torch._foreach_lerp_(means, gradients, 1 - self.momentum)
            ahead = torch._foreach_lerp(gradients, means, self.momentum)
            steps = orthogonalize(torch.stack(ahead)).unbind()  # n of (a, b)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, steps, alpha=-group["lr"] * _RMS * max(shape) ** 0.5)


def _with_gradients(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """A group's weights that have a gradient, and these."""
    weights = [weight for weight in group["params"] if weight.grad is not None]
    return weights, [weight.grad for weight in weights]
