# %% [markdown] kind="claim"
# **Claim.** The whole network is VM-UNet's skeleton plus three modules, and with what you have written so far you can
# build it, count its parameters exactly, and take it apart. We show this by running your wiring with the network's
# weights, by counting the parameters (43,266,829 with all modules and 27,427,561 without), and by intervening in two
# trained networks to see which parts a mask depends on. The controls: a wrong wiring that trains just as well, a
# transplant that puts every map back into its own image, and a network trained without feature distillation.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write patch merging and expanding as rearrangements of axes, and say why they aren't each other's inverse;
# - wire the U-Net with its three skips, and run it on images of any size;
# - read the shapes of the whole network from one diagram;
# - add up its parameters part by part, with each module on or off;
# - show that the paper's network contains VM-UNet as a special case;
# - test what a part contributes to a mask by intervening, and say which results follow from the topology alone.

# %%
import copy

import ipywidgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from skinlesion import Segmenter, create_model, explain, intervene, lessons
from skinlesion.data.images import normalize, read_image, read_mask, resize_mask
from skinlesion.data.samples import bundled_samples
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import bce_dice_loss
from skinlesion.model import CMSSMBlock
from skinlesion.plots import static

lessons.setup()

# %% [markdown]
# ## The diagram
#
# We start with the finished network: the paper's, at 256 x 256, with the shape of each part's output and its number of
# parameters. The diagram is generated from the network itself.

# %%
torch.manual_seed(0)
parts = explain.architecture(create_model("paper"))
static.architecture(parts)

# %% [markdown]
# On the left side, going down, the grid is halved and the channels are doubled three times; on the right side, going
# up, it's the reverse. Three skips connect the two sides. The boxes contain the CM-SSM blocks of lesson 9, and the
# skips contain lesson 10's cross-region attention. What remains for this lesson is *resizing the grid* and the
# *wiring*: the paper spends one paragraph on them (section 3.1), and VM-UNet's numbers fill the gaps (A1: patches of 4
# x 4; A10: three skips).

# %% exercise="network.grid_at_the_bottom"
grid_at_the_bottom = (4, 5)

# %% [markdown]
# ## Four tokens become one, and one becomes four
#
# A classic U-Net gets a coarser grid by pooling, which discards values. Here the rearrangement itself discards nothing:
# four tokens of $C$ channels become one token of $4C$. Only the linear layer after it, $4C \to 2C$, reduces what is
# kept.
#
# $$(B,H,W,C) \xrightarrow{\text{rearrange}} (B,\tfrac H2,\tfrac W2,4C) \xrightarrow{\mathrm{LN},\ \text{linear}}
# (B,\tfrac H2,\tfrac W2,2C)$$


# %% exercise="network.space_to_depth"
def space_to_depth(x: Tensor) -> Tensor:
    """The four tokens of each 2 x 2 cell, concatenated: (B, H, W, C) -> (B, H / 2, W / 2, 4 C)."""
    order = ((0, 0), (1, 0), (0, 1), (1, 1))
    return torch.cat([x[:, row::2, column::2] for row, column in order], dim=-1)


# %% [markdown]
# On the way back up, expanding first adds channels with a linear layer, $c \to 2c$, and then turns each token into a 2
# x 2 cell with $c/2$ channels. The head does the same with a factor of 4, directly to the size of the image: that is
# the "final mapping layer".


