"""Building blocks of the compared networks, each against its definition or another implementation."""

import torch
import torch.nn.functional as F
from torch import nn

from skinlesion.zoo.attention_unet import AttentionGate
from skinlesion.zoo.layers import TransformerLayer, channel_shuffle, conv_norm
from skinlesion.zoo.malunet import ChannelBridge, InvertedExternalAttention
from skinlesion.zoo.transfuse import VisionTransformer
from skinlesion.zoo.unetpp import UNetPlusPlus, UNetPlusPlusConfig
from skinlesion.zoo.utnetv2 import BidirectionalAttention, MapFusion, MapGeneration


def test_channel_shuffle_interleaves_the_halves():
    x = torch.arange(6.0).expand(2, 3, 4, 6)
    assert channel_shuffle(x)[1, 2, 3].tolist() == [0, 3, 1, 4, 2, 5]


def test_conv_norm_keeps_the_size_with_any_odd_kernel_and_dilation():
    x = torch.rand(2, 3, 9, 12)
    for kernel, dilation in ((1, 1), (3, 1), (3, 3), (7, 2)):
        assert conv_norm(3, 5, kernel, dilation=dilation)(x).shape == (2, 5, 9, 12)


def test_transformer_layer_equals_torchs():
    ours = TransformerLayer(dim=12, heads=3, mlp_ratio=2).eval()
    theirs = nn.TransformerEncoderLayer(
        12, 3, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    pairs = {
        "self_attn.in_proj_weight": ours.qkv.weight,
        "self_attn.in_proj_bias": ours.qkv.bias,
        "self_attn.out_proj.weight": ours.projection.weight,
        "self_attn.out_proj.bias": ours.projection.bias,
        "linear1.weight": ours.mlp[0].weight,
        "linear1.bias": ours.mlp[0].bias,
        "linear2.weight": ours.mlp[2].weight,
        "linear2.bias": ours.mlp[2].bias,
        "norm1.weight": ours.norm1.weight,
        "norm1.bias": ours.norm1.bias,
        "norm2.weight": ours.norm2.weight,
        "norm2.bias": ours.norm2.bias,
    }
    theirs.load_state_dict(pairs)
    x = torch.randn(2, 7, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_attention_gate_follows_its_equation():
    gate = AttentionGate(dim=4, gate_dim=6, inner_dim=3).eval()
    x, g = torch.randn(2, 4, 5, 7), torch.randn(2, 6, 5, 7)
    w_x, w_g, psi = (part[0].weight[..., 0, 0] for part in (gate.skip_projection, gate.gate_projection, gate.score))
    scale = (1 + 1e-5) ** -0.5  # a fresh batch normalization: mean 0, variance 1
    inner = F.relu(scale * (torch.einsum("ic,bchw->bihw", w_x, x) + torch.einsum("ic,bchw->bihw", w_g, g)))
    alpha = torch.sigmoid(scale * torch.einsum("oi,bihw->bohw", psi, inner))
    with torch.no_grad():
        torch.testing.assert_close(gate(x, g), alpha * x)


def test_bidirectional_attention_does_not_care_about_the_order_of_summary_tokens():
    block = BidirectionalAttention(dim=8, heads=2, expansion=2).eval()
    x, summary = torch.randn(2, 8, 5, 6), torch.randn(2, 8, 3, 3)
    order = torch.randperm(9)
    shuffled = summary.flatten(2)[..., order].unflatten(2, (3, 3))
    with torch.no_grad():
        y, renewed = block(x, summary)
        y_shuffled, renewed_shuffled = block(x, shuffled)
    torch.testing.assert_close(y_shuffled, y)
    torch.testing.assert_close(renewed_shuffled.flatten(2), renewed.flatten(2)[..., order])


def test_bidirectional_attention_written_out():
    block = BidirectionalAttention(dim=6, heads=2, expansion=1).eval()
    x, summary = torch.randn(1, 6, 2, 3), torch.randn(1, 6, 1, 2)
    with torch.no_grad():
        pixels = block.query_value(block.norm(x))[0].flatten(1).T  # (6 pixels, 12)
        tokens = block.map_query_value(block.map_norm(summary))[0].flatten(1).T  # (2 tokens, 12)
        taken, gathered = torch.empty(6, 6), torch.empty(2, 6)
        for head in (slice(0, 3), slice(3, 6)):
            value = slice(head.start + 6, head.stop + 6)
            scores = pixels[:, head] @ tokens[:, head].T / 3**0.5
            taken[:, head] = scores.softmax(1) @ tokens[:, value]
            gathered[:, head] = scores.softmax(0).T @ pixels[:, value]
        y, renewed = block(x, summary)
        expected = block.feed_forward(x + block.projection(taken.T.reshape(1, 6, 2, 3)))
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(renewed, summary + block.map_projection(gathered.T.reshape(1, 6, 1, 2)))


def test_map_generation_takes_weighted_means():
    generation = MapGeneration(4, 2).eval()
    with torch.no_grad():
        generation.values.weight.zero_()
        generation.values.weight[:, :, 1, 1] = torch.eye(4)  # the identity
        x = torch.rand(3, 4, 6, 5)
        summary = generation(x)
    assert summary.shape == (3, 4, 2, 2)
    assert (summary <= x.amax(dim=(2, 3))[..., None, None]).all()
    assert (summary >= x.amin(dim=(2, 3))[..., None, None]).all()


def test_map_fusion_lets_each_summary_see_the_others():
    fusion = MapFusion([4, 8], 16).eval()
    summaries = [torch.randn(1, 4, 3, 3), torch.randn(1, 8, 3, 3)]
    with torch.no_grad():
        before = fusion(summaries)
        after = fusion([summaries[0], summaries[1] + 1])
    assert [x.shape for x in before] == [x.shape for x in summaries]
    assert not torch.allclose(before[0], after[0])


def test_channel_bridge_gates_each_skip_with_all_skips():
    bridge = ChannelBridge([2, 3]).eval()
    skips = [torch.randn(2, 2, 8, 8), torch.randn(2, 3, 4, 4)]
    with torch.no_grad():
        gates = bridge(skips)
        changed = bridge([skips[0] + 1, skips[1]])
    assert [gate.shape for gate in gates] == [(2, 2, 1, 1), (2, 3, 1, 1)]
    assert not torch.allclose(gates[1], changed[1])


def test_external_attention_commutes_with_moving_pixels():
    block = InvertedExternalAttention(8).eval()
    x = torch.randn(1, 8, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(block(x.flip(2, 3)), block(x).flip(2, 3))


def test_positions_follow_the_grid():
    transformer = VisionTransformer(dim=12, depth=1, grid=4, in_channels=3).eval()
    with torch.no_grad():
        assert transformer(torch.rand(1, 3, 32, 80)).shape == (1, 12, 2, 5)
        flat = torch.zeros(1, 3, 64, 64)
        assert transformer(flat).flatten(2).std(dim=2).min() > 0  # equal patches differ by their positions


def test_unetpp_nodes_see_what_the_paper_says():
    model = UNetPlusPlus(UNetPlusPlusConfig(dim=2, stages=4))
    inputs = [[node[0].in_channels for node in column] for column in model.columns]
    assert inputs == [[2 + 4, 4 + 8, 8 + 16], [2 * 2 + 4, 2 * 4 + 8], [3 * 2 + 4]]
