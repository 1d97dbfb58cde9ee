"""`python -m course_utils.drill`, see `terminal`."""

import sys
from contextlib import suppress
from io import TextIOWrapper

from course_utils.drill.terminal import main

with suppress(ImportError):
    import readline  # noqa: F401  arrow keys at a prompt, where there are any

if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console without “ ” and −
    sys.exit(main())
