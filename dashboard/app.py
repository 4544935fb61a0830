"""The dashboard, for looking inside the network. Start it with `make dashboard`, or

    streamlit run dashboard/app.py

`python -m dashboard --help` lists the environment variables that point it at files of your own.
"""

import sys
from pathlib import Path

# Streamlit puts this file's own folder on the path, and not the one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboard.frame import main

main()
