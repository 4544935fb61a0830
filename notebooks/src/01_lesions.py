# %% [markdown] kind="claim"
# **Claim.** Before any network is trained, the data limit what a score can mean: two annotations of the same image
# don't agree, and an image that is in both the training and the test set rewards memorization. We show this by
# measuring what a three-pixel shift of the border costs, and with a program that learns nothing and still gains 28
# points from duplicates. The controls: the same program on test images without a duplicate, a rule too simple to
# memorize, and a repaired split.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - say what dermoscopy shows, what a mask is, and how ISIC 2016, 2017 and 2018 differ;
# - normalize an image as this package does, and prove that the constants used elsewhere cancel;
# - measure how well two annotations agree, and what a displaced border costs for small and large lesions;
# - augment image and mask together, and recognize a random angle that is drawn only once per run;
# - find out whether a split leaks and by how much that inflates a score, and repair it;
# - report a score by group, and say what the typology angle of an image can't tell you.

# %%
import random
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skinlesion import lessons
from skinlesion.data.images import read_image, read_mask
from skinlesion.data.layouts import find_samples
from skinlesion.data.samples import bundled_samples
from skinlesion.data.splits import near_duplicates
from skinlesion.data.synthetic import synthesize
from skinlesion.data.transforms import TrainingTransform

DATA = None  # or the folder of ISIC 2017
lessons.setup()

# %% [markdown]
# ## Draw the border
#
# A dermoscope is a magnifier with its own light. Gel or polarized light removes the glare of the skin, so that pigment
# *below* the surface becomes visible. Here are eight such images from ISIC 2017; they come with the package. Before you
# look at the second row: where would *you* draw the border?

# %%
real = [sample for sample in bundled_samples() if sample.kind == "real"]
drawn = [sample for sample in bundled_samples() if sample.kind == "synthetic"]


def show(ax: plt.Axes, image: np.ndarray, mask: np.ndarray | None = None, title: str = "") -> None:
    ax.imshow(image)
    if mask is not None and mask.any():
        ax.contour(mask, levels=[0.5], colors="white", linewidths=1.2)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=7)


fig, axes = plt.subplots(2, 8, figsize=(11, 3.1))
for column, sample in zip(axes.T, real, strict=True):
    image, mask = read_image(sample.image_path), read_mask(sample.mask_path)
    show(column[0], image)
    show(column[1], image, mask, f"{sample.title.split(' (')[0]}, {100 * mask.mean():.0f}%")
plt.show()

# %% [markdown] given="4.0"
# A **mask** labels each pixel as lesion or skin, with nothing in between, even where the image is ambiguous. Some of
# these masks were drawn by hand, some by a program and then approved by a person; some outlines are smooth, some
# ragged. To the network, all of them are the ground truth.
#
# | | images in the segmentation task | what the paper uses | stated license |
# | --- | --- | --- | --- |
# | ISIC 2016 | 900 + 379 | 900 to train, 379 to test: the official split | CC-0 |
# | ISIC 2017 | 2000 + 150 + 600 | 2000 + 150, re-split into 1500 and 650 | CC-0 |
# | ISIC 2018 | 2594 + 100 + 1000 | 2594 + 100, re-split into 1886 and 808 | CC-BY-NC 4.0 |
#
# The paper doesn't list the image ids of its splits, so they can't be reproduced exactly (A35). It doesn't use the
# official test sets of 2017 and 2018.
#
# This course needs no download. Where it needs many images, it uses synthetic ones:

# %%
fig, axes = plt.subplots(1, 8, figsize=(11, 1.7))
for ax, sample in zip(axes, drawn, strict=False):
    show(ax, read_image(sample.image_path), read_mask(sample.mask_path), sample.title.split(",")[0].split(" under ")[0])
plt.show()

# %% [markdown]
# Synthetic images have one thing that real ones can't have: a border that is known exactly. They aren't medical data.
#
# ## From bytes to numbers
#
# An image is an array of 8-bit numbers, $(H, W, 3)$. Illumination, cameras and skin vary, so each image is scaled by
# its own minimum and maximum:


# %% exercise="lesions.normalize"
def normalize(image: np.ndarray) -> np.ndarray:
    """Darkest value to 0, brightest to 1, all colors together: uint8 (H, W, 3) -> float32 (H, W, 3)."""
    x = image.astype(np.float32)
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else np.zeros_like(x)


