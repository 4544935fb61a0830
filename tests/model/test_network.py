"""The network: its sizes, what it accepts, what the switches do, and looking inside."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from skinlesion import create_model
from skinlesion.errors import SkinlesionError
from skinlesion.model import (
    SS2D,
    CMSSMBlock,
    CrossRegionAttention,
    DropPath,
    ModelConfig,
    SqueezeExcitation,
    apply_gates,
    depth_to_space,
    directional_means,
    set_engine,
    space_to_depth,
    squeeze_excitation,
)
from skinlesion.scan.reference import four_routes, selective_scan

SMALL = {"dim": 16, "d_state": 4}


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("paper", {}, 43_266_829),
        ("vmunet", {}, 27_427_561),
        ("paper", {"se": False, "cmn": False, "cra": False}, 27_427_561),
        ("paper", {"cmn": False, "cra": False}, 30_551_785),
        ("paper", {"se": False, "cra": False}, 40_066_057),
        ("paper", {"se": False, "cmn": False}, 27_504_109),
        ("paper", {"cmn_ratio": 4}, 55_888_333),
        ("paper", {"dim": 24}, 3_190_000),
    ],
)
def test_parameter_counts(name, options, parameters):
    with torch.device("meta"):
        model = create_model(name, **options)
    if options.get("dim") == 24:
        assert round(count(model), -4) == parameters
    else:
        assert count(model) == parameters


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (33, 47), (1, 1), (5, 90)])
def test_any_size_works(height, width):
    model = create_model("tiny", **SMALL).eval()
    with torch.inference_mode():
        logits = model(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1, height, width)
    assert torch.isfinite(logits).all()


def test_padding_does_not_change_sizes_that_divide():
    model = create_model("tiny", **SMALL).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert model(x).std() > 0
        torch.testing.assert_close(model(x), model(F.pad(x, (0, 0, 0, 0))))
        assert model(x[..., :50, :40]).shape[-2:] == (50, 40)


@pytest.mark.parametrize("name", ["tiny", "vmunet", "unet"])
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)  # a fresh SE may have all its few squeezed channels below zero
    model = create_model(name, dim=16)
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


def plain_vss_block(block: CMSSMBlock, x: torch.Tensor) -> torch.Tensor:
    """VM-UNet's block written out route by route, from the block's weights."""
    ss2d = block.ss2d
    u = F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias)
    v, z = F.linear(u, ss2d.in_proj.weight).chunk(2, -1)
    conv = ss2d.conv2d
    v = F.conv2d(v.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1, groups=conv.groups)
    v = F.silu(v).permute(0, 2, 3, 1)
    height, width = x.shape[1:3]
    sequence = v.flatten(1, 2)
    y = torch.zeros_like(sequence)
    for k, order in enumerate(four_routes(height, width).long()):
        low, B, C = F.linear(sequence[:, order], ss2d.x_proj_weight[k]).split(
            [ss2d.dt_rank, ss2d.d_state, ss2d.d_state], -1
        )
        step = F.softplus(F.linear(low, ss2d.dt_projs_weight[k], ss2d.dt_projs_bias[k]))
        out = selective_scan(sequence[:, order], step, -torch.exp(ss2d.A_logs[k]), B, C, ss2d.Ds[k])
        y[:, order] += out
    y = F.layer_norm(y, y.shape[-1:], ss2d.out_norm.weight, ss2d.out_norm.bias).unflatten(1, (height, width))
    return x + F.linear(y * F.silu(z), ss2d.out_proj.weight)


def test_without_modules_the_block_is_vmunets():
    block = CMSSMBlock(dim=12, config=ModelConfig(d_state=3, se=False, cmn=False)).eval()
    x = torch.randn(2, 3, 5, 12)
    with torch.no_grad():
        torch.testing.assert_close(block(x), plain_vss_block(block, x), rtol=1e-4, atol=1e-5)


def test_without_modules_the_network_is_vmunet():
    torch.manual_seed(3)
    ours = create_model("paper", se=False, cmn=False, cra=False, **SMALL).eval()
    torch.manual_seed(3)
    theirs = create_model("vmunet", **SMALL).eval()
    x = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert ours(x).std() > 0
        assert torch.equal(ours(x), theirs(x))


def test_patch_merging_order_and_its_inverse():
    x = torch.arange(4.0).reshape(1, 2, 2, 1)  # rows [0, 1], [2, 3]
    assert space_to_depth(x).flatten().tolist() == [0, 2, 1, 3]
    y = torch.arange(4.0).reshape(1, 1, 1, 4)
    assert depth_to_space(y, 2)[0, :, :, 0].tolist() == [[0, 1], [2, 3]]


def test_squeeze_excitation_by_hand():
    se = SqueezeExcitation(dim=2, ratio=2)
    se.fc1.weight.data = torch.tensor([[1.0, -1.0]])
    se.fc2.weight.data = torch.tensor([[2.0], [-1.0]])
    x = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]])  # means 2 and 1, squeezed to relu(2 - 1) = 1
    y, gate = squeeze_excitation(x, se.fc1.weight, se.fc2.weight)
    expected = torch.sigmoid(torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(gate, expected)
    torch.testing.assert_close(y, x * expected)
    assert torch.equal(se(x), y)


def test_cross_region_attention_by_hand_on_2_by_3():
    """Eqs. 2-7 with plain loops, one channel and one batch statistic at a time."""
    torch.manual_seed(0)
    cra = CrossRegionAttention(dim=4).eval()
    cra.bn1.running_mean.normal_()
    cra.bn1.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 2, 3, 4)
    z_h = [sum(x[0, i, j] for j in range(3)) / 3 for i in range(2)]  # eq. 2
    z_w = [sum(x[0, i, j] for i in range(2)) / 2 for j in range(3)]  # eq. 3
    f = []
    for z in (*z_h, *z_w):  # eq. 4 on the concatenation along H + W
        t = cra.conv1.weight @ z + cra.conv1.bias
        t = (t - cra.bn1.running_mean) / torch.sqrt(cra.bn1.running_var + cra.bn1.eps)
        t = t * cra.bn1.weight + cra.bn1.bias
        f.append(t * torch.clamp(t + 3, 0, 6) / 6)
    g_h = [torch.sigmoid(cra.conv_h.weight @ t + cra.conv_h.bias) for t in f[:2]]  # eq. 5
    g_w = [torch.sigmoid(cra.conv_w.weight @ t + cra.conv_w.bias) for t in f[2:]]  # eq. 6
    y = cra(x)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(y[0, i, j], x[0, i, j] * g_h[i] * g_w[j])  # eq. 7


def test_a_fresh_cra_passes_a_quarter():
    x = torch.randn(4, 6, 9, 32)
    cra = create_model("tiny").skips[0]
    ratio = cra(x).norm() / x.norm()
    assert 0.22 < ratio < 0.28


def test_gates_of_a_rectangle():
    z_h, z_w = directional_means(torch.randn(2, 3, 5, 4))
    assert z_h.shape == (2, 3, 4)
    assert z_w.shape == (2, 5, 4)
    assert apply_gates(torch.ones(2, 3, 5, 4), z_h, z_w).shape == (2, 3, 5, 4)


def test_features_come_in_the_papers_order_with_vmunets_shapes():
    model = create_model("tiny", **SMALL)
    _, features = model.forward_features(torch.rand(1, 3, 64, 96))
    shapes = {name: tuple(t.shape[1:]) for name, t in features.blocks.items()}
    stages = {"E1": (16, 24, 16), "E2": (8, 12, 32), "E3": (4, 6, 64), "E4": (2, 3, 128)}
    expected = {f"{s}.{i}": shape for s, shape in stages.items() for i in (1, 2)}
    expected |= {f"D4.{i}": (2, 3, 128) for i in (1, 2)} | {f"D3.{i}": (4, 6, 64) for i in (1, 2)}
    expected |= {f"D2.{i}": (8, 12, 32) for i in (1, 2)} | {"D1.1": (16, 24, 16)}
    assert list(shapes.items()) == list(expected.items())
    assert features.expanded.shape == (1, 64, 96, 4)


def test_drop_path_keeps_the_expectation_and_is_off_in_eval():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(20_000, 1)
    y = drop(x)
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1 / 0.75]))
    # standard error of the mean: sqrt(0.25 / 0.75 / 20000) = 0.004; five of them
    assert abs(y.mean().item() - 1) < 0.02
    assert torch.equal(drop.eval()(x), x)


def test_drop_path_rates_rise_to_the_bottom_of_the_u():
    model = create_model("paper", **SMALL)
    rates = [block.drop_path.rate for stage in [*model.encoder, *model.decoder] for block in stage]
    assert rates[0] == 0
    assert rates[7] == pytest.approx(0.2)
    assert rates[8] == pytest.approx(0.2)
    assert rates[-1] == 0
    assert rates[:8] == sorted(rates[:8])
    assert rates[8:] == sorted(rates[8:], reverse=True)


def test_initial_step_sizes_and_rates():
    ss2d = SS2D(dim=64)
    step = F.softplus(ss2d.dt_projs_bias)
    assert step.min() >= 1e-3 * 0.99
    assert step.max() <= 1e-1 * 1.01
    torch.testing.assert_close(torch.exp(ss2d.A_logs[2, 5]), torch.arange(1.0, 17.0))


def test_step_sizes_start_log_uniform_and_their_projection_within_its_bound():
    """Mamba's initialization: log(step) is uniform on [log 1e-3, log 1e-1], the projection on +-R^-0.5."""
    torch.manual_seed(0)
    ss2d = SS2D(dim=64)  # 4 x 128 steps, rank 4
    position = (F.softplus(ss2d.dt_projs_bias).log10() + 3) / 2  # uniform on [0, 1]
    # standard error of the mean of 512: 0.0128; six of them
    assert position.mean().item() == pytest.approx(0.5, abs=0.077)
    for quantile in (0.1, 0.25, 0.75, 0.9):
        assert position.quantile(quantile).item() == pytest.approx(quantile, abs=0.1)
    assert 0.49 < ss2d.dt_projs_weight.abs().max() <= 0.5
    assert 0.99 * 128**-0.5 < ss2d.x_proj_weight.abs().max() <= 128**-0.5


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1, float("nan")])
def test_a_drop_path_that_would_drop_everything_is_refused(rate):
    with pytest.raises(SkinlesionError, match=r"rate of DropPath must be in \[0, 1\)"):
        DropPath(rate)


