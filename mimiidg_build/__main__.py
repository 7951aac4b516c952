"""``python -m mimiidg_build`` is ``mimiidg``."""

import sys

if __name__ == "__main__":  # worker processes import this module again, under another name, and need no command line
    from mimiidg_build.cli import main

    sys.exit(main())
