"""A cohort on one machine: one process, one engine, one case after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import Cancelled, Sketch2CTError
from ..generation import Progress
from ..request import GenerationRequest
from .case import case_name
from .job import FATAL, Job, opened, with_way_on
from .opening import Asked
from .reporting import Reporter, Tally


class Generates(Protocol):
    """What a runner needs of an Engine."""

    def generate(self, request: GenerationRequest, out: Path, progress: Progress | None = None, *, replace: bool = False) -> list[Path]:
        """Make the result folder `out`."""


def run(asked: Asked, engine: Callable[[], Generates], reporter: Reporter, cancel: threading.Event) -> Tally:
    """Make what is left of a cohort; how it ended. `engine` is called once, when there is something to make.

    Raises Cancelled, and what would stop every further case: OutOfMemory, WriteFailed, BundleMissing, BundleCorrupt; Sketch2CTError when
    all cases fail. The complete cases are kept whatever happens.
    """
    with opened(asked, reporter) as job, closing_words(job, reporter):
        made: Generates | None = None
        while (number := job.take()) is not None:
            if cancel.is_set():
                raise Cancelled()
            made = made or engine()
            try:
                planned = job.plan(number)
                made.generate(planned.request, job.workplace(number), Progress(_share(job, number), cancel))
                job.finish(planned)
            except FATAL:
                raise
            except Exception as error:  # whatever one case meets must not end the others
                job.fail(number, error)
        return job.tally


def _share(job: Job, number: int) -> Callable[[str, int, int, float, float | None], None]:
    return lambda stage, step, steps, fraction, eta: job.progress(case_name(number), fraction)


@contextmanager
def closing_words(job: Job, reporter: Reporter) -> Iterator[None]:
    """The last event of a run, however it ends; a fatal error leaves with the way to go on."""
    try:
        yield
    except Cancelled as error:
        reporter.done(job.tally, "cancelled")
        raise Cancelled(f"Cancelled: {job.tally}", "The same command goes on from there.") from error
    except Sketch2CTError as error:
        reporter.done(job.tally, error.message)
        raise (with_way_on(error) if isinstance(error, FATAL) else error) from error
    reporter.done(job.tally, job.stopped() if job.left else "")
