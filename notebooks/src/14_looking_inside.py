# %% [markdown] kind="claim"
# **Claim.** An explanation of a network is a measurement, and a measurement can be wrong. We show it on the weights
# that come with the package: gates that are computed from the image and hardly depend on it, and explanations of one
# mask that look equally convincing until we test them. The control is an "explanation" that never saw the network, and a
# network with a secret that we built in ourselves, so that for once the right answer is known.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - read CRA's and SE's gates off a trained network, and measure whether they follow the image;
# - ask Captum about a segmentation: one number out of a map, a region and a base image;
# - write integrated gradients, and check that they add up;
# - test an explanation by deletion, against random order and against a map that never saw the network;
# - run the test with shuffled weights, and the test with a planted cause;
# - say what each test cannot see.

# %%
import copy
import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from skinlesion import Segmenter, explain, lessons
from skinlesion.data.images import read_image, read_mask, resize_image, resize_mask
from skinlesion.data.samples import bundled_samples
from skinlesion.plots import static

lessons.setup()

# %% [markdown]
# ## One mask, and the question why
#
# The shipped network `small` (trained on ISIC 2017), and the twenty bundled images: eight real ones that it never
# trained on, twelve drawn ones. `PHOTO` is the one we ask about; take another, or a file of your own.

# %%
PHOTO = "ISIC_0010587"  # the name of a bundled image, or the path of a photo

segmenter = Segmenter.from_pretrained("small")
network, size = segmenter.model, segmenter.size
samples = {sample.image_path.stem: sample for sample in bundled_samples()}
pictures = [resize_image(read_image(sample.image_path), size) for sample in samples.values()]
masks = np.stack([resize_mask(read_mask(sample.mask_path), size) for sample in samples.values()])  # (20, H, W)
photo = resize_image(read_image(samples[PHOTO].image_path if PHOTO in samples else PHOTO), size)
image = segmenter.prepare([photo])  # (1, 3, H, W)
region = explain.predicted_region(network, image)  # bool (H, W)
static.overlay(photo, region)

# %% [markdown]
# ## What the network shows by itself
#
# CRA multiplies each skip by a gate for each row and one for each column (lesson 10). Here are the means over the
# channels at the finest skip, S2:

# %%
gates = explain.cra_gates(network, image)
static.cra_gates(photo, *gates["S2"].profiles(), gates["S2"].product(), what="S2, mean gates")

# %% [markdown]
# The gates have found the lesion, and they are *closed* on it. "Attention" suggests the opposite. Is that so in
# general? Let us measure. For each image: the mean gate product inside the lesion over that outside. And the control:
# the same gates with the lesions of the *other* nineteen images.

# %% [markdown] kind="predict"
# **Predict**, for the skips S2 (fine), S3 and S4 (coarse): is the ratio above or below 1? And how far from the
# control? If the gates follow the lesion, own and others' must differ.

# %%
every = [explain.cra_gates(network, segmenter.prepare([picture])) for picture in pictures]
print("skip   own lesion   others' lesions   own is higher")
for skip in ("S2", "S3", "S4"):
    cell = every[0][skip].cell
    maps = np.stack([np.kron(each[skip].product(), np.ones((cell, cell))) for each in every])  # (20, H, W)
    inside = np.einsum("ihw,jhw->ij", maps, masks) / masks.sum((1, 2))
    outside = np.einsum("ihw,jhw->ij", maps, ~masks) / (~masks).sum((1, 2))
    ratio = inside / outside  # (gates of image i, lesion of image j)
    own, others = ratio.diagonal(), (ratio.sum(1) - ratio.diagonal()) / (len(ratio) - 1)
    print(
        f"{skip}        {own.mean():.2f}            {others.mean():.2f}           {(own > others).sum()} of {len(own)}"
    )

# %% [markdown]
# At S2 the ratio is below 1, and in 17 of 20 images below the control: the gates do follow the lesion, a little, by
# letting *less* of the fine skip pass there. At S4 it is above 1, but nearly as much for other images' lesions:
# lesions are in the middle, and so is the gate. Without the control we would have called that attention to the
# lesion. Single channels do more (look at `gates["S2"].strongest`).
#
# ### And SE?


