# %% [markdown] kind="claim"
# **Claim.** A causal claim about a network needs an intervention with a control of the same size. We show it on trained
# weights with three experiments: swapping SE's gates between pale and dark skin, patching activations of a lesion into an
# image without it, and testing what CRA's gates on a lesion are good for. The controls: an intervention that changes
# nothing, a random change of the same norm, and a donor that shows another lesion.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - read any activation of a network by its name, and replace it by that of another image;
# - swap gates, transplant maps and patch activations, and say how the three differ;
# - normalize an effect between "nothing" and "everything";
# - build a control of the same size, and say what it rules out;
# - distinguish an effect that the architecture forces from one that training produced.

# %%
import matplotlib.pyplot as plt
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor, nn

from skinlesion import Segmenter, explain, intervene, lessons, observe
from skinlesion.data.images import read_image
from skinlesion.data.samples import bundled_samples
from skinlesion.data.synthetic import synthesize

lessons.setup()

# %% [markdown]
# ## Looking is not enough
#
# Lesson 14 measured gates and found correlations: a gate is smaller on the lesion. Does that *do* anything? Lessons 7,
# 9 and 11 intervened, with ready-made tools. Here you write them. Two of the package's context managers do the work:
# `observe` reads named activations in a forward pass, `intervene` replaces them. Nothing is changed in the network
# itself.


# %% exercise="intervention.record"
def record(network: nn.Module, images: Tensor, pattern: str) -> dict[str, Tensor]:
    """The activations at all points that match a pattern: point -> tensor, without a graph."""
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return dict(seen)


# %% exercise="intervention.transfer"
def transfer(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    """Logits (B, 1, H, W) of images (B, 3, H, W) with the donors' activations at all points that match."""
    given = record(network, donors, pattern)
    with torch.no_grad(), intervene(network, given):
        return network(images)


# %% [markdown]
# ## Experiment 1: swap SE's gates
#
# SE's gates are computed from the mean of the whole image (lesson 7). The hypothesis is that they *adapt* the trained
# network *to the skin tone*. We use sixteen synthetic lesions, each on pale skin (tone 1) and on dark skin (tone 6),
# with everything else the same. If the hypothesis is right, a pale image with the gates of its dark version is
# processed as if its skin were dark, and its mask gets worse.

# %%
record = lessons.use("intervention.record", record)
transfer = lessons.use("intervention.transfer", transfer)
segmenter = Segmenter.from_pretrained("small")
network, size = segmenter.model.eval(), segmenter.size


def skin(tone: int) -> tuple[Tensor, Tensor]:
    """Sixteen synthetic lesions on skin of one tone, (16, 3, H, W), and their masks (16, H, W)."""
    plain = {"hair": "none", "vignette": "none", "sticker": "none", "ink": False}
    made = [synthesize(seed, size[0], skin_tone=tone, **plain) for seed in range(16)]
    return segmenter.prepare([each.image for each in made]), torch.stack([torch.from_numpy(each.mask) for each in made])


def iou(logits: Tensor, truth: Tensor) -> float:
    """Mean over images: logits (B, 1, H, W), truth bool (B, H, W)."""
    found = logits[:, 0] > 0
    return float(((found & truth).sum((1, 2)) / (found | truth).sum((1, 2)).clamp(min=1)).mean())


(pale, truth), (dark, dark_truth) = skin(1), skin(6)
gates = {"pale": record(network, pale, "*.se.gate"), "dark": record(network, dark, "*.se.gate")}
moved = {name: float((gates["dark"][name] - gates["pale"][name]).abs().mean()) for name in gates["pale"]}
print("mean change of a gate from pale to dark skin:")
print(", ".join(f"{name.removesuffix('.se.gate')} {value:.3f}" for name, value in moved.items()))

# %% [markdown] kind="predict"
# **Predict** the mean IoU of the pale images with their own gates, with the gates of their dark version, and with those
# of *another* pale image. And for the dark images, with the pale gates.

# %% kind="control"
with torch.no_grad():
    own = network(pale)
again = transfer(network, pale, pale, "*.se.gate")
print(f"gates of the image itself: largest change of a logit {float((again - own).abs().max()):.0e}")
rows = {
    "pale, own gates": (own, truth),
    "pale, gates of the dark version": (transfer(network, pale, dark, "*.se.gate"), truth),
    "pale, gates of another pale image": (transfer(network, pale, pale.roll(1, 0), "*.se.gate"), truth),
    "dark, own gates": (transfer(network, dark, dark, "*.se.gate"), dark_truth),
    "dark, gates of the pale version": (transfer(network, dark, pale, "*.se.gate"), dark_truth),
}
for name, (logits, right) in rows.items():
    lessons.happened("16.1", f"{name}: IoU {iou(logits, right):.3f}")

# %% [markdown]
# The hypothesis fails. With the gates of their dark version the pale images keep their IoU (0.922 against 0.923), and
# the dark images don't lose anything with pale gates either (0.842 against 0.836). The network is worse on dark skin
# (0.836 against 0.923), but not because of SE. The gates are not without effect, though: those of *another* pale image,
# with another lesion, cost almost four points (0.885).
#
# Is "no loss" a finding, or was the change merely too small to matter? And are four points due to what the gates carry,
# or would any change of that size cost as much? Write the control.


# %% exercise="intervention.same_size"
def same_size(change: Tensor, generator: torch.Generator) -> Tensor:
    """A random change (B, ...) with, image by image, the norm of a given one."""
    noise = torch.randn(change.shape, generator=generator)
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)  # (B,)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


