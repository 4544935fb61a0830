"""Squeeze-and-excitation gates, channel maps, and channel redundancy."""

from collections.abc import Mapping, Sequence

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, DIVERGING, ORANGE, hexadecimal
from skinlesion.plots.rasters import Array
from skinlesion.plots.static.picture import Picture, bare


def se_bars(
    gates: Array,
    *,
    block: str = "this block",
    other: Array | None = None,
    other_name: str = "other image",
    channel: int | None = None,
) -> Picture:
    """The gate of every channel, sorted.

    Args:
        gates: (C,), in (0, 1).
        block: its name.
        other: (C,), another image's or model's gates of the same channels, as dots in the same order.
        other_name: whose they are.
        channel: to point out.
    """
    picture = Picture(8, 2.8, captions.se_bars(gates, block, None if other is None else other_name))
    axes = picture.subplots()
    order = np.argsort(-gates, kind="stable")
    places = np.arange(len(gates))
    axes.bar(places, gates[order], width=1.0, color=hexadecimal(BLUE), label=None if other is None else "this")
    if other is not None:
        axes.plot(places, other[order], ".", markersize=3, color=hexadecimal(ORANGE), label=other_name)
        axes.legend(fontsize=8)
    if channel is not None:
        place = int(np.flatnonzero(order == channel)[0])
        axes.annotate(f"channel {channel}", (place, gates[channel]), (place, 1.04), ha="center", fontsize=8)
        axes.bar([place], [gates[channel]], width=1.0, color=hexadecimal(ORANGE))
    axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    axes.set(ylim=(0, 1.1), xlim=(-0.5, len(gates) - 0.5), xlabel="channels, sorted", ylabel="gate")
    return picture


def se_overview(gates: Mapping[str, Array]) -> Picture:
    """How the gates of every block spread.

    Args:
        gates: block -> (C,), in (0, 1).
    """
    picture = Picture(8, 2.8, captions.se_overview(gates))
    axes = picture.subplots()
    axes.boxplot(
        list(gates.values()), tick_labels=list(gates), whis=(0, 100), medianprops={"color": hexadecimal(ORANGE)}
    )
    axes.set(ylim=(0, 1), ylabel="gate")
    axes.tick_params(axis="x", labelsize=8, rotation=45)
    return picture


def channel_maps(maps: Array, *, titles: Sequence[str], what: str = "Channel maps") -> Picture:
    """Several maps on one scale.

    Args:
        maps: (H, W, n).
        titles: n of them.
        what: what the maps are, for the caption.
    """
    count = maps.shape[-1]
    columns = min(count, 6)
    rows = -(-count // columns)
    picture = Picture(1.5 * columns + 1, 1.7 * rows, captions.channel_maps(maps, what))
    limit = float(np.abs(maps).max()) or 1.0
    grid = picture.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.axis("off")
    for i, title in enumerate(titles):
        axes = grid.flat[i]
        shown = axes.imshow(maps[..., i], cmap=DIVERGING, vmin=-limit, vmax=limit)
        bare(axes, title)
    picture.colorbar(shown, ax=grid, shrink=0.8)
    return picture


def redundancy(correlation: Array, *, layer: str, mean_absolute: float, effective_rank: float) -> Picture:
    """The correlation matrix of a layer's channels.

    Args:
        correlation: (C, C), in [-1, 1].
        layer: its name.
        mean_absolute: mean |r| of different channels.
        effective_rank: in [1, C].
    """
    picture = Picture(4.8, 4, captions.redundancy(correlation, layer, mean_absolute, effective_rank))
    axes = picture.subplots()
    shown = axes.imshow(correlation, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    axes.set(title=layer, xlabel="channel", ylabel="channel")
    picture.colorbar(shown, ax=axes, label="correlation", shrink=0.8)
    return picture


def redundancy_by_depth(layers: Sequence[str], mean_absolute: Sequence[float], rank_share: Sequence[float]) -> Picture:
    """Redundancy along the network.

    Args:
        layers: their names, in the order in which they run.
        mean_absolute: mean |r| of each, in [0, 1].
        rank_share: effective rank over channels of each, in [0, 1].
    """
    picture = Picture(8, 2.8, captions.redundancy_by_depth(mean_absolute))
    axes = picture.subplots()
    axes.plot(mean_absolute, "o-", color=hexadecimal(BLUE), label="mean |r|")
    axes.plot(rank_share, "s--", color=hexadecimal(ORANGE), label="effective rank / channels")
    axes.set(ylim=(0, 1), xticks=range(len(layers)))
    axes.set_xticklabels(layers, rotation=45, ha="right", fontsize=8)
    axes.legend(fontsize=8)
    return picture
