"""A long command of the backend in another process that tells in events how far it is: a cohort that is made, an export."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .BackendError import BackendError
from .BackendPython import BackendPython
from .ChildEnd import ChildEnd
from .ChildProcess import ChildProcess
from .JsonLines import JsonLines
from .OneShot import OneShot
from .Paths import backendScript
from .ProcessLog import ProcessLog
from .Signal import Signal

_PROBLEM = "error: "  # how the command line begins the line that says what is wrong
_AGAIN = "Start it again: what is complete is kept. If it happens again, the details say more."
_WHEN_KILLED = "Close other programs, then start it again: what is complete is kept."
_LINES = 20  # of the log, in an error's details
_PATIENCE_MS = 10_000  # a step of the sampler, or the loading of a model, may take so long to hear a cancel


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: `done` is its last event, with the counts, empty when it did not come so far; `error` None when all went well."""

    done: dict[str, Any] = field(default_factory=dict)
    error: BackendError | None = None
    byForce: bool = False  # it could not tidy up


class CohortJob:
    """`sketch2ct ARGUMENTS` (with `--events` among them) in the backend's Python. Ended with Slicer.

    Signals: `event(dict)` for each line of its output; `ended(JobEnd)` once, with the error code "cancelled" after `cancel`,
    unless everything was done by then. Nothing comes after `close`.
    """

    def __init__(
        self, arguments: list[str], child: Callable[[list[str]], ChildProcess] | None = None, patienceMs: int = _PATIENCE_MS
    ) -> None:
        self.event, self.ended = Signal(), Signal()
        self.cancelling = False
        self._wasHeard = False
        self._done: dict[str, Any] = {}
        self._problem: BackendError | None = None
        self._forced = False
        self._reader, self._log = JsonLines(), ProcessLog()
        self._kill = OneShot(self._onPatienceOver, patienceMs if sys.platform != "win32" else 0)  # nobody can be asked there
        self._child = (child or _backend)(arguments)
        self._child.output.connect(self._onOutput)
        self._child.errorOutput.connect(lambda data: self._log.addBytes(data, "errors"))
        self._child.ended.connect(self._onEnded)

    def start(self) -> None:
        """Start it, once."""
        self._child.start()
        self._child.closeInput()

    def cancel(self) -> None:
        """Ask it to stop; one that does not is ended by force. `ended` follows."""
        if not self.cancelling:
            self.cancelling = True
            self._child.terminate()
            self._kill.start()

    def close(self) -> None:
        """End it, and hear nothing of it any more."""
        self.event.disconnectAll()
        self.ended.disconnectAll()
        self._kill.stop()
        self._child.terminate()
        self._child.leave()

    def _onPatienceOver(self) -> None:
        self._forced = True
        self._child.kill()

    def _onOutput(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            kind = str(message.get("type", ""))
            self._wasHeard = True
            if kind == "done":
                self._done = message
            elif kind == "error":
                told = (str(message.get(key, "")) for key in ("code", "message", "hint"))
                self._problem = BackendError(*told)
            self.event.emit(message)
        self._log.add(self._reader.takeGarbage())

    def _onEnded(self, end: ChildEnd) -> None:
        self._kill.stop()
        error = self._error(end)
        self._log.flush()
        self.ended.emit(JobEnd(self._done, error, self._forced or end.crashed))

    def _error(self, end: ChildEnd) -> BackendError | None:
        lines = [line.strip() for line in self._log.text().splitlines() if line.strip()]
        told = next((line.removeprefix(_PROBLEM) for line in reversed(lines) if line.startswith(_PROBLEM)), "")
        wentWell = bool(self._done) and not self._done.get("stopped") and not end.crashed and not told and end.code in (0, 1)
        if wentWell:
            return None
        if self.cancelling:
            return BackendError("cancelled", "Cancelled.")
        if self._problem is not None:
            return self._problem
        if told and not end.crashed:
            return BackendError("bad_request", told)
        if self._done and end.code == 0 and not end.crashed:
            return None  # a limit that was set is met
        if not self._wasHeard:
            return BackendError.afterStart(end, lines[-_LINES:])
        found = BackendError.afterCrash(end, lines[-_LINES:])
        return BackendError(found.code, found.message, _WHEN_KILLED if end.wasKilled else _AGAIN, found.details)


def _backend(arguments: list[str]) -> ChildProcess:
    python = BackendPython.find()
    return ChildProcess(python.program, [str(backendScript()), *arguments], python.environment())
