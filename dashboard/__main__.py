"""Start the app with everything loaded: `python -m dashboard`, with any option of `streamlit run`.

Streamlit runs the app's script, and so imports what it needs, when the first visitor comes; on a slow machine he
would wait ten seconds. Here the libraries and the scan's kernels are loaded before the page can be opened.
"""

import sys
from pathlib import Path


def main() -> int:
    """Load, then hand over to Streamlit."""
    print("Loading …", flush=True)
    import skinlesion  # isort: skip

    import numpy as np
    import pandas  # noqa: F401
    from streamlit.web import cli

    import skinlesion.metrics  # noqa: F401
    from skinlesion.plots import interactive  # noqa: F401
    from skinlesion.segmenter import Segmenter
    from skinlesion.zoo import create_model

    card = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}}
    Segmenter(create_model("tiny"), card).segment(np.zeros((64, 64, 3), dtype=np.uint8))  # compiles the scan
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
