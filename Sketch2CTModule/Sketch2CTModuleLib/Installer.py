"""Installs what the backend needs, on the user's click only, in other processes: plan, agree, install, check again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .EnvironmentCheck import EnvironmentCheck
from .InstallPlan import InstallPlan
from .InstallPlanner import HELPER, InstallPlanner
from .InstallResult import InstallResult
from .InstallStep import InstallStep
from .PipFailure import PipFailure
from .PipProgress import PipProgress
from .ProtectedPackages import PROTECTED, ProtectedPackages
from .PythonFacts import SCRIPT, PythonFacts
from .RuntimeRequirements import TORCH, RuntimeRequirements
from .Signal import Signal

_LEAST_WEIGHT_MB = 20.0  # a step with a small download takes its time too


class Installer:
    """One installation at a time.

    `plan()` looks, and `planned` gives an InstallPlan to show; `install(plan)` carries it out. Before each command, what
    Slicer is built on is pinned by a constraints file; after each, it is compared with what it was.

    Signals: `planned(plan)`; `started()`: stop the warm backend now, since Windows replaces no file in use;
    `progress(text, fraction)`; `log(text)`; `finished(result)` with an InstallResult, after the environment was checked again.

    `command` makes a child that runs the backend's Python with a list of arguments.
    """

    def __init__(
        self,
        check: EnvironmentCheck,
        command: Callable[[list[str]], Any] | None = None,
        requirements: RuntimeRequirements | None = None,
        pytorchExtension: Callable[[], bool] | None = None,
        slicerPrefix: str = sys.prefix,
    ) -> None:
        self.planned, self.started, self.progress, self.log, self.finished = (Signal() for _ in range(5))
        self.state = "idle"  # or "looking", "installing"
        self._check = check
        self._makeCommand = command or _pythonCommand
        self._requirements = requirements or RuntimeRequirements()
        self._planner = InstallPlanner(self._requirements, pytorchExtension or _hasPyTorchExtension, slicerPrefix)
        self._command: Any = None
        self._folder: Path | None = None
        self._plan: InstallPlan | None = None
        self._steps: deque[InstallStep] = deque()
        self._pip = PipProgress(0)

    def plan(self, wheels: Path | None = None) -> None:
        """Look at the backend's Python, then emit `planned`. `wheels`: install from this folder, without a network."""
        if self.state == "idle":
            self.state = "looking"
            self._ask(lambda facts: self._onLooked(facts, wheels))

    def install(self, plan: InstallPlan) -> None:
        """Carry out a plan that the user has agreed to. Raises ValueError for a plan that cannot be carried out."""
        if plan.problem or self.state != "idle":
            raise ValueError(plan.problem or "Another installation is under way.")
        self.state, self._plan, self._steps = "installing", plan, deque(plan.steps)
        self._folder = Path(tempfile.mkdtemp(prefix="sketch2ct-install-"))
        self.started.emit()
        self._next(plan.facts)

    def cancel(self) -> None:
        """Stop at once, and with everything that pip started. What is installed already stays."""
        if self.state == "idle":
            return
        command, self._command = self._command, None
        if command is not None:
            command.cancel()
        self._check.finished.disconnect(self._onChecked)
        self._end(InstallResult(False, "The installation was cancelled.", "What is installed already stays; install again to go on."))

    def _onLooked(self, facts: PythonFacts, wheels: Path | None) -> None:
        self.state = "idle"
        self.planned.emit(self._planner.plan(facts, wheels))

    def _next(self, facts: PythonFacts) -> None:
        """Compare what must stay with what it was, then start the next command, or check everything."""
        assert self._plan is not None
        replaced = ProtectedPackages(self._plan.facts).replaced(facts)
        if facts.executable != self._plan.facts.executable:
            self._end(InstallResult(False, "Another Python was chosen meanwhile; the installation was stopped.", "Install again."))
        elif replaced:
            self._end(_harm(self._plan, replaced))
        elif self._steps:
            self._startStep(self._steps[0], facts)
        else:
            self.progress.emit("Checking", 1.0)
            self._check.finished.connect(self._onChecked)
            self._check.cancel()  # a look that began before the last command
            self._check.run()

    def _startStep(self, step: InstallStep, facts: PythonFacts) -> None:
        assert self._folder is not None
        constraints = self._folder / "constraints.txt"
        constraints.write_text("\n".join(self._pins(facts)) + "\n", encoding="utf-8")
        self._pip = PipProgress(step.downloadMb)
        self._tell(step)
        self.log.emit(f"\n--- {step.title}\n")
        self._start(step.command(str(constraints), facts.installed.get("pip")), self._onStep)

    def _pins(self, facts: PythonFacts) -> list[str]:
        """The torch that is there stays as well: it was chosen for this computer's driver."""
        assert self._plan is not None
        torch = facts.installed.get(TORCH)
        chosen = torch is not None and TORCH not in self._requirements.lacking(facts)
        return ProtectedPackages(self._plan.facts).constraints() + ([f"{TORCH}=={torch}"] if chosen else [])

    def _onStep(self, exitCode: int, output: str, errors: str) -> None:
        assert self._plan is not None
        if exitCode != 0:
            failure = PipFailure.fromOutput(f"{output}\n{errors}", self._plan.facts.name, self._plan.offline)
            self._end(InstallResult(False, f"{self._steps[0].title}: {failure.message}", failure.hint))
            return
        self._steps.popleft()
        self._ask(self._next)

    def _onChecked(self, _findings: list) -> None:
        self._check.finished.disconnect(self._onChecked)
        problems = "; ".join(f"{item.name}: {item.detail}" for item in self._check.problems())
        if self._check.isReady:
            self._end(InstallResult(True, "The backend is ready."))
        else:
            self._end(InstallResult(False, f"Everything was installed, but not all is well: {problems}.", "Copy the diagnostics and ask."))

    def _end(self, result: InstallResult) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.state, self._folder, self._plan, self._command = "idle", None, None, None
        self._steps.clear()
        self.finished.emit(result)

    def _ask(self, answer: Callable[[PythonFacts], None]) -> None:
        """Ask the backend's Python what it has."""

        def read(exitCode: int, output: str, errors: str) -> None:
            try:
                facts = PythonFacts.fromJson(output)
            except ValueError:
                said = (errors.strip().splitlines() or [f"exit code {exitCode}"])[-1]
                self._end(InstallResult(False, f"The backend's Python does not start: {said}", "Choose another Python."))
                return
            answer(facts)

        names = dict.fromkeys([*self._requirements.names(), *PROTECTED, "pip", HELPER])
        self._start([str(SCRIPT), *names], read)

    def _start(self, arguments: list[str], finished: Callable[[int, str, str], None]) -> None:
        command = self._command = self._makeCommand(arguments)

        def once(exitCode: int, output: str, errors: str) -> None:
            if command is self._command:  # not one that was cancelled
                self._command = None
                finished(exitCode, output, errors)

        command.finished.connect(once)
        command.log.connect(lambda text: self._onText(text) if command is self._command else None)
        command.start()

    def _onText(self, text: str) -> None:
        if self._steps and self.state == "installing":
            self.log.emit(text)
            if self._pip.feed(text):
                self._tell(self._steps[0])

    def _tell(self, step: InstallStep) -> None:
        assert self._plan is not None
        weights = [max(item.downloadMb, _LEAST_WEIGHT_MB) for item in self._plan.steps]
        done = len(weights) - len(self._steps)
        fraction = (sum(weights[:done]) + weights[done] * self._pip.fraction) / sum(weights)
        self.progress.emit(f"{step.title}: {self._pip.text or 'starting'}", fraction)


def _harm(plan: InstallPlan, replaced: list[str]) -> InstallResult:
    pins = " ".join(f"{name}=={found}" for name, found in ProtectedPackages(plan.facts).versions().items())
    return InstallResult(
        False,
        f"The installation was stopped: it changed what Slicer is built on ({', '.join(replaced)}).",
        f"To put it back, run: {plan.facts.executable} -m pip install {pins}",
    )


def _hasPyTorchExtension() -> bool:
    import slicer

    return hasattr(slicer.modules, "pytorchutils")


def _pythonCommand(arguments: list[str]) -> Any:
    from .PythonCommand import PythonCommand

    return PythonCommand(arguments)
