"""What is freed stays with the process, until it is handed back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

from sketch2ct import memory

PROGRAM = """
import resource, sys
import numpy as np
from sketch2ct import memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1])

kept = sys.argv[1] == "keep" and memory.keep()
np.ones(2**24)
before = faults()
for _ in range(4):
    np.ones(2**24)
again, held = faults() - before, resident()
memory.release()
print(kept, again, held - resident())
"""


def ran(way: str) -> tuple[bool, int, int]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True, env=own)
    kept, again, freed = done.stdout.split()
    return kept == "True", int(again), int(freed)


def test_freed_blocks_are_used_again_and_handed_back_at_the_end():
    glibc = platform.libc_ver()[0] == "glibc"
    if not glibc:  # another C library is left alone
        assert not memory.keep()
        return
    kept, again, freed = ran("keep")
    usual = ran("as usual")[1]
    assert kept and again < usual / 10, (again, usual)
    assert freed * 4096 > 100 * 2**20


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not memory.keep()
    memory.release()
