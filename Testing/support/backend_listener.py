"""What a BackendProcess or a BackendCommand said, and the event loop to wait for it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

FAKE = Path(__file__).with_name("fake_backend.py")
BACKEND = Path(__file__).resolve().parents[2] / "Sketch2CTExtension"
PATIENCE_S = 60.0


def spin(done, seconds: float = PATIENCE_S) -> bool:
    """Run the event loop until `done()`; whether it came true in time."""
    import qt

    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        qt.QApplication.processEvents()
        time.sleep(0.002)
    return True


def environment(**more: str):
    """The child's: sketch2ct can be imported, one thread."""
    import qt

    made = qt.QProcessEnvironment.systemEnvironment()
    for name, value in {"PYTHONPATH": str(BACKEND), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", **more}.items():
        made.insert(name, value)
    return made


def light(seconds: float = 0.0, fault: str = ""):
    """Makes children that run the light fake backend."""
    from Sketch2CTModuleLib.ChildProcess import ChildProcess

    return lambda: ChildProcess(sys.executable, [str(FAKE), "--light", str(seconds), fault], environment())


class Listener:
    """Every event of a BackendProcess: (name, values), in order, and the times of their coming."""

    def __init__(self, backend) -> None:
        self.backend, self.events, self.times = backend, [], []
        for name in ("stateChanged", "ready", "progress", "finished", "failed", "log"):
            getattr(backend, name).connect(lambda *values, name=name: self._note(name, values))

    def _note(self, name, values):
        self.events.append((name, values))
        self.times.append(time.monotonic())

    def of(self, name):
        """The values of the events of that name; the single one where an event has one."""
        return [values[0] if len(values) == 1 else values for kind, values in self.events if kind == name]

    def outcome(self):
        """Wait for the end of the job: ("finished", (folder, samples)) or ("failed", (error,)), and forget what was before."""
        assert spin(lambda: any(name in ("finished", "failed") for name, _ in self.events)), self.backend.logText()
        found = next(event for event in self.events if event[0] in ("finished", "failed"))
        self.events.clear()
        return found

    def error(self):
        """The error that the job ends with."""
        name, (error, *_) = self.outcome()
        assert name == "failed", error
        return error

    def until(self, state):
        """Wait for a state."""
        assert spin(lambda: self.backend.state == state), (self.backend.state, self.backend.logText())


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
