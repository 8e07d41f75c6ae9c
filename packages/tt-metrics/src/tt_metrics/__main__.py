"""``python -m tt_metrics`` is the command ``tt-metrics``."""

import sys

from tt_metrics._command.main import main

if __name__ == "__main__":
    sys.exit(main())
