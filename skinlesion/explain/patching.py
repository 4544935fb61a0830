r"""Activation patching: how much of one image's mask a single one of its activations carries over.

The network runs on image A with a single activation taken from image B. The effect is

.. math:: e = \frac{\langle p - p_A,\ p_B - p_A \rangle}{\lVert p_B - p_A \rVert^2}

with the probability maps p of the patched run and p_A, p_B of the two images: 0 if the mask stays A's, 1 if it becomes
B's. Patching many points one by one says nothing about patching them together. The method is causal tracing's (Meng et
al., https://arxiv.org/abs/2202.05262), as TransformerLens offers it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import check_image
from skinlesion.explain.layers import layers, with_points
from skinlesion.hooks import intervene, observe


@torch.no_grad()
def patch_effects(
    model: nn.Module,
    image_a: Tensor,
    image_b: Tensor,
    points: list[str] | None = None,
    *,
    report: Callable[[float], None] | None = None,
) -> dict[str, float]:
    """Patch activations of image B into the run on image A, one point at a time.

    Args:
        model: any network of the kit; it is left as it was.
        image_a: (1, C, H, W), the image that is segmented.
        image_b: (1, C, H, W), of the same size, where the activation comes from.
        points: which to patch, see `skinlesion.points`; None for the output of every layer, by the layer's name.
        report: called with the fraction done, in [0, 1].

    Returns:
        Point or layer -> effect: 0 where the mask stays A's, 1 where it becomes B's.

    Raises:
        SkinlesionError: a point is unknown, the images differ in size, or their masks are the same.
    """
    for image in (image_a, image_b):
        check_image(image)
    if image_a.shape != image_b.shape:
        raise SkinlesionError(
            f"Both images must have the same size; they are {tuple(image_a.shape)} and {tuple(image_b.shape)}."
        )
    network = with_points(model)
    names = {name: layer.point for name, layer in layers(model).items()} if points is None else {p: p for p in points}
    before = network(image_a).sigmoid()
    with observe(network, *names.values()) as seen:
        target = network(image_b).sigmoid()
    activations = dict(seen)  # the runs below must not replace them
    direction = target - before
    length = float(direction.square().sum())
    if length < 1e-12 * direction.numel():
        raise SkinlesionError("The two images have the same mask, so nothing can be measured.")
    effects = {}
    for name, point in names.items():
        with intervene(network, {point: activations[point]}):
            patched = network(image_a).sigmoid()
        effects[name] = float(((patched - before) * direction).sum()) / length
        if report is not None:
            report(len(effects) / len(names))
    return effects