# %% kind="control"
same_size = lessons.use("intervention.same_size", same_size)


def random_change(network: nn.Module, images: Tensor, donors: Tensor, pattern: str, seed: int) -> Tensor:
    """As `transfer`, but each activation changes by random numbers of the same norm."""
    own, other = record(network, images, pattern), record(network, donors, pattern)
    generator = torch.Generator().manual_seed(seed)
    changed = {name: own[name] + same_size(other[name] - own[name], generator) for name in own}
    with torch.no_grad(), intervene(network, changed):
        return network(images)


pairs = {
    "pale to dark": (pale, dark, truth),
    "dark to pale": (dark, pale, dark_truth),
    "pale to another pale image": (pale, pale.roll(1, 0), truth),
}
for name, (images, donors, right) in pairs.items():
    scores = torch.tensor([iou(random_change(network, images, donors, "*.se.gate", seed), right) for seed in range(10)])
    print(f"random, size of {name}: IoU {scores.mean():.3f} ({scores.min():.3f} to {scores.max():.3f})")

# %% [markdown] given="2.6"
# Two answers. From pale to dark the gates change so little that a random change of the same size costs nothing either
# (0.923): "no loss" was to be expected, and the gates do not adapt to the tone in any way that matters. Had we only
# looked at the gates, E2.2 with its mean change of 0.128 would have looked like an adaptation. A swap between two
# lesions is different: a random change of that size costs less than half a point on average (0.919), and at most 2.6
# points in ten draws (0.897), while the swap costs almost four (0.885). So these gates carry something about the
# *lesion*; this experiment does not say what it is.
#
# ## Experiment 2: activation patching
#
# Take a real image and remove its lesion: fill the region, plus a margin, with the skin color. Now run the image
# *without* the lesion, and patch in the activations of the original at **one** point. If the lesion comes back in the
# output, the information about it passes through that point.


# %% exercise="intervention.recovered"
def recovered(clean: Tensor, corrupted: Tensor, patched: Tensor) -> Tensor:
    """The share of the difference between clean and corrupted scores that a patch restores, (B,) each."""
    return (patched - corrupted) / (clean - corrupted)


# %%
recovered = lessons.use("intervention.recovered", recovered)
real = [sample for sample in bundled_samples() if sample.kind == "real"]
clean = segmenter.prepare([read_image(sample.image_path) for sample in real])  # (8, 3, H, W)
with torch.no_grad():
    regions = network(clean)[:, 0] > 0  # (8, H, W): what the network finds
emptied = []
for image, region in zip(clean, regions, strict=True):
    wide = torch.from_numpy(binary_dilation(region.numpy(), iterations=4))
    emptied.append(torch.where(wide, explain.baseline_image(image[None], region.numpy())[0], image))
