"""`python -m aecore` is the command `aecore`."""

import sys

from .cli import main

sys.exit(main())
