# %% [markdown] kind="claim"
# **Claim.** A training recipe fits in a dozen lines, and with it a tiny network becomes useful after a minute or so on
# one core: its IoU is well above every trivial baseline. One line of the paper's recipe, the schedule, may end at its
# highest rate. We show both with your own loop, and we show how little a single run proves. The controls: baselines
# that need no network, a network trained equally long on the masks of other images, and a run that is stopped, resumed,
# and compared bit by bit.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write the training loop and explain what each line does;
# - read a cosine schedule, find its trap (A29), and say how much one run tells you about it;
# - train something useful, and say what it is better than;
# - average weights, and say when that helps;
# - read the curves of a healthy run, a run that memorizes, and a run that diverges;
# - stop a run and resume it exactly, by hand and with `skinlesion train`.

# %%
import copy
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import skinlesion
from skinlesion import create_model, lessons
from skinlesion.checkpoint import load_checkpoint
from skinlesion.data.images import normalize
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import bce_dice_loss
from skinlesion.training import SegmentationModule, TrainConfig, train

lessons.setup()

# %% [markdown]
# ## The data
#
# There are 192 synthetic lesions to train on and 64 others to test on, at 64 x 64 pixels, so that a run takes about a
# minute. If you set `DATA` to a folder with ISIC 2017, the same cells use its images.

# %%
DATA = None  # or the folder of ISIC 2017, such as "isic2017"
torch.set_num_threads(1)  # the same numbers on any number of cores
COUNT, HELD, SIDE = (16, 8, 32) if lessons.FAST else (192, 64, 64)
if DATA is None:
    drawn = [synthesize(seed, SIDE) for seed in range(COUNT + HELD)]
    shown, truths = [lesion.image for lesion in drawn], [lesion.mask for lesion in drawn]
else:
    from skinlesion.data.images import read_image, read_mask, resize_image, resize_mask
    from skinlesion.data.layouts import find_samples

    found = find_samples(DATA, "isic2017")[: COUNT + HELD]
    shown = [resize_image(read_image(sample.image), (SIDE, SIDE)) for sample in found]
    truths = [resize_mask(read_mask(sample.mask), (SIDE, SIDE)) for sample in found]
images = torch.stack([torch.from_numpy(normalize(each)) for each in shown]).permute(0, 3, 1, 2)  # (n, 3, H, W)
masks = torch.stack([torch.from_numpy(each).float() for each in truths])[:, None]  # (n, 1, H, W)

# %% [markdown]
# ## Baselines that need no network
#
# A score means nothing by itself. So compare it with three trivial baselines: *everything is lesion*; *the mean mask of
# the training images*, a location prior; and *everything darker than Otsu's threshold is lesion*. First, write the
# function that computes the score.