corrupted = torch.stack(emptied)


def score(logits: Tensor) -> Tensor:
    """Mean logit over each image's region: (8,)."""
    return (logits[:, 0] * regions).sum((1, 2)) / regions.sum((1, 2))


with torch.no_grad():
    with_lesion, without = score(network(clean)), score(network(corrupted))
fig, axes = plt.subplots(2, 8, figsize=(10, 2.8))
for column, one, other, region in zip(axes.T, clean, corrupted, regions, strict=True):
    for ax, image in zip(column, (one, other), strict=True):
        ax.imshow(image.permute(1, 2, 0))
        ax.contour(region, levels=[0.5], colors="white", linewidths=1)
        ax.set(xticks=[], yticks=[])
fig.suptitle("clean and corrupted; white: where the score is measured")
plt.show()
print(f"mean score with the lesion {with_lesion.mean():.1f}, without {without.mean():.1f}")

# %% [markdown] kind="predict"
# **Predict** for each of the eleven parts, E1 .. E4, S2 .. S4, D4 .. D1, what share of the score a patch restores. Two
# of the answers are forced by the architecture. After lesson 11, what do you expect of the deep parts?

# %% kind="signature"
POINTS = {f"E{i}": f"E{i}.2.output" for i in range(1, 5)}
POINTS |= {f"S{i}": f"S{i}.cra.output" for i in range(2, 5)}
POINTS |= {"D4": "D4.2.output", "D3": "D3.2.output", "D2": "D2.2.output", "D1": "D1.1.output"}


def restored(donors: Tensor) -> dict[str, Tensor]:
    """The share that each part restores, (8,), when its map comes from these donors."""
    return {
        part: recovered(with_lesion, without, score(transfer(network, corrupted, donors, point)))
        for part, point in POINTS.items()
    }


shares, of_another = restored(clean), restored(clean.roll(1, 0))
fig, ax = plt.subplots(figsize=(8, 2.8))
for offset, values, label in ((-0.2, shares, "patched from the same image"), (0.2, of_another, "from another lesion")):
    for i, value in enumerate(values.values()):
        ax.bar(i + offset, value.mean(), 0.38, color="tab:blue" if offset < 0 else "0.7", label=None if i else label)
        ax.plot([i + offset] * len(value), value, ".", color="black", markersize=3)
ax.axhline(0, color="black", linewidth=0.8)
ax.set_xticks(range(len(POINTS)), list(POINTS))
ax.set(
    ylabel="share of the score restored", title="the lesion passes through E1, S2 and D1; hardly through the deep parts"
)
ax.legend(fontsize=7, loc="center", bbox_to_anchor=(0.68, 0.75))
plt.show()
lessons.happened("16.2", {part: f"{float(value.mean()):.2f}" for part, value in shares.items()})
print("from another lesion:", ", ".join(f"{part} {float(value.mean()):.2f}" for part, value in of_another.items()))
with torch.no_grad():
    other = float((score(network(clean.roll(1, 0))) - without).mean() / (with_lesion - without).mean())
print(f"the other lesion's own output, scored over this region: {other:.2f}")

# %% [markdown]
# E1 and D1 restore everything (1.00), as the architecture forces them to. The finding lies in between. S2 alone
# restores 0.90 of the score and S3 0.52, while E3, E4, S4, D4 and D3 restore nothing (at most 0.01): as in lesson 11,
# the deep part carries nothing specific to the image. The shares of S2 and S3 add up to more than 1: their
# information is partly redundant, and the shares of redundant parts need not add up to 1. E2 and D2 equal S3, for the
# reason given in lesson 11.
#
# The gray bars are the control. Patches from *another* image's lesion also restore something, 0.58 at S2. That part is
# common to both lesions, which lie in the middle of the image (the other lesion's own output scores 0.63 in this
# region). Only the difference between the blue and the gray bars is specific to the lesion.
#
# ## Experiment 3: a claim from lesson 14
#
# Lesson 14 found that S2's gates are a little *smaller* on the lesion. A plausible story: "CRA suppresses fine detail
# inside the lesion, so that the mask has no holes". If that is what the gates do, then the mask must get worse when
# they no longer depend on the position: set each gate to its mean over the rows (or columns). The control: a random
# change of the same norm.