# %% [markdown] given="159.922 28.871"
# Other implementations of this kind of network first subtract a data set's mean and divide by its standard deviation:
# 159.922 and 28.871 for the training set of ISIC 2017. Users have asked where these numbers come from, because they
# couldn't reproduce them. Does it matter?

# %%
normalize = lessons.use("lesions.normalize", normalize)

image = read_image(real[0].image_path)
shifted = (image.astype(np.float64) - 159.922) / 28.871
again = (shifted - shifted.min()) / (shifted.max() - shifted.min())
print(f"largest difference with and without these constants: {np.abs(again - normalize(image)).max():.0e}")

spoiled = image.copy()
spoiled[0, 0] = (255, 255, 255)  # one bright reflection
spoiled[0, 1] = (0, 0, 0)  # and one dark pixel
print(f"the image's mean {normalize(image).mean():.3f}; with two extreme pixels {normalize(spoiled).mean():.3f}")

# %% [markdown] given="65536"
# The constants cancel: min-max normalization undoes any affine map before it. The second line shows its weakness: two
# of 65,536 pixels change the whole image, here its mean from 0.607 to 0.662. Hairs and reflections do that all the
# time.
#
# ## Two annotations
#
# How good can a segmentation be? Only as good as its reference.


# %% exercise="lesions.agreement"
def agreement(first: Tensor, second: Tensor) -> Tensor:
    """IoU of two annotations of each image, 1 where both are empty: bool (B, H, W) twice -> (B,)."""
    both, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


# %% [markdown] kind="predict" given="44 2.5"
# **Predict.** Two careful annotators outline the same lesion in an image of 256 x 256 pixels. One draws the whole
# border three pixels further out than the other, the width of a thin line. What is their IoU for a lesion that covers
# 44% of the image? And for one that covers 2.5%?

# %%
agreement = lessons.use("lesions.agreement", agreement)

masks = torch.from_numpy(np.stack([read_mask(sample.mask_path) for sample in real]))  # (8, 256, 256)
area = 100 * masks.float().mean((1, 2))
fig, ax = plt.subplots(figsize=(5, 2.4))
for pixels in (1, 3, 5):
    wider = F.max_pool2d(masks[:, None].float(), 2 * pixels + 1, stride=1, padding=pixels)[:, 0] > 0
    both = agreement(masks, wider)
    order = area.argsort()
    ax.plot(area[order], both[order], "o-", label=f"{pixels} px further out")
    if pixels == 3:
        lessons.happened("1.1", {"largest lesion": both[order[-1]], "smallest": both[order[0]]})
ax.set(xscale="log", xlabel="lesion, % of the image", ylabel="IoU of the two", ylim=(0.5, 1))
ax.set_title("three pixels cost a small lesion four times as much IoU")
ax.set_xticks([2, 5, 10, 20, 40], [2, 5, 10, 20, 40])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown] given="0.27 0.07 0.55"
# The same three pixels cost a small lesion four times as much IoU as a large one (0.27 against 0.07): what counts is
# the length of the border relative to the area.
#
# And real annotators? ISIC 2017 happens to have an answer: it contains some lesions twice, under two ids and with two
# masks. (The list ships with the package. Similarity is the correlation of the images' gradients; pairs below 0.55 may
# be false positives and are left out here.)

# %%
two_masks = {  # ids: (similarity of the images, IoU of the masks, official parts)
    ("ISIC_0012127", "ISIC_0012970"): (1.0, 0.813, "validation and training"),
    ("ISIC_0012290", "ISIC_0013594"): (0.9843, 0.9975, "both training"),
    ("ISIC_0012756", "ISIC_0013184"): (0.9545, 0.99, "both training"),
    ("ISIC_0012672", "ISIC_0012673"): (0.9121, 0.9752, "both training"),
    ("ISIC_0000171", "ISIC_0015124"): (0.8749, 0.9335, "training and validation"),
    ("ISIC_0000222", "ISIC_0014846"): (0.7531, 0.9341, "both training"),
    ("ISIC_0000165", "ISIC_0014788"): (0.5717, 0.8871, "both training"),
}
if DATA is not None:  # recompute the IoU from the masks
    of = {sample.id: read_mask(sample.mask) for sample in find_samples(Path(DATA), "isic2017") if sample.mask}
    for pair, (similarity, _, parts) in two_masks.items():
        first, second = (torch.from_numpy(of[name].copy())[None] for name in pair)
        two_masks[pair] = (similarity, float(agreement(first, second)), parts)
