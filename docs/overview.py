"""Draw docs/overview.png, the picture in the README: `python docs/overview.py`."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from skinlesion import Segmenter
from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.data.images import read_image, read_mask
from skinlesion.data.samples import bundled_samples
from skinlesion.hooks import observe

TITLES = (
    "image",
    "truth (white), prediction (orange)",
    "probability",
    "CRA: rows x columns",
    "SE weights of one block",
)


def main() -> None:
    """Three real samples, one a row."""
    segmenter = Segmenter.from_pretrained(DEFAULT_WEIGHTS)
    samples = [sample for sample in bundled_samples() if sample.kind == "real"][:3]
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    grid = figure.subplots(len(samples), len(TITLES))
    for row, sample in zip(grid, samples, strict=True):
        image, truth = read_image(sample.image_path), read_mask(sample.mask_path)
        result = segmenter.segment(image)
        with torch.inference_mode(), observe(segmenter.model, "S2.cra.gate_*", "D1.1.se.gate") as seen:
            segmenter.model(segmenter.prepare([image]))
        gate_h, gate_w = seen["S2.cra.gate_h"][0].mean(-1), seen["S2.cra.gate_w"][0].mean(-1)  # (H,), (W,)
        se = seen["D1.1.se.gate"][0].sort().values
        for axes in row[:2]:
            axes.imshow(image)
        row[1].contour(truth, [0.5], colors="white", linewidths=1.5)
        row[1].contour(result.mask, [0.5], colors="#E69F00", linewidths=1.5)
        row[2].imshow(result.probability, vmin=0, vmax=1, cmap="viridis")
        row[3].imshow(torch.outer(gate_h, gate_w), cmap="magma")
        row[4].bar(range(len(se)), se, color="#0072B2", width=1)
        row[4].set(ylim=(0, 1), xticks=[], box_aspect=1)
        for axes in row[:4]:
            axes.set_axis_off()
    for axes, title in zip(grid[0], TITLES, strict=True):
        axes.set_title(title, fontsize=9)
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=80)


if __name__ == "__main__":
    main()
