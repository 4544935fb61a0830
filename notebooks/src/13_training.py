# %% [markdown] kind="claim"
# **Claim.** A training recipe is a dozen lines, and one of them, the schedule, can undo the rest. We show it by writing
# the loop, by drawing the schedule that the paper inherits, and by stopping a run and resuming it. The control: the
# same run without a stop, compared bit by bit.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write the training loop and say what each line is for;
# - read a cosine schedule and find its trap (A29);
# - average weights;
# - read curves, and test that a resumed run is exact.

# %%
import math
import tempfile
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import torch

import skinlesion
from skinlesion import create_model, lessons
from skinlesion.checkpoint import load_checkpoint
from skinlesion.data.images import normalize
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import bce_dice_loss
from skinlesion.training import SegmentationModule, TrainConfig, train

lessons.setup()

# %% [markdown]
# ## The learning rate
#
# The paper: AdamW, from 1e-3 down to 1e-5, "50 cycles", 300 epochs, batches of 32 (section 4.3).


# %% exercise="training.cosine"
def cosine(progress: float, period: float, high: float, low: float) -> float:
    """The rate after `progress` epochs."""
    return low + (high - low) * (1 + math.cos(math.pi * progress / period)) / 2


# %% [markdown] kind="predict"
# **Predict.** T is 50 in the harness of VM-UNet, and the run has 300 epochs. At which rate does it end?

# %% exercise="training.rate_at_end"
rate_at_end = 1e-3

# %% kind="signature"
cosine = lessons.use("training.cosine", cosine)
fig, ax = plt.subplots(figsize=(6, 2.4))
for period in (50, 300):
    ax.plot([cosine(epoch, period, 1e-3, 1e-5) for epoch in range(301)], label=f"T = {period}")
ax.set(xlabel="epoch", ylabel="learning rate", title="one number, two schedules")
ax.legend()
plt.show()

# %% [markdown]
# With T = 50 the rate goes up again and ends at its top. The package's default is the single descent.
#
# ## The loop, bare

# %%
STEPS, SIDE = 4 if lessons.FAST else 140, 32
lesions = [synthesize(seed, SIDE) for seed in range(32)]
images = torch.stack([torch.from_numpy(normalize(x.image)) for x in lesions]).permute(0, 3, 1, 2)  # (n, 3, H, W)
masks = torch.stack([torch.from_numpy(x.mask).float() for x in lesions])[:, None]  # (n, 1, H, W)
torch.manual_seed(0)
model = create_model("tiny", drop_path=0.0)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
curve = []
for step in range(STEPS):
    for group in optimizer.param_groups:
        group["lr"] = cosine(step, STEPS, 2e-3, 1e-5)
    chosen = torch.randperm(24)[:8]  # the last eight lesions are never trained on
    loss = bce_dice_loss(model(images[chosen]), masks[chosen])
    optimizer.zero_grad()  # gradients add up otherwise
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    curve.append(loss.item())
with torch.no_grad():
    found = (model.eval()(images[24:]) > 0).float()
dice = float(2 * (found * masks[24:]).sum() / (found.sum() + masks[24:].sum()))
print(f"loss {curve[0]:.2f} -> {curve[-1]:.2f}; Dice of eight unseen lesions {dice:.2f}")


# %% exercise="training.average"
def average(mean: torch.Tensor, weight: torch.Tensor, decay: float) -> torch.Tensor:
    """One step of an exponential average."""
    return decay * mean + (1 - decay) * weight


# %% [markdown]
# ## The package's trainer, and a power cut
#
# `train` does the same and keeps a folder. We break a run in its second epoch, resume it, and compare with an unbroken
# one.

# %% kind="control"
folder = Path(tempfile.mkdtemp())
common = {"preset": "tiny", "data": "synthetic", "synthetic_count": 12, "size": 32, "truth_size": 32, "epochs": 2}
common |= {"batch_size": 4, "estimate": False, "accelerator": "cpu", "select_by": "last", "cache_dir": folder / "cache"}
whole = train(TrainConfig(**common, out=folder / "whole"))
step_of_package = SegmentationModule.training_step


def power_cut(self, batch, batch_idx):
    """Stop in the second epoch."""
    if self.current_epoch == 1:
        raise RuntimeError("power cut")
    return step_of_package(self, batch, batch_idx)


SegmentationModule.training_step = power_cut
try:
    train(TrainConfig(**common, out=folder / "cut"))
except RuntimeError as error:
    print("stopped:", error)
finally:
    SegmentationModule.training_step = step_of_package
resumed = train(TrainConfig(**common, out=folder / "cut", resume=True))
pairs = zip(load_checkpoint(whole.best)[0].parameters(), load_checkpoint(resumed.best)[0].parameters(), strict=True)
print("same weights, bit by bit:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown]
# ## A real run
#
# What the shipped network reached on ISIC 2017, from its own model card:

# %%
card = (Path(skinlesion.__file__).parent / "weights" / "small.md").read_text("utf-8")
print("\n".join(line for line in card.splitlines() if line.startswith(("isic2017", "| IoU", "| DSC", "Selected"))))

# %% kind="play"


def draw(period: int = 50, epochs: int = 300) -> None:
    """Where does the run end?"""
    _, ax = plt.subplots(figsize=(5, 2))
    ax.plot([cosine(epoch, period, 1e-3, 1e-5) for epoch in range(epochs + 1)])
    plt.show()


_ = ipywidgets.interact(draw, period=(10, 300, 10), epochs=(50, 300, 50))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - Eight drawn lesions are no test set; the bare loop shows that the model learns, not how well it does on patients.
# - That T = 50 costs accuracy was not measured here: the figure shows the rate only.
# - Bit by bit holds on one CPU with the same versions; not across machines.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. Where does T = 50 end after 300 epochs?
# - [x] at the highest rate :: Six half turns.
# - [ ] at the lowest :: That is at 50, 150 and 250.
#
# 2. What if `zero_grad` is forgotten?
# - [ ] nothing is learned :: Something is, with the wrong gradient.
# - [x] gradients of all steps add up :: Old batches keep pulling.
#
# 3. What must a resumed run restore besides the weights?
# - [x] the optimizer's moments and the random numbers :: Otherwise it is another run.
# - [ ] nothing :: AdamW would start with empty moments.

# %% [markdown] kind="links"
# ## Further reading
#
# - [AdamW](https://arxiv.org/abs/1711.05101): decay apart from the gradient.
# - [SGDR](https://arxiv.org/abs/1608.03983): the cosine schedule and its restarts.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the harness that the recipe resembles.
