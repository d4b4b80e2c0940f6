"""`python -m thalweg` is the command `thalweg`."""

import sys

from thalweg.cli.main import main

sys.exit(main())
