# %% [markdown] kind="claim"
# **Claim.** An explanation of a network is a measurement, and a measurement can be wrong. We show it on the weights
# that come with the package, with gates that are computed from the image and hardly depend on it, and explanations of
# one mask that look equally convincing until they are tested. The controls are an "explanation" that does not use the
# network at all, and a network with a planted cause, for which the right explanation is known.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - read CRA's and SE's gates off a trained network, and measure whether they depend on the image;
# - define an attribution for a segmentation: one number per map, a region and a baseline;
# - write integrated gradients, and check that they add up;
# - test an explanation by deletion, against random order and against a map that does not use the network;
# - run the sanity check with shuffled weights, and the test with a planted cause;
# - say what each test cannot detect.

# %%
import copy
import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from torch import Tensor

from skinlesion import Segmenter, explain, lessons
from skinlesion.data.images import read_image, read_mask, resize_image, resize_mask
from skinlesion.data.samples import bundled_samples
from skinlesion.plots import static

lessons.setup()

# %% [markdown]
# ## One mask, and the question of why
#
# The network is `small` (trained on ISIC 2017); the images are the twenty bundled ones: eight real ones that it was not
# trained on, twelve synthetic ones. `PHOTO` is the one that we explain; choose another, or a file of your own.

# %%
PHOTO = "ISIC_0010587"  # the name of a bundled image, or the path of a photo

segmenter = Segmenter.from_pretrained("small")
network, size = segmenter.model, segmenter.size
samples = {sample.image_path.stem: sample for sample in bundled_samples()}
images = [resize_image(read_image(sample.image_path), size) for sample in samples.values()]
masks = np.stack([resize_mask(read_mask(sample.mask_path), size) for sample in samples.values()])  # (20, H, W)
photo = resize_image(read_image(samples[PHOTO].image_path if PHOTO in samples else PHOTO), size)
image = segmenter.prepare([photo])  # (1, 3, H, W)
region = explain.predicted_region(network, image)  # bool (H, W)
static.overlay(photo, region)

# %% [markdown]
# ## The gates that the network computes
#
# CRA multiplies each skip by a gate for each row and one for each column (lesson 10). Here are the means over the
# channels at the finest skip, S2:

# %%
gates = explain.cra_gates(network, image)
static.cra_gates(photo, *gates["S2"].profiles(), gates["S2"].product(), what="S2, mean gates")

# %% [markdown]
# The gates show the lesion's position, and they are *smaller* on it. The word "attention" suggests the opposite. Is
# that so in general? Measure it: for each image, divide the mean gate product inside the lesion by the one outside. The
# control uses the same gates with the lesions of the *other* nineteen images.

# %% [markdown] kind="predict"
# **Predict**, for the skips S2 (fine), S3 and S4 (coarse): is the ratio above or below 1? And how far is it from the
# control? If the gates depend on the lesion, the ratio for an image's own lesion must differ from that for the others.

# %%
every = [explain.cra_gates(network, segmenter.prepare([image])) for image in images]
for skip in ("S2", "S3", "S4"):
    cell = every[0][skip].cell
    maps = np.stack([np.kron(each[skip].product(), np.ones((cell, cell))) for each in every])  # (20, H, W)
    inside = np.einsum("ihw,jhw->ij", maps, masks) / masks.sum((1, 2))
    outside = np.einsum("ihw,jhw->ij", maps, ~masks) / (~masks).sum((1, 2))
    ratio = inside / outside  # (gates of image i, lesion of image j)
    own, others = ratio.diagonal(), (ratio.sum(1) - ratio.diagonal()) / (len(ratio) - 1)
    count = f"{(own > others).sum()} of {len(own)}"
    lessons.happened(
        "14.1", f"{skip}: own lesion {own.mean():.2f}, others' {others.mean():.2f}, own is higher in {count}"
    )

# %% [markdown]
# At S2 the ratio is below 1 (0.92), and in 17 of 20 images it is below the control: the gates do depend on the lesion,
# a little, and they let *less* of the fine skip through there. At S4 it is above 1 (1.16), but nearly as much for other
# images' lesions (1.14). Lesions are in the middle, and so are the large gates: this is a location prior. Without the
# control we would have called it attention to the lesion. Single channels show more (see `gates["S2"].strongest`).
#
# ### And SE?