for (a, b), (similarity, overlap, parts) in two_masks.items():
    print(f"{a} and {b[5:]}: similarity {similarity:.2f}, IoU of the masks {overlap:.3f} ({parts})")

# %% [markdown] given="0.814"
# Look at the first line. The images are *identical* (similarity 1.00), and yet the IoU of their masks is 0.813. A
# program that reproduced one of these masks perfectly would score 0.813 against the other. For comparison, this
# package's small network has a mean IoU of 0.814 on its 650 test images. One pair proves nothing about 2150 images, and
# some of the other pairs agree almost perfectly (one mask may have been made from the other). But it shows that there
# is a ceiling: a difference of one or two points between methods, as in the paper's Table 2, is smaller than the
# difference between these two annotations.
#
# The same line shows something else: this image is in both the *validation* and the *training* set. Keep that in mind.
#
# ## Augmentation
#
# A lesion has no up or down, so a rotated or mirrored image is another valid training image. There is one rule: **every
# geometric transform of the image must also be applied to the mask**.


# %% exercise="lesions.turn"
def turn(image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn an image (3, H, W) and its mask (H, W) together by 0 to 3 quarter turns."""
    quarters = int(torch.randint(4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


# %% [markdown]
# The package uses Albumentations for this, with two recipes: `paper` has flips and a rotation by any angle; `strong`,
# meant for short training runs, also changes scale, lighting and color. The transform applied to an image depends on
# the seed, the epoch and the image's index, and on nothing else.

# %%
turn = lessons.use("lesions.turn", turn)

image, mask = read_image(real[1].image_path), read_mask(real[1].mask_path)
fig, axes = plt.subplots(2, 7, figsize=(10, 3.1))
for row, recipe in zip(axes, ("paper", "strong"), strict=True):
    transform = TrainingTransform(recipe, seed=0)
    for epoch, ax in enumerate(row):
        show(ax, *transform(image, mask, epoch=epoch, index=0), f"{recipe}, epoch {epoch}")
plt.show()

# %% [markdown]
# ### A bug worth knowing: the angle that is drawn once
#
# In the code that this line of work builds on, the random angle is drawn when the transform is *created*, not when it
# is *applied* (A31). Nothing fails: images are rotated, and the loss goes down. Take an image with one bright dot,
# augment it 300 times each way, and mark where the dot lands.

# %%
import albumentations as A

dot = np.zeros((97, 97, 3), dtype=np.uint8)
dot[32:37, 74:79] = 255


def once(seed: int) -> A.Compose:
    """Flips and a rotation whose angle is drawn here, once: the bug."""
    angle = float(np.random.default_rng(seed).uniform(-180, 180))
    parts = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.Rotate(limit=(angle, angle), p=0.5)]
    transform = A.Compose(parts)
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return transform


def position(image: np.ndarray) -> tuple[float, float]:
    """Where the dot is, relative to the center."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    return columns.mean() - 48, 48 - rows.mean()


nothing, package = np.zeros((97, 97), dtype=bool), TrainingTransform("paper", seed=0)
landed = {f"drawn once, run {seed}": [position(once_(image=dot)["image"]) for _ in range(300)]
          for seed, once_ in ((1, once(1)), (2, once(2)))}  # fmt: skip
landed["drawn every time"] = [position(package(dot, nothing, epoch=epoch, index=0)[0]) for epoch in range(300)]
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6))
for ax, (name, positions) in zip(axes, landed.items(), strict=True):
    x, y = np.array(positions).T
    ax.plot(x, y, "o", markersize=4, alpha=0.25)
    different = len(np.unique(np.round(np.stack([x, y]) / 2), axis=1).T)
    ax.set(title=f"{name}: {different} positions", xlim=(-40, 40), ylim=(-40, 40), aspect="equal", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# With the bug, the dot has only eight positions in a run (four flips, rotated or not), and another eight in the next
# run. That increases the variance between runs, and the augmentation is poorer than the paper's text claims. Test
# augmentation by what 300 calls *do*, not by looking at one image.
#
# ## The leak
#
# A test score says something about new patients only if the test set *is* new. Write a program that can't generalize to
# new patients at all:


# %% exercise="lesions.remember"
def remember(image: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """The mask (H, W) of the training image that is closest to image (3, H, W), out of images (n, 3, H, W)."""
    return masks[(images - image).square().sum((1, 2, 3)).argmin()]


# %% [markdown]
# Its competitor is a rule with four parameters: a pixel is lesion if $w \cdot \text{color} + b > 0$, fitted to all
# training pixels. Four parameters can't memorize 120 images.
#
# **The experiment.** There are 60 test lesions and 120 others to train on. In the leaky version, 30 of the training
# images are replaced by second images of test lesions 0 to 29: shifted by up to two pixels, a little brighter or
# darker, with added noise, and with a second annotation that is shifted in the same way. The test images are the same
# in both versions.

# %%
TEST, TRAIN, SIDE = (20, 40, 48) if lessons.FAST else (60, 120, 48)
DUPLICATES = TEST // 2
samples = [synthesize(seed, SIDE) for seed in range(TEST + TRAIN)]
images = torch.stack([torch.from_numpy(normalize(s.image)).permute(2, 0, 1) for s in samples])  # (n, 3, H, W)
masks = torch.stack([torch.from_numpy(s.mask.copy()) for s in samples])  # (n, H, W)


def photograph_again(images: Tensor, masks: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Second images and second annotations of the same lesions."""
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(-2, 3, (len(images), 2), generator=generator).tolist()
    gain = 0.9 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=generator)
    moved = torch.stack([image.roll(shift, (1, 2)) for image, shift in zip(images, shifts, strict=True)])
    noise = 0.03 * torch.randn(images.shape, generator=generator)
    return moved * gain + noise, torch.stack([m.roll(s, (0, 1)) for m, s in zip(masks, shifts, strict=True)])


second_images, second_masks = photograph_again(images[:TEST], masks[:TEST], seed=0)
both_annotations = float(agreement(masks[:DUPLICATES], second_masks[:DUPLICATES]).mean())
print(f"two annotations of the lesions that have a duplicate agree at {both_annotations:.3f}")

# %% [markdown] kind="predict"
# **Predict** four numbers. By how much does the leak change the score of the memorizing program on test lesions 0 to
# 29? And on 30 to 59, which have no duplicate? Then the same two for the rule with four parameters. (You have just seen
# a number that helps.)

# %% kind="signature"
remember = lessons.use("lesions.remember", remember)


def fit_rule(images: Tensor, masks: Tensor) -> Tensor:
    """Three weights and a bias, by logistic regression over all pixels."""
    pixels, lesion = images.permute(0, 2, 3, 1).reshape(-1, 3), masks.flatten().float()  # (n H W, 3)
    weight = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=40)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(pixels @ weight[:3] + weight[3], lesion)
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach()


def answers(train_images: Tensor, train_masks: Tensor, test_images: Tensor) -> dict[str, Tensor]:
    """The masks of both programs, (n, H, W) each."""
    weight = fit_rule(train_images, train_masks)
    by_memory = torch.stack([remember(image, train_images, train_masks) for image in test_images])
    return {"memorizing": by_memory, "color rule": test_images.permute(0, 2, 3, 1) @ weight[:3] + weight[3] > 0}


clean = images[TEST:], masks[TEST:]
leaky = (
    torch.cat([second_images[:DUPLICATES], clean[0][DUPLICATES:]]),
    torch.cat([second_masks[:DUPLICATES], clean[1][DUPLICATES:]]),
)
given = {"clean": answers(*clean, images[:TEST]), "leaky": answers(*leaky, images[:TEST])}
scores = {
    (name, version): agreement(given[version][name], masks[:TEST])
    for name in ("memorizing", "color rule")
    for version in given
}

fig, axes = plt.subplots(1, 5, figsize=(11.5, 2.5), width_ratios=[1, 1, 1, 1, 2.2])
example = int((scores["memorizing", "leaky"] - scores["memorizing", "clean"])[:DUPLICATES].argsort()[DUPLICATES // 2])
shown = {
    "a test image, true border": (images[example], masks[example]),
    "its duplicate in training": (second_images[example], second_masks[example]),
} | {
    f"memorizing, {version}: {scores['memorizing', version][example]:.2f}": (
        images[example],
        given[version]["memorizing"][example],
    )
    for version in given
}
for ax, (title, (image, mask)) in zip(axes, shown.items(), strict=False):
    show(ax, image.permute(1, 2, 0).clamp(0, 1).numpy(), mask.numpy(), title)
positions = {("memorizing", True): 0, ("memorizing", False): 1, ("color rule", True): 2.5, ("color rule", False): 3.5}
for (name, duplicated), x in positions.items():
    part = slice(0, DUPLICATES) if duplicated else slice(DUPLICATES, TEST)
    before, after = (float(scores[name, version][part].mean()) for version in ("clean", "leaky"))
    axes[4].bar([x - 0.2, x + 0.2], [before, after], 0.38, color=["tab:blue", "tab:orange"])
    axes[4].text(x, max(before, after) + 0.02, f"{100 * (after - before):+.1f}", ha="center", fontsize=8)
    which = "with" if duplicated else "without"
    lessons.happened("1.2", f"{name}, {which} a duplicate: clean {before:.3f}, leaky {after:.3f}")
axes[4].axhline(both_annotations, color="0.5", linestyle=":", linewidth=1)
names = [f"{name}\n{'duplicates' if duplicated else 'none'}" for name, duplicated in positions]
axes[4].set_xticks(list(positions.values()), names, fontsize=7)
axes[4].set(ylim=(0, 0.95), ylabel="mean IoU", title="the leak (orange) helps only the memorizing program")
plt.show()
for version in given:
    print(f"whole test set, {version}: memorizing {scores['memorizing', version].mean():.3f}, "
          f"color rule {scores['color rule', version].mean():.3f}")  # fmt: skip

# %% [markdown]
# On lesions with a duplicate the memorizing program gains 28 points, from 0.433 to 0.713. That is nearly the agreement
# of the two annotations (the dotted line, 0.731), because the other annotation is exactly what it returns. On lesions
# without a duplicate it gains nothing, and the four-parameter rule gains nothing anywhere. So the leak doesn't reward
# skill. It rewards *capacity to memorize*, and it turns a near tie (0.407 against 0.396) into a clear win for the wrong
# program. A network with millions of weights is somewhere between the two.
#
# ### The control: repair the split
#
# The repair is to split by lesion instead of by image.


# %% exercise="lesions.whole_lesions"
def whole_lesions(lesion: list[int], fraction: float, generator: torch.Generator) -> tuple[list[int], list[int]]:
    """Indices of the training and of the test images, with all images of a lesion on one side."""
    names = sorted(set(lesion))
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: round(fraction * len(names))]}
    train = [i for i, name in enumerate(lesion) if name not in chosen]
    return train, [i for i, name in enumerate(lesion) if name in chosen]


# %% [markdown]
# We pool all images with the second images of the first third of the lesions, and split the pool 70 to 30: six times by
# image and six times by lesion.

# %% kind="control"
whole_lesions = lessons.use("lesions.whole_lesions", whole_lesions)
pool_images, pool_masks = torch.cat([images, second_images]), torch.cat([masks, second_masks])
lesion = [*range(TEST + TRAIN), *range(TEST)]  # which lesion each image shows


def memory_score(numbers: list[int], seed: int) -> float:
    train, test = whole_lesions(numbers, 0.3, torch.Generator().manual_seed(seed))
    found = torch.stack([remember(pool_images[i], pool_images[train], pool_masks[train]) for i in test])
    return float(agreement(found, pool_masks[test]).mean())


for name, numbers in (("by image", list(range(len(lesion)))), ("by lesion", lesion)):
    found = torch.tensor([memory_score(numbers, seed) for seed in range(6)])
    print(f"split {name}: memorizing scores {found.mean():.3f} (from {found.min():.3f} to {found.max():.3f})")

# %% [markdown]
# When the split is by lesion, the memorizing program is back at 0.396, about what it scored without a leak.
#
# ### How large is the effect in ISIC 2017?
#
# The list that the package's split was drawn with has eleven pairs among 2150 images. A 70-to-30 split that ignores
# them separates a pair with probability $2 \cdot 0.7 \cdot 0.3$.

# %%
pairs = len(near_duplicates("isic2017"))
expected = 2 * 0.7 * 0.3 * pairs
print(f"{pairs} pairs: on average {expected:.1f} of the 650 test images have a duplicate in training; 30 points on "
      f"each of them raise the mean by {30 * expected / 650:.1f} points")  # fmt: skip

# %% [markdown]
# That is small, although a later search found more pairs than these (see `near_duplicates` in
# `skinlesion.data.splits`). Three other leaks are worse:
#
# - **Across years.** All challenges draw from one archive, and different years share images. Training on 2018 and
#   testing on 2017 isn't a test.
# - **Selection.** The code that the paper builds on keeps the checkpoint with the lowest loss on the very set on which
#   it then reports its score (A34). This package sets aside part of the training set for validation instead.
# - **Patients.** Two lesions of one patient share skin, camera and annotator. The public ids alone don't say which
#   images belong to one patient.
#
# ## What a mean hides
#
# A mean over a test set doesn't say *which* images a network fails on. So scores are also reported by group: the size
# of the lesion, whether it touches the frame, and skin tone. Dermatology has a measure of tone, the **individual
# typology angle** of the background's color in CIE L\*a\*b\*: $\mathrm{ITA} = \arctan \frac{L^* - 50}{b^*}$. Above 55°
# skin is called very light, below 28° tan, brown or dark. Here are the eight images, sorted by that angle (largest
# first).

# %%
from skinlesion.data.groups import tone, typology_angle

pairs_of_arrays = [(read_image(sample.image_path), read_mask(sample.mask_path)) for sample in real]
angles = [typology_angle(image, mask) for image, mask in pairs_of_arrays]
order = np.argsort(angles)[::-1]
fig, axes = plt.subplots(1, 8, figsize=(11, 1.7))
for ax, index in zip(axes, order, strict=True):
    show(ax, *pairs_of_arrays[index], f"{angles[index]:.0f}°, {tone(angles[index])}")
plt.show()

# %% [markdown] kind="predict"
# **Predict.** The angle is computed from the image. Take the third image from the left and make it 30% darker, as a
# shorter exposure would. What are its angle and its group now? And under a warmer light (5% more red, 20% less blue)?

# %%
image, mask = pairs_of_arrays[order[2]]
lights = {"as it is": (1, 1, 1), "15% darker": (0.85,) * 3, "30% darker": (0.7,) * 3, "warmer light": (1.05, 1, 0.8)}
fig, axes = plt.subplots(1, 4, figsize=(6.5, 1.9))
for ax, (light, gains) in zip(axes, lights.items(), strict=True):
    changed = (image * np.array(gains)).clip(0, 255).astype(np.uint8)
    angle = typology_angle(changed, mask)
    show(ax, changed, mask, f"{light}: {angle:.0f}°, {tone(angle)}")
    lessons.happened("1.3", f"{light}: {angle:.0f} degrees, {tone(angle)}")
plt.show()

# %% [markdown] given="434 69 0.868 0.601 0.476 0.736 0.719"
# One person, one lesion, and three groups: the angle is a property of the *image*. It depends on exposure and white
# balance at least as much as on skin, so it can't be used to say anything about a person. It is still worth reporting,
# because the image is a network's only input. On the 650 test images of ISIC 2017, the package's default network has a
# pooled IoU of 0.868 on the 434 with a very light background and of 0.601 on the 69 that are tan, brown or dark. The
# interval of the second number, 0.476 to 0.736, is so wide because there are few such images, which is a finding in
# itself: what is rare in the data can't be measured well, let alone learned well. For your own weights and images,
# `skinlesion evaluate --by tone,size,border,diagnosis` prints this table.
#
# ### Bonus: from pairs to lesions
#
# `whole_lesions` needs to know which lesion each image shows, but a search for duplicates returns pairs. Are eleven
# pairs eleven lesions?


# %% exercise="lesions.groups"
def groups(pairs: list[tuple[int, int]], count: int) -> list[int]:
    """The group of each of `count` images, 0, 1, 2, ..: connected images share one; pairs: indices of two images."""
    group = list(range(count))
    for a, b in pairs:
        old, new = group[b], group[a]
        group = [new if each == old else each for each in group]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(group))}
    return [numbers[each] for each in group]


# %%
groups = lessons.use("lesions.groups", groups)

names = sorted({name for pair in near_duplicates("isic2017") for name in pair})
found = groups([(names.index(a), names.index(b)) for a, b in near_duplicates("isic2017")], len(names))
sizes = [found.count(number) for number in range(max(found) + 1)]
print(f"{len(names)} images, {len(sizes)} lesions; the largest group has {max(sizes)} images")

# %% [markdown]
# They show ten lesions (if all pairs are real): two pairs share an image, so three images show one lesion. If you drew
# *pairs* for the split instead of groups, that image could end up on both sides.
#
# ### Play
#
# How similar does a duplicate have to be? Change the noise and the shift, and see when memorizing stops paying off.

# %% kind="play"
import ipywidgets


def spoil(noise: float = 0.0, shift: int = 0) -> None:
    """Score of memorizing on test lesions that have a duplicate, when the duplicates are made less similar."""
    generator = torch.Generator().manual_seed(1)
    changed = second_images[:DUPLICATES].roll(shift, 2) + noise * torch.randn(
        second_images[:DUPLICATES].shape, generator=generator
    )
    annotations = second_masks[:DUPLICATES].roll(shift, 1)
    train = torch.cat([changed, clean[0][DUPLICATES:]]), torch.cat([annotations, clean[1][DUPLICATES:]])
    found = torch.stack([remember(image, *train) for image in images[:DUPLICATES]])
    print(f"memorizing {agreement(found, masks[:DUPLICATES]).mean():.3f}, both annotations agree at "
          f"{agreement(annotations, masks[:DUPLICATES]).mean():.3f}")  # fmt: skip


_ = ipywidgets.interact(spoil, noise=(0.0, 0.6, 0.05), shift=(0, 16, 2))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The duplicates are synthetic: shifted, with noise. Real second images also differ in angle, zoom and lighting.
#   Comparing pixels wouldn't match those; a network might.
# - A border that is three pixels further out everywhere is one kind of disagreement. Annotators also disagree about
#   whether a pale rim or a second patch belongs to the lesion, and that costs more.
# - The list of duplicates in ISIC 2017 was found by a similarity measure. Pairs that it missed aren't in the
#   calculation, and a later search did find more, some of them on both sides of this package's own split.
# - There are only a few pairs of masks, and they aren't a random sample. Studies with several annotators per image are
#   linked below.
# - Images here are 48 or 256 pixels wide. The originals are up to 6000 pixels wide, and a mask's border loses detail
#   when it is scaled down.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. A program subtracts the data set's mean before min-max normalization. What changes?
# - [ ] the image gets darker :: The minimum is subtracted afterward anyway.
# - [x] nothing, for any image :: Min-max undoes every affine map with a positive factor.
# - [ ] it depends on the mean :: The mean cancels, whatever it is.
#
# 2. Why does the same displaced border cost a small lesion more IoU?
# - [ ] it has fewer pixels to average the error over :: The number of pixels alone doesn't matter; the ratio of border
#   to area does.
# - [x] it has more border in relation to its area :: Area grows with the square of the radius, border only with the
#   radius.
# - [ ] it is paler than a large lesion, and has less edge :: IoU does not depend on color.
#
# 3. In the leaky experiment the memorizing program's score stopped at the agreement of the two annotations. Why?
# - [ ] the noise hid some of the duplicates from it :: Perhaps a few. That explains why it stays a little below, not
#   why it stops there.
# - [x] what it returns is the other annotation :: It can't be better than that annotation.
# - [ ] the training set was too small to memorize :: One duplicate is all it needs.
#
# 4. How could you have noticed that the angle was drawn only once?
# - [ ] a loss that stops going down :: It goes down.
# - [ ] one look at an augmented image :: A single image looks right.
# - [x] where a dot lands in many calls :: Whether something is random shows only over many calls.
#
# 5. A paper trains on ISIC 2018 and tests on ISIC 2017. What do you ask?
# - [x] which images are in both of them :: All years draw from one archive.
# - [ ] which seed it was trained with :: Useful, but not the first problem here.
# - [ ] how many parameters it has :: That determines how much it can memorize, not whether there is a leak.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Skin lesion analysis toward melanoma detection, ISIC 2017](https://arxiv.org/abs/1710.05006): the challenge, and
#   how its masks were made.
# - [The same for 2018](https://arxiv.org/abs/1902.03368).
# - [Handling inter-annotator agreement for automated skin lesion segmentation](https://arxiv.org/abs/1906.02415): what
#   degrees of agreement mean, and what smoothing the masks (conditioning) does.
# - [What can we learn from inter-annotator variability in skin lesion segmentation?](https://arxiv.org/abs/2508.09381):
#   several annotators for 2394 images; agreement correlates with diagnosis.
# - [Albumentations](https://arxiv.org/abs/1809.06839): the library of augmentations.
