"""`python -m skinlesion`, for a shell that does not find the `skinlesion` command."""

import sys

from skinlesion.cli import main

sys.argv[0] = "skinlesion"  # what run folders and results record as the command
sys.exit(main())