# %% exercise="training.held_out_iou"
def held_out_iou(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Pooled IoU of a network on images it was not trained on; images (B, 3, H, W), masks (B, 1, H, W)."""
    network.eval()
    with torch.no_grad():
        found = network(images) > 0
    truth = masks > 0.5
    return float((found & truth).sum() / (found | truth).sum())


# %% [markdown] kind="predict"
# **Predict** the IoU of the three baselines on the held-out lesions. Here a lesion covers about a quarter of an image.

# %%
from skimage.filters import threshold_otsu

held_out_iou = lessons.use("training.held_out_iou", held_out_iou)
unseen, unseen_masks = images[COUNT:], masks[COUNT:]


class Answer(nn.Module):
    """A function wrapped as a network."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> logits (B, 1, H, W)."""
        return self.function(x)


prior = masks[:COUNT].mean(0)


def darker(x: Tensor) -> Tensor:
    """Logits that are positive where an image is darker than its Otsu threshold."""
    gray = x.mean(1)
    levels = torch.tensor([threshold_otsu(each.numpy()) for each in gray])
    return (levels[:, None, None] - gray)[:, None]


trivial = {
    "everything": held_out_iou(Answer(lambda x: torch.ones_like(x[:, :1])), unseen, unseen_masks),
    "mean mask": held_out_iou(Answer(lambda x: (prior - 0.5).expand(len(x), -1, -1, -1)), unseen, unseen_masks),
    "darker than Otsu": held_out_iou(Answer(darker), unseen, unseen_masks),
}
lessons.happened("13.1", {name: f"{iou:.2f}" for name, iou in trivial.items()})

# %% [markdown] given="1e-3 1e-5"
# A network has to beat these, or a single line of code does better.
#
# ## The learning rate
#
# The paper uses AdamW with a rate from 1e-3 down to 1e-5, "50 cycles", 300 epochs, and batches of 32 (section 4.3). The
# training code that it resembles has a cosine with $T = 50$.


# %% exercise="training.cosine"
def cosine(progress: float, period: float, high: float, low: float) -> float:
    """The learning rate after `progress` epochs."""
    return low + (high - low) * (1 + math.cos(math.pi * progress / period)) / 2


# %% [markdown] kind="predict"
# **Predict.** $T$ is 50, and the run has 300 epochs. What is the rate at the end?

# %% exercise="training.rate_at_end"
rate_at_end = 1e-3

# %%
cosine = lessons.use("training.cosine", cosine)
fig, ax = plt.subplots(figsize=(6, 2.2))
for period in (50, 300):
    ax.plot([cosine(epoch, period, 1e-3, 1e-5) for epoch in range(301)], label=f"T = {period}")
ax.set(xlabel="epoch", ylabel="learning rate", title="T = 50 ends at the highest rate, T = 300 at the lowest")
ax.legend()
plt.show()
lessons.happened("13.2", f"at {cosine(300, 50, 1e-3, 1e-5):.0e}, the highest rate")

# %% [markdown]
# With $T = 50$ the rate rises again three times and *ends at its peak*: the weights change most just before they're
# saved. We don't know which of the two the authors used (A29); the package's default is a single decay, and `--schedule
# paper` gives the other.
#
# ## The loop


# %% exercise="training.bare_loop"
def bare_loop(new_network, batches: list[tuple[Tensor, Tensor]], rates: list[float], decay: float) -> list[float]:
    """Train `new_network()` with AdamW, one step and one rate per batch, gradients clipped to norm 1 -> the losses."""
    network = new_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    losses = []
    for (images, masks), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = bce_dice_loss(network(images), masks)
        optimizer.zero_grad()  # otherwise gradients accumulate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


# %% [markdown]
# The data come in a new order every epoch, and half of the batches are mirrored, because a mirrored lesion is still a
# lesion. There is no other augmentation here (lesson 1 has more).

# %%
bare_loop = lessons.use("training.bare_loop", bare_loop)
BATCH = 8
EPOCHS = 2 if lessons.FAST else 20
STEPS = COUNT // BATCH  # per epoch


def shuffled(masks: Tensor, epochs: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of several epochs, each epoch in a new order, half of the batches mirrored."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(epochs):
        for chosen in torch.randperm(COUNT, generator=generator).split(BATCH):
            pair = images[chosen], masks[chosen]
            flip = float(torch.rand((), generator=generator)) < 0.5
            batches.append(tuple(each.flip(-1) if flip else each for each in pair))
    return batches


class Watched(nn.Module):
    """A network that records its score on the held-out lesions every epoch and keeps an average of its weights."""

    def __init__(self, network: nn.Module, decay: float = 0.98) -> None:
        super().__init__()
        self.network, self.decay, self.steps = network, decay, 0
        self.average = copy.deepcopy(network)
        self.scores: list[tuple[float, float]] = []
        self.unseen_losses: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        """Called at the start of each step, so the weights are those after the previous step."""
        if self.training and self.steps:
            with torch.no_grad():
                for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                    mean.copy_(average(mean, weight, self.decay))
                for kept, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
                    kept.copy_(buffer)  # BatchNorm's running means are averages already
            if self.steps % STEPS == 0:
                self.note()
        self.steps += self.training
        return self.network(x)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The trained parameters, without the average."""
        return self.network.parameters(recurse)

    def note(self) -> None:
        """Record the scores of both and the loss on the held-out lesions."""
        self.scores.append(tuple(held_out_iou(each, unseen, unseen_masks) for each in (self.network, self.average)))
        with torch.no_grad():
            self.unseen_losses.append(float(bce_dice_loss(self.network(unseen), unseen_masks)))
        self.network.train()


def run(
    period: float, masks: Tensor, high: float = 4e-3, epochs: int = EPOCHS, seed: int = 0
) -> tuple[Watched, list[float]]:
    """One run of the loop: the network, and the mean loss of each epoch."""
    torch.manual_seed(seed)
    network = create_model("tiny", depths=(1, 1, 1), decoder_depths=(1, 1, 1), drop_path=0.0)  # one stage fewer
    watched = Watched(network)
    rates = [cosine(step / STEPS, period, high, 1e-5) for step in range(epochs * STEPS)]
    losses = bare_loop(lambda: watched, shuffled(masks, epochs), rates, 1e-2)
    watched.note()
    return watched, torch.tensor(losses).view(epochs, -1).mean(1).tolist()


# %% [markdown]
# At a high learning rate the weights oscillate. Their running average oscillates less and costs nothing but memory:
#
# $$\bar w \leftarrow d\,\bar w + (1 - d)\,w$$


# %% exercise="training.average"
def average(mean: Tensor, weight: Tensor, decay: float) -> Tensor:
    """One step of an exponential moving average."""
    return decay * mean + (1 - decay) * weight


# %% [markdown] kind="predict"
# **Predict**, before you run the next cell: the IoU after a single decay of the rate over 20 epochs; whether the
# schedule that ends at its peak does better or worse; and which of the two schedules gains more from averaging the
# weights.

# %%
average = lessons.use("training.average", average)
runs = {
    "one decay": run(EPOCHS, masks[:COUNT]),
    "T = a sixth": run(EPOCHS / 6, masks[:COUNT]),
}
for name, (watched, losses) in runs.items():
    raw, averaged = watched.scores[-1]
    print(f"{name:12} loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    lessons.happened("13.3", f"{name}: IoU {raw:.2f}, averaged weights {averaged:.2f}")

# %% [markdown] given="0.21 0.22 0.78 0.68 0.10 0.46 0.76 0.48 0.28 0.02"
# The single decay ends at 0.70, the other schedule at 0.49, no better than Otsu's 0.50. So does the schedule decide the
# result? `run(..., seed=1)` and `run(..., seed=2)` gave the other rows of this table, and another processor gave the
# last column:
#
# | seed | one decay | T = a sixth | gap | gap on another processor |
# | --- | ---: | ---: | ---: | ---: |
# | 0 | 0.70 | 0.49 | +0.21 | +0.22 |
# | 1 | 0.78 | 0.68 | +0.10 | +0.46 |
# | 2 | 0.76 | 0.48 | +0.28 | -0.02 |
#
# The gap changes in size, and even in sign, from seed to seed and from processor to processor. A different processor or
# *number of threads* changes the last digits of a sum, and with them the whole run. (The cell above sets one thread,
# but your numbers may still differ from these.) **Three seeds can't tell which schedule is better.** What is certain is
# where the rate ends; measuring what that costs takes many seeds or a longer run. Remember this table when a paper
# shows you one number per row (lesson 15).
#
# When the rate has decayed, the averaged weights end close to the raw ones: 0.68 and 0.70. When the rate ends at its
# peak, the average is ahead, 0.68 against 0.49, because the raw weights were still oscillating. In the curves below,
# the average (dotted) lags behind while the network learns fast.
#
# ## Read the curves

# %% [markdown] kind="predict"
# **Predict.** A third run, just as long, gets every image with *another* image's mask. What will its loss do, and its
# IoU?

# %% kind="signature"
others = masks[:COUNT].roll(1, dims=0)
runs["other masks"] = run(EPOCHS, others)  # the same number of epochs
fig, axes = plt.subplots(1, 3, figsize=(9.5, 2.8))
for (name, (watched, losses)), color in zip(runs.items(), ("#0072B2", "#D55E00", "#999999"), strict=True):
    epochs = range(1, len(losses) + 1)
    axes[0].plot(epochs, losses, color=color, label=name)
    axes[0].plot(epochs, watched.unseen_losses, color=color, linestyle="--")
    axes[1].plot(epochs, [raw for raw, _ in watched.scores], color=color)
    axes[1].plot(epochs, [mean for _, mean in watched.scores], color=color, linestyle=":")
    if name != "other masks":
        period = EPOCHS if name == "one decay" else EPOCHS / 6
        axes[2].plot(epochs, [cosine(epoch, period, 4e-3, 1e-5) for epoch in epochs], color=color)
for name, iou in trivial.items():
    axes[1].axhline(iou, color="0.6", linewidth=0.8)
    axes[1].text(0.5, iou + 0.01, name, fontsize=6, color="0.4")
axes[0].set(title="training loss; dashed: unseen lesions", xlabel="epoch")
axes[1].set(title="IoU, unseen lesions; dotted: averaged", xlabel="epoch", ylim=(0, 1))
axes[2].set(title="learning rate", xlabel="epoch")
axes[0].legend(fontsize=7)
fig.suptitle("a falling loss does not show that the task is learned (gray: masks of other images)")
plt.show()
watched, losses = runs["other masks"]
final = f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, IoU {watched.scores[-1][0]:.2f}"
lessons.happened("13.4", f"{final}; the best of all epochs {max(raw for raw, _ in watched.scores):.2f}")

# %% [markdown]
# There are four things to see. First, for about ten epochs the score stays near the gray lines, the baselines, while
# the loss falls: the network first learns *a location prior* and only later uses the image. If you stopped it there,
# its masks would be ellipses. Second, compare the solid and dashed lines: as long as the loss on unseen lesions follows
# the training loss, the network isn't memorizing; a dashed line that rises while the solid one falls would show
# memorization. Third, the score and the loss of the orange run oscillate with its rate: stopping at a learning-rate
# peak gives a poor model. Fourth, look at the gray control: with other images' masks the training loss falls too, from
# 0.68 to 0.48, while the score ends at 0.43 and never exceeds 0.45, between the mean mask (0.36) and Otsu (0.50). **A
# falling loss shows that the network learns something, not that it learns the task.**
#
# Here are predictions on unseen lesions:

# %%
best = runs["one decay"][0].network.eval()
with torch.no_grad():
    answers = best(unseen) > 0
fig, axes = plt.subplots(1, 8, figsize=(9.5, 1.5))
for i, ax in enumerate(axes):
    ax.imshow(shown[COUNT + i])
    ax.contour(unseen_masks[i, 0], levels=[0.5], colors="white", linewidths=1)
    if answers[i, 0].any():
        ax.contour(answers[i, 0], levels=[0.5], colors="#56B4E9", linewidths=1.5)
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# White is the reference. Most lesions are found; some aren't, such as a large pale lesion unlike any in the training
# set. A pooled score hides such a case among the others (lesson 2).
#
# ### A run that diverges
#
# Curves also tell you *when to stop*. Here the rate is far too high and the gradient isn't clipped. A bare loop would
# go on with NaN; the package stops, reports the step, the layer and the names of the images, and keeps the last good
# checkpoint.

# %%
torch.manual_seed(0)
network = create_model("tiny", drop_path=0.0).train()
optimizer = torch.optim.SGD(network.parameters(), lr=400.0)
for step, (x, y) in enumerate(shuffled(masks[:COUNT], 1)[:6], start=1):
    loss = bce_dice_loss(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.3g}")
    if not math.isfinite(loss.item()):
        break

# %% [markdown]
# ## Stop and resume
#
# Laptops get closed and clusters kill jobs. What do you have to save so that a resumed run is *identical* to one that
# never stopped?


# %% exercise="training.snapshot"
def snapshot(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Everything a run needs to resume: {"network", "optimizer", "random"}."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    return copy.deepcopy(state)


# %% [markdown] kind="predict"
# **Predict** the largest difference of any weight from a run that never stopped: after resuming from everything, from
# the weights and the random state without the optimizer, and from the weights alone.

# %% kind="control"
snapshot = lessons.use("training.snapshot", snapshot)


def some_steps(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Training steps whose batches are drawn with torch's global random state."""
    for _ in range(steps):
        chosen = torch.randperm(COUNT)[:BATCH]
        loss = bce_dice_loss(network(images[chosen]), masks[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def begin() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A new network and its optimizer."""
    network = create_model("tiny").train()  # with drop path: it needs random numbers too
    return network, torch.optim.AdamW(network.parameters(), lr=2e-3)


torch.manual_seed(3)
network, optimizer = begin()
some_steps(network, optimizer, 4)
kept = snapshot(network, optimizer)
some_steps(network, optimizer, 4)
for what in ("everything", "no optimizer", "weights alone"):
    again, its_optimizer = begin()
    again.load_state_dict(kept["network"])
    if what == "everything":
        its_optimizer.load_state_dict(kept["optimizer"])
    if what != "weights alone":
        torch.set_rng_state(kept["random"])
    some_steps(again, its_optimizer, 4)
    pairs = zip(network.parameters(), again.parameters(), strict=True)
    gap = max(float((a - b).detach().abs().max()) for a, b in pairs)
    lessons.happened("13.5", f"resumed from {what}: {gap:.0e}")

# %% [markdown]
# If the difference isn't exactly zero, it is a different run. The loss curve wouldn't show it: the curve continues
# smoothly in all three cases.
#
# ## The package's trainer and a power failure
#
# `skinlesion train` (in Python: `train`) does the same and saves everything in a folder. We stop a run in its second
# epoch, resume it, and compare it with an uninterrupted one.

# %% kind="control"
folder = Path("lesson13_runs")
shutil.rmtree(folder, ignore_errors=True)
common = {"preset": "tiny", "data": "synthetic", "synthetic_count": 12, "size": 32, "truth_size": 32, "epochs": 2}
common |= {"batch_size": 4, "estimate": False, "device": "cpu", "select_by": "last", "cache_dir": folder / "cache"}
whole = train(TrainConfig(**common, out=folder / "whole"))
step_of_package = SegmentationModule.training_step


def power_failure(self, batch, batch_idx):
    """Stop in the second epoch."""
    if self.current_epoch == 1:
        raise RuntimeError("power failure")
    return step_of_package(self, batch, batch_idx)


SegmentationModule.training_step = power_failure
try:
    train(TrainConfig(**common, out=folder / "cut"))
except RuntimeError as error:
    print("stopped:", error)
finally:
    SegmentationModule.training_step = step_of_package
resumed = train(TrainConfig(**common, out=folder / "cut", resume=True))
pairs = zip(load_checkpoint(whole.best)[0].parameters(), load_checkpoint(resumed.best)[0].parameters(), strict=True)
print("same weights, bit by bit:", all(torch.equal(a, b) for a, b in pairs))
print("in the folder:", ", ".join(sorted(path.name for path in (folder / "cut").iterdir())))
shutil.rmtree(folder)

# %% [markdown] given="1350"
# In a terminal:
#
# - `skinlesion train --preset tiny --data isic2017 --root isic2017 --split paper --out runs/mine` starts a run and
#   estimates how long it will take; `config.json` and `manifest.json` record the options and the images.
# - `skinlesion train --resume --out runs/mine` resumes after any interruption, exactly.
# - `skinlesion train --start-from runs/mine --size 160 --out runs/larger ...` starts a *new* run from those weights,
#   with a new optimizer and schedule. Its model card names the run it started from.
# - `metrics.csv` holds the curves; `make dashboard` plots them during training (*Training runs*).
#
# ## A real run
#
# The `small` weights that come with the package were trained for 40 epochs on 1,350 images of ISIC 2017 at 128 x 128,
# which took an hour on one core. This is from their model card:

# %%
_, card = load_checkpoint(Path(skinlesion.__file__).parent / "weights" / "small.safetensors")
print("validation IoU of the saved epoch:", round(card["metrics"]["val"]["iou"], 4))
for report in card["evaluations"]:
    low, high = report["intervals"]["pooled"]["iou"]
    flips = "four flips" if report["protocol"]["tta"] else "no flips"
    print(
        f"test IoU, {report['n']} images, {flips:10} {report['pooled']['iou']:.4f}, 95% interval {low:.4f} to {high:.4f}"
    )
options = card["training"]["options"]
print(
    json.dumps(
        {
            key: options[key]
            for key in ("epochs", "batch_size", "lr", "schedule", "ema", "augmentation")
            if key in options
        }
    )
)

# %% [markdown]
# The saved epoch was chosen on the validation set alone, and the test set was evaluated afterward. The interval is over
# images: it doesn't include the variation between seeds.
#
# ### Play
#
# Which schedules end at a low rate?

# %% kind="play"


def draw(period: int = 50, epochs: int = 300) -> None:
    """Plot the schedule."""
    _, ax = plt.subplots(figsize=(5, 2))
    ax.plot([cosine(epoch, period, 1e-3, 1e-5) for epoch in range(epochs + 1)])
    ax.set(xlabel="epoch", ylabel="learning rate")
    plt.show()


_ = ipywidgets.interact(draw, period=(10, 300, 10), epochs=(50, 300, 50))

# %% [markdown]
# ### Another optimizer
#
# AdamW divides the step of each weight by the size of that weight's own gradients. But a weight matrix acts as a whole,
# and a few of its directions get most of the gradient. Muon replaces the momentum $M = USV^T$ of a matrix with
# approximately $UV^T$, so that every direction gets a step of the same size. It needs only matrix products
# (`skinlesion/training/muon.py` is short). In the package it is `--optimizer muon`: linear layers are updated by Muon,
# everything else by AdamW. Here are its results on ISIC 2017, by the protocol of lesson 15, read from your clone:

# %%
SCORES = Path(skinlesion.__file__).parents[1] / "benchmarks" / "results" / "reproduce" / "cpu" / "summary.json"
if not SCORES.exists():
    print("The results are in the repository only, under benchmarks/results: clone it to read them.")
else:
    results = json.loads(SCORES.read_text())
    for row in results["tables"]["optimizer"]["rows"]:
        print(f"{row['label']:6} pooled IoU {', '.join(f'{value:.2f}' for value in row['values']['iou'])}")
    for claim in results["claims"]:
        if claim["better"] == "full-muon":
            print(
                f"{claim['difference']:+.2f} points ({claim['wide_low']:+.2f} to {claim['wide_high']:+.2f}),", end=" "
            )
            print(f"p corrected for all claims {claim['corrected_p']:.2f}")

# %% [markdown]
# Every Muon run is above every AdamW run. Three runs of each aren't many, and Muon was chosen because it had looked
# good on the validation set; lesson 15 explains how to read such an interval and such a p-value. The weights that the
# commands and the dashboard use by default (`accurate`) were trained with it.

# %% [markdown] kind="limits"
# ## What this does not show
#
# - The figure shows one run of each schedule. As the table above shows, even three seeds can't tell which one is better.
#   Lesson 15 has more seeds and intervals.
# - Synthetic lesions are easier than real ones: this network was never trained on real hair, gel or rulers.
# - The loop has no distillation (lesson 12), no strong augmentation (lesson 1) and no validation set, on which you
#   would choose the epoch to keep without using the test images.
# - Results are bit-identical on one machine with the same versions and number of threads, but not across machines.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Where does $T = 50$ end after 300 epochs?
# - [x] at the highest rate :: 300 is six half turns: down, up, down, up, down, up.
# - [ ] at the lowest rate :: That is at 50, 150 and 250.
# - [ ] at half the rate :: That is at 25, 75 and so on.
#
# 2. What happens if you forget `zero_grad`?
# - [ ] the network learns nothing at all :: It does learn, but with the wrong gradient.
# - [x] gradients of all steps add up :: Old batches keep contributing, and clipping makes the new ones' share ever
#   smaller.
# - [ ] an error is raised at the second step :: There is no error, which makes the bug hard to find.
#
# 3. The loss falls, but the IoU on unseen images doesn't rise. Why?
# - [ ] the learning rate is far too low for this network :: Then the loss would hardly fall.
# - [x] what was learned doesn't transfer to new images :: For example, a location prior, or memorized images.
# - [ ] the score must have been computed the wrong way :: The check has tested your function on cases with known
#   answers.
#
# 4. What must a resumed run restore besides the weights?
# - [x] optimizer state and random numbers :: Otherwise it is another run, however smooth the curve looks.
# - [ ] nothing else; the weights are the run :: AdamW would start with empty moments, and the next batch would be a
#   different one.
# - [ ] the gradients of all of the weights :: They are computed from scratch at each step.

# %% [markdown] kind="links"
# ## Further reading
#
# - [AdamW](https://arxiv.org/abs/1711.05101): weight decay separate from the gradient.
# - [Muon](https://kellerjordan.github.io/posts/muon/) and [what it takes to scale it](https://arxiv.org/abs/2502.16982).
# - [SGDR](https://arxiv.org/abs/1608.03983): the cosine schedule and its restarts.
# - [Averaging weights leads to wider optima](https://arxiv.org/abs/1803.05407): why an average of weights is a good
#   network at all.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the training code that the recipe resembles.
