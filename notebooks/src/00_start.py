# %% [markdown] kind="claim"
# **Claim.** A six-megabyte network outlines most lesions in a moment, on one laptop core, and its confidence doesn't
# reveal when it is wrong. This lesson shows both on images that come with the package. The controls: the same image
# with the lesion painted over, and something that isn't a lesion at all.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - turn an image into a probability map, a mask and an area with a trained network;
# - find out what your machine can do, and where to look when something is missing;
# - solve an exercise, check it, get hints, and skip it if you're stuck;
# - explain what a control adds to a result;
# - find your way through the other lessons.

# %% [markdown]
# ## The first minute
#
# Run this cell (`Shift+Enter`). It loads the package, the weights that come with it, and an image.

# %%
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from skinlesion import Segmenter, lessons
from skinlesion.data.images import read_image, read_mask
from skinlesion.data.samples import bundled_samples

lessons.setup()
segmenter = Segmenter.from_pretrained("small")
samples = {sample.id: sample for sample in bundled_samples()}
first = segmenter.segment(samples["ISIC_0012246"].image_path)

fig, axes = plt.subplots(1, 3, figsize=(8, 2.7))
axes[0].imshow(first.image)
axes[0].set_title("a dermoscopy image")
shown = axes[1].imshow(first.probability, vmin=0, vmax=1)
axes[1].set_title("probability of lesion")
fig.colorbar(shown, ax=axes[1], shrink=0.8)
axes[2].imshow(first.image)
axes[2].contour(first.mask, levels=[0.5], colors="#56B4E9", linewidths=2)
axes[2].set_title(f"the mask: {first.area_fraction:.0%} of the image")
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown] given="3.2 1350"
# A dermoscope is a magnifier with a light, held against the skin. Before you can say anything about a lesion, you have
# to know where it is. That is **segmentation**: a label for every pixel. The network that made this mask has 3.2
# million parameters and was trained on 1,350 images, on a single CPU core. You'll build all of it.
#
# ## What your machine can do
#
# No lesson needs a GPU or a download. `skinlesion doctor`, run in a terminal, reports on your machine; these are the
# lines that matter:

# %%
from skinlesion.doctor import diagnose

facts = diagnose(seconds=0.5)
for engine in facts["engines"]:
    print(f"scan engine {engine['name']:10} {'available' if engine['available'] else 'not here: ' + engine['reason']}")
print("chosen automatically on the CPU:", facts["auto"]["cpu"])

# %% [markdown]
# Lesson 6 explains *scan engines*: several ways to compute the slowest part of the network, all with the same result.
#
# **Google Colab and Kaggle.** The badges at the top of each lesson open it there, and its first cell installs the
# package. With a GPU runtime, `Segmenter.from_pretrained("small", device="cuda")` puts the network on the GPU, and the
# Triton engine is chosen automatically. Your progress is saved in the runtime and deleted with it, unless the
# environment variable `SKINLESION_PROGRESS` names a file on your own drive.
#
# ## How exercises work
#
# When a function ends in `raise NotImplementedError`, its body is yours to write. The cell below it checks your
# function on small random cases. Each exercise shows what a correct answer returns on a small example. Try it:


# %% exercise="start.to_mask"
def to_mask(probability: Tensor, threshold: float) -> Tensor:
    """True where the probability is at least the threshold: (H, W) -> bool (H, W)."""
    return probability >= threshold


# %% [markdown]
# What does a check say about a wrong answer? Here is one, wrong on purpose:


# %%
def rounded(probability: Tensor, threshold: float) -> Tensor:
    """A mask by rounding: wrong."""
    return probability.round().bool()


check = lessons.check
check("start.to_mask", rounded)

# %% [markdown]
# The report shows your result, the expected one, the largest difference, the likely mistake, and a hint. More hints are
# folded below the check, or come one at a time from `lessons.hint("start.to_mask")`; the solution is folded below them.
# An unsolved exercise never holds you up: `lessons.use` takes your function if it passes its check and the package's if
# it doesn't, and says which. Dots show how difficult an exercise is and how much the rest of the course depends on it.
# *Bonus exercises* are optional.
#
# Before most results you're asked for a **prediction**. Write it in the cell that calls `lessons.predict`; the result
# is later printed next to it. It isn't graded. People who commit to a prediction learn more from the result.
#
# The first number a doctor would ask for is the area:


# %% exercise="start.area_fraction"
def area_fraction(mask: Tensor) -> Tensor:
    """The share of each image that is lesion: bool (B, H, W) -> (B,), in [0, 1]."""
    return mask.float().mean(dim=(1, 2))


# %%
to_mask = lessons.use("start.to_mask", to_mask)
area_fraction = lessons.use("start.area_fraction", area_fraction)
probability = torch.from_numpy(first.probability)
for threshold in (0.1, 0.5, 0.9):
    area = area_fraction(to_mask(probability, threshold)[None])
    print(f"threshold {threshold}: {float(area):.1%} of the image")

