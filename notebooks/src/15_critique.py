# %% [markdown] kind="claim"
# **Claim.** A table of results is a measurement with three kinds of error: numbers that were not computed alike, chance
# in the test images, and chance in the training run. We show how large each is for the paper's tables, by an identity
# that printed numbers must obey, by resampling, and by a line-up in which you look for the paper's table among tables
# made by chance. The control is a system compared with itself. The last part reads the repository's own runs, as a
# factorial.

# %% [markdown] kind="objectives"
# After this lesson you can
#
# - find pairs of scores that cannot belong together, allowing for rounding;
# - check a text against its table;
# - write a bootstrap interval and a paired permutation test, and say what each one covers;
# - show that a test on images alone finds a system different from itself;
# - compute how many runs it takes to detect a difference;
# - read a table of modules as a factorial: main effects and interactions.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import skinlesion
from skinlesion import lessons
from skinlesion.reproduce import load_plan
from skinlesion.reproduce.report import summary
from skinlesion.reproduce.results import Results

lessons.setup()

# %% [markdown]
# ## A table that goes up and down
#
# The paper's Table 4: which modules are on, and the IoU on ISIC 2017. Each row is one training run.

# %%
ROWS = ("none", "SE", "CMN", "CRA", "SE+CMN", "SE+CRA", "CMN+CRA", "all")
TABLE_4 = np.array([79.54, 80.44, 79.98, 80.97, 81.31, 80.13, 80.39, 81.48])
fig, ax = plt.subplots(figsize=(5.5, 2.2))
ax.plot(ROWS, TABLE_4, "o-")
ax.set(ylabel="IoU, percent", title="Table 4")
plt.show()

# %% [markdown] given="1.43 0.84 0.58"
# CRA alone gains 1.43 points. Add SE to it, and 0.84 of them are gone; add CMN instead, and 0.58 are gone. Add both,
# and it is the best of all. The paper calls this synergy. It could also be noise. To decide, we need to know how large
# the noise is.
#
# ## 1. Numbers that must fit


# %% exercise="critique.dsc_range"
def dsc_range(iou: float) -> tuple[float, float]:
    """Least and largest DSC in percent that may be printed beside a printed IoU in percent."""
    low, high = (200 * value / (100 + value) for value in (iou - 0.005, iou + 0.005))
    return low - 0.005, high + 0.005


# %% [markdown] kind="predict"
# **Predict.** Tables 1 to 5 have 33 rows with an IoU and a DSC. How many pairs cannot come from one confusion matrix,
# even with rounding? Will they miss upward, downward, or both ways?

# %%
dsc_range = lessons.use("critique.dsc_range", dsc_range)

TABLES = {
    "Table 1": {"U-Net": (84.01, 91.16), "Attention U-Net": (84.30, 91.37), "LV-UNet": (85.95, 92.35)}
    | {"VM-UNet": (86.41, 92.71), "Ours": (88.16, 93.71)},
    "Table 2": {"U-Net": (76.98, 86.99), "UTNetV2": (77.35, 87.23), "TransFuse": (79.21, 88.40)}
    | {"MALUNet": (78.78, 88.13), "MedMamba": (78.82, 88.15), "HC-Mamba": (79.27, 88.18)}
    | {"VM-UNet": (79.54, 88.60), "Ours": (81.48, 89.79)},
    "Table 3": {"U-Net": (77.86, 87.55), "UNet++": (78.31, 87.83), "UTNetV2": (78.97, 88.25)}
    | {"MedMamba": (79.13, 88.35), "MALUNet": (80.25, 89.04), "HC-Mamba": (80.60, 89.25)}
    | {"VM-UNet": (80.28, 89.06), "Ours": (81.25, 89.65)},
    "Table 4": dict(
        zip(ROWS, zip(TABLE_4, (88.60, 89.16, 88.88, 89.45, 89.69, 88.97, 89.13, 89.79), strict=True), strict=True)
    ),
    "Table 5": {"neither": (80.66, 89.26), "CFD": (81.35, 89.57), "IFD": (81.24, 89.44), "both": (81.48, 89.79)},
}