# %% exercise="looking.image_share"
def image_share(gates: Tensor) -> Tensor:
    """The share of the gates' variance that is due to the image: (images, C) -> a scalar in [0, 1]."""
    return gates.var(dim=0, correction=0).mean() / gates.var(correction=0)


# %% [markdown] kind="predict"
# **Predict.** The network has 15 blocks, each with an SE. In how many of them is more than a tenth of the gates'
# variance due to the image?

# %%
image_share = lessons.use("looking.image_share", image_share)

one_by_one = [explain.se_gates(network, segmenter.prepare([image])) for image in images]
shares = {
    block: float(image_share(torch.tensor(np.stack([gates[block] for gates in one_by_one])))) for block in one_by_one[0]
}
lessons.happened("14.2", f"{sum(share > 0.1 for share in shares.values())} of {len(shares)}")
print("more than a tenth:", ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share > 0.1))
print("less:             ", ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share <= 0.1))
static.se_overview(explain.se_gates(network, image))

# %% [markdown]
# In 10 of 15 blocks the gates differ between channels (the boxes) but hardly between images: there SE has become a
# constant factor per channel, which the next layer could have absorbed. The 5 blocks whose gates do depend on the
# image, E1.2 to E2.2, D2.2 and D1.1, are near the input or near the output.
#
# Does it matter? Looking at gates cannot tell you; an *intervention* can. Replace SE's gates by their mean over the
# twenty images, or make CRA's gates the same in every row and column, and see what happens to the masks. The first is a
# function that you plug into the network.

# %%
batch = segmenter.prepare(images)  # (20, 3, H, W)
means = [torch.tensor(np.mean([gates[block] for gates in one_by_one], axis=0)) for block in one_by_one[0]]
running = itertools.cycle(means)  # the blocks run in this order


