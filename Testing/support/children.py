"""Doubles of the commands that Slicer's side starts: same signals, no Qt."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from Sketch2CTModuleLib.Signal import Signal


class Child:
    """A command that does nothing until the test lets it end."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments, self.was_started, self.was_cancelled = arguments, False, False
        self.finished, self.log = Signal(), Signal()

    def start(self) -> None:
        self.was_started = True

    def cancel(self) -> None:
        self.was_cancelled = True

    def end(self, exit_code: int = 0, output: str = "", errors: str = "") -> None:
        self.log.emit(output + errors)
        self.finished.emit(exit_code, output, errors)


class RealChild(Child):
    """A command that runs to its end at once, in `python`."""

    def __init__(self, python: str, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._command = [python, *arguments]

    def start(self) -> None:
        super().start()
        done = subprocess.run(self._command, capture_output=True, text=True, timeout=300)
        self.end(done.returncode, done.stdout, done.stderr)


class Children:
    """Makes children and keeps them; `answer` ends each at once, else the test does."""

    def __init__(self, answer: Callable[[list[str]], tuple[int, str, str] | None] = lambda arguments: None) -> None:
        self.made: list[Child] = []
        self._answer = answer

    def __call__(self, arguments: list[str]) -> Child:
        child = Child(arguments)
        start = child.start

        def start_and_answer() -> None:
            start()
            answer = self._answer(arguments)
            if answer is not None:
                child.end(*answer)

        child.start = start_and_answer  # type: ignore[method-assign]
        self.made.append(child)
        return child
