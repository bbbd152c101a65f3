"""One command of the backend in another process, from start to end."""

from __future__ import annotations

from typing import Any

from .BackendPython import BackendPython
from .ChildEnd import ChildEnd
from .ChildProcess import ChildProcess
from .Paths import backendScript
from .ProcessLog import ProcessLog
from .Signal import Signal


class BackendCommand:
    """`sketch2ct ARGUMENTS` in the backend's Python, without a standard input.

    Signals: `finished(exitCode, stdoutText, stderrText)`, exit code below zero when there is none (a signal ended it, or it did
    not start: then the reason is in stderrText); `log(text)`, both streams in batches while it runs. Nothing comes after `cancel`.
    """

    def __init__(self, arguments: list[str], python: BackendPython | None = None, environment: Any = None) -> None:
        self.finished = Signal()
        self._log = ProcessLog()
        self.log = self._log.batch
        self._output, self._errors = bytearray(), bytearray()
        python = python or BackendPython.find()
        environment = python.environment() if environment is None else environment
        self._child = ChildProcess(python.program, self._arguments(arguments), environment)
        self._child.output.connect(self._onOutput)
        self._child.errorOutput.connect(self._onErrorOutput)
        self._child.ended.connect(self._onEnded)

    def start(self) -> None:
        """Start it, once."""
        self._child.start()
        self._child.closeInput()

    def cancel(self) -> None:
        """End it at once, with everything that it started. `finished` does not follow."""
        self.finished.disconnectAll()
        self.log.disconnectAll()
        self._child.leave()
        self._child.kill()

    def _arguments(self, arguments: list[str]) -> list[str]:
        return [str(backendScript()), *arguments]

    def _onOutput(self, data: bytes) -> None:
        self._output += data
        self._log.addBytes(data, "output")

    def _onErrorOutput(self, data: bytes) -> None:
        self._errors += data
        self._log.addBytes(data, "errors")

    def _onEnded(self, end: ChildEnd) -> None:
        self._log.flush()
        errors = _text(self._errors) if end.started else f"The backend's Python could not be started: {end.describe()}"
        self.finished.emit(end.exitCode, _text(self._output), errors)


def _text(data: bytearray) -> str:
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")
