"""``python -m tt_experiment`` is the command ``tt-experiment``."""

import sys

from tt_experiment._command.main import main

if __name__ == "__main__":
    sys.exit(main())