# %% exercise="looking.image_share"
def image_share(gates: Tensor) -> Tensor:
    """The part of the gates' variance that is due to the image: (images, C) -> a scalar in [0, 1]."""
    return gates.var(dim=0, correction=0).mean() / gates.var(correction=0)


# %% [markdown] kind="predict"
# **Predict.** The network has 15 blocks, each with an SE. In how many of them does the image decide more than a tenth
# of the gates' variance?

# %%
image_share = lessons.use("looking.image_share", image_share)

one_by_one = [explain.se_gates(network, segmenter.prepare([picture])) for picture in pictures]
shares = {
    block: float(image_share(torch.tensor(np.stack([gates[block] for gates in one_by_one])))) for block in one_by_one[0]
}
print("more than a tenth:", ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share > 0.1))
print("less:             ", ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share <= 0.1))
static.se_overview(explain.se_gates(network, image))

# %% [markdown]
# In most blocks the gates differ much from channel to channel (the boxes) and hardly from image to image: there SE
# has become a constant weight for each channel, which the next layer could have absorbed. Where the image does
# decide, it is near the input and near the output.
#
# Does it matter? Do not look, *intervene*: put the mean gates over the twenty images in place of SE's, or make CRA's
# gates the same in every row and column, and see what happens to the masks. The first is your own function, plugged
# into the network.

# %%
batch = segmenter.prepare(pictures)  # (20, 3, H, W)
means = [torch.tensor(np.mean([gates[block] for gates in one_by_one], axis=0)) for block in one_by_one[0]]
running = itertools.cycle(means)  # the blocks run in this order


