"""How a child process ended."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

_KILLED = 9


@dataclass(frozen=True)
class ChildEnd:
    """`started`: whether it ran at all; `crashed`: whether a signal or an exception of the system ended it; `code`: its exit
    code, or the signal's number; `reason`: why it did not start.
    """

    started: bool
    crashed: bool
    code: int
    reason: str = ""

    @property
    def wasKilled(self) -> bool:
        """Whether somebody ended it by force, as a system without memory does; told by a launcher as a code, too."""
        return self.started and sys.platform != "win32" and (self.code == 128 + _KILLED or (self.crashed and self.code == _KILLED))

    @property
    def exitCode(self) -> int:
        """The exit code; below zero when there is none: minus the signal's number, or -1 if it did not start."""
        if not self.started:
            return -1
        return -abs(self.code) if self.crashed else self.code

    def describe(self) -> str:
        """In words, for example `exit code 3` or `signal SIGSEGV`."""
        if not self.started:
            return self.reason
        if not self.crashed:
            return f"exit code {self.code}"
        if sys.platform == "win32":
            return f"code 0x{self.code & 0xFFFFFFFF:08X}"
        try:
            return f"signal {signal.Signals(self.code).name}"
        except ValueError:
            return f"signal {self.code}"
