"""Execute every committed notebook cell by cell, on the nano model, with nbval.

`--nbval-lax` compares only the cells marked NBVAL_CHECK_OUTPUT: facts that depend
neither on machine nor on profile. Results go to a folder that is thrown away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from project import ROOT, notebook_of, sources

from course_utils.evidence import PUBLISHED_RECIPE


def main(numbers: list[str]) -> int:
    """Run nbval over the notebooks; its status is the result."""
    notebooks = [str(notebook_of(source)) for source in sources(numbers)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "COURSE_PROFILE": "nano",
            "COURSE_RECIPE": PUBLISHED_RECIPE,
            "COURSE_RUNS": folder,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-x"]
        command += ["-p", "no:cacheprovider", "--nbval-current-env", *notebooks]
        return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