def constant_gate(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """SE that does not look at the image."""
    gate = next(running).expand(len(x), -1)  # (B, C)
    return x * gate[:, None, None, :], gate


def masks_of(model: torch.nn.Module) -> np.ndarray:
    """What a network finds in the twenty images, bool (20, H, W)."""
    with torch.no_grad():
        return (model(batch)[:, 0] > 0).numpy()


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over images."""
    return float(((found & truth).sum((1, 2)) / (found | truth).sum((1, 2))).mean())


changed = {
    "as trained": network,
    "SE: constant gates": lessons.plug(network, "se", constant_gate),
    "SE: one gate for all channels": explain.ablated_model(network, ["se"]),
    "CRA: no row or column preferred": explain.ablated_model(network, ["cra"]),
}
before = masks_of(network)
print(f"{'':32} IoU with the truth   IoU with the mask before")
for name, model in changed.items():
    found = masks_of(model)
    print(f"{name:32}       {mean_iou(found, masks):.3f}                 {mean_iou(found, before):.3f}")

# %% [markdown]
# The last column says how much the *trained* network relies on each thing, which no picture of gates can say. With
# constant gates SE's masks change by about 3 %, and they are no worse on these twenty. The row and column gates of
# CRA, which looked so telling above, change less than 1 %. It does not say what a network trained without the module would reach: that is another experiment (lesson 15).
#
# ## Asking about a mask
#
# Which pixels made the network say "lesion"? Attribution methods answer that for a network with *one* output. Ours
# gives a map.


# %% exercise="looking.region_score"
def region_score(logits: Tensor, region: Tensor) -> Tensor:
    """Mean logit over a region: logits (B, 1, H, W), region bool (H, W) -> (B,)."""
    return logits[:, 0, region].mean(dim=1)


# %% [markdown]
# And compared to what? "The lesion is dark" only means something beside skin. So a **base image** stands for "nothing
# there". Black, the usual choice, would be absurd here: black is what lesions look like. The package takes one even
# color, the median of the skin.


# %% exercise="looking.integrated_gradients"
def integrated_gradients(score, image: Tensor, base: Tensor, steps: int) -> Tensor:
    """Integrated gradients, midpoints, channels added up: image and base (1, C, H, W) -> (H, W)."""
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()  # (steps, C, H, W)
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    return ((image - base)[0] * slope.mean(0)).sum(0)


# %%
region_score = lessons.use("looking.region_score", region_score)
integrated_gradients = lessons.use("looking.integrated_gradients", integrated_gradients)

base = explain.baseline_image(image, region)
inside = torch.from_numpy(region)


def score(images: Tensor) -> Tensor:
    """The number to explain."""
    return region_score(network(images), inside)


with torch.no_grad():
    whole = float(score(image) - score(base))
print(f"score of the image less that of the base: {whole:.2f}")
for steps in (1, 2, 4, 8):
    print(f"sum of your map, {steps} steps: {float(integrated_gradients(score, image, base, steps).sum()):6.2f}")

# %% [markdown]
# With enough steps the map must add up to the difference that it explains. Eight are far from enough, and four are
# absurd: somewhere on the way the gradient is huge for a short stretch, and a few points hit it or miss it. So never
# look at such a map without its sum. The package takes 32 better placed steps and reports the gap that is left.
#
# ### Three methods
#
# - **Integrated gradients**, as above.
# - **Grad-CAM** looks at one layer: its channels, weighted by their mean gradient, summed, negative parts cut off. It
#   sees what passes through that layer.
# - **Occlusion** covers window after window with the base, and writes down by how much the score falls.

# %%
ASK = {"integrated gradients": {"method": "integrated_gradients", "steps": 8 if lessons.FAST else 32}}
ASK["Grad-CAM"] = {"method": "grad_cam", "layer": "D2.2"}
if not lessons.FAST:
    ASK["occlusion"] = {"method": "occlusion"}


def ask(model: torch.nn.Module, image: Tensor) -> dict[str, explain.Attribution]:
    """What each method says about the mask."""
    return {name: explain.attribute(model, image, region, **options) for name, options in ASK.items()}


found = ask(network, image)
gap = found["integrated gradients"].completeness_gap
print(f"integrated gradients: {100 * gap:.0f} % of the difference is not accounted for")
first = found["integrated gradients"]
static.attribution(photo, first.map, region, method=first.method)

# %% [markdown]
# Every method gives a plausible picture (you will see all of them below). Plausible to *us*, who know where the
# lesion is. So let us test them.
#
# ## Test 1: take it away


# %% exercise="looking.deletion_curve"
def deletion_curve(score, image: Tensor, base: Tensor, importance: Tensor, points: int) -> Tensor:
    """The score while the most important pixels are replaced by the base first: importance (H, W) -> (points,)."""
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)  # 0 for the most important
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)  # pixels replaced
    with torch.no_grad():
        return score(torch.where(place < gone, base, image))


# %% [markdown] kind="predict"
# **Predict.** Two orders have nothing to do with the network: random, and "the darkest pixel first". How will their
# curves compare with that of integrated gradients?

# %%
deletion_curve = lessons.use("looking.deletion_curve", deletion_curve)


def probability(images: Tensor) -> Tensor:
    """Mean probability over the region: what deletion watches."""
    return network(images)[:, 0].sigmoid()[:, inside].mean(1)


darkness = 1 - image[0].mean(0)  # (H, W): it never saw the network
orders = {
    "integrated gradients": torch.from_numpy(found["integrated gradients"].map),
    "darkest first": darkness,
    "random": torch.rand(size, generator=torch.Generator().manual_seed(0)),
}
fig, ax = plt.subplots(figsize=(4.8, 2.6))
for name, importance in orders.items():
    curve = deletion_curve(probability, image, base, importance, 17)
    ax.plot(torch.linspace(0, 1, 17), curve, label=f"{name}: area {float(curve.mean()):.2f}")
ax.set(xlabel="share of the image that is gone", ylabel="probability over the region")
ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# Random order is much worse, as it should be. But darkness has the smallest area of all, and it explains nothing: the
# lesion *is* dark. "Better than random" is a low bar, and a good many papers stop there. (The curves of single
# pixels are also jagged pictures that no network was trained on. The package takes away patches, and adds the
# reverse, insertion; its score is the gain of both over random order.)
#
# ## Test 2: a network that knows nothing


# %% exercise="looking.rank_similarity"
def rank_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of the absolute values of two maps (H, W)."""
    ranks = [np.abs(each).ravel().argsort().argsort() for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


# %% [markdown]
# ## Test 3: a network with a secret
#
# In the first two tests nobody knows the right explanation. So we make a network for which we do. We stick a green
# label on the photo, and give a copy of the network a secret: **the greener the upper left corner, the higher every
# logit.** It is the "the ruler means cancer" kind of mistake that real networks make, only with a known size.

# %%
labeled = photo.copy()
labeled[4:20, 4:20] = (0, 160, 60)
with_label = segmenter.prepare([labeled])
corner = np.zeros(size, dtype=bool)
corner[4:20, 4:20] = True


def tell(_module, inputs, logits: Tensor) -> Tensor:
    """The secret: five times the greenness of the corner, added to every logit."""
    red, green, blue = inputs[0][..., 4:20, 4:20].unbind(1)
    return logits + 5 * (green - (red + blue) / 2).mean((1, 2)).view(-1, 1, 1, 1)


secretive = copy.deepcopy(network)
secretive.register_forward_hook(tell)
clean = explain.baseline_image(with_label, region)
with torch.no_grad():
    effect = float((tell(None, (with_label,), torch.zeros(1)) - tell(None, (clean,), torch.zeros(1))).sum())
    raised = float(region_score(secretive(with_label), inside) - region_score(network(with_label), inside))
print(f"the secret raises the score by {raised:.2f}; the label's part in that, against even skin: {effect:.2f}")

# %% [markdown] kind="predict"
# **Predict** for integrated gradients, Grad-CAM at D2.2 and occlusion: which will show the label? And will the
# deletion test notice the one that does not?

# %% kind="signature"
rank_similarity = lessons.use("looking.rank_similarity", rank_similarity)

shuffled = explain.shuffled_copy(network)
columns = {
    "trained": ask(network, image),
    "shuffled weights": ask(shuffled, image),
    "secret": ask(secretive, with_label),
}
for maps, seen in zip(columns.values(), (image, image, with_label), strict=True):
    maps["darkness"] = replace(maps["Grad-CAM"], map=(1 - seen[0].mean(0)).numpy(), layer=None)  # no network in it
control = explain.random_control(network, image, region)
secret_control = explain.random_control(secretive, with_label, region)

fig, axes = plt.subplots(len(columns["trained"]), 3, figsize=(7, 2.3 * len(columns["trained"])))
for row, name in zip(axes, columns["trained"], strict=True):
    maps = [each[name] for each in columns.values()]
    faithful = explain.faithfulness(network, image, maps[0], control).score
    faithful_secret = explain.faithfulness(secretive, with_label, maps[2], secret_control).score
    share = np.abs(maps[2].map[corner]).sum() / np.abs(maps[2].map).sum()
    titles = (
        f"{name}\nfaithfulness {faithful:.2f}",
        f"shuffled weights\nsimilarity {rank_similarity(maps[0].map, maps[1].map):.2f}",
        f"secret: label {100 * share:.0f} %\nfaithfulness {faithful_secret:.2f}",
    )
    for ax, attribution, title in zip(row, maps, titles, strict=True):
        limit = np.quantile(np.abs(attribution.map), 0.995)
        ax.imshow(attribution.map, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.contour(region, levels=[0.5], colors="black", linewidths=0.7)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=8)
    row[2].contour(corner, levels=[0.5], colors="green", linewidths=1)
plt.show()

# %% [markdown]
# Read it row by row.
#
# - **Darkness** is as faithful as the best by deletion and insertion. It even marks the label, which happens to be
#   dark. The second test unmasks it: with shuffled weights it stays what it was, similarity 1.
# - **Grad-CAM** changes altogether with the weights: it does depend on the network. But the secret does not pass
#   through D2.2, so Grad-CAM cannot see it, and its picture of the secretive network is the honest network's picture.
#   Its faithfulness does not suffer: most of the probability still hangs on the lesion.
# - **Integrated gradients** find the label. A good part of their ranking survives the shuffle (0.60): both maps are
#   multiplied by the same $x - x'$, which is small on the skin. And their score by deletion is the lowest: single
#   pixels are noisy.
# - **Occlusion** finds it too, blurred by its windows. With shuffled weights its *sign* turns, but where it is strong
#   stays: covering skin with the color of skin changes no network.
#
# No single test would have told us all that.
#
# ### Control: the same label, no secret
#
# A method that marks every colored label would pass test 3 for the wrong reason. In the honest network the label does
# next to nothing, and the maps must say so.

# %% kind="control"
with torch.no_grad():
    honest_effect = float(score(with_label) - score(image))
print(f"the honest network: the label changes the score by {honest_effect:+.2f}")
honest = {name: explain.attribute(network, with_label, region, **options) for name, options in ASK.items()}
print(f"\n{'the label in the map':24} honest   secretive")
honest["darkness"] = columns["secret"]["darkness"]
for name, attribution in honest.items():
    parts = [np.abs(a.map[corner]).sum() / np.abs(a.map).sum() for a in (attribution, columns["secret"][name])]
    print(f"{name:24} {100 * parts[0]:4.1f} %     {100 * parts[1]:4.1f} %")
sums = [float(a["integrated gradients"].map[corner].sum()) for a in (honest, columns["secret"])]
print(
    f"\nintegrated gradients, summed over the label: {sums[0]:.2f} and {sums[1]:.2f}; the secret itself is {effect:.2f}"
)

# %% [markdown]
# Darkness marks the label in both networks: for the wrong reason. Integrated gradients even get the amount right: the difference of the two sums is what we built in. That is no
# miracle, the secret is linear. It is what a method owes us in the one case where we know.
#
# ### Play
#
# Other images, layers and base images. Look for a layer where Grad-CAM shows something that you would not have
# believed, then for its faithfulness.

# %% kind="play"
import ipywidgets

LAYERS = [name for name in explain.layers(network) if name[0] in "EDS"]


def explore(name: str = "synthetic-030", layer: str = "E4.2") -> None:
    """Grad-CAM of any bundled image at any layer, with its score."""
    picture = resize_image(read_image(samples[name].image_path), size)
    given = segmenter.prepare([picture])
    asked = explain.predicted_region(network, given)
    answer = explain.attribute(network, given, asked, "grad_cam", layer=layer)
    value = explain.faithfulness(network, given, answer, explain.random_control(network, given, asked)).score
    from IPython.display import display

    display(static.attribution(picture, answer.map, asked, method="grad_cam", layer=layer, faithfulness=value))


_ = ipywidgets.interact_manual(explore, name=list(samples), layer=LAYERS)

# %% [markdown] kind="limits"
# ## What this does not show
#
# - One network, one photo in the signature figure, one shuffle. The numbers move with each; the three kinds of
#   failure do not.
# - Twelve of the twenty images are drawn. The gates' averages mix both kinds, and twenty are few.
# - Deletion shows the network images that nobody would take. A network may fall for the holes rather than for what is
#   missing.
# - Setting gates to their mean says what this trained network relies on. It is not the paper's ablation, where each
#   variant is trained anew.
# - None of this is about medicine. That a network looks at the lesion does not make it right about the lesion.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. SE's gates in a block are between 0.02 and 0.98, and the same for every image. What does SE do there?
# - [ ] nothing :: It weighs the channels very differently.
# - [x] it multiplies each channel by a constant :: The next layer's weights could do that without SE.
# - [ ] it adapts to each image :: Then the gates would differ.
#
# 2. Why is black a bad base image for skin lesions?
# - [x] it is no absence: lesions are dark, so black looks like lesion :: Against black, dark pixels count for nothing.
# - [ ] gradients vanish at zero :: Not in general.
# - [ ] Captum does not allow it :: It is its default.
#
# 3. A map passes the deletion test against random order. What do you know?
# - [ ] it explains the network :: Darkness passes as well.
# - [x] its order is related to what the score depends on, more than chance :: No more than that.
# - [ ] it is the same for a shuffled network :: That is another test.
#
# 4. Why does Grad-CAM at D2.2 miss the label?
# - [ ] the label is too small :: Its pixels raise every logit.
# - [x] the secret goes around D2.2, and Grad-CAM sees only what passes through its layer :: Choose the layer with care.
# - [ ] the green channel is not used :: Integrated gradients find it.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Integrated gradients](https://arxiv.org/abs/1703.01365): with the axioms that lead to them.
# - [Grad-CAM](https://arxiv.org/abs/1610.02391): the original, for classification.
# - [Sanity checks for saliency maps](https://arxiv.org/abs/1810.03292): the test with random weights.
# - [RISE](https://arxiv.org/abs/1806.07421): deletion and insertion.
# - [Captum](https://captum.ai/tutorials/Segmentation_Interpret): its own tutorial about segmentation.
# - [Attention is not explanation](https://arxiv.org/abs/1902.10186): the same question about language.
