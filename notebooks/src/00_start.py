# %% [markdown] kind="claim"
# **Claim.** A network of seven megabytes finds the border of most lesions in a moment on one core of a laptop, and its
# confidence does not reveal when it is wrong. We show both before the end of this page, on images that come with the
# package. The controls: the same image with the lesion painted over, and something that is not a lesion at all.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - turn an image into a probability map, a mask and an area with a trained network;
# - say what your machine can do, and where to look when something is missing;
# - solve an exercise, have it checked, ask for hints, and go on without having solved it;
# - tell a result from a result with a control;
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
# A dermoscope is a magnifier with a light that is held on the skin. Before anything can be said about a lesion, one has
# to know where it is. That is **segmentation**: a label for every pixel. The network that made this mask has 3.2
# million parameters and was trained on 1,350 images on one core of a processor. You will build all of it.
#
# ## What your machine can do
#
# No lesson needs a graphics card or a download. `skinlesion doctor` in a terminal reports on your machine; these are
# the lines that matter:

# %%
from skinlesion.doctor import diagnose

facts = diagnose(seconds=0.5)
for engine in facts["engines"]:
    print(f"scan engine {engine['name']:10} {'available' if engine['available'] else 'not here: ' + engine['reason']}")
print("taken by itself on the CPU:", facts["auto"]["cpu"])

# %% [markdown]
# *Scan engines* are explained in lesson 6: several ways to compute the network's slowest part, with the same result.
#
# **Google Colab or another notebook in the cloud.** Upload or clone the repository, run `%pip install -e .` in its
# folder, restart the kernel, and open `notebooks/`. With a GPU runtime, `Segmenter.from_pretrained("small",
# device="cuda")` puts the network there, and the Triton engine is chosen automatically. Your progress is stored in a
# file of the runtime and lost with it, unless the environment variable `SKINLESION_PROGRESS` names a file on your
# drive.
#
# ## How exercises work
#
# A cell with a function that ends in `raise NotImplementedError` is yours to write. The cell below it checks your
# function on small random cases. Each exercise shows what a right answer gives on a small example. Try it:


# %% exercise="start.to_mask"
def to_mask(probability: Tensor, threshold: float) -> Tensor:
    """True where the probability is at least the threshold: (H, W) -> bool (H, W)."""
    return probability >= threshold


# %% [markdown]
# How does a check report a wrong answer? Here is one, on purpose:


# %%
def rounded(probability: Tensor, threshold: float) -> Tensor:
    """A mask by rounding: wrong."""
    return probability.round().bool()


check = lessons.check
check("start.to_mask", rounded)

# %% [markdown]
# The report has your result, the expected one, the largest difference, the likely mistake and a hint. Further hints
# come one at a time, below the check or with `lessons.hint("start.to_mask")`; the solution is folded below them. An
# unsolved exercise never stops a lesson: `lessons.use` takes your function if it passes and the package's if it does
# not, and says which. Dots show how difficult an exercise is and how important for the rest; a *bonus exercise* may be
# skipped.
#
# Before most results you are asked for a **prediction**. Write it into the cell that asks for it (`lessons.predict`);
# the result is then printed next to it. It is not graded. People who commit to a prediction learn more from the result.
#
# The area is the first number that a doctor would ask for:


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
# From 0.1 to 0.9 the area changes by an eighth: nearly every pixel has a probability close to 0 or 1, and only the
# border has values in between.
#
# ## Eight images
#
# One image shows little. The package has eight real ones, chosen by a rule that does not depend on any result
# (`skinlesion/data/samples/NOTICE`). None of them was used in training. An expert drew the outline of each lesion.
# **Dice** is the overlap of two masks, $2|A \cap B| / (|A| + |B|)$: 1 for identical masks, 0 for no pixel in common.
# Lesson 2 is about what it hides.
#
# Beside it is the network's own **confidence**: roughly the Dice that it expects, computed without the reference mask.

# %% [markdown] kind="predict"
# **Predict** before you run the next cell: how many of the eight are found with a Dice above 0.85? And does the
# network's confidence reveal which ones are not?

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
fig.suptitle("high confidence, also where expert (white) and network (blue) disagree")
plt.show()
dices = {sample.id: dice(results[sample.id].mask, truths[sample.id]) for sample in real}
worst = min(dices, key=dices.__getitem__)
above = sum(value > 0.85 for value in dices.values())
lessons.happened(
    "0.1",
    f"{above} of {len(dices)}; the worst, Dice {dices[worst]:.2f}, has confidence {results[worst].confidence:.2f}",
)

