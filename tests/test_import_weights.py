"""Published weights: names and shapes of VM-UNet's own program, random values, against a forward pass written here."""

import json
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from skinlesion import SkinlesionError, load_checkpoint
from skinlesion.import_weights import import_weights

# Names and shapes at the published width and at a sixth of it. The list is the one that VM-UNet's program prints.
DIM, STATES, RANK = 16, 4, 1
DEPTHS, UP_DEPTHS = (2, 2, 2, 2), (2, 2, 2, 1)


def block_shapes(prefix, dim, states, rank):
    inner = 2 * dim
    attention = f"{prefix}.self_attention"
    return {
        f"{prefix}.ln_1.weight": (dim,),
        f"{prefix}.ln_1.bias": (dim,),
        f"{attention}.x_proj_weight": (4, rank + 2 * states, inner),
        f"{attention}.dt_projs_weight": (4, inner, rank),
        f"{attention}.dt_projs_bias": (4, inner),
        f"{attention}.A_logs": (4 * inner, states),
        f"{attention}.Ds": (4 * inner,),
        f"{attention}.in_proj.weight": (2 * inner, dim),
        f"{attention}.conv2d.weight": (inner, 1, 3, 3),
        f"{attention}.conv2d.bias": (inner,),
        f"{attention}.out_norm.weight": (inner,),
        f"{attention}.out_norm.bias": (inner,),
        f"{attention}.out_proj.weight": (dim, inner),
    }