def dsc_of(iou: float) -> float:
    """In percent."""
    return 200 * iou / (100 + iou)


odd = []
fig, ax = plt.subplots(figsize=(8, 2.4))
place = 0
for table, rows in TABLES.items():
    start = place
    for name, (iou, dsc) in rows.items():
        low, high = dsc_range(iou)
        fits = low <= dsc <= high
        ax.bar(place, dsc - dsc_of(iou), color="tab:blue" if fits else "tab:orange")
        if not fits:
            odd.append(f"{table}, {name}: IoU {iou:.2f}, DSC {dsc:.2f}, should be {low:.2f} to {high:.2f}")
        place += 1
    ax.text((start + place - 1) / 2, 0.03, table, ha="center")
    place += 1
ax.axhline(0, color="black", linewidth=0.8)
ax.set(
    xticks=[],
    ylim=(-0.3, 0.08),
    ylabel="printed DSC less\nDSC from IoU",
    title="eight rows do not fit (orange), all of them too low",
)
plt.show()
lessons.happened("15.1", f"{len(odd)} of {sum(map(len, TABLES.values()))} rows do not fit, all downward")
print(*odd, sep="\n")

# %% [markdown] given="0.8139 0.8826 0.8974 1.48 0.26 0.03"
# Eight rows, and all miss **downward**. That is informative. As a function of IoU, DSC is concave, so the mean of many
# DSC is below the DSC of the mean IoU. Averaging, over images or over batches, gives pairs that miss downward, and
# never upward. How far depends on what is averaged:
#
# - over single images it is much. The model card of our `small` has a mean IoU of 0.8139 and a mean DSC of 0.8826 over
#   images; 0.8139 would give 0.8974. The gap is -1.48 points;
# - over batches it is little (you will measure it below). The gaps of 0.03 to 0.26 point to averages over batches, or
#   to rows that were copied from different places.
#
# So within Table 1 three rows are of one kind and two of another, "Ours" among them. In Table 5 the three rows with
# something switched off do not fit, and the one with everything does. **The comparison inside these tables is between
# numbers that were not computed alike.** That does not make them wrong; it makes small differences meaningless.
#
# (Table 4's row for CRA is off by only 0.03; a typing error would be enough.)
#
# ### The text and its table

# %% exercise="critique.cmn_gain"
cmn_gain = 0.44

# %% [markdown] given="80.23 89.03 96.29 81.35 89.71 1.94 1.12 0.82"
# More that a careful reader finds with pencil and paper:
#
# - **Baselines may be copied.** VM-UNet's own publication has 80.23 / 89.03 / 96.29 on ISIC 2017 and 81.35 / 89.71 on
#   ISIC 2018. The paper gives it 79.54 / 88.60 / 96.29 and 80.28 / 89.06: a lower IoU beside the *same* accuracy. And
#   "Ours" on ISIC 2018 is 81.25, below the published VM-UNet.
# - **Two things change at once.** Table 4's first row, 79.54, equals VM-UNet in Table 2, presumably trained without
#   distillation; its last row, 81.48, has it. Table 5 splits this difference of 1.94 points: with all modules and
#   *without* distillation the IoU is 80.66. So the modules' share would be 1.12 points and the loss's 0.82. The middle
#   rows do not say whether they were trained with the loss: SE + CMN (81.31) is above the full network without it
#   (80.66), which suggests that they were.
# - **Accuracy says little.** HC-Mamba has nearly VM-UNet's IoU in Table 2 and 1.1 points less accuracy.
# - **No standard deviation anywhere.** One run per row.
#
# ## 2. Chance in the test images
#
# To see what chance does we need a case where the truth is known. A simulated test set of 650 images, made like the
# real one: lesions of all sizes, some images difficult for every system, and runs of one system that differ by their
# seed: a little overall, and more on each image.

