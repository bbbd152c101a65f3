"""Is everything here that the backend needs? Asks the backend's own doctor, in another process."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from typing import Any

from sketch2ct import __version__
from sketch2ct.doctor import Finding

from .Signal import Signal

_BUNDLE = "bundle "  # how the findings about bundles begin


class EnvironmentCheck:
    """Runs `doctor --json` and remembers what it found.

    `command` makes the child of a list of arguments (`BackendCommand`); `application` names Slicer and its version.
    `finished` gives the list of findings.
    """

    def __init__(self, command: Callable[[list[str]], Any] | None = None, application: Callable[[], str] | None = None) -> None:
        self.finished = Signal()
        self.findings: tuple[Finding, ...] = ()
        self._makeCommand = command or _backendCommand
        self._application = application or _slicerVersion
        self._command: Any = None
        self._said = ""

    @property
    def isRunning(self) -> bool:
        """Whether the answer is still to come."""
        return self._command is not None

    @property
    def isReady(self) -> bool:
        """Whether a generation can run. A damaged bundle does not matter as long as another one is whole."""
        bundles = [item.ok for item in self.findings if item.name.startswith(_BUNDLE)]
        return any(bundles) and all(item.ok for item in self.findings if not item.name.startswith(_BUNDLE))

    def problems(self) -> list[Finding]:
        """What is not as it should be."""
        return [item for item in self.findings if not item.ok]

    def run(self) -> None:
        """Look again; nothing happens while a look is under way."""
        if self._command is None:
            self._command = self._makeCommand(["doctor", "--json"])
            self._command.finished.connect(self._onFinished)
            self._command.start()

    def cancel(self) -> None:
        """Stop looking; the last findings stay, and `finished` is not emitted."""
        command, self._command = self._command, None
        if command is not None:
            command.finished.disconnect(self._onFinished)
            command.cancel()

    def diagnostics(self) -> str:
        """All of it as text, to paste into a question or a bug report."""
        lines = [f"Sketch2CT {__version__} in {self._application()} on {platform.platform()}"]
        lines += [f"{'ok     ' if item.ok else 'MISSING'} {item.name}: {item.detail}" for item in self.findings]
        lines += [] if self.findings else ["The environment has not been checked."]
        return "\n".join(lines + ([f"The backend said:\n{self._said}"] if self._said else [])) + "\n"

    def _onFinished(self, exitCode: int, output: str, errors: str) -> None:
        self._command = None
        self._said = errors.strip()[-4000:]
        self.findings = tuple(_findings(output) or [Finding("backend", False, _explain(exitCode, errors))])
        self.finished.emit(list(self.findings))


def _findings(output: str) -> list[Finding]:
    """Those in the last line that is the doctor's answer: a package may have printed something before it."""
    for line in reversed(output.splitlines()):
        try:
            return [Finding(str(item["name"]), bool(item["ok"]), str(item["detail"])) for item in json.loads(line)["findings"]]
        except (ValueError, KeyError, TypeError):
            continue
    return []


def _explain(exitCode: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"It does not start (exit code {exitCode}): {lines[-1] if lines else 'it said nothing'}"


def _backendCommand(arguments: list[str]) -> Any:
    from .BackendCommand import BackendCommand

    return BackendCommand(arguments)


def _slicerVersion() -> str:
    import slicer

    return f"3D Slicer {slicer.app.applicationVersion}"