def encoder_shapes(dim=DIM, states=STATES, depths=DEPTHS):
    shapes = {
        "patch_embed.proj.weight": (dim, 3, 4, 4),
        "patch_embed.proj.bias": (dim,),
        "patch_embed.norm.weight": (dim,),
        "patch_embed.norm.bias": (dim,),
    }
    for i, depth in enumerate(depths):
        width = dim * 2**i
        for j in range(depth):
            shapes |= block_shapes(f"layers.{i}.blocks.{j}", width, states, -(-width // 16))
        if i < 3:
            shapes[f"layers.{i}.downsample.reduction.weight"] = (2 * width, 4 * width)
            shapes |= {f"layers.{i}.downsample.norm.{kind}": (4 * width,) for kind in ("weight", "bias")}
    return shapes


def vmunet_shapes(dim=DIM, states=STATES):
    shapes = encoder_shapes(dim, states)
    for i, depth in enumerate(UP_DEPTHS):
        width = dim * 2 ** (3 - i)
        for j in range(depth):
            shapes |= block_shapes(f"layers_up.{i}.blocks.{j}", width, states, -(-width // 16))
        if i > 0:
            shapes[f"layers_up.{i}.upsample.expand.weight"] = (4 * width, 2 * width)
            shapes |= {f"layers_up.{i}.upsample.norm.{kind}": (width,) for kind in ("weight", "bias")}
    shapes["final_up.expand.weight"] = (4 * dim, dim)
    shapes |= {f"final_up.norm.{kind}": (dim // 4,) for kind in ("weight", "bias")}
    shapes |= {"final_conv.weight": (1, dim // 4, 1, 1), "final_conv.bias": (1,)}
    return {f"vmunet.{name}": shape for name, shape in shapes.items()}


def random_values(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


# --- VM-UNet's forward pass in plain PyTorch, from its tensors --------------------------------------------------------


def layer_norm(x, weights, name):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def scan(sequence, low, weights, name, direction, states, rank):
    """One direction of the scan as its recurrence; (B, L, D)."""
    step, B, C = low.split([rank, states, states], dim=-1)
    bias = weights[f"{name}.dt_projs_bias"][direction]
    step = F.softplus(step @ weights[f"{name}.dt_projs_weight"][direction].T + bias)  # (B, L, D)
    inner = sequence.shape[-1]
    rows = slice(direction * inner, (direction + 1) * inner)
    A, D = -torch.exp(weights[f"{name}.A_logs"][rows]), weights[f"{name}.Ds"][rows]
    state = sequence.new_zeros(len(sequence), inner, states)
    out = []
    for t in range(sequence.shape[1]):
        decay = torch.exp(step[:, t, :, None] * A)
        state = decay * state + (step[:, t] * sequence[:, t])[..., None] * B[:, t, None]
        out.append((state * C[:, t, None]).sum(-1) + D * sequence[:, t])
    return torch.stack(out, dim=1)


def vss_block(x, weights, prefix):
    name = f"{prefix}.self_attention"
    u, z = (layer_norm(x, weights, f"{prefix}.ln_1") @ weights[f"{name}.in_proj.weight"].T).chunk(2, dim=-1)
    kernel = weights[f"{name}.conv2d.weight"]
    u = F.conv2d(u.permute(0, 3, 1, 2), kernel, weights[f"{name}.conv2d.bias"], padding=1, groups=len(kernel))
    u = F.silu(u)  # (B, D, H, W)
    height, width = u.shape[2:]
    rank, states = weights[f"{name}.dt_projs_weight"].shape[-1], weights[f"{name}.A_logs"].shape[-1]
    total = 0
    for direction in range(4):
        grid = u.transpose(2, 3) if direction % 2 else u
        sequence = grid.flatten(2).transpose(1, 2)  # (B, L, D)
        sequence = sequence.flip(1) if direction >= 2 else sequence
        low = sequence @ weights[f"{name}.x_proj_weight"][direction].T
        y = scan(sequence, low, weights, name, direction, states, rank)
        y = (y.flip(1) if direction >= 2 else y).transpose(1, 2)
        y = y.unflatten(2, (width, height)).transpose(2, 3) if direction % 2 else y.unflatten(2, (height, width))
        total = total + y
    y = layer_norm(total.permute(0, 2, 3, 1), weights, f"{name}.out_norm") * F.silu(z)
    return x + y @ weights[f"{name}.out_proj.weight"].T


def vmunet_forward(image, weights):
    """Logits; VM-UNet's own program ends in a sigmoid."""
    weights = {name.removeprefix("vmunet."): tensor for name, tensor in weights.items()}
    x = F.conv2d(image, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=4)
    x = layer_norm(x.permute(0, 2, 3, 1), weights, "patch_embed.norm")
    skips = []
    for i, depth in enumerate(DEPTHS):
        skips.append(x)
        for j in range(depth):
            x = vss_block(x, weights, f"layers.{i}.blocks.{j}")
        if i < 3:
            corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
            x = layer_norm(torch.cat(corners, -1), weights, f"layers.{i}.downsample.norm")
            x = x @ weights[f"layers.{i}.downsample.reduction.weight"].T
    for i, depth in enumerate(UP_DEPTHS):
        if i > 0:
            x = x + skips[4 - i]
            x = enlarge(x @ weights[f"layers_up.{i}.upsample.expand.weight"].T, 2)
            x = layer_norm(x, weights, f"layers_up.{i}.upsample.norm")
        for j in range(depth):
            x = vss_block(x, weights, f"layers_up.{i}.blocks.{j}")
    x = layer_norm(enlarge(x @ weights["final_up.expand.weight"].T, 4), weights, "final_up.norm")
    return F.conv2d(x.permute(0, 3, 1, 2), weights["final_conv.weight"], weights["final_conv.bias"])


def enlarge(x, factor):
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, factor * height, factor * width, -1)


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def vmunet_file(tmp_path):
    path = tmp_path / "best.pth"
    torch.save(random_values(vmunet_shapes()), path)
    return path


def test_names_and_shapes_are_the_published_ones():
    """The list above, at the published width, is what VM-UNet's program has: 222 tensors, 27,427,561 numbers."""
    shapes = vmunet_shapes(96, 16)
    assert len(shapes) == 222
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 27_427_561
    published = Path(__file__).resolve().parents[2] / "shared" / "reference" / "vmunet-state-dict.json"
    if published.exists():
        assert {name: list(shape) for name, shape in shapes.items()} == json.loads(published.read_text())


def test_vmunets_weights_give_vmunets_logits(vmunet_file, tmp_path):
    report = import_weights(vmunet_file, tmp_path / "mine.safetensors")
    assert (len(report.used), report.unused, report.missing) == (222, (), ())
    model, card = load_checkpoint(tmp_path / "mine.safetensors")
    assert card["model"]["name"] == "vmunet"
    image = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    weights = torch.load(vmunet_file, weights_only=True)
    double = {name: tensor.double() for name, tensor in weights.items()}
    expected = vmunet_forward(image.double(), double)
    assert expected.std() > 0.05
    # float32 against float64 over 15 blocks
    with torch.no_grad():
        torch.testing.assert_close(model(image).double(), expected, rtol=1e-3, atol=1e-4)


def test_the_papers_encoder_takes_what_it_shares(vmunet_file, tmp_path):
    report = import_weights(vmunet_file, tmp_path / "paper.safetensors", preset="paper")
    assert len(report.used) == 222
    assert not report.unused
    parts = ("se.", "cmn.", "skips.", "norm2.")
    assert report.missing
    assert all(any(part in name for part in parts) for name in report.missing)
    model, _ = load_checkpoint(tmp_path / "paper.safetensors")
    stored = torch.load(vmunet_file, weights_only=True)
    name = "vmunet.layers.2.blocks.1.self_attention.A_logs"
    assert torch.equal(model.encoder[2][1].ss2d.A_logs.flatten(0, 1), stored[name])


def test_vmambas_encoder_goes_into_both_sides(tmp_path):
    """VMamba's file: under "model", no prefix, a deeper third stage, a classifier; and no decoder."""
    shapes = encoder_shapes(depths=(2, 2, 5, 2)) | {"classifier.head.weight": (1000, 8 * DIM)}
    torch.save({"model": random_values(shapes)}, tmp_path / "vssm.pth")
    report = import_weights(tmp_path / "vssm.pth", tmp_path / "mine.safetensors")
    assert "classifier.head.weight" in report.unused
    assert "layers.2.blocks.4.ln_1.weight" in report.unused
    assert {name.split(".")[0] for name in report.missing} == {"expanding", "final_expanding", "head"}
    assert report.used["decoder.1.0.norm1.weight"] == "layers.2.blocks.0.ln_1.weight"
    text = str(report)
    assert all(name in text for name in (*report.used, *report.unused, *report.missing))


class Payload:
    def __reduce__(self):
        return (Path("owned").touch, ())


def damaged(tmp_path, kind):
    path = tmp_path / f"{kind}.pth"
    values = random_values(vmunet_shapes())
    if kind == "payload":
        path.write_bytes(pickle.dumps({"model": Payload()}))
    elif kind == "cut":
        torch.save(values, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "names":
        torch.save({f"other.{name}": tensor for name, tensor in values.items()}, path)
    elif kind == "shape":
        values["vmunet.layers.1.blocks.0.self_attention.in_proj.weight"] = torch.zeros(3, 5)
        torch.save(values, path)
    elif kind == "expanded":
        values["vmunet.final_conv.bias"] = torch.zeros(1).expand(10**11)
        torch.save(values, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    elif kind == "nan":
        values["vmunet.final_conv.bias"][0] = float("nan")
        torch.save(values, path)
    elif kind == "text":
        path.write_text("not a checkpoint")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("payload", "could run code"),
        ("cut", "can't be read"),
        ("names", "none of the names"),
        ("shape", r"in_proj\.weight is \(3, 5\) in the file and \(128, 32\)"),
        ("expanded", "final_conv.bias declares 100,000,000,000 values"),
        ("list", "no state dictionary"),
        ("nan", r"head\.bias is not finite"),
        ("text", "can't be read"),
        ("missing", "doesn't exist"),
    ],
)
def test_what_is_not_published_weights_is_refused_and_nothing_written(tmp_path, monkeypatch, kind, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SkinlesionError, match=message):
        import_weights(damaged(tmp_path, kind), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    assert not Path("owned").exists()


def test_the_command(cli, vmunet_file, tmp_path):
    out = tmp_path / "mine.safetensors"
    code, text, _ = cli("import-weights", vmunet_file, "--out", out)
    assert code == 0
    assert "222 tensors used, 0 unused, 0 missing." in text
    assert cli("import-weights", vmunet_file, "--out", out)[0] == 2
    assert cli("import-weights", vmunet_file, "--out", tmp_path / "x.safetensors", "--preset", "unet")[0] == 2
