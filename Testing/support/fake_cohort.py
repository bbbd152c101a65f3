"""`sketch2ct` for the module's buttons "Make..." and "Export...", without a network: the real command line around the quick engine.

fake_cohort.py SECONDS FAULT cohort|export ...     SKETCH2CT_BUNDLES names the folder of the bundle; knows FAULTS
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

from cohort_kit import QuickEngine

FAULTS = {
    "": "all is well",
    "import": "a package is missing",
    "sigkill": "killed at its third case, as by a system without memory",
    "sketch": "the second case fails, whatever is tried",
    "full": "the disk is full at the third case",
    "deaf": "its first case takes for ever, and it does not listen",
    "nodicom": "the packages for DICOM are missing",
}


class FaultyEngine(QuickEngine):
    """Meets a fault."""

    def __init__(self, seconds: float, fault: str) -> None:
        super().__init__(seconds=seconds)
        self.fault = fault

    def generate(self, request, out, progress=None, *, replace=False):
        """As QuickEngine."""
        from sketch2ct.disk import writing
        from sketch2ct.errors import BadRequest

        number = int(out.name.removeprefix("case-"))
        if self.fault == "sigkill" and number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "sketch" and number == 2:
            raise BadRequest("The sketch is <too> small.", "Draw larger.")
        if self.fault == "full" and number == 3:
            with writing(out):
                raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            progress("mask", 1, 4)
            while True:
                time.sleep(1)
        return super().generate(request, out, progress, replace=replace)


def main() -> int:
    seconds, fault = float(sys.argv[1]), sys.argv[2]
    if fault == "import":
        import a_package_that_nobody_has  # noqa: F401
    from sketch2ct import cli
    from sketch2ct.cohort import start
    from sketch2ct.export import run

    start.engine = lambda: FaultyEngine(seconds, fault)
    if fault == "nodicom":
        run.find_spec = lambda name: None
    return cli.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
