"""Training runs: finished ones, one in progress, and how two of them differ."""

import contextlib
import os
from pathlib import Path

import streamlit as st

from dashboard import frame, state
from dashboard.text import plain
from skinlesion.errors import SkinlesionError
from skinlesion.plots import interactive
from skinlesion.training.duration import duration
from skinlesion.training.run_folder import Run, differences, find_runs, other_folders, read_run

RUNS = "SKINLESION_RUNS_DIR"
ALONE = "(alone)"
REFRESH = 5.0  # seconds between two looks at a run that is going on
_MANY = 100  # of the runs written to last
_NAMED = 5  # of the folders that are left out
_STATUS = {
    "finished": ":green-badge[:material/check: finished]",
    "running": ":blue-badge[:material/autorenew: running]",
    "stopped": ":orange-badge[:material/pause: stopped]",
}


def show() -> None:
    frame.heading(
        "Training runs",
        "does the validation loss still fall while the training loss does? Do both distillation losses fall, or does "
        "one grow along with the features? Which epoch was kept?",
    )
    root = Path(os.environ.get(RUNS) or "runs")
    folders = _folders(root)
    if not folders:
        _how_to_make_one(root)
        st.fragment(_wait, run_every=REFRESH)(root)
        return
    _left_out(other_folders(root))
    names = list(folders)
    state.settle("run", names, names[0])
    state.settle("beside", [ALONE, *names], ALONE)
    left, right = st.columns(2)
    left.selectbox("Run", names, key="run", help="The most recently updated run comes first.")
    right.selectbox("Compare with", [ALONE, *names], key="beside")
    chosen = [name for name in dict.fromkeys((state.get("run"), state.get("beside"))) if name != ALONE]
    paths = {name: folders[name] for name in chosen}
    going_on = any(run.status == "running" for run in _read(paths, say=False).values())
    # Only a run that is going on is looked at again and again.
    st.fragment(_draw, run_every=REFRESH if going_on else None)(paths)


def _folders(root: Path) -> dict[str, Path]:
    try:
        found = find_runs(root)[:_MANY]
    except SkinlesionError:  # the folder isn't there, or holds no run yet
        return {}
    folders: dict[str, Path] = {}
    for path in found:
        name = state.tidy(path.name)
        while name in folders or name == ALONE:
            name = f"{name}+"
        folders[name] = path
    return folders


def _left_out(names: list[str]) -> None:
    if names:
        shown = ", ".join(plain(name, 40) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        st.caption(
            f":material/folder_off: Skipped, because they have no config.json and so aren't training runs: {shown}."
        )


def _how_to_make_one(root: Path) -> None:
    named = os.environ.get(RUNS)
    watched = f"`{root.name}`, the folder named by `{RUNS}`" if named else "`runs`, in the folder where the app started"
    st.markdown(
        f"**There is no training run in {watched}.** To make one in about two minutes, without downloading anything, "
        "run this " + (f"in the folder that holds `{root.name}`:" if named else "in the folder where the app started:")
    )
    st.code(
        "skinlesion data synthesize --out lesions --n 200 --size 128\n"
        "skinlesion train --preset tiny --data folder --root lesions --size 64 --epochs 20 --batch-size 8 --lr 4e-3 "
        f"--out {root.name}/first",
        language="console",
        wrap_lines=True,
    )


def _wait(root: Path) -> None:
    """Drawn again and again until there is a run; then the whole page is."""
    if _folders(root):
        st.rerun()
    with contextlib.suppress(SkinlesionError):  # no folder yet, so nothing in it to name
        _left_out(other_folders(root))
    with st.container(key="waiting"):
        st.caption(f"This page checks every {REFRESH:.0f} seconds and shows a run as soon as its first epoch is done.")


def _read(paths: dict[str, Path], *, say: bool) -> dict[str, Run]:
    runs = {}
    for name, path in paths.items():
        try:
            runs[name] = read_run(path)
        except SkinlesionError as error:
            if say:
                st.warning(f"Left out: {plain(error)}", icon=":material/warning:")
    return runs


def _draw(paths: dict[str, Path]) -> None:
    runs = _read(paths, say=True)
    for name, run in runs.items():
        _facts(name, run)
    drawn = {name: run.history for name, run in runs.items() if run.history}
    if len(drawn) > 1:
        frame.figure(interactive.compared_runs(drawn), "compared")
    for name, history in drawn.items():
        with st.expander(plain(name), expanded=len(drawn) == 1, icon=":material/show_chart:"):
            frame.figure(interactive.training_curves(history, best_epoch=runs[name].best_epoch), f"curves-{name}")
    if len(runs) > 1:
        _what_differs(runs)
    for name, run in runs.items():
        with st.expander(f"Options of {plain(name)}", icon=":material/tune:"):
            st.dataframe(
                [{"option": option, "value": str(value)} for option, value in run.config.items()], hide_index=True
            )


def _facts(name: str, run: Run) -> None:
    said = [f"**{plain(name)}** {_STATUS[run.status]}", f"epoch {run.epochs} of {run.planned}"]
    if run.seconds_left is not None:
        said.append(f"about {duration(run.seconds_left)} left")
    if run.history:
        said.append(f"{duration(run.history['seconds'][-1])} of training")
    if run.best_epoch is not None and "val_iou" in run.history:
        iou = run.history["val_iou"][[int(e) for e in run.history["epoch"]].index(run.best_epoch)]
        said.append(f"kept epoch {run.best_epoch}, validation IoU {iou:.4f}")
    said += [f"`{file}` {size / 1e6:.1f} MB" for file, size in run.files.items()]
    st.markdown(" · ".join(said))
    if not run.history:
        st.caption("Its first epoch isn't finished, so there is no curve yet.")
    if run.status == "stopped":
        st.caption(
            "Nothing has been written for a while. To continue the run, give its folder to `skinlesion train --resume "
            "--out`."
        )


def _what_differs(runs: dict[str, Run]) -> None:
    rows = differences(list(runs.values()))
    frame.section("What differs")
    if rows:
        st.dataframe(
            [{"option": option} | dict(zip(runs, map(str, values), strict=True)) for option, values in rows.items()],
            hide_index=True,
        )
    st.caption(
        "Options that differ. Two runs with the same options differ, too, in the order of the images and the initial "
        "weights: a gap of a point or two of IoU may be just that."
        if rows
        else "All options are the same."
    )


show()
