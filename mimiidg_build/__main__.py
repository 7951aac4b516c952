"""``python -m mimiidg_build`` is ``mimiidg``."""

import sys

from mimiidg_build.cli import main

if __name__ == "__main__":
    sys.exit(main())