def constant_gate(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """SE whose gates don't depend on the image."""
    gate = next(running).expand(len(x), -1)  # (B, C)
    return x * gate[:, None, None, :], gate


def masks_of(model: torch.nn.Module) -> np.ndarray:
    """A network's masks of the twenty images, bool (20, H, W)."""
    with torch.no_grad():
        return (model(batch)[:, 0] > 0).numpy()


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean IoU over images."""
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
# The last column says how much the *trained* network relies on each module, which no plot of gates can show. With SE
# replaced by its mean gate the masks change by about 3%, and they are no worse on these twenty images. Replacing CRA's
# row and column gates, which looked so informative above, changes the masks by less than 1%. This does not say how
# good a network trained without the module would be: that is another experiment (lesson 15).
#
# ## Explaining a mask
#
# Which pixels led the network to "lesion"? Attribution methods answer that for a network with *one* output. Ours
# outputs a map.


# %% exercise="looking.region_score"
def region_score(logits: Tensor, region: Tensor) -> Tensor:
    """Mean logit over a region: logits (B, 1, H, W), region bool (H, W) -> (B,)."""
    return logits[:, 0, region].mean(dim=1)


# %% [markdown]
# And compared to what? An attribution needs a **baseline**, an image in which the feature is absent. Black, the usual
# choice, would be wrong here: lesions are dark. The package takes one uniform color, the median of the skin.


# %% exercise="looking.integrated_gradients"
def integrated_gradients(score, image: Tensor, base: Tensor, steps: int) -> Tensor:
    """Integrated gradients at midpoints, summed over channels: image and base (1, C, H, W) -> (H, W)."""
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
for steps in (1, 2, 4, 8) if lessons.FAST else (1, 2, 4, 8, 32):
    print(f"sum of your map, {steps} steps: {float(integrated_gradients(score, image, base, steps).sum()):6.2f}")

# %% [markdown] given="11"
# With enough steps the map must add up to the difference that it explains, 15.35. Eight steps are far from enough, and
# four give an absurd result (91.58): somewhere on the path the gradient is huge for a short stretch, which a few points
# either hit or miss. So never look at such a map without checking its sum. The package uses Gauss-Legendre points,
# Captum's default. With 32 of them 11% of the difference is missing, about as much as with your midpoints, and with 128
# half a percent.
#
# ### Three methods
#
# - **Integrated gradients**, as above, with 128 steps.
# - **Grad-CAM** uses one layer: its channels, weighted by their mean gradient, summed, negative values set to zero. It
#   depends only on what passes through that layer.
# - **Occlusion** covers one window after another with the baseline, and records how much the score drops.

# %%
ASK = {"integrated gradients": {"method": "integrated_gradients", "steps": 8 if lessons.FAST else 128}}
ASK["Grad-CAM"] = {"method": "grad_cam", "layer": "D2.2"}
if not lessons.FAST:
    ASK["occlusion"] = {"method": "occlusion"}


def ask(model: torch.nn.Module, image: Tensor) -> dict[str, explain.Attribution]:
    """The map of each method for the mask."""
    return {name: explain.attribute(model, image, region, **options) for name, options in ASK.items()}


found = ask(network, image)
gap = found["integrated gradients"].completeness_gap
print(f"integrated gradients: {100 * gap:.1f}% of the difference is not accounted for")
first = found["integrated gradients"]
static.attribution(photo, first.map, region, method=first.method)

# %% [markdown]
# Every method gives a plausible map (all of them are shown below). Plausible to *us*, who know where the lesion is. So
# test them.
#
# ## Test 1: deletion


# %% exercise="looking.deletion_curve"
def deletion_curve(score, image: Tensor, base: Tensor, importance: Tensor, points: int) -> Tensor:
    """The score while the most important pixels are replaced by the base first: importance (H, W) -> (points,)."""
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)  # 0 for the most important
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)  # pixels replaced
    with torch.no_grad():
        return score(torch.where(place < gone, base, image))


# %% [markdown] kind="predict"
# **Predict.** Two orders have nothing to do with the network: random order, and "darkest pixel first". How will their
# curves compare with that of integrated gradients, on eight images?

# %%
deletion_curve = lessons.use("looking.deletion_curve", deletion_curve)


def deletions(name: str) -> dict[str, Tensor]:
    """The deletion curves of one bundled image, for three orders."""
    image = resize_image(read_image(samples[name].image_path), size)
    shown = segmenter.prepare([image])
    asked = explain.predicted_region(network, shown)
    inside, empty = torch.from_numpy(asked), explain.baseline_image(shown, asked)

    def probability(images: Tensor) -> Tensor:
        """Mean probability over the region: the quantity that deletion lowers."""
        return network(images)[:, 0].sigmoid()[:, inside].mean(1)

    attribution = explain.attribute(network, shown, asked, **ASK["integrated gradients"])
    orders = {
        "integrated gradients": torch.from_numpy(attribution.map),
        "darkest first": 1 - shown[0].mean(0),  # (H, W): independent of the network
        "random": torch.rand(size, generator=torch.Generator().manual_seed(0)),
    }
    return {name: deletion_curve(probability, shown, empty, order, 17) for name, order in orders.items()}


real = [name for name in samples if name.startswith("ISIC")]
asked_about = [PHOTO] if lessons.FAST else real
curves = {name: deletions(name) for name in asked_about}
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for order, curve in curves[PHOTO if PHOTO in curves else asked_about[0]].items():
    axes[0].plot(torch.linspace(0, 1, 17), curve, label=f"{order}: area {float(curve.mean()):.2f}")
axes[0].set(xlabel="share of the image that is gone", ylabel="probability over the region", title="one image")
axes[0].legend(fontsize=7)
areas = torch.tensor([[float(curve.mean()) for curve in each.values()] for each in curves.values()])  # (images, 3)
axes[1].plot(areas.T, "o-", color="0.6", markersize=3)
axes[1].set_xticks(range(3), list(next(iter(curves.values()))), fontsize=7)
axes[1].set(ylabel="area under the curve", title="eight images: darkness, too, beats random order")
plt.show()
for name, row in zip(curves, areas.tolist(), strict=True):
    print(f"{name:14} integrated gradients {row[0]:.2f}, darkest first {row[1]:.2f}, random {row[2]:.2f}")
best = int((areas[:, 1] < areas[:, 0]).sum())
lessons.happened("14.3", f"both below random in {int((areas[:, :2].amax(1) < areas[:, 2]).sum())} of {len(areas)} images, "
                         f"darkness below integrated gradients in {best}")  # fmt: skip

# %% [markdown]
# Random order is much worse in all 8 images, as it should be. But on our image darkness has the smallest area under the
# curve of all, 0.16 against 0.23, and it explains nothing: the lesion *is* dark. On eight images darkness is below
# integrated gradients in 4, above in the others. "Better than random" is a low bar, and many papers stop there.
# (Deleting single pixels also produces images unlike any that the network was trained on. The package deletes patches,
# and adds the reverse, insertion; its score, *faithfulness*, is the gain of both over random order.)
#
# ## Test 2: a network with shuffled weights


# %% exercise="looking.rank_similarity"
def rank_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of the absolute values of two maps (H, W); equal values share their mean rank."""
    ranks = [stats.rankdata(np.abs(each)) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


# %% [markdown]
# ## Test 3: a network with a planted cause
#
# In the first two tests the right explanation is unknown. So we build a network for which it is known. We put a green
# label on the image, and add a secret rule to a copy of the network: **the greener the upper left corner, the higher
# every logit.** It is the kind of shortcut that real networks learn ("a ruler means cancer"), but its effect has a
# known size.

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
print(f"the secret raises the score by {raised:.2f}; the label's part in that, compared with plain skin: {effect:.2f}")

# %% [markdown] kind="predict"
# **Predict** for integrated gradients, Grad-CAM at D2.2 and occlusion: which will show the label? And will the deletion
# test reveal the one that does not?

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
        f"secret: label {100 * share:.0f}%\nfaithfulness {faithful_secret:.2f}",
    )
    for ax, attribution, title in zip(row, maps, titles, strict=True):
        limit = np.quantile(np.abs(attribution.map), 0.995)
        ax.imshow(attribution.map, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.contour(region, levels=[0.5], colors="black", linewidths=0.7)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=8)
    row[2].contour(corner, levels=[0.5], colors="green", linewidths=1)
    lessons.happened("14.4", f"{name}: label {100 * share:.0f}%, faithfulness {faithful:.2f}, with the secret "
                             f"{faithful_secret:.2f}, similarity {rank_similarity(maps[0].map, maps[1].map):.2f}")  # fmt: skip
plt.show()

# %% [markdown]
# Read the figure row by row.
#
# - **Darkness** is as faithful by deletion and insertion (0.79) as Grad-CAM and occlusion. It even marks the label,
#   which happens to be dark. The second test exposes it: with shuffled weights the map stays the same, similarity 1.00.
# - **Grad-CAM** changes completely with the weights (-0.08): it does depend on the network. But the secret rule does
#   not pass through D2.2, so Grad-CAM cannot show it, and its map is the same for the network with the secret as for
#   the honest one. Its faithfulness does not drop: most of the probability still depends on the lesion.
# - **Integrated gradients** show the label (9% of the map). A good part of their ranking survives the shuffle (0.60):
#   both maps are multiplied by the same $x - x'$, which is small on the skin. And their faithfulness is the lowest,
#   0.57: single pixels are noisy.
# - **Occlusion** shows it too (11%), blurred by its windows. With shuffled weights its *sign* changes, but the
#   positions of large values stay (0.72): covering skin with skin color changes nothing in any network.
#
# Each test alone would have missed something. One caution: occlusion and deletion fill with the same color. A method
# that measures the effect of covering with this color is favored by a test that covers with this color.

# %% kind="control"
with torch.no_grad():
    honest_effect = float(score(with_label) - score(image))
print(f"the honest network: the label changes the score by {honest_effect:+.2f}")
honest = {name: explain.attribute(network, with_label, region, **options) for name, options in ASK.items()}
print(f"\n{'the label in the map':24} honest   secretive")
honest["darkness"] = columns["secret"]["darkness"]
for name, attribution in honest.items():
    parts = [np.abs(a.map[corner]).sum() / np.abs(a.map).sum() for a in (attribution, columns["secret"][name])]
    print(f"{name:24} {100 * parts[0]:4.1f}%     {100 * parts[1]:4.1f}%")
sums = [float(a["integrated gradients"].map[corner].sum()) for a in (honest, columns["secret"])]
print(
    f"\nintegrated gradients, summed over the label: {sums[0]:.2f} and {sums[1]:.2f}; the secret itself is {effect:.2f}"
)

# %% [markdown]
# Darkness marks the label in both networks, for the wrong reason. Integrated gradients even get the size right: the
# difference between the two sums is what was planted. That is the least we can ask, since the secret rule is linear and
# this is the one case where we know the right answer.
#
# ### Play
#
# Try other images, layers and baselines. Look for a layer where Grad-CAM shows something implausible, then look at its
# faithfulness.

# %% kind="play"
import ipywidgets
from IPython.display import display

LAYERS = [name for name in explain.layers(network) if name[0] in "EDS"]


def explore(name: str = "synthetic-030", layer: str = "E4.2") -> None:
    """Grad-CAM of any bundled image at any layer, with its score."""
    image = resize_image(read_image(samples[name].image_path), size)
    given = segmenter.prepare([image])
    asked = explain.predicted_region(network, given)
    answer = explain.attribute(network, given, asked, "grad_cam", layer=layer)
    value = explain.faithfulness(network, given, answer, explain.random_control(network, given, asked)).score
    display(static.attribution(image, answer.map, asked, method="grad_cam", layer=layer, faithfulness=value))


_ = ipywidgets.interact_manual(explore, name=list(samples), layer=LAYERS)

# %% [markdown] kind="limits"
# ## What this does not show
#
# - One network, one image in the signature figure, one shuffle. The numbers change with each; the three kinds of
#   failure do not.
# - Twelve of the twenty images are synthetic. The gates' averages mix both kinds, and twenty are few.
# - Deletion and occlusion fill with the *same* color, the baseline. A method that covers pixels with it has an
#   advantage in a test that does the same; a fairer test would use another fill.
# - Deletion feeds the network images that no camera produces. Its output may react to the holes rather than to what is
#   missing.
# - Setting gates to their mean says what this trained network relies on. It is not the paper's ablation, where each
#   variant is retrained.
# - None of this is about medicine. That a network's output depends on the lesion does not make it right about the
#   lesion.

# %% [markdown] kind="quiz" given="0.02 0.98"
# ## Recap
#
# 1. SE's gates in a block are between 0.02 and 0.98, and the same for every image. What does SE do there?
# - [ ] nothing, since they never change at all :: It weights the channels very differently.
# - [x] it scales each channel by a constant :: The next layer's weights could do that without SE.
# - [ ] it adapts to the image at hand :: Then the gates would differ.
#
# 2. Why is black a bad baseline for skin lesions?
# - [x] lesions are dark, so black is not an absence :: Against black, dark pixels count for nothing.
# - [ ] gradients vanish where all the pixels are zero :: Not in general.
# - [ ] Captum requires a baseline other than zero :: Zero is its default.
#
# 3. A map passes the deletion test against random order. What do you know?
# - [ ] that it explains the decision of the network :: Darkness passes as well.
# - [x] its order is related to what the score uses :: More than chance, and no more than that.
# - [ ] that it would differ with shuffled weights :: That is another test.
#
# 4. Why does Grad-CAM at D2.2 miss the label?
# - [ ] the label is too small for its resolution :: Its pixels raise every logit.
# - [x] the secret does not pass through D2.2 :: Grad-CAM depends only on what passes through its layer.
# - [ ] the network ignores the green channel :: Integrated gradients find it.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Integrated gradients](https://arxiv.org/abs/1703.01365): with the axioms that lead to them.
# - [Grad-CAM](https://arxiv.org/abs/1610.02391): the original, for classification.
# - [Sanity checks for saliency maps](https://arxiv.org/abs/1810.03292): the test with random weights.
# - [RISE](https://arxiv.org/abs/1806.07421): deletion and insertion.
# - [Captum](https://captum.ai/tutorials/Segmentation_Interpret): its tutorial on segmentation.
# - [Attention is not explanation](https://arxiv.org/abs/1902.10186): the same question for language models.