# %% [markdown]
# Between the thresholds 0.1 and 0.9 the area changes by only an eighth: nearly every pixel has a probability close to 0
# or 1, and only pixels near the border have values in between.
#
# ## Eight images
#
# One image proves little. The package has eight real ones, chosen by a rule that doesn't depend on any result
# (`skinlesion/data/samples/NOTICE`). None of them was used in training, and each has a reference outline from the ISIC
# challenge. **Dice** is the overlap of two masks, $2|A \cap B| / (|A| + |B|)$: 1 for identical masks, 0 if they have no
# pixel in common. Lesson 2 covers what it hides.
#
# Next to it is the network's own **confidence**: roughly the Dice it expects to reach, computed without the reference
# mask.

# %% [markdown] kind="predict"
# **Predict** before you run the next cell: how many of the eight reach a Dice above 0.85? And does the network's
# confidence reveal which ones don't?

# %% kind="signature"
real = [sample for sample in samples.values() if sample.kind == "real"]
results = {sample.id: segmenter.segment(sample.image_path) for sample in real}
truths = {sample.id: read_mask(sample.mask_path) for sample in real}


def dice(a, b) -> float:
    """Overlap of two bool masks, in [0, 1]."""
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


fig, axes = plt.subplots(2, 4, figsize=(9, 5.2))
for ax, sample in zip(axes.flat, real, strict=True):
    result, truth = results[sample.id], truths[sample.id]
    ax.imshow(result.image)
    ax.contour(truth, levels=[0.5], colors="white", linewidths=2)
    ax.contour(result.mask, levels=[0.5], colors="#56B4E9", linewidths=2)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"Dice {dice(result.mask, truth):.2f}, confidence {result.confidence:.2f}")
fig.suptitle("confidence is high even where expert (white) and network (blue) disagree")
plt.show()
dices = {sample.id: dice(results[sample.id].mask, truths[sample.id]) for sample in real}
worst = min(dices, key=dices.__getitem__)
above = sum(value > 0.85 for value in dices.values())
lessons.happened(
    "0.1",
    f"{above} of {len(dices)}; the worst, Dice {dices[worst]:.2f}, has confidence {results[worst].confidence:.2f}",
)

# %% [markdown]
# Seven of eight are above 0.85. The eighth has a Dice of 0.79 and a confidence of 0.94, higher than some of the good
# ones: the network can't tell where this annotator chose to draw the border. Look at that image. Would you have drawn
# the white line?
#
# ## A second opinion from the mirror image
#
# A mirrored lesion is still the same lesion. So one more forward pass gives a second opinion:


# %% exercise="start.seen_in_mirror"
def seen_in_mirror(network: torch.nn.Module, x: Tensor) -> Tensor:
    """The network's output for the mirrored images, mirrored back: (B, 3, H, W) -> (B, 1, H, W)."""
    return network(x.flip(-1)).flip(-1)


# %% [markdown] kind="predict"
# **Predict** whether the image with the worst Dice is also the one where the network's two masks, direct and mirrored,
# agree least.

# %%
from skinlesion.data.images import normalize, resize_image

seen_in_mirror = lessons.use("start.seen_in_mirror", seen_in_mirror)
inputs = [normalize(resize_image(results[s.id].image, segmenter.size)) for s in real]
x = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in inputs])  # (B, 3, H, W)
with torch.no_grad():
    direct = segmenter.model(x) > 0
    mirrored = seen_in_mirror(segmenter.model, x) > 0
agreement = {}
for sample, one, other in zip(real, direct, mirrored, strict=True):
    truth = dice(results[sample.id].mask, truths[sample.id])
    agreement[sample.id] = dice(one, other)
    print(f"{sample.id}   Dice with the expert {truth:.2f}   with itself, mirrored {agreement[sample.id]:.2f}")
lessons.happened("0.2", {"worst": worst, "least agreement": min(agreement, key=agreement.__getitem__)})

# %% [markdown]
# It isn't. On the image where the network disagrees with the expert (0.79), it agrees with itself (0.98). Its
# self-agreement is lowest, 0.96, on large lesions with long, soft borders. A second opinion from the same network
# reduces its random errors and repeats its systematic ones.
#
# ## The control: no lesion
#
# So far every image contained a lesion. What does the network output when there is none? Remove the lesion and see:


# %% exercise="start.cover"
def cover(image: Tensor, mask: Tensor) -> Tensor:
    """The image with the masked pixels painted in the mean color of the others: (H, W, 3), bool (H, W) -> (H, W, 3)."""
    return torch.where(mask[..., None], image[~mask].mean(dim=0), image)


# %% [markdown] kind="predict"
# **Predict** three outputs: for the image with the lesion painted over, for the image with all its pixels in random
# order, and for a dark letter on plain skin color.

# %% kind="control"
from scipy.ndimage import binary_dilation

cover = lessons.use("start.cover", cover)
sample = samples["ISIC_0012246"]
photo = torch.tensor(read_image(sample.image_path)).float()
around = torch.from_numpy(binary_dilation(read_mask(sample.mask_path), iterations=12))  # with its soft edge
covered = cover(photo, around)
order = torch.randperm(photo.shape[0] * photo.shape[1], generator=torch.Generator().manual_seed(0))
scrambled = photo.flatten(0, 1)[order].view_as(photo)  # (H, W, 3)
letter = torch.tensor([220.0, 180.0, 165.0]).expand(256, 256, 3).clone()
for rows, columns in (
    (slice(80, 180), slice(60, 80)),
    (slice(80, 180), slice(140, 160)),
    (slice(120, 140), slice(60, 160)),
):
    letter[rows, columns] = 40.0

