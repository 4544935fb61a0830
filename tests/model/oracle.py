"""The paper's network a second time: loops over directions and tokens, from the equations alone.

Written from section 3 of the paper and from the papers it builds on (VMamba's SS2D, coordinate attention, VM-UNet's
skeleton), for tests. It shares no code with the package and takes nothing but a state dictionary, whose sizes it reads
from the shapes of the tensors. Tensors are float64 and hold one image, channels last: (H, W, C).
"""

import math

import torch
from torch import Tensor

State = dict[str, Tensor]


def part(state: State, prefix: str) -> State:
    """The tensors below a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def count(state: State, prefix: str) -> int:
    """How many numbered modules there are below a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def silu(x: Tensor) -> Tensor:
    return x * sigmoid(x)


def softplus(x: Tensor) -> Tensor:
    return torch.log1p(torch.exp(x))


def linear(x: Tensor, state: State) -> Tensor:
    y = torch.einsum("oi,...i->...o", state["weight"], x)
    return y + state["bias"] if "bias" in state else y


def layer_norm(x: Tensor, state: State) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    variance = (centered**2).mean(-1, keepdim=True)
    return centered / torch.sqrt(variance + 1e-5) * state["weight"] + state["bias"]


def depthwise(x: Tensor, state: State) -> Tensor:
    """3 x 3, one kernel a channel, zeros around the image."""
    height, width, channels = x.shape
    framed = torch.zeros(height + 2, width + 2, channels, dtype=x.dtype)
    framed[1:-1, 1:-1] = x
    y = torch.zeros_like(x) + state["bias"]
    for row in range(3):
        for column in range(3):
            y = y + framed[row : row + height, column : column + width] * state["weight"][:, 0, row, column]
    return y


def directions(height: int, width: int) -> list[list[tuple[int, int]]]:
    """VMamba's four: along rows, along columns, and both backwards."""
    rows = [(i, j) for i in range(height) for j in range(width)]
    columns = [(i, j) for j in range(width) for i in range(height)]
    return [rows, columns, rows[::-1], columns[::-1]]


def scan(x: Tensor, state: State) -> Tensor:
    """The sum of four selective scans of x, (H, W, D)."""
    states = state["A_logs"].shape[-1]
    rank = state["dt_projs_weight"].shape[-1]
    y = torch.zeros_like(x)
    for k, direction in enumerate(directions(*x.shape[:2])):
        A = -torch.exp(state["A_logs"][k])  # (D, N)
        h = torch.zeros_like(A)
        for i, j in direction:
            token = x[i, j]  # (D,)
            projected = state["x_proj_weight"][k] @ token
            low, B, C = projected[:rank], projected[rank : rank + states], projected[rank + states :]
            delta = softplus(state["dt_projs_weight"][k] @ low + state["dt_projs_bias"][k])  # (D,)
            h = torch.exp(delta[:, None] * A) * h + (delta * token)[:, None] * B
            y[i, j] += h @ C + state["Ds"][k] * token
    return y


def squeeze_excitation(x: Tensor, state: State) -> Tensor:
    hidden = torch.clamp(state["fc1.weight"] @ x.mean((0, 1)), min=0)
    return x * sigmoid(state["fc2.weight"] @ hidden)


def ss2d(u: Tensor, state: State) -> Tensor:
    both = linear(u, part(state, "in_proj."))
    inner = both.shape[-1] // 2
    x, z = both[..., :inner], both[..., inner:]
    y = layer_norm(scan(silu(depthwise(x, part(state, "conv2d."))), state), part(state, "out_norm."))
    if "se.fc1.weight" in state:
        y = squeeze_excitation(y, part(state, "se."))
    return linear(y * silu(z), part(state, "out_proj."))


def channel_mixing(x: Tensor, state: State) -> Tensor:
    t = linear(x, part(state, "fc1."))
    return linear(gelu(t + depthwise(t, part(state, "dwconv."))), part(state, "fc2."))


def block(x: Tensor, state: State) -> Tensor:
    """Figure 2: (H, W, C) -> (H, W, C)."""
    x = x + ss2d(layer_norm(x, part(state, "norm1.")), part(state, "ss2d."))
    if "norm2.weight" in state:
        x = x + channel_mixing(layer_norm(x, part(state, "norm2.")), part(state, "cmn."))
    return x


def cross_region_attention(x: Tensor, state: State) -> Tensor:
    """Eqs 2-7."""
    height = x.shape[0]
    f = linear(torch.cat([x.mean(1), x.mean(0)]), part(state, "conv1."))  # eqs 2, 3 and the layer of eq. 4
    f = (f - state["bn1.running_mean"]) / torch.sqrt(state["bn1.running_var"] + 1e-5)
    f = f * state["bn1.weight"] + state["bn1.bias"]
    f = f * torch.clamp(f + 3, 0, 6) / 6
    gate_h = sigmoid(linear(f[:height], part(state, "conv_h.")))  # eq. 5
    gate_w = sigmoid(linear(f[height:], part(state, "conv_w.")))  # eq. 6
    return x * gate_h[:, None] * gate_w[None]  # eq. 7


def embed(image: Tensor, state: State) -> Tensor:
    """(3, H, W) -> (H / r, W / r, C)."""
    weight = state["projection.weight"]  # (C, 3, r, r)
    side = weight.shape[-1]
    patches = image.unfold(1, side, side).unfold(2, side, side)  # (3, H / r, W / r, r, r)
    x = torch.einsum("ckij,kyxij->yxc", weight, patches) + state["projection.bias"]
    return layer_norm(x, part(state, "norm."))


def merge(x: Tensor, state: State) -> Tensor:
    """Swin's order of the four tokens: (0, 0), (1, 0), (0, 1), (1, 1)."""
    four = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], -1)
    return linear(layer_norm(four, part(state, "norm.")), part(state, "reduction."))


def expand(x: Tensor, state: State, factor: int) -> Tensor:
    y = linear(x, part(state, "expansion."))
    channels = y.shape[-1] // factor**2
    large = torch.zeros(factor * x.shape[0], factor * x.shape[1], channels, dtype=x.dtype)
    for row in range(factor):
        for column in range(factor):
            first = (row * factor + column) * channels
            large[row::factor, column::factor] = y[..., first : first + channels]
    return layer_norm(large, part(state, "norm."))


def network(image: Tensor, state: State) -> Tensor:
    """Figure 1: (3, H, W), both sides multiples of the coarsest token, -> logits (H, W)."""
    state = {name: value.double() for name, value in state.items()}
    image = image.double()
    stages = count(state, "encoder.")
    x = embed(image, part(state, "embedding."))
    skips = []
    for i in range(stages):
        if i > 0:
            x = merge(x, part(state, f"merging.{i - 1}."))
            skips.append(x)
        for j in range(count(state, f"encoder.{i}.")):
            x = block(x, part(state, f"encoder.{i}.{j}."))
    for i in range(stages):
        if i > 0:
            level = stages - 1 - i
            gated = cross_region_attention(skips[level], part(state, f"skips.{level}."))
            x = expand(x + gated, part(state, f"expanding.{i - 1}."), 2)
        for j in range(count(state, f"decoder.{i}.")):
            x = block(x, part(state, f"decoder.{i}.{j}."))
    patch = image.shape[-1] // x.shape[1]
    x = expand(x, part(state, "final_expanding."), patch)
    return x @ state["head.weight"][0, :, 0, 0] + state["head.bias"]
