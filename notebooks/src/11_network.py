# %% [markdown] kind="claim"
# **Claim.** The whole network is VM-UNet's skeleton with three modules in it, and it can be built, counted to the last
# digit and taken apart with what you have written so far. We show it by running your wiring with the network's
# weights, by a budget that gives 43,266,829 with all modules and 27,427,561 without, and by asking the shipped,
# trained network what its parts are worth to a single image. The controls: a wiring that is wrong and trains just as
# well, and a transplant that puts every map back where it came from.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - write patch merging and expanding as moves of axes, and say why they do not undo each other;
# - wire the U with its three skips, and make it take images of any size;
# - read the shapes of the whole network from one map;
# - add up its parameters by part, with each module on and off;
# - hide VM-UNet inside the paper's network and prove that it is there;
# - test what a trained part tells the rest about an image, with a control.

# %%
import copy

import ipywidgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from skinlesion import Segmenter, create_model, explain, intervene, lessons
from skinlesion.data.images import normalize, read_image, read_mask
from skinlesion.data.samples import bundled_samples
from skinlesion.data.synthetic import synthesize
from skinlesion.losses import bce_dice_loss
from skinlesion.model import CMSSMBlock
from skinlesion.plots import static

lessons.setup()

# %% [markdown]
# ## The map
#
# Start from the finished thing. This is the paper's network at 256 x 256, with the shapes as they come out of it and
# the parameters of each part. Nothing in the picture is drawn by hand.

# %%
torch.manual_seed(0)
parts = explain.architecture(create_model("paper"))
static.architecture(parts)

# %% [markdown]
# Read it as a walk. Down the left side the grid is halved three times and the channels doubled; up the right side the
# reverse. Three skips cross over. Inside the boxes are the CM-SSM blocks of lesson 9; on the skips stands lesson 10's
# cross-region attention. What is left for this lesson are the *changes of grid* and the *wiring*: the paper gives
# them one paragraph (section 3.1), and VM-UNet's numbers fill the gaps (A1: patches of 4 x 4; A10: three skips).


# %% exercise="network.grid_at_the_bottom"
grid_at_the_bottom = (4, 5)

# %% [markdown]
# ## Four tokens become one, and one becomes four
#
# A classic U-Net pools to get a coarser grid, which throws numbers away. Here nothing is thrown away by the move
# itself: four tokens of $C$ numbers become one of $4C$. Only the linear layer after it, $4C \to 2C$, decides what to
# keep.
#
# $$(B,H,W,C) \xrightarrow{\text{move}} (B,\tfrac H2,\tfrac W2,4C) \xrightarrow{\mathrm{LN},\ \text{linear}}
# (B,\tfrac H2,\tfrac W2,2C)$$


# %% exercise="network.space_to_depth"
def space_to_depth(x: Tensor) -> Tensor:
    """The four tokens of each 2 x 2 cell behind each other: (B, H, W, C) -> (B, H / 2, W / 2, 4 C)."""
    order = ((0, 0), (1, 0), (0, 1), (1, 1))
    return torch.cat([x[:, row::2, column::2] for row, column in order], dim=-1)


# %% [markdown]
# And back up. Expanding first makes more channels with a linear layer, $c \to 2c$, then opens each token to a 2 x 2
# cell of $c/2$ channels. The head does it with a factor of 4, at once to the size of the image: that is the "final
# mapping layer".


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
print(depth_to_space(space_to_depth(numbers), 2)[0, ..., 0].int())

# %% [markdown]
# Each 2 x 2 cell comes back transposed: merging puts *down* before *right*, expanding goes row by row. It does no
# harm, since a linear layer stands before or after each move and learns whatever order it meets. It would do harm to
# whoever loads VM-UNet's weights into a network with another order: every shape fits, no error is raised, and the
# answers are wrong.
#
# ## The wiring


# %% exercise="network.run_u"
def run_u(x: Tensor, encoder, merging, skips, expanding, decoder) -> Tensor:
    """From embedded tokens (B, H, W, C) to D1's output of the same shape."""
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
    """Logits (B, 1, H, W) of an image (B, 3, H, W) by a network that wants multiples of a number."""
    height, width = image.shape[-2:]
    padded = nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return network(padded)[..., :height, :width]