fig, axes = plt.subplots(1, 4, figsize=(9, 2.7))
inputs = {
    "the image": photo,
    "lesion painted over": covered,
    "pixels in random order": scrambled,
    "a letter": letter,
}
found = {}
for ax, (name, image) in zip(axes, inputs.items(), strict=True):
    result = segmenter.segment(image.round().to(torch.uint8).numpy())
    ax.imshow(result.image)
    if result.mask.any():
        ax.contour(result.mask, levels=[0.5], colors="#56B4E9", linewidths=2)
    ax.set(xticks=[], yticks=[])
    found[name] = f"{result.area_fraction:.0%} lesion, confidence {result.confidence:.2f}"
    ax.set_title(f"{name}:\n{found[name]}")
plt.show()
for name, said in found.items():
    lessons.happened("0.3", f"{name}: {said}")

# %% [markdown]
# With the lesion painted over, the network finds nothing: the mask depended on the lesion, and the rest of the image
# alone doesn't yield one. With the pixels in random order it finds nothing either: the colors are the same, but the
# shape is gone. But it outlines the letter, with a confidence of 0.92. The network detects dark shapes on skin. All of
# its training images contained a lesion, so it was never trained to reject anything.
#
# ### Play
#
# Move the threshold on any of the twenty images, real or synthetic. For which ones does it matter?

# %% kind="play"
import ipywidgets


def look(name: str = "synthetic-190", threshold: float = 0.5) -> None:
    """Draw one image's mask at a threshold."""
    result = segmenter.segment(samples[name].image_path, threshold=threshold)
    _, ax = plt.subplots(figsize=(3, 3))
    ax.imshow(result.image)
    ax.contour(read_mask(samples[name].mask_path), levels=[0.5], colors="white")
    if result.mask.any():
        ax.contour(result.mask, levels=[0.5], colors="#56B4E9", linewidths=2)
    ax.set(title=f"{result.area_fraction:.1%} of the image", xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(look, name=list(samples), threshold=(0.05, 0.95, 0.05))

# %% [markdown]
# ## The way ahead
#
# Each lesson lists the earlier ones it needs. If you're in a hurry: lessons 4, 5, 7, 9 and 10 build the network's
# parts, 11 puts them together, and 14 and 16 look inside and intervene.

# %%
for lesson in lessons.LESSONS:
    tasks = len(lessons.exercises(lesson.number))
    print(f"{lesson.number:3}  {lesson.title:32} {lesson.minutes:3} min  {tasks} exercises   {lesson.paper}")

# %% [markdown]
# `skinlesion course`, run in a terminal, shows the same list with your own progress. `skinlesion dashboard` opens the
# app, where you can explore what the lessons compute on any image. Every symbol is in the [glossary](glossary.md).

# %% [markdown] kind="limits" given="0.81"
# ## What this does not show
#
# - Eight images are an illustration. On the 650 test images the same weights reach an IoU of 0.81; lesson 2 explains
#   what that number means, and lesson 15 how far you can trust it.
# - Each reference outline is one annotator's. Where ISIC 2017 contains the same lesion twice, its two outlines agree
#   with an IoU from 0.81 to nearly 1 (lesson 1).
# - A mask is not a diagnosis. Nothing in this course decides whether a lesion is harmless.
# - The images come from a few clinics, and most show pale skin (lesson 1).

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. What does the network output for each pixel?
# - [ ] a diagnosis of the lesion :: It shows where something is, never what it is.
# - [x] a probability of lesion :: The mask is what remains after a threshold.
# - [ ] a label, lesion or skin :: That needs a threshold, and the threshold is our decision.
#
# 2. The confidence was 0.94 on the image with the worst Dice. Why?
# - [ ] the confidence was computed wrongly for that image :: It is computed from the probabilities, and those were near
#   0 and 1.
# - [x] the network is sure of an outline that isn't the expert's :: Confidence measures how far probabilities are from
#   1/2; only a reference mask can say whether they are right.
# - [ ] Dice is too strict for a lesion whose border is difficult to see :: The two outlines differ visibly.
#
# 3. What does the painted-over image show?
# - [x] the mask depended on the painted area :: The cause was removed and the effect disappeared.
# - [ ] the network knows what a lesion is :: The letter contradicts that.
# - [ ] nothing, since it isn't a real image :: If a mask had remained, we'd know that it came from the surroundings.

# %% [markdown] kind="links"
# ## Further reading
#
# - [The ISIC 2017 challenge](https://arxiv.org/abs/1710.05006): the source of the images and outlines.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network that the paper builds on.
# - [Mamba](https://arxiv.org/abs/2312.00752): the selective scan inside that network.
# - [Soft Dice confidence](https://arxiv.org/abs/2402.10665): how a network's own estimate of its Dice is defined.
