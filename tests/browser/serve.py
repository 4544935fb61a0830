"""Start the app as `python -m dashboard` does, and note every loaded checkpoint and every run of a network.

    python serve.py NOTES [options of streamlit run]

NOTES gets a line for each: "load NAME", or "run IMAGES".
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """Watch the segmenter, then start."""
    notes = Path(sys.argv.pop(1))

    from dashboard import __main__ as app
    from skinlesion.segmenter import Segmenter

    load, run = Segmenter.from_pretrained.__func__, Segmenter.predict

    def note(line: str) -> None:
        with notes.open("a") as file:  # one write at its end: whole lines, whichever thread comes first
            file.write(f"{line}\n")

    def noted_load(cls: type, name: object, **options: object) -> Segmenter:
        note(f"load {Path(str(name)).stem}")
        return load(cls, name, **options)

    def noted_run(self: Segmenter, images: list, **options: object) -> object:
        note(f"run {len(images)}")
        return run(self, images, **options)

    Segmenter.from_pretrained = classmethod(noted_load)
    Segmenter.predict = noted_run
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