# %% [markdown]
# ### All of it yours
#
# Now the functions of the earlier lessons come together. Put yours in place of `None` (paste the cells from lessons
# 5, 7, 8 and 10); what stays `None` is taken from the package. Each is checked again before it is used.

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
    """The network's weights, your functions, your wiring."""

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
# ### Train it, beside a network that is wired wrongly
#
# Three networks, the same weights to begin with, the same batches: the package's, yours, and one with a mistake that
# is easy to make. It keeps the *outputs* of E2, E3 and E4 as skips, not their inputs. All shapes fit.


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
images = 4 * (images - 0.5)  # (96, 3, 64, 64), about zero: so 70 steps are enough to see something
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
# **Predict** the three curves of the loss. Which of them lie on each other? Would you notice the mistake from its
# curve?

# %% kind="control"
torch.manual_seed(0)
start = create_model("tiny", depths=(1, 1, 1, 1), decoder_depths=(1, 1, 1, 1), drop_path=0.0)
racers = {"the package's": copy.deepcopy(start), "yours": Mine(start), "wired wrongly": Mine(start, wrong_u)}
curves = {name: train(model) for name, model in racers.items()}

fig, ax = plt.subplots(figsize=(4.6, 2.6))
for (name, losses), style in zip(curves.items(), ("-", "--", ":"), strict=True):
    ax.plot(losses, style, label=name, linewidth=3 if style == "-" else 1.5)
ax.set(xlabel="step", ylabel="loss (eq. 11)")
ax.legend()
plt.show()
guess = (masks[:SEEN].mean(0, keepdim=True) - 0.4).expand(len(masks) - SEEN, -1, -1, -1)  # the same mask for all
print(
    f"on {len(guess)} new pictures: one mask for all, the best guess without looking: Dice {dice(guess, masks[SEEN:]):.2f}"
)
for name, model in racers.items():
    with torch.no_grad():
        found = dice(model.eval()(images[SEEN:]), masks[SEEN:])
    print(f"{name:14}: loss {curves[name][0]:.5f} at first, {curves[name][-1]:.5f} at last; Dice {found:.2f}")

# %% [markdown]
# Yours lies on the package's, step by step: values *and* gradients are the same. The wrong one falls just as well, and
# on new pictures it is as good as the right one. A curve that falls shows that the network learns, not that it is the
# network you meant. What shows that is the comparison above, number by number, with a reference that somebody else
# wrote.
#
# (All three are well above the best guess without looking, after seconds on 64 plain drawings. It is a test of the
# wiring, not a useful network: lesson 13 trains one.)

# %% [markdown]
# ## The budget
#
# Where are the parameters? You can count the blocks (lesson 9), SE (lesson 7) and CMN (lesson 8). What is left:


# %% exercise="network.skeleton"
def skeleton(dim: int) -> int:
    """How many numbers the network learns outside its blocks and CRAs."""
    embedding = 4 * 4 * 3 * dim + dim + 2 * dim
    merging = sum(2 * 4 * c + 4 * c * 2 * c for c in (dim, 2 * dim, 4 * dim))
    expanding = sum(c * 2 * c + 2 * (c // 2) for c in (8 * dim, 4 * dim, 2 * dim))
    final = dim * 16 * (dim // 4) + 2 * (dim // 4)
    classifier = dim // 4 + 1
    return embedding + merging + expanding + final + classifier


# %% [markdown] kind="predict"
# **Predict.** Of SE, CMN and CRA, which costs most, and which costs almost nothing? How large a share of all
# parameters is in the three deepest boxes of the map, E4, D4 and the skip between them?

# %%
skeleton = lessons.use("network.skeleton", skeleton)
block_parameters = lessons.use("block.parameters", None)
se_parameters, cmn_parameters = lessons.use("se.parameters", None), lessons.use("cmn.parameters", None)


def cra_parameters(dim: int) -> int:
    """Lesson 10: a layer to max(8, dim / 32) channels, its norm, and two layers back."""
    narrow = max(8, dim // 32)
    return dim * narrow + narrow + 2 * narrow + 2 * (narrow * dim + dim)


def budget(dim: int, *, se: bool, cmn: bool, cra: bool) -> int:
    """The whole network by hand."""
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

# %% [markdown]
# To the last digit. Seven tenths of the paper's network, 30.9 million, are in E4 and D4 (see the map). CRA is a
# rounding error, 0.2 %. SE adds 3.1 million and CMN 12.6: whoever reads Table 4 of the
# paper should know that "with CMN" also means "46 % larger".
#
# ### VM-UNet is inside
#
# With the three switches off the network *is* VM-UNet. But more is true: the network with all modules can still
# compute exactly what VM-UNet computes, if its modules are set so that they do nothing.

# %% [markdown] kind="predict"
# **Predict.** SE multiplies by $\sigma(W_2\,\mathrm{ReLU}(W_1 \bar x))$ without bias, CMN adds $W_2\,
# \mathrm{GELU}(\cdot)$, CRA multiplies by two sigmoids *with* bias. Which weights make each of them harmless? One of
# the three cannot be made to pass its input unchanged. Who repairs it?

# %%
torch.manual_seed(1)
ancestor = create_model("tiny", se=False, cmn=False, cra=False).eval()
descendant = create_model("tiny").eval()
with torch.no_grad():
    descendant.load_state_dict(ancestor.state_dict(), strict=False)  # all that both have
    for block in (module for module in descendant.modules() if isinstance(module, CMSSMBlock)):
        block.ss2d.se.fc2.weight.zero_()  # every gate is sigmoid(0) = 1/2 ...
        block.ss2d.out_proj.weight.mul_(2)  # ... which the next layer undoes
        for parameter in block.cmn.fc2.parameters():
            parameter.zero_()  # CMN adds nothing
    for attention in descendant.skips:
        for layer in (attention.conv_h, attention.conv_w):
            layer.weight.zero_()
            layer.bias.fill_(30)  # sigmoid(30) is 1 in single precision
    difference = (ancestor(images[:4]) - descendant(images[:4])).abs().max()
    fresh = (ancestor(images[:4]) - create_model("tiny").eval()(images[:4])).abs().max()
print(f"largest difference of the logits: {float(difference):.1e} (control, a fresh network: {float(fresh):.1e})")

# %% [markdown]
# SE is the one: it has no bias, so a gate that knows nothing is half open, and the linear layer after it has to double
# what is left. The modules take nothing away from what the network *can* do. What they change is where training starts and where it
# goes.
#
# ## What is a part worth to an image?
#
# Seven tenths of the parameters are in E4 and D4. Do they say seven tenths of what the mask needs to know? We ask a network
# that is trained: the `small` one that comes with the package (24 channels, trained on ISIC 2017 at 128 x 128; its
# model card says how). The question to each part: *what do you tell the rest about this image?* The method: let a
# part give the map of **another** image. If the mask does not change, the part said nothing that anyone listened to.


# %% exercise="network.transplant"
def transplant(maps: Tensor) -> Tensor:
    """Maps (B, H, W, C) given away so that each image has another one's and none its own."""
    return maps.roll(1, dims=0)


# %%
DATA = "bundled"  # eight real images that come with the package; "drawn" for sixteen generated ones

transplant = lessons.use("network.transplant", transplant)
segmenter = Segmenter.from_pretrained("small")
trained = segmenter.model.eval()


def pictures(data: str) -> tuple[Tensor, Tensor]:
    """What the trained network takes, (B, 3, 128, 128), and the true masks (B, 1, 128, 128)."""
    if data == "bundled":
        real = [each for each in bundled_samples() if each.kind == "real"]
        found = [(read_image(each.image_path), read_mask(each.mask_path)) for each in real]
    else:
        found = [(each.image, each.mask) for each in (synthesize(seed, 256) for seed in range(16))]
    masks = torch.stack([torch.tensor(mask).float() for _, mask in found])[:, None]
    return segmenter.prepare([image for image, _ in found]), nn.functional.max_pool2d(masks, 2)


def score(image: Tensor, mask: Tensor) -> float:
    """The trained network's mean Dice."""
    with torch.no_grad():
        return dice(trained(image), mask)


def dice_with(change, point: str, image: Tensor, mask: Tensor) -> float:
    """The score while one activation is changed."""
    with intervene(trained, {point: change}):
        return score(image, mask)


layers = {f"E{i}": f"E{i}.2.output" for i in range(1, 5)}
layers |= {f"S{i}": f"S{i}.cra.output" for i in range(2, 5)}
layers |= {"D4": "D4.2.output", "D3": "D3.2.output", "D2": "D2.2.output", "D1": "D1.1.output"}
x, truth = pictures(DATA)

# %% [markdown] kind="predict"
# **Predict.** The untouched network has a Dice score of about 0.9 on these images. Order the eleven parts, E1 .. E4, S2
# .. S4, D4 .. D1, by how much a transplant hurts. Where do you expect the largest damage, where the least? Keep in
# mind where the parameters are.

# %% kind="signature"
whole, stranger = score(x, truth), score(x, transplant(truth))
hurt = {name: dice_with(transplant, layer, x, truth) for name, layer in layers.items()}
sizes = {part.name: part.parameters for part in explain.architecture(trained, 128, 128)}
total = sum(sizes.values())

fig, axes = plt.subplots(1, 2, figsize=(8.5, 2.9), sharey=True)
names = list(hurt)
colors = ["tab:blue" if n[0] == "E" else "tab:green" if n[0] == "S" else "tab:orange" for n in names]
axes[0].barh(names, [100 * sizes[name] / total for name in names], color=colors)
axes[0].set(title="share of the parameters (%)", ylim=(len(names) - 0.5, -0.5))
axes[1].barh(names, list(hurt.values()), color=colors)
axes[1].axvline(whole, color="black", linewidth=1)
axes[1].axvline(stranger, color="black", linewidth=1, linestyle=":")
for i, value in enumerate(hurt.values()):
    axes[1].text(value + 0.01, i, f"{value:.2f}", va="center", fontsize=8)
axes[1].set(title="Dice when this map comes from another image", xlim=(0, 1.08))
plt.show()
print(f"untouched {whole:.3f} (solid line); with another image's truth {stranger:.3f} (dotted)")

# %% [markdown]
# Look at the two halves together. The mask needs E1, E2, and what crosses over at S2 and S3: with a stranger's E1 or D1
# the mask is the stranger's. E3, E4, S4, D4 and D3 may come from any other image, and nothing happens. Not a little:
# nothing, in the second digit. The largest parts of the network are those that it does not listen to.
#
# E2 and S3 hurt exactly alike (0.78). That is no accident: what E2 makes goes on to S3 and to E3, and nobody listens
# to E3.

# %% kind="control"
same = max(abs(dice_with(lambda maps: maps, layer, x, truth) - whole) for layer in layers.values())
print(f"every map back in its own image: largest change {same:.1e}")
deep = ("E3", "E4", "S4", "D4", "D3")
print(f"{' + '.join(deep)}: {100 * sum(sizes[name] for name in deep) / total:.0f} % of the parameters")
print(f"D3 set to zero: {dice_with(torch.zeros_like, layers['D3'], x, truth):.3f}")
drawn_x, drawn_truth = pictures("drawn")
row = ", ".join(f"{name} {dice_with(transplant, layers[name], drawn_x, drawn_truth):.3f}" for name in (*deep, "D1"))
print(f"sixteen generated images: untouched {score(drawn_x, drawn_truth):.3f}; {row}")

# %% [markdown]
# The hook itself changes nothing, and on generated images the result is the same. Nine tenths of this network's
# parameters say nothing about the image in hand; with D3 at zero the score falls by one hundredth. A network of two
# stages might have done as well *at this size and with this training*: that would be the next experiment.
#
# The paper starts from a worry of this kind: "feature redundancy" and "asymmetric supervised learning" in the U-Net
# (abstract). Its remedy is a loss that makes every block learn from the last one (lesson 12). But *these weights were
# trained with that loss* (0.015 for both of its terms, says the model card). Did it not help, or is it the cause,
# since deep maps that imitate the last one have nothing of their own to say? One trained network cannot tell. You
# can: train without it, and transplant again.

# %% [markdown]
# ### Play
#
# Choose a part and what happens to its map, and look at one picture. What does the mask look like when D2 comes from
# elsewhere? Which part, set to its mean, makes the border soft?

# %% kind="play"
CHANGES = {
    "somebody else's": transplant,
    "its mean over the picture": lambda maps: maps.mean((1, 2), keepdim=True).expand_as(maps),
    "zero": torch.zeros_like,
    "mirrored": lambda maps: maps.flip(2),
}


def look(part: str = "S3", change: str = "mirrored", number: int = 0) -> None:
    """The mask of one image with one map changed."""
    with torch.no_grad(), intervene(trained, {layers[part]: CHANGES[change]}):
        changed = trained(x)[number, 0].sigmoid()
    _, axes = plt.subplots(1, 2, figsize=(5, 2.5))
    axes[0].imshow(x[number].permute(1, 2, 0))
    axes[1].imshow(changed, cmap="gray", vmin=0, vmax=1)
    for ax in axes:
        ax.contour(truth[number, 0], levels=[0.5], colors="tab:orange", linewidths=1)
        ax.set(xticks=[], yticks=[])
    plt.show()


_ = ipywidgets.interact(look, part=list(layers), change=list(CHANGES), number=(0, len(x) - 1))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - One trained network, small, at 128 x 128, where E4 has 16 tokens. Another seed, size or loss may use its deep parts
#   differently. The measurement takes a minute: repeat it on your own network.
# - A transplant asks what is *particular* to an image. A part that does the same for every image (say, a constant that
#   later layers need) passes this test unharmed; "set to zero" asks that second question.
# - That a trained network does not use a part does not mean that it trained as well without it. Only a training
#   without it tells, more than once.
# - "Any size" means that it runs. The four scans see the padding and the size, and the network was trained at one
#   size: at others its score has to be measured.
# - A1, A10, A11 and A12 are readings of one paragraph. The switches are in `ModelConfig`.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. An image of 512 x 384. What is the shape of E3's output in the paper's network?
# - [ ] 64 x 48 x 192 :: That is E2.
# - [x] 32 x 24 x 384 :: A quarter by the embedding, then halved twice; 4 C channels.
# - [ ] 16 x 12 x 768 :: That is E4.
#
# 2. Merging and expanding use different orders in their 2 x 2 cells. Why does the network work?
# - [ ] the LayerNorms undo the difference :: They work on each token by itself.
# - [x] a linear layer stands beside each move and learns the order it meets :: Only loading foreign weights would
#   notice.
# - [ ] the order is the same :: Look at the numbers 0 to 15 again.
#
# 3. The network with the wrong skips trained about as well. So
# - [ ] the mistake does not matter :: It is another network: its weights and scores are not those of the paper's.
# - [x] a falling loss does not show that the wiring is right :: Only the comparison with a reference does, number by
#   number.
# - [ ] the skips do not matter :: It has skips, other ones.
#
# 4. Which of the modules adds the most parameters?
# - [ ] SE :: 3.1 million.
# - [x] CMN :: 12.6 million.
# - [ ] CRA :: 0.08 million.
#
# 5. A part's map is replaced by another image's, and the mask stays the same. Then
# - [ ] the part has no parameters :: E4 has more than a third of all.
# - [x] the mask takes nothing from that part that is particular to the image :: That is all, and it is a lot.
# - [ ] the part was never trained :: Its weights did change. They may serve something that is the same for all images.

# %% [markdown] kind="links"
# ## Further reading
#
# - [U-Net](https://arxiv.org/abs/1505.04597): the shape, with concatenated skips.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the skeleton of this network.
# - [Swin-Unet](https://arxiv.org/abs/2105.05537): where patch merging, expanding and the x4 head come from.
# - [SelfReg-UNet](https://arxiv.org/abs/2406.14896): on what encoder and decoder of a U-Net learn, and what they repeat.