# %% [markdown]
# Seven of eight are above 0.85. The eighth, with a Dice of 0.79, has a confidence of 0.94, higher than some that went
# well: the network has no information about the annotator's choice. Look at that image. Would you have drawn the white
# line?
#
# ## A second opinion from the mirror image
#
# A lesion is the same lesion in a mirror. A second opinion costs one more forward pass:


# %% exercise="start.seen_in_mirror"
def seen_in_mirror(network: torch.nn.Module, x: Tensor) -> Tensor:
    """The network's answer for the mirrored images, mirrored back: (B, 3, H, W) -> (B, 1, H, W)."""
    return network(x.flip(-1)).flip(-1)


# %% [markdown] kind="predict"
# **Predict** whether the image with the worst Dice is also the one on which the network agrees least with itself on the
# mirrored image.

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
# It is not. The network agrees with itself (0.98) on the image where it disagrees with the expert (0.79). Its
# self-agreement is lowest, 0.96, on large lesions with long, soft borders. A second opinion from the same network
# reduces its random errors and repeats its systematic ones.
#
# ## The control: no lesion
#
# So far there was a lesion in every image. What does the network output where there is none? Remove the lesion and see:


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
around = torch.from_numpy(binary_dilation(read_mask(sample.mask_path), iterations=12))  # its soft edge goes too
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
pictures = {
    "the image": photo,
    "lesion painted over": covered,
    "pixels in random order": scrambled,
    "a letter": letter,
}
found = {}
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    result = segmenter.segment(picture.round().to(torch.uint8).numpy())
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
# With the lesion painted over, nothing is found: the mask did depend on the lesion, and not on the rest of the image.
# In random order nothing is found either: same colors, no shape. But the letter is outlined with a confidence of 0.92.
# The network detects dark shapes on skin. All of its training images contained a lesion, so it was never trained to
# reject anything.
#
# ### Play
#
# Move the threshold on any of the twenty images, real or synthetic. On which does it matter?

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
# Each lesson lists the earlier ones it needs. If you are in a hurry: 4, 5, 7, 9 and 10 build the network's parts, 11
# puts them together, 14 and 16 look inside and intervene.

# %%
for lesson in lessons.LESSONS:
    tasks = len(lessons.exercises(lesson.number))
    print(f"{lesson.number:3}  {lesson.title:32} {lesson.minutes:3} min  {tasks} exercises   {lesson.paper}")

# %% [markdown]
# `skinlesion course` in a terminal shows the same with your own progress. `make dashboard` opens the app, where
# everything that the lessons compute can be explored for any image. Every symbol is in the [glossary](glossary.md).

# %% [markdown] kind="limits" given="0.81"
# ## What this does not show
#
# - Eight images are an illustration. On the 650 test images the same weights reach an IoU of 0.81; lesson 2 says what
#   that number means and lesson 15 how far it can be trusted.
# - The reference outline is one annotator's. On the images of ISIC 2017 that exist twice, two outlines of one lesion
#   agree with an IoU from 0.81 to nearly 1 (lesson 1).
# - A mask is not a diagnosis. Nothing in this course decides whether a lesion is harmless.
# - The images come from a few clinics, and most show pale skin (lesson 1).

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. What does the network output for each pixel?
# - [ ] a diagnosis of the lesion :: It says where something is, never what it is.
# - [x] a probability of lesion :: The mask is what remains after a threshold.
# - [ ] a label, lesion or skin :: That needs a threshold, and the threshold is our decision.
#
# 2. The confidence was 0.94 on the image with the worst Dice. Why?
# - [ ] the confidence was computed wrongly for that image :: It is computed from the probabilities, and those were near
#   0 and 1.
# - [x] the network is sure of another outline than the expert :: Confidence measures how far probabilities are from
#   1/2; only a reference mask can say whether they are right.
# - [ ] Dice is too strict for lesions with a difficult border :: The two outlines differ visibly.
#
# 3. What does the painted-over image show?
# - [x] the mask depended on the painted area :: The cause was removed and the effect disappeared.
# - [ ] the network knows what a lesion is :: The letter contradicts that.
# - [ ] nothing, since it isn't a real image :: Had a mask remained, we would know that it came from the surroundings.

# %% [markdown] kind="links"
# ## Further reading
#
# - [The ISIC 2017 challenge](https://arxiv.org/abs/1710.05006): where the images and outlines come from.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the network that the paper starts from.
# - [Mamba](https://arxiv.org/abs/2312.00752): the selective scan inside it.
# - [Soft Dice confidence](https://arxiv.org/abs/2402.10665): how a network's own estimate of its Dice is defined.
