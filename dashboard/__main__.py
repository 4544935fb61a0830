"""Start the app with everything loaded: `python -m dashboard`; any option of `streamlit run` is passed on.

Streamlit runs the app's script, and so imports what it needs, when the first visitor arrives, who would wait ten
seconds on a slow machine. Here the libraries and the scan's kernels are loaded before the page can be opened.
"""

import os
import sys
from pathlib import Path

HELP = """usage: python -m dashboard [STREAMLIT OPTION ...]

Start the app for looking inside the network. Only this machine can open it.

options:
  --server.port N           use a port other than 8501
  --server.address 0.0.0.0  let other machines open it, for a class
  --server.headless true    don't open a browser
`streamlit run --help` lists all options.

environment variables:
  SKINLESION_WEIGHTS_DIR    folder with more checkpoints (.safetensors files and run folders)
  SKINLESION_RUNS_DIR       folder with run folders, for Training runs; ./runs by default
  SKINLESION_DATA_DIR       folder with one or more datasets with masks, for Errors and Compare
  SKINLESION_RESULTS_DIR    output folder of `skinlesion reproduce`, for Compare;
                            benchmarks/results/reproduce/cpu by default
  SKINLESION_DEVICE         auto, cpu, cuda, cuda:N or mps
"""


def main() -> int:
    """Load, then hand over to Streamlit."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(HELP, end="")
        return 0
    print("Loading ...", flush=True)
    import skinlesion  # isort: skip

    import numpy as np
    import pandas  # noqa: F401
    from streamlit.web import cli

    import skinlesion.metrics  # noqa: F401
    from skinlesion.errors import SkinlesionError
    from skinlesion.plots import interactive  # noqa: F401
    from skinlesion.segmenter import Segmenter
    from skinlesion.zoo import create_model

    device = os.environ.get("SKINLESION_DEVICE") or "auto"
    card = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}}
    try:  # which compiles the scan where it will run
        Segmenter(create_model("tiny"), card, device=device).segment(np.zeros((64, 64, 3), dtype=np.uint8))
    except SkinlesionError as error:
        print(f"SKINLESION_DEVICE: {error}", file=sys.stderr)
        return 2
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
