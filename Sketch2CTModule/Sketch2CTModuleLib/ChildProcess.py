"""A child process with its streams, on top of QProcess."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import qt
import slicer

from . import ProcessTree
from .ChildEnd import ChildEnd
from .OneShot import OneShot
from .Signal import Signal

_FAILED_TO_START = 0  # QProcess.FailedToStart
_CRASH_EXIT = 1  # QProcess.CrashExit
_QUIT_GRACE_MS, _QUIT_KILL_MS = 500, 1000


class ChildProcess:
    """Runs `program` with `arguments` (no shell) and `environment` (a QProcessEnvironment; None: this process's own).

    Signals: `output(bytes)` and `errorOutput(bytes)` in pieces that end anywhere; `ended(ChildEnd)` once, after all output,
    also when the program cannot be started. They come from the event loop, never from within QProcess's own signals: so
    a listener may open a dialog, or drop this object. A started child is kept until it has ended, and ended with Slicer.
    """

    _alive: ClassVar[set[ChildProcess]] = set()

    def __init__(self, program: str, arguments: list[str], environment: Any = None) -> None:
        self.output, self.errorOutput, self.ended = Signal(), Signal(), Signal()
        self.program = program
        self.extraPid: int | None = None  # of the program itself, where a launcher runs it
        self._events: deque[Callable[[], None]] = deque()
        self._deliverSoon = OneShot(self._deliver)
        self._killLater = OneShot(self.kill)
        self._over = False
        self._pid = 0
        self._process = qt.QProcess()
        self._process.setProgram(program)
        self._process.setArguments(arguments)
        if environment is not None:
            self._process.setProcessEnvironment(environment)
        for signal, slot in self._slots():
            self._process.connect(signal, slot)

    def start(self) -> None:
        """Start it, once."""
        ChildProcess._alive.add(self)
        slicer.app.connect("aboutToQuit()", self.endNow)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number; 0 before it runs and after it has ended."""
        return 0 if self._over else self._pid

    def write(self, data: bytes) -> None:
        """Send bytes to its standard input; lost when it has ended."""
        if not self._over:
            self._process.write(data)

    def closeInput(self) -> None:
        """End its standard input, after what was written."""
        if not self._over:
            self._process.closeWriteChannel()

    def terminate(self) -> None:
        """Ask it and all that it started to end; on Windows nothing happens."""
        if self.pid:
            ProcessTree.terminate(self.pid, self.extraPid)

    def kill(self) -> None:
        """End it and all that it started; `ended` follows."""
        if self.pid:
            ProcessTree.kill(self.pid, self.extraPid)
        if not self._over:
            self._process.kill()

    def leave(self, graceMs: int = 2000) -> None:
        """Hear nothing of it any more, and let it end by itself: its input is closed. After `graceMs` it is killed."""
        for signal in (self.output, self.errorOutput, self.ended):
            signal.disconnectAll()
        self.closeInput()
        if not self._over:
            self._killLater.start(graceMs)

    def endNow(self) -> None:
        """End it and wait until it has, a second or two at most: for the end of the application, when no event comes any more."""
        self.closeInput()
        if not self._over and not self._process.waitForFinished(_QUIT_GRACE_MS):
            self.kill()
            self._process.waitForFinished(_QUIT_KILL_MS)

    def _slots(self) -> list[tuple[str, Callable]]:
        return [
            ("started()", self._onStarted),
            ("readyReadStandardOutput()", self._onOutput),
            ("readyReadStandardError()", self._onErrorOutput),
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onError),
        ]

    def _onStarted(self) -> None:
        self._pid = int(self._process.processId())

    def _onOutput(self) -> None:
        self._pass(self.output, self._process.readAllStandardOutput())

    def _onErrorOutput(self) -> None:
        self._pass(self.errorOutput, self._process.readAllStandardError())

    def _onFinished(self, code: int, status: Any) -> None:
        self._onOutput()
        self._onErrorOutput()
        self._end(ChildEnd(True, _number(status) == _CRASH_EXIT, int(code)))

    def _onError(self, error: Any) -> None:
        # All other errors are followed by `finished`, or concern one stream.
        if _number(error) == _FAILED_TO_START:
            self._end(ChildEnd(False, False, -1, f"{self.program} ({self._process.errorString()})"))

    def _pass(self, signal: Signal, array: Any) -> None:
        data = bytes(array.data())
        if data:
            self._later(lambda: signal.emit(data))

    def _end(self, end: ChildEnd) -> None:
        if self._over:
            return
        self._over = True
        self._killLater.stop()
        slicer.app.disconnect("aboutToQuit()", self.endNow)
        for signal, slot in self._slots():
            self._process.disconnect(signal, slot)
        self._later(lambda: self.ended.emit(end))
        self._later(lambda: ChildProcess._alive.discard(self))

    def _later(self, event: Callable[[], None]) -> None:
        self._events.append(event)
        self._deliverSoon.startUnlessWaiting()

    def _deliver(self) -> None:
        while self._events:
            if len(self._events) > 1:
                self._deliverSoon.startUnlessWaiting()  # a listener may run an event loop of its own
            self._events.popleft()()


def _number(value: Any) -> int:
    """An enumerator as a number, whatever the binding makes of it."""
    return int(getattr(value, "value", value))