# %%
IMAGES, PIXELS = 650, 256 * 256
world = np.random.default_rng(0)
area = np.exp(world.normal(np.log(9000), 0.9, IMAGES)).clip(300, 50_000)  # of the lesions, in pixels
hardness = world.normal(0, 1.3, IMAGES)


def train_and_test(runs: int, gain: float = 0.0) -> np.ndarray:
    """Counts (runs, images, 4) of runs of one system; gain 0.03 makes it about half a point better."""
    logit = 2.0 + gain + hardness + 0.35 * world.standard_normal((runs, IMAGES))
    iou = 1 / (1 + np.exp(-logit - 0.03 * world.standard_normal((runs, 1))))
    error = area * (1 - iou) / (1 + iou)  # as many pixels too few as too many
    return np.stack([area - error, error, error, PIXELS - area - error], axis=-1).round().astype(np.int64)


def iou_of(counts: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...)."""
    return counts[..., 0] / counts[..., :3].sum(-1)


RUNS = 20 if lessons.FAST else 200
runs = train_and_test(RUNS)
pooled, each = 100 * iou_of(runs.sum(1)), 100 * iou_of(runs)
batches = 100 * iou_of(runs[:, :640].reshape(RUNS, 20, 32, 4).sum(2))  # (runs, 20 batches)
print(f"pooled IoU {pooled.mean():.2f}; mean of images {each.mean():.2f}, deviation of images {each.std():.1f}")
print(f"deviation of runs, pooled: {pooled.std(ddof=1):.2f} points")
for name, values in (("images", each), ("batches of 32", batches)):
    gap = dsc_of(values).mean(1) - dsc_of(values.mean(1))
    print(f"averaged over {name}: DSC misses by {gap.mean():+.2f}")


# %% exercise="critique.bootstrap_pooled"
def bootstrap_pooled(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Pooled IoU of resamples: counts (images, 4), draws (resamples, images) -> (resamples,)."""
    tp, fp, fn, _ = np.moveaxis(counts[draws].sum(axis=1), -1, 0)
    return tp / (tp + fp + fn)


# %% exercise="critique.permutation_p"
def permutation_p(a: np.ndarray, b: np.ndarray, signs: np.ndarray) -> float:
    """Two-sided p of a paired permutation test: a, b (images,), signs (arrangements, images) of 1 and -1."""
    difference = a - b
    arranged = np.abs((signs * difference).mean(axis=1))
    return float(((arranged >= abs(difference.mean())).sum() + 1) / (len(signs) + 1))


# %% [markdown] kind="predict"
# **Predict.** 650 test images, one run: how wide is the 95 % interval of the pooled IoU? And that of the *difference*
# of two runs on the same images: wider or narrower?

# %%
bootstrap_pooled = lessons.use("critique.bootstrap_pooled", bootstrap_pooled)
permutation_p = lessons.use("critique.permutation_p", permutation_p)

draws = world.integers(0, IMAGES, (1000, IMAGES))
one, other = (100 * bootstrap_pooled(run, draws) for run in runs[:2])
for name, values in (("one run", one), ("another run", other), ("their difference, same draws", one - other)):
    low, high = np.percentile(values, [2.5, 97.5])
    lessons.happened("15.2", f"{name:30} {low:6.2f} to {high:6.2f}, width {high - low:.2f}")

# %% [markdown] given="79.1 83.5"
# A single score is known to about two points either way: on other images of the same kind, the table's numbers would
# all be different. (For our `small` on the real 650 the model card says 79.1 to 83.5.) The difference is known much
# better, since both runs meet the same difficult images. Always compare **paired**. `skinlesion.metrics` has all three:
# `bootstrap_intervals`, `paired_bootstrap`, `paired_permutation`.
#
# ### Control: a system against itself
#
# Now the trap. The last interval does not contain zero. Yet these are two runs of the *same* system. Repeat that often:
# take two runs of *one* system, which differ in the seed only, and test them on the 650 images. There is no difference
# to find.