def test_engines_agree_on_the_whole_network():
    model = create_model("tiny", **SMALL).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        fast = model(x)
        set_engine(model, "reference")
        slow = model(x)
    assert slow.std() > 0
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    with pytest.raises(SkinlesionError, match="Unknown scan engine"):
        set_engine(model, "warp")


def test_the_narrowest_network_that_is_accepted_reacts_to_the_image():
    model = create_model("paper", dim=8, depths=(1, 1), decoder_depths=(1, 1)).eval()
    assert model(torch.rand(1, 3, 16, 16)).std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, "Unknown model option depth; the options are: dim,"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"dim": 6}, "multiple of patch_size"),
        ({"dim": 4}, "at least twice as large"),
        ({"depths": (2, 2)}, "same number of stages"),
        ({"drop_path": 1.0}, "drop_path must be in"),
    ],
)
def test_wrong_options_say_what_is_right(options, message):
    with pytest.raises(SkinlesionError, match=message):
        create_model("paper", **options)


def test_an_unknown_model_lists_the_valid_ones():
    with pytest.raises(SkinlesionError, match="choose one of: paper, vmunet, small, tiny, unet"):
        create_model("resnet")


def test_config_round_trip():
    config = ModelConfig(dim=24, cra=False, dt_rank=3)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_batch_composition_does_not_matter_in_eval():
    model = create_model("tiny", **SMALL).eval()
    x = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        assert model(x).std() > 0
        # matrix products of another height round differently; logits are of order 1 after 15 blocks
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-4)


def test_importing_the_model_does_not_import_numba():
    code = "import sys, skinlesion.model; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(1, 2, 32, 32), r"\(B, 3, H, W\), not \(1, 2, 32, 32\)"),
        (torch.rand(3, 32, 32), r"not \(3, 32, 32\)"),
        (torch.rand(1, 3, 0, 32), r"not \(1, 3, 0, 32\)"),
        (torch.rand(0, 3, 32, 32), r"not \(0, 3, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"floating-point images in \[0, 1\], not torch.uint8"),
    ],
)
def test_what_is_no_image_is_refused_by_name(image, message):
    model = create_model("tiny", dim=16, depths=(1,), decoder_depths=(1,))
    with pytest.raises(SkinlesionError, match=message):
        model(image)