# %% [markdown] kind="predict"
# **Predict**: how much of the mask changes (one minus the IoU with the original mask) when S2's gates are set to their
# mean? And with a random change of the same size? Does the IoU with the expert's mask fall?

# %% kind="control"
from skinlesion.data.images import read_mask, resize_mask

experts = torch.stack([torch.from_numpy(resize_mask(read_mask(sample.mask_path), size)) for sample in real])


def with_gates(replaced: dict[str, Tensor]) -> Tensor:
    """Logits of the eight images with these activations."""
    with torch.no_grad(), intervene(network, replaced):
        return network(clean)


own_gates = record(network, clean, "S2.cra.gate_?")  # (8, H, C) and (8, W, C)
change = {name: gate.mean(1, keepdim=True).expand_as(gate) - gate for name, gate in own_gates.items()}
results = {"own gates": with_gates(own_gates), "mean gates": with_gates({k: own_gates[k] + change[k] for k in change})}
for seed in range(5):
    generator = torch.Generator().manual_seed(seed)
    results[f"random {seed}"] = with_gates({k: own_gates[k] + same_size(change[k], generator) for k in change})
for name, logits in results.items():
    lessons.happened(
        "16.3",
        f"{name}: mask changes by {1 - iou(logits, regions):.4f}, IoU with the expert {iou(logits, experts):.3f}",
    )

# %% [markdown]
# With mean gates the mask changes by 1.35%, more than twice as much as by a random change of the same size (0.51% to
# 0.64%). So the gates' dependence on the position does have a specific effect. It is also small: the IoU with the
# expert falls from 0.847 to 0.842, half a point, and random changes alone move it between 0.845 and 0.848. A fair
# summary: *S2's gates contribute a little to the mask, more than chance, and far less than a plot of them suggests*.
# This doesn't test the part about holes: for that, count them.


# %% exercise="intervention.dose"
def dose(network: nn.Module, images: Tensor, donors: Tensor, point: str, shares: list[float]) -> Tensor:
    """Mean logits (len(shares), B) while one activation moves from the image's own value to the donor's."""
    given = record(network, donors, point)[point]
    means = []
    for share in shares:
        with torch.no_grad(), intervene(network, {point: lambda own, share=share: own + share * (given - own)}):
            means.append(network(images).mean((1, 2, 3)))
    return torch.stack(means)


# %% [markdown]
# ### Bonus: patch both
#
# S2 alone restored 0.90 of the score and S3 alone 0.52. Do they carry the same information? Patching one part at a time
# can't tell.


# %% exercise="intervention.interaction"
def interaction(network: nn.Module, images: Tensor, donors: Tensor, first: str, second: str) -> Tensor:
    """How much more two activations change each image's mean logit together than one by one: (B,)."""
    given = record(network, donors, first) | record(network, donors, second)

    def mean_logit(names: list[str]) -> Tensor:
        with torch.no_grad(), intervene(network, {name: given[name] for name in names}):
            return network(images).mean((1, 2, 3))

    return mean_logit([first, second]) - mean_logit([first]) - mean_logit([second]) + mean_logit([])


# %%
interaction = lessons.use("intervention.interaction", interaction)

with torch.no_grad():
    neither, everything = network(corrupted).mean((1, 2, 3)), network(clean).mean((1, 2, 3))
    for first, second in (("S2", "S3"), ("S2", "D3"), ("E1", "D1")):
        names = POINTS[first], POINTS[second]
        effects = [transfer(network, corrupted, clean, name).mean((1, 2, 3)) - neither for name in names]
        effects += [interaction(network, corrupted, clean, *names), sum(effects)]
        one, other, extra, added = (float(each.mean() / (everything - neither).mean()) for each in effects)
        print(f"{first} {one:.2f}, {second} {other:.2f}, interaction {extra:+.2f}, both {added + extra:.2f}")