# %% [markdown] kind="predict"
# **Predict.** In how many of a hundred such comparisons will the permutation test give $p < 0.05$?

# %% kind="control"
signs = 2 * world.integers(0, 2, (400, IMAGES)) - 1
pairs = [permutation_p(a, b, signs) for a, b in zip(each[: RUNS // 2], each[RUNS // 2 :], strict=True)]
gaps = np.abs(pooled[: RUNS // 2] - pooled[RUNS // 2 :])
found = 100 * np.mean(np.array(pairs) < 0.05)
lessons.happened("15.3", f"p < 0.05 in {found:.0f} % of {len(pairs)} comparisons of a system with itself")
print(f"mean difference of pooled IoU {gaps.mean():.2f} points, largest {gaps.max():.2f}")

# %% [markdown]
# Far more than 5 %, and the test is not at fault. It answers the question "do these two *runs* differ on images like
# these?", and they do: each seed gives another network. It does not answer "do these two *methods* differ?". For that
# the training run must be repeated, and one run is a sample of size one.
#
# ## 3. Chance in the training run


# %% exercise="critique.runs_needed"
def runs_needed(difference: float, deviation: float) -> int:
    """Runs of each system that show a difference with probability 80 % in a two-sided test at 5 %."""
    return int(np.ceil(2 * ((1.96 + 0.84) * deviation / difference) ** 2))


# %% [markdown] kind="predict"
# **Predict.** Seeds scatter by 0.5 points. How many runs of each system does it take to detect a difference of 0.5
# points? Of 0.17, by which all three modules beat SE + CMN?

# %%
runs_needed = lessons.use("critique.runs_needed", runs_needed)

SAID = {"all modules over VM-UNet": 1.94, "SE over none": 0.90, "half a point": 0.50, "CMN over none": 0.44}
SAID["all over SE+CMN"] = 0.17
print(f"{'runs of each system':26} deviation 0.3    0.5    0.8    one run each (0.5): the worse one wins")
for name, difference in SAID.items():
    needed = [runs_needed(difference, deviation) for deviation in (0.3, 0.5, 0.8)]
    wrong = stats.norm.cdf(-difference / (0.5 * 2**0.5))
    print(f"{name:20} {difference:5.2f} {needed[0]:12d} {needed[1]:8d} {needed[2]:6d} {100 * wrong:22.0f} %")

counts = np.arange(2, 31)
trials = 300 if lessons.FAST else 4000
fig, ax = plt.subplots(figsize=(4.8, 2.4))
for difference in (0.0, 0.25, 0.5, 1.0):
    power = []
    for n in counts:
        a, b = (world.normal(mean, 0.5, (trials, n)) for mean in (difference, 0.0))
        power.append((stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean())
    ax.plot(counts, power, label=f"{difference:.2f} points")
ax.axhline(0.8, color="gray", linewidth=0.8, linestyle=":")
ax.set(xlabel="runs of each system", ylabel="p < 0.05", title="t test, seeds scatter by 0.5 points", ylim=(0, 1.02))
ax.legend(fontsize=7)
plt.show()
lessons.happened("15.4", {f"{d} points": f"{runs_needed(d, 0.5)} runs of each" for d in (0.5, 0.17)})

# %% [markdown]
# Sixteen runs of each system for half a point. With three runs each, the usual advice, one point is detected in about
# half of the cases. And with one run there is no test at all.
#
# ## The line-up
#
# Below are twelve tables like Table 4. One is the paper's. The other eleven are chance alone: eight systems that are
# **all equally good**, one run each, with seeds that scatter as much as the paper's eight numbers do. If the paper's
# table shows something, you can pick it out. (You saw it at the top of this lesson. If you remember it, ask a friend
# who did not.)

# %% [markdown] kind="predict"
# **Predict.** Which panel is the paper's? Write down why, before you run the cell after the next one.

# %% kind="signature"
lineup = np.random.default_rng(2)
spread = TABLE_4.std(ddof=1)
suspect = int(lineup.integers(12))
panels = [lineup.normal(TABLE_4.mean(), spread, 8) for _ in range(12)]
panels[suspect] = TABLE_4
fig, axes = plt.subplots(3, 4, figsize=(9, 4.6), sharex=True, sharey=True)
for number, (ax, values) in enumerate(zip(axes.flat, panels, strict=True), start=1):
    ax.plot(values, "o-", markersize=3)
    ax.set_title(f"{number}", fontsize=8)
    ax.set_xticks(range(8), ROWS, rotation=90, fontsize=7)
plt.show()

# %%
luck = lineup.normal(0, 1, (200_000, 8))
ends = ((luck.argmin(1) == 0) & (luck.argmax(1) == 7)).mean()
zigzag = np.mean(np.ptp(lineup.normal(0, 0.5, (200_000, 8)), axis=1))
lessons.happened("15.5", f"panel {suspect + 1}")
print(f"the standard deviation of the table's eight numbers is {spread:.2f} points")
print(f"'none' lowest and 'all' highest: {100 * ends:.1f} % of tables by luck, one in {1 / ends:.0f}")
print(f"eight equal systems, seeds of 0.5 points: best less worst is {zigzag:.2f} points on average; Table 4: 1.94")

# %% [markdown] given="95"
# What distinguishes the table, if anything, is that its first number is the lowest and its last the highest. Chance
# does that in one table of 56. So that *something* separates the first row from the last is likely: the modules, or the
# distillation loss. For everything in between, the order of the modules, "synergy", a module's share, the panels look
# alike: **a table without repeated runs cannot support those sentences.**
#
# The same holds for the row that we pointed out, the one where SE cancels CRA's gain.
#
# ## What was run here
#
# The repository declares its own runs in a plan: every cell, the number of seeds, and the claims that are judged, with
# the rule. Each claim has two 95 % intervals over runs *and* images. One resamples the runs of its own two systems; but
# three resampled runs understate their scatter, so the other uses the scatter of all systems together. A claim is
# **reproduced** if both are above zero and **reversed at this scale** if both are below; eight epochs of a small
# network cannot contradict 300 of a large one. What follows reads the results that are in your clone.

# %%
FOLDER = Path(skinlesion.__file__).parents[1] / "benchmarks" / "results" / "reproduce" / "cpu"
plan = load_plan("cpu")
values = summary(Results(FOLDER, plan))
done = sum(len(list((FOLDER / "isic2017" / cell).glob("seed-*[0-9].json"))) for cell in plan.cells)
print(plan.protocol)
print(f"\nFinished runs in this clone: {done}.")
if not done:
    print("The runs are not finished: not one is here. What follows is the plan, without a result.")

# %%
for table in values["tables"].values():
    print(f"\n{table['title']}\n{'':52} paper IoU   here IoU       runs")
    for row in table["rows"]:
        paper = f"{row['paper']['iou']:.2f}" if "iou" in row["paper"] else "-"
        here = "not run yet"
        if row["seeds"]:
            deviation = row["deviation"]["iou"]
            here = f"{row['mean']['iou']:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
        print(f"{row['label']:52} {paper:>9}   {here:12}   {row['seeds']}")

# %% [markdown]
# Do not compare the two columns with each other: ours are networks of a sixth of the paper's width, 96 x 96 pixels, 8
# epochs, another split. What can be compared are the **differences** inside a column: do the same modules help? The ±
# (one standard deviation over seeds) is what the paper's column lacks.

# %%
judged = [claim for claim in values["claims"] if claim["seeds"]]
print(f"{'claim':39} paper   here   resampled     all scatter  runs verdict")
for claim in values["claims"]:
    said = "-" if claim["paper"] is None else f"{claim['paper']:+.2f}"
    here = f"{claim['difference']:+.2f}" if claim["seeds"] else ""
    narrow, wide = (
        f"{claim[low]:+.1f} to {claim[high]:+.1f}" if claim["seeds"] else ""
        for low, high in (("low", "high"), ("wide_low", "wide_high"))
    )
    star = " *" if claim["seeds"] and claim["corrected_p"] < 0.05 else ""
    print(
        f"{claim['text']:39} {said:>5}  {here:>5}  {narrow:12}  {wide:12} {claim['seeds']:2d}   {claim['word']}{star}"
    )

if judged:
    fig, ax = plt.subplots(figsize=(6.5, 0.35 * len(judged) + 0.9))
    for place, claim in enumerate(judged[::-1]):
        ax.plot([claim["wide_low"], claim["wide_high"]], [place, place], color="tab:gray", linewidth=0.8)
        ax.plot([claim["low"], claim["high"]], [place, place], color="tab:blue")
        ax.plot(claim["difference"], place, "o", color="tab:blue", label="here" if claim is judged[0] else None)
        if claim["paper"] is not None:
            ax.plot(claim["paper"], place, "x", color="tab:orange", label="paper" if claim is judged[0] else None)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(judged)), [claim["text"] for claim in judged[::-1]])
    ax.set(xlabel="difference of pooled IoU, points")
    ax.legend(fontsize=7)
    plt.show()
if "isic2017" in values["scatter"]:
    measured, freedom = values["scatter"]["isic2017"].values()
    print(f"\nseeds scatter by {measured:.2f} points ({freedom} degrees of freedom);", end=" ")
    print(f"half a point then takes {runs_needed(0.5, measured)} runs of each")

# %% [markdown]
# The rows of Table 4 are a **factorial**: each module on and off, in all eight combinations. Comparing "SE" with
# "none" uses two of the eight cells. A *main effect* compares the four cells that have a module with the four that do
# not, so it uses all runs; an *interaction* says how much the effect of one module depends on another.

# %% [markdown] kind="predict"
# **Predict.** Which of the three main effects in our runs can be told from zero? Do the modules interact (the paper's
# "synergy")? And does distillation help, with and without the modules?

# %% kind="control"
for factorial in values["factorials"]:
    print(
        f"\n{factorial['title']}: {factorial['runs']} runs\n{'effect':27} paper    here   95 % interval     corrected p"
    )
    for effect in factorial["effects"]:
        said = "    -" if effect["paper"] is None else f"{effect['paper']:+.2f}"
        low, high = effect["estimate"] - effect["reach"], effect["estimate"] + effect["reach"]
        print(
            f"{effect['name']:27} {said}   {effect['estimate']:+.2f}   {low:+.2f} to {high:+.2f}    {effect['corrected_p']:.3f}"
        )
    sure = [effect["name"] for effect in factorial["effects"] if effect["corrected_p"] < 0.05]
    lessons.happened("15.6", f"different from zero after correction: {', '.join(sure) or 'none'}")

# %% [markdown]
# In our runs **only CMN has a main effect that can be told from zero**: +0.81 points (0.26 to 1.36; corrected p 0.044).
# SE (-0.06) and CRA (+0.06) are at zero within half a point. In the paper's table the same arithmetic gives +0.62,
# +0.52 and +0.42, without an error to compare them with. No interaction between modules is established: the intervals
# of the pairs reach a point to either side. And the distillation loss interacts with the modules, by 3.60 points (1.98
# to 5.23; corrected p 0.003): it helps the full network and harms the plain one. Its average over both, a main effect
# of -0.19, would hide that.

# %% [markdown]
# Where there is one run on each side, the resampled interval covers chance in the images only: the trap of section 2.
# With so many claims, one "reproduced" by chance is no surprise: only those with a star remain after Holm's correction
# for their number. Some were added after the results were seen (the plan says which), and "not distinguishable" does
# not mean "equal". What was **not** run again at all: Tables 1 and 3 (the plan has them), the paper's full width, its
# 256 x 256 pixels and its 300 epochs. A plan for that scale is in the package (`skinlesion reproduce --scale paper`);
# it needs a GPU.
#
# ### Play
#
# A difference, a scatter, a number of runs. How often is the *worse* system ahead? How often does a test detect the
# difference?

# %% kind="play"
import ipywidgets


def compare(difference: float = 0.5, deviation: float = 0.5, runs: int = 3) -> None:
    """Simulate 5000 comparisons."""
    random = np.random.default_rng(0)
    better, worse = (random.normal(mean, deviation, (5000, runs)) for mean in (difference, 0.0))
    ahead = (better.mean(1) < worse.mean(1)).mean()
    print(f"the worse system is ahead in {100 * ahead:.0f} %")
    if runs > 1:
        print(f"p < 0.05 in {100 * (stats.ttest_ind(better, worse, axis=1).pvalue < 0.05).mean():.0f} %")


_ = ipywidgets.interact(compare, difference=(0.0, 2.0, 0.1), deviation=(0.1, 1.5, 0.1), runs=(1, 30))

# %% [markdown] kind="limits"
# ## What this does not show
#
# - Section 2's test set is simulated: a scatter of half a point is what users of such networks report, not a constant
#   of nature. The last section measures it, at our small scale.
# - The identity finds pairs that do not fit. It cannot say which number is odd, nor why. None of this shows bad faith:
#   copying rows and averaging over batches are habits of a whole field.
# - The published numbers of VM-UNet were taken from its publication, not run again.
# - The line-up assumes that all rows scatter alike and were not selected. Choosing the best of several runs or epochs
#   on the test part would put the last row on top as well.
# - One split. Another division into training and test part is a third kind of chance, which neither the paper nor we
#   measure.

# %% [markdown] kind="quiz"
# ## Recap
#
# 1. A table gives IoU 81.24 and DSC 89.44. Rounding allows 89.64 to 89.66. What is the likeliest reason?
# - [ ] a rounding error in one of the two numbers :: Rounding is in the range already.
# - [x] an average over the batches, or mixed sources :: Means over parts miss downward.
# - [ ] a DSC that was computed from pooled counts :: Then it would fit.
#
# 2. A paired test on 650 images gives p = 0.001 for two single runs. What follows?
# - [ ] the first method is better than the second :: Two seeds of one method can give the same p.
# - [x] these two networks differ on such images :: Whether the methods do, only more runs can tell.
# - [ ] the difference between the two is a large one :: p says nothing about size.
#
# 3. You want to detect half the difference that you can detect now. How many runs do you need?
# - [ ] twice as many :: The error falls with the square root of the number.
# - [x] four times as many :: Twice the precision, four times the runs.
# - [ ] the same, and more images :: More images do not reduce the scatter of the seeds.
#
# 4. Eight equally good systems, one run each, are put in a table. What will it show?
# - [ ] eight equal numbers, up to the rounding :: The best and the worst of eight are nearly three standard deviations
#   apart.
# - [x] a best, a worst and steps between :: That is what chance looks like.
# - [ ] nothing, since no test can be made :: Nothing can be tested. Something is always shown.

# %% [markdown] kind="links"
# ## Further reading
#
# - [Metrics reloaded](https://arxiv.org/abs/2206.01653): which score, and how to aggregate it.
# - [Accounting for variance in machine learning benchmarks](https://arxiv.org/abs/2103.03098): seeds, splits and how
#   many runs.
# - [Graphical inference for infovis](https://doi.org/10.1109/TVCG.2010.161): the line-up as a test.
# - [VM-UNet](https://arxiv.org/abs/2402.02491): the baseline's own numbers.
# - [Show your work](https://arxiv.org/abs/1909.03004): reporting results with the compute that was spent on them.
