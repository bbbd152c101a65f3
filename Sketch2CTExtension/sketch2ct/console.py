"""What a person at the terminal sees of a run: progress on stderr, and Ctrl-C as the cancel button. No torch."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .generation import Progress

_STAGES = {
    "load": "Loading",
    "mask": "Drawing the mask",
    "surroundings": "Completing the surroundings",
    "volume": "Filling in the CT",
    "write": "Writing",
}


@contextmanager
def run_progress() -> Iterator[Progress]:
    """Progress of one run: a bar on a terminal, else one line a stage. The first SIGINT or SIGTERM cancels it."""
    with _bar() if sys.stderr.isatty() else _lines() as progress, _cancelled_by_signals(progress):
        yield progress


@contextmanager
def run_cancel() -> Iterator[threading.Event]:
    """The cancel button of a run that has a display of its own. The first SIGINT or SIGTERM presses it."""
    progress = Progress()
    with _cancelled_by_signals(progress):
        yield progress.cancel


@contextmanager
def _lines() -> Iterator[Progress]:
    last = ""

    def report(stage: str, step: int, steps: int, fraction: float, eta: float | None) -> None:
        nonlocal last
        if stage != last:
            last = stage
            print(f"{fraction:4.0%} {_STAGES.get(stage, stage)}", file=sys.stderr, flush=True)

    yield Progress(report=report)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=1.0)

        def report(stage: str, step: int, steps: int, fraction: float, eta: float | None) -> None:
            bar.update(task, completed=fraction, description=_STAGES.get(stage, stage))

        yield Progress(report=report)


@contextmanager
def _cancelled_by_signals(progress: Progress) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if progress.cancel.is_set():  # the second time, at once
            raise KeyboardInterrupt
        progress.cancel.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