# %% [markdown]
# These are shares of the mean logit. S2 and S3 restore 0.79 and 0.81 of it, and together 1.00: with an interaction of
# -0.60, most of what one of them restores, the other one restores too. D3 restores nothing, alone or with S2. And E1
# and D1 are redundant because the architecture makes them so: each restores everything, so the second adds nothing.
#
# ### Play
#
# Choose a part and a change. Where does a *mirrored* activation move the mask, and where does it do nothing?

# %% kind="play"
import ipywidgets

CHANGES = {
    "that of the next image": lambda tensor: tensor.roll(1, 0),
    "mirrored": lambda tensor: tensor.flip(2) if tensor.dim() == 4 else tensor,
    "its mean": lambda tensor: tensor.mean(1, keepdim=True).expand_as(tensor),
    "zero": torch.zeros_like,
}


def reach_in(part: str = "S2", change: str = "mirrored", number: int = 0) -> None:
    """The mask of one image with one activation changed."""
    with torch.no_grad(), intervene(network, {POINTS[part]: CHANGES[change]}):
        logits = network(clean)
    _, axes = plt.subplots(1, 2, figsize=(5, 2.5))
    axes[0].imshow(clean[number].permute(1, 2, 0))
    axes[1].imshow(logits[number, 0].sigmoid(), cmap="gray", vmin=0, vmax=1)
    for ax in axes:
        ax.contour(regions[number], levels=[0.5], colors="tab:orange", linewidths=1)
        ax.set(xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(reach_in, part=list(POINTS), change=list(CHANGES), number=(0, 7))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - One trained network and eight real images. The tools are general; the findings are about these weights.
# - An activation from another run, or with random numbers added, may never occur in reality. A change in the output
#   then says that the network *would* use it, not that it does so on real images.
# - A random change of the same norm is one control. It need not be as likely under the distribution of the network's
#   own activations, so it may do more harm than a realistic change of that size.
# - Patching one point at a time cannot find information that two points carry redundantly (lesson 9): each alone seems
#   unnecessary. Patch both.
# - "The mask does not change" holds for these images only. A part that matters in one image out of a thousand goes
#   unnoticed.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Gates of another image change the mask. Why is a random change of the same size needed?
# - [ ] to find out whether the network has learned anything at all :: The scores on real images show that.
# - [x] to find out whether just any change would have done the same :: Then the effect says nothing about what the gates
#   carry.
# - [ ] to make the average over the images less noisy than before :: A control does not reduce noise.
#
# 2. Patching E1 from the clean run restores the whole score. What does that show?
# - [ ] that E1 is the most important part of the trained network :: The same holds in an untrained one.
# - [x] nothing: all that reaches the output passes through E1 :: The architecture forces it.
# - [ ] that the lesion is detected within the first two blocks :: Later blocks still compute everything else.
#
# 3. Two parts carry the same information. What does patching them one at a time show?
# - [x] each may seem unnecessary, or else sufficient :: Removing one leaves the other; restoring one is enough.
# - [ ] exactly half of the effect, for each of the two :: Nothing forces an even split.
# - [ ] an effect of both parts, which then adds up to 1 :: Shares of redundant parts need not add up.
#
# 4. A gate is smaller on the lesion in every image. Which experiment tests that this matters?
# - [ ] the same measurement, on a thousand further images :: More of the same correlation.
# - [x] set the gate to its mean, and compare the two masks :: An intervention, ideally with a control of the same size.
# - [ ] a plot of the gate, next to the outline of the expert :: A plot shows where it is small, not what that does.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Locating and editing factual associations in GPT](https://arxiv.org/abs/2202.05262): the paper that popularized
#   activation patching.
# - [Towards best practices of activation patching](https://arxiv.org/abs/2309.16042): how to corrupt, and what to measure.
# - [Causal scrubbing](https://www.alignmentforum.org/posts/JvZhhzycHu2Yd57RN): testing a whole hypothesis by
#   interventions.
# - [TransformerLens](https://transformerlensorg.github.io/TransformerLens/): named points for language models; the package's
#   are modeled on them.
