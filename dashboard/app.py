"""The dashboard: see what the network sees.  Start it with `make dashboard`, or

    streamlit run dashboard/app.py

SKINLESION_WEIGHTS_DIR   folder of further checkpoints (.safetensors files and run folders)
SKINLESION_RUNS_DIR      folder of run folders, for Training runs; ./runs by default
SKINLESION_DATA_DIR      folder of datasets with masks (or of one), for Errors and Compare
SKINLESION_RESULTS_DIR   folder of `skinlesion reproduce`, for Compare; benchmarks/results/reproduce/cpu by default
SKINLESION_DEVICE        cpu or cuda; by default a GPU if there is one
"""

import sys
from pathlib import Path

# Streamlit puts this file's own folder on the path, and not the one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dashboard.frame import main

main()
