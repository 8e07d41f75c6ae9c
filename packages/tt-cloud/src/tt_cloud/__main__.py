"""``python -m tt_cloud`` is the command ``tt-cloud``."""

import sys

from tt_cloud._command.main import main

if __name__ == "__main__":
    sys.exit(main())
