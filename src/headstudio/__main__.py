"""`python -m headstudio`."""

import sys

from headstudio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