# %% exercise="network.depth_to_space"
def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Each token becomes a cell of tokens, row by row: (B, H, W, factor ** 2 C) -> (B, factor H, factor W, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2)  # (B, H, W, row, column, C)
    x = x.permute(0, 1, 3, 2, 4, 5)  # (B, H, row, W, column, C)
    return x.reshape(batch, factor * height, factor * width, channels // factor**2)


# %% [markdown] kind="predict"
# **Predict.** Merge the numbers 0 to 15 of a 4 x 4 grid with your `space_to_depth` and expand them with your
# `depth_to_space`, with nothing in between. Do they come back in order? Look at the two orders before you answer.

# %%
space_to_depth = lessons.use("network.space_to_depth", space_to_depth)
depth_to_space = lessons.use("network.depth_to_space", depth_to_space)
numbers = torch.arange(16.0).reshape(1, 4, 4, 1)
lessons.happened("11.1", "\n" + str(depth_to_space(space_to_depth(numbers), 2)[0, ..., 0].int()))

# %% [markdown]
# Each 2 x 2 cell comes back transposed: merging puts *down* before *right*, while expanding goes row by row. That does
# no harm, since a linear layer before or after each rearrangement learns whatever order it gets. It would do harm if
# you loaded VM-UNet's weights into a network with a different order: every shape fits, no error is raised, and the
# masks are wrong.
#
# ## The wiring


# %% exercise="network.run_u"
def run_u(x: Tensor, encoder, merging, skips, expanding, decoder) -> Tensor:
    """From the embedded tokens (B, H, W, C) to the output of D1, of the same shape."""
    kept = []
    for i, stage in enumerate(encoder):
        if i > 0:
            x = merging[i - 1](x)  # half the grid, twice the channels
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i > 0:
            skip = skips[3 - i](kept[3 - i])
            x = expanding[i - 1](x + skip)  # twice the grid, half the channels
        x = stage(x)
    return x


# %% exercise="network.at_any_size"
def at_any_size(network, image: Tensor, multiple: int) -> Tensor:
    """Logits (B, 1, H, W) of an image (B, 3, H, W), from a network whose input sides must be multiples of a number."""
    height, width = image.shape[-2:]
    padded = nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return network(padded)[..., :height, :width]


# %% [markdown]
# ### Your own network
#
# Now the functions of the earlier lessons come together. Put yours in place of `None` (paste the cells from lessons 5,
# 7, 8 and 10); wherever you leave `None`, the package's function is used. Each function is checked again before it is
# used.

# %%
run_u, at_any_size = lessons.use("network.run_u", run_u), lessons.use("network.at_any_size", at_any_size)

scan = lessons.use("ss2d.cross_selective_scan", None)
squeeze_excitation = lessons.use("se.forward", None)
channel_mixing = lessons.use("cmn.channel_mixing", None)
gates, apply_gates = lessons.use("cra.gates", None), lessons.use("cra.apply_gates", None)


def cross_region_attention(x: Tensor, *layers: nn.Module) -> Tensor:
    """Lesson 10, eqs. 2 to 7."""
    return apply_gates(x, *gates(x, *layers))


OWN = {"scan": scan, "se": squeeze_excitation, "cmn": channel_mixing, "cra": cross_region_attention}


class Mine(nn.Module):
    """A network with its own weights, your functions and your wiring."""

    def __init__(self, network: nn.Module, wiring=run_u) -> None:
        super().__init__()
        self.net, self.wiring = copy.deepcopy(network), wiring

    def merge(self, layer: nn.Module):
        return lambda x: layer.reduction(layer.norm(space_to_depth(x)))

    def expand(self, layer: nn.Module):
        return lambda x: layer.norm(depth_to_space(layer.expansion(x), layer.factor))

    def fitting(self, image: Tensor) -> Tensor:
        """Logits of an image whose sides are multiples of 32."""
        net = self.net
        stages = [nn.Sequential(*blocks) for blocks in (*net.encoder, *net.decoder)]
        merging, expanding = map(self.merge, net.merging), map(self.expand, net.expanding)
        x = net.embedding(image)  # (B, H / 4, W / 4, C)
        x = self.wiring(x, stages[:4], list(merging), net.skips, list(expanding), stages[4:])
        x = self.expand(net.final_expanding)(x)  # (B, H, W, C / 4)
        return net.head(x.permute(0, 3, 1, 2))  # (B, 1, H, W)

    def forward(self, image: Tensor) -> Tensor:
        with lessons.plugged(self.net, OWN):  # its modules compute with your functions
            return at_any_size(self.fitting, image, 32)


torch.manual_seed(0)
network = create_model("tiny").eval()
mine = Mine(network).eval()
for size in (64, (100, 130), (33, 97)):
    image = torch.from_numpy(synthesize(3, size).image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    with torch.no_grad():
        difference = (network(image) - mine(image)).abs().max()
    print(f"{tuple(image.shape[-2:])}: largest difference of the logits {float(difference):.1e}")

# %% [markdown]
# ### Train it, next to a wrongly wired network
#
# We train three networks with the same initial weights and the same batches: the package's, yours, and one with a
# mistake that is easy to make. It uses the *outputs* of E2, E3 and E4 as skips instead of their inputs. All shapes fit.


# %%
def wrong_u(x: Tensor, encoder, merging, skips, expanding, decoder) -> Tensor:
    """As `run_u`, but the skips are the outputs of E2, E3 and E4."""
    kept = []
    for i, stage in enumerate(encoder):
        x = stage(merging[i - 1](x)) if i > 0 else stage(x)
        if i > 0:
            kept.append(x)
    for i, stage in enumerate(decoder):
        x = stage(expanding[i - 1](x + skips[3 - i](kept[3 - i])) if i > 0 else x)
    return x


STEPS = 4 if lessons.FAST else 70
PLAIN = {"style": "nevus-like", "skin_tone": 2, "hair": "none", "vignette": "none", "sticker": "none", "ink": False}
drawn = [synthesize(seed, 64, **PLAIN) for seed in range(96)]
images = torch.stack([torch.from_numpy(normalize(each.image)) for each in drawn]).permute(0, 3, 1, 2)
images = 4 * (images - 0.5)  # (96, 3, 64, 64), centered, so that 70 steps are enough to see something
masks = torch.stack([torch.from_numpy(each.mask) for each in drawn])[:, None].float()  # (96, 1, 64, 64)
SEEN = 64  # the rest is for testing


def dice(logits: Tensor, mask: Tensor) -> float:
    """Mean over the images."""
    found = (logits > 0).float()
    both = (found * mask).sum((1, 2, 3))
    return float((2 * both / (found.sum((1, 2, 3)) + mask.sum((1, 2, 3)))).mean())


def train(model: nn.Module) -> list[float]:
    """The loss of each step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS, pct_start=0.1)
    losses = []
    for _ in range(STEPS):
        batch = torch.randint(SEEN, (8,), generator=generator)
        loss = bce_dice_loss(model(images[batch]), masks[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


# %% [markdown] kind="predict"
# **Predict** the three loss curves. Which of them coincide? Would you notice the mistake from its curve?

# %% kind="control"
torch.manual_seed(0)
start = create_model("tiny", depths=(1, 1, 1, 1), decoder_depths=(1, 1, 1, 1), drop_path=0.0)
racers = {"the package's": copy.deepcopy(start), "yours": Mine(start), "wired wrongly": Mine(start, wrong_u)}
curves = {name: train(model) for name, model in racers.items()}

fig, ax = plt.subplots(figsize=(4.6, 2.6))
for (name, losses), style in zip(curves.items(), ("-", "--", ":"), strict=True):
    ax.plot(losses, style, label=name, linewidth=3 if style == "-" else 1.5)
ax.set(xlabel="step", ylabel="loss (eq. 11)")
ax.set_title("the wrong wiring trains as well as the correct one")
ax.legend()
plt.show()
guess = (masks[:SEEN].mean(0, keepdim=True) - 0.4).expand(len(masks) - SEEN, -1, -1, -1)  # the same mask for all
print(f"{len(guess)} new images: the best constant mask reaches Dice {dice(guess, masks[SEEN:]):.2f}")
for name, model in racers.items():
    with torch.no_grad():
        found = dice(model.eval()(images[SEEN:]), masks[SEEN:])
    print(f"{name:14}: loss {curves[name][0]:.5f} at the start, {curves[name][-1]:.5f} at the end; Dice {found:.2f}")
same = max(abs(a - b) for a, b in zip(curves["the package's"], curves["yours"], strict=True))
lessons.happened(
    "11.2", f"yours and the package's differ by {same:.0e} at most; the loss of the wrong one falls as well"
)

# %% [markdown] given="0.73 0.68 0.72"
# Your curve coincides with the package's at every step: values *and* gradients are the same. The loss of the wrong
# network falls just as well, and on new images it is no worse (Dice 0.75 against 0.71; another processor or number of
# threads rounds sums differently, and there we got 0.73 against 0.68 and 0.72 against 0.71). A falling curve shows that
# a network learns, not that it is the network you meant. Only a comparison like the one above shows that: number by
# number, with an independent reference.
#
# (After a few seconds on 64 plain synthetic images, all three are well above the best constant mask, 0.56. This
# experiment tests the wiring; lesson 13 trains a useful network.)

# %% [markdown]
# ## Counting the parameters
#
# You can already count the blocks (lesson 9), SE (lesson 7) and CMN (lesson 8). Now count the rest:


# %% exercise="network.skeleton"
def skeleton(dim: int) -> int:
    """Number of learned parameters outside the blocks and CRAs."""
    embedding = 4 * 4 * 3 * dim + dim + 2 * dim
    merging = sum(2 * 4 * c + 4 * c * 2 * c for c in (dim, 2 * dim, 4 * dim))
    expanding = sum(c * 2 * c + 2 * (c // 2) for c in (8 * dim, 4 * dim, 2 * dim))
    final = dim * 16 * (dim // 4) + 2 * (dim // 4)
    classifier = dim // 4 + 1
    return embedding + merging + expanding + final + classifier


# %% [markdown] kind="predict"
# **Predict.** Of SE, CMN and CRA, which has the most parameters, and which has almost none? What share of all
# parameters is in the three deepest boxes of the diagram, E4, D4 and the skip between them?

# %%
skeleton = lessons.use("network.skeleton", skeleton)
block_parameters = lessons.use("block.parameters", None)
se_parameters, cmn_parameters = lessons.use("se.parameters", None), lessons.use("cmn.parameters", None)


def cra_parameters(dim: int) -> int:
    """Lesson 10: a layer to max(8, dim / 32) channels, its norm, and two layers back."""
    narrow = max(8, dim // 32)
    return dim * narrow + narrow + 2 * narrow + 2 * (narrow * dim + dim)


def budget(dim: int, *, se: bool, cmn: bool, cra: bool) -> int:
    """Parameters of the whole network, counted by hand."""
    total = skeleton(dim)
    for width, blocks in ((dim, 3), (2 * dim, 4), (4 * dim, 4), (8 * dim, 4)):  # encoder and decoder together
        total += blocks * block_parameters(width, 16)
        total += blocks * (se_parameters(2 * width, 8) * se + cmn_parameters(width, 2) * cmn)
    return total + cra * sum(cra_parameters(width) for width in (2 * dim, 4 * dim, 8 * dim))


for on in ("", "se", "cmn", "cra", "se cmn cra"):
    switches = {name: name in on.split() for name in ("se", "cmn", "cra")}
    with torch.device("meta"):  # shapes only: nothing is drawn or stored
        counted = sum(p.numel() for p in create_model("paper", **switches).parameters())
    by_hand = budget(96, **switches)
    print(f"{on or 'none':10}: by hand {by_hand:>10,}, the network has {counted:>10,}, {counted - 27_427_561:+,}")
deepest = {part.name: part.parameters for part in parts}
share = sum(deepest[name] for name in ("E4", "S4", "D4")) / sum(deepest.values())
lessons.happened("11.3", f"CMN most, CRA least; E4, S4 and D4 have {100 * share:.0f}% of all parameters")

# %% [markdown] given="30.9 0.2 12.6 46"
# The counts match exactly. Seven tenths of the paper's network, 30.9 million parameters, are in E4 and D4. CRA has
# 0.2%. SE adds 3.1 million and CMN 12.6 million: in Table 4 of the paper, "with CMN" also means "46% more parameters".
#
# ### The network contains VM-UNet
#
# With the three modules switched off, the network *is* VM-UNet. And even with all modules on, it can still compute
# exactly what VM-UNet computes, if you set the modules' weights so that they have no effect.

# %% [markdown] kind="predict"
# **Predict.** SE multiplies by $\sigma(W_2\,\mathrm{ReLU}(W_1 \bar x))$ without bias, CMN adds $W_2\,
# \mathrm{GELU}(\cdot)$, CRA multiplies by two sigmoids *with* bias. Which weights make each of them neutral? One of the
# three can't pass its input through unchanged. Which layer can compensate for that?

# %%
torch.manual_seed(1)
ancestor = create_model("tiny", se=False, cmn=False, cra=False).eval()
descendant = create_model("tiny").eval()
with torch.no_grad():
    descendant.load_state_dict(ancestor.state_dict(), strict=False)  # everything they share
    for block in (module for module in descendant.modules() if isinstance(module, CMSSMBlock)):
        block.ss2d.se.fc2.weight.zero_()  # every gate is sigmoid(0) = 1/2 ...
        block.ss2d.out_proj.weight.mul_(2)  # ... which the next layer undoes
        for parameter in block.cmn.fc2.parameters():
            parameter.zero_()  # CMN adds nothing
    for attention in descendant.skips:
        for layer in (attention.conv_h, attention.conv_w):
            layer.weight.zero_()
            layer.bias.fill_(30)  # sigmoid(30) is 1 in float32
    difference = (ancestor(images[:4]) - descendant(images[:4])).abs().max()
    untrained = (ancestor(images[:4]) - create_model("tiny").eval()(images[:4])).abs().max()
lessons.happened(
    "11.4", f"largest difference of the logits {float(difference):.0e}; a new network: {float(untrained):.1f}"
)

# %% [markdown]
# It's SE: it has no bias, so with zero weights every gate is 1/2, and the weights of the linear layer after it have to
# be doubled. The modules take nothing away from what the network *can* compute. What they change is where training
# starts and where it leads.
#
# ## What does a part contribute to a mask?
#
# Seven tenths of the parameters are in E4 and D4. Does the mask depend on them to the same degree? We test two trained
# networks: `small` (24 channels, trained on ISIC 2017 at 128 x 128, with feature distillation) and, as the control,
# `accurate` (the same architecture, trained *without* distillation, longer, with another optimizer, at 160 x 160; see
# the model cards for details). The intervention replaces a part's map with that of **another** image. If the mask
# doesn't change, it depends on nothing in this map that is specific to the image.


# %% exercise="network.transplant"
def transplant(maps: Tensor) -> Tensor:
    """Maps (B, H, W, C) permuted so that every image gets the map of another image."""
    return maps.roll(1, dims=0)


# %%
DATA = "bundled"  # eight real images that come with the package; "synthetic" for sixteen generated ones

transplant = lessons.use("network.transplant", transplant)
segmenters = {
    "small, with distillation": Segmenter.from_pretrained("small"),
    "accurate, without": Segmenter.from_pretrained("accurate"),
}


def inputs(data: str, segmenter: Segmenter) -> tuple[Tensor, Tensor]:
    """A trained network's input (B, 3, H, W) and the reference masks (B, 1, H, W), at its own size."""
    if data == "bundled":
        real = [each for each in bundled_samples() if each.kind == "real"]
        found = [(read_image(each.image_path), read_mask(each.mask_path)) for each in real]
    else:
        found = [(each.image, each.mask) for each in (synthesize(seed, 256) for seed in range(16))]
    masks = torch.stack([torch.from_numpy(resize_mask(mask, segmenter.size)).float() for _, mask in found])
    return segmenter.prepare([image for image, _ in found]), masks[:, None]


def score(network: nn.Module, image: Tensor, mask: Tensor) -> float:
    """A trained network's mean Dice."""
    with torch.no_grad():
        return dice(network(image), mask)


def score_with(network: nn.Module, change, point: str, image: Tensor, mask: Tensor) -> float:
    """The mean Dice while one activation is changed."""
    with intervene(network, {point: change}):
        return score(network, image, mask)


layers = {f"E{i}": f"E{i}.2.output" for i in range(1, 5)}
layers |= {f"S{i}": f"S{i}.cra.output" for i in range(2, 5)}
layers |= {"D4": "D4.2.output", "D3": "D3.2.output", "D2": "D2.2.output", "D1": "D1.1.output"}

# %% [markdown] kind="predict"
# **Predict.** Both unmodified networks have a Dice score above 0.9 on these images. Order the eleven parts, E1 .. E4,
# S2 .. S4, D4 .. D1, by how much a transplant hurts. Two of the eleven results follow from the wiring alone: which? And
# will the network without distillation be different?

# %% kind="signature"
tested = {name: (each.model.eval(), *inputs(DATA, each)) for name, each in segmenters.items()}
whole = {name: score(*what) for name, what in tested.items()}
other_truth = {name: score(network, x, transplant(truth)) for name, (network, x, truth) in tested.items()}
hurt = {
    name: {part: score_with(network, transplant, layer, x, truth) for part, layer in layers.items()}
    for name, (network, x, truth) in tested.items()
}
sizes = {
    part.name: part.parameters for part in explain.architecture(segmenters["small, with distillation"].model, 128, 128)
}
total = sum(sizes.values())

fig, axes = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
names = list(layers)
colors = ["tab:blue" if n[0] == "E" else "tab:green" if n[0] == "S" else "tab:orange" for n in names]
axes[0].barh(names, [100 * sizes[name] / total for name in names], color=colors)
axes[0].set(title="share of the parameters (%)", ylim=(len(names) - 0.5, -0.5))
for ax, (name, values) in zip(axes[1:], hurt.items(), strict=True):
    ax.barh(names, list(values.values()), color=colors)
    ax.axvline(whole[name], color="black", linewidth=1)
    ax.axvline(other_truth[name], color="black", linewidth=1, linestyle=":")
    for i, value in enumerate(values.values()):
        ax.text(value + 0.01, i, f"{value:.2f}", va="center", fontsize=8)
    ax.set(title=f"Dice with a transplanted map\n{name}", xlim=(0, 1.08))
plt.show()
for name, values in hurt.items():
    print(f"{name}: unmodified {whole[name]:.3f}; against another image's mask {other_truth[name]:.3f} (dotted)")
    lessons.happened("11.5", {part: round(value, 2) for part, value in values.items()})

# %% [markdown]
# First, some results follow from the topology. *Everything* that reaches the mask passes through E1 and through D1, so
# if either comes from another image, the mask must be the other image's. These two bars say nothing about training. And
# E3, E4, S4, D4 and D3 aren't five findings but one: whatever they contribute passes through D3 into D2. If D3's map
# contributes nothing specific to the image, none of the five can. E2 and S3 agree for the same reason: apart from the
# deep part, E2's map goes only into S3.
#
# The one finding is clear: **if D3's map comes from another image, the Dice score doesn't change**, in either network.
# The deep part of the network, with nine tenths of the parameters, contributes nothing image-specific to these masks.
# Everything image-specific comes from E1, E2, and the skips S2 and S3.

# %% kind="control"
deep = ("E3", "E4", "S4", "D4", "D3")
print(f"{' + '.join(deep)}: {100 * sum(sizes[name] for name in deep) / total:.0f}% of the parameters")
for name, (network, x, truth) in tested.items():
    same = max(abs(score_with(network, lambda maps: maps, layer, x, truth) - whole[name]) for layer in layers.values())
    zeroed = score_with(network, torch.zeros_like, layers["D3"], x, truth)
    largest = max(abs(hurt[name][part] - whole[name]) for part in deep)
    print(f"{name}: every map put back into its own image: largest change {same:.0e}; a deep map transplanted: "
          f"largest change {largest:.4f}; D3 set to zero: Dice {zeroed:.3f}")  # fmt: skip
    synthetic_x, synthetic_truth = inputs("synthetic", segmenters[name])
    kept = [score_with(network, transplant, layers[part], synthetic_x, synthetic_truth) for part in (*deep, "D1")]
    row = ", ".join(f"{part} {value:.3f}" for part, value in zip((*deep, "D1"), kept, strict=True))
    print(f"    sixteen synthetic images: unmodified {score(network, synthetic_x, synthetic_truth):.3f}; {row}")

# %% [markdown]
# The intervention itself changes nothing (a change of 0 when every map is put back into its own image), and synthetic
# images give the same result. With D3 set to zero, the Dice score falls by one or two hundredths: the deep part
# provides a nearly constant offset.
#
# Is distillation the cause? That would be a natural guess: CFD trains every map to imitate the last one, so the deep
# maps lose their own content. If we had looked only at `small`, we might have concluded that. The control says no:
# `accurate`, trained with both distillation weights at zero, has the same unused deep stages. The two networks differ
# in more than distillation (optimizer, training length, image size), so the control doesn't show that distillation has
# *no* influence; it shows that distillation isn't needed to explain unused deep stages. What the two share is the
# width, the data, and lesions whose border can be found on the finer grids. A network with two or three stages might do
# as well at this size: that would be the next experiment.
#
# The paper starts from a related observation, "feature redundancy" and "asymmetric supervised learning" (abstract), and
# its remedy is the loss of lesson 12. In these two networks the deep stages are unused with and without that remedy.

# %% [markdown]
# ### Play
#
# Choose a network, a part and what happens to its map, and look at one image. What does the mask look like when D2's
# map comes from another image? Which part, replaced by its mean, makes the border soft?

# %% kind="play"
CHANGES = {
    "another image's": transplant,
    "its mean over the image": lambda maps: maps.mean((1, 2), keepdim=True).expand_as(maps),
    "zero": torch.zeros_like,
    "mirrored": lambda maps: maps.flip(2),
}


def look(
    weights: str = "small, with distillation", part: str = "S3", change: str = "mirrored", number: int = 0
) -> None:
    """The mask of one image with one map changed."""
    network, x, truth = tested[weights]
    with torch.no_grad(), intervene(network, {layers[part]: CHANGES[change]}):
        changed = network(x)[number, 0].sigmoid()
    _, axes = plt.subplots(1, 2, figsize=(5, 2.5))
    axes[0].imshow(x[number].permute(1, 2, 0))
    axes[1].imshow(changed, cmap="gray", vmin=0, vmax=1)
    for ax in axes:
        ax.contour(truth[number, 0], levels=[0.5], colors="tab:orange", linewidths=1)
        ax.set(xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(look, weights=list(tested), part=list(layers), change=list(CHANGES), number=(0, 7))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - These are two small trained networks, in which E4 has 16 or 25 tokens. At full width, at 256 x 256 or on other
#   tasks, the deep parts may be used. The measurement takes a minute: repeat it on your own network.
# - A transplant tests what is *specific* to an image. It doesn't detect a part that does the same for every image (say,
#   one that provides a constant that later layers need); "set to zero" is the test for that.
# - That a trained network doesn't use a part doesn't mean it would train as well without it. Only training runs without
#   the part can show that.
# - "Any size" only means that the network runs. The four scans process the padding too, and the network was trained at
#   one size; at other sizes its score has to be measured.
# - A1, A10, A11 and A12 are interpretations of one paragraph. The options are in `ModelConfig`.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. The image is 512 x 384. What is the shape of E3's output in the paper's network?
# - [ ] 64 x 48 x 192 :: That is E2.
# - [x] 32 x 24 x 384 :: A quarter by the embedding, then halved twice; 4 C channels.
# - [ ] 16 x 12 x 768 :: That is E4.
#
# 2. Merging and expanding use different orders in their 2 x 2 cells. Why does the network work?
# - [ ] the LayerNorms beside them undo the difference in order :: They work on each token separately.
# - [x] the linear layer next to each of them learns its order :: Only loading someone else's weights would cause
#   trouble.
# - [ ] the two orders turn out to be the same, cell by cell :: Look at the numbers 0 to 15 again.
#
# 3. The network with the wrong skips trained about as well. So
# - [ ] the mistake does not matter in practice :: It is another network: its weights and scores aren't those of the
#   paper's network.
# - [x] a falling loss does not validate a wiring :: Only the comparison with a reference does, number by number.
# - [ ] the network does not depend on its skips :: It still has skips, just different ones.
#
# 4. Which of the modules adds the most parameters?
# - [ ] SE :: 3.1 million.
# - [x] CMN :: 12.6 million.
# - [ ] CRA :: 0.08 million.
#
# 5. A part's map is replaced by another image's, and the mask stays the same. Then
# - [ ] the part was not changed by the training :: Its weights did change. They may do something that is the same for
#   all images.
# - [x] nothing image-specific in it is being used :: That is all it shows, and it is a lot.
# - [ ] the network would train as well without it :: Only a training run without it can show that.

# %% [markdown] kind="links"
# ## Further reading
#
# - [U-Net](https://arxiv.org/abs/1505.04597): the architecture, with concatenated skips.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the skeleton of this network.
# - [Swin-Unet](https://arxiv.org/abs/2105.05537): where patch merging, expanding and the x4 head come from.
# - [SelfReg-UNet](https://arxiv.org/abs/2406.14896): what the encoder and the decoder of a U-Net learn, and where they
#   are redundant.
