"""The command that exports cases in other programs' formats. As in `cli`, no logic of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import run_progress
from .errors import Sketch2CTError
from .export.options import FORMATS, INCLUDES, MASKS, Options
from .generation import Progress


def export(
    folder: Annotated[Path, typer.Argument(help="A cohort, or a folder of results.")],
    to: Annotated[str, typer.Option(help=f"The format: {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    include: Annotated[str, typer.Option(help=f"Which cases: {', '.join(INCLUDES)}.")] = "accepted",
    masks: Annotated[str, typer.Option(help=f"Which version of the masks: {', '.join(MASKS)}.")] = "newest",
    structures: Annotated[str | None, typer.Option(help="Only these, with commas, of the cases that have them all.")] = None,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "Sketch2CT",
    dataset_id: Annotated[int, typer.Option(help="nnU-Net's number of the (first) data set, 1 to 999.")] = 801,
    folds: Annotated[int, typer.Option(help="Parts for cross-validation; groups stay together.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds, and of DICOM identifiers.")] = 0,
    reviewers: Annotated[bool, typer.Option("--reviewers", help="Name the reviewers in the data card.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export in OUT.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Print one JSON object a line instead.")] = False,
) -> None:
    """Write the accepted cases as a data set of nnU-Net or MONAI, as DICOM (CT, SEG, RT-STRUCT) or in TotalSegmentator's layout."""
    from .export.run import export as run

    named = tuple(part.strip() for part in structures.split(",") if part.strip()) if structures else ()
    own: dict[str, Any] = {"name": name, "dataset_id": dataset_id, "folds": folds, "seed": seed, "reviewers": reviewers}
    with _reporting(events) as progress:
        report = run(folder, out, Options(to, include, masks, named, **own), progress, replace=replace)
    if events:
        facts = {"cases": report.cases, "skipped": report.skipped, "left_out": report.left_out, "notes": report.card["notes"]}
        _event("done", out=str(report.out), **facts)
    for line in [] if events else report.lines():
        typer.echo(line)


@contextmanager
def _reporting(events: bool) -> Iterator[Progress]:
    """Progress for a person, or as events: start, progress (stage, step, steps, fraction, eta_s), error (code, message, hint), done."""
    with run_progress() as progress:
        if events:
            _event("start")
            progress.report = _progress_event
        try:
            yield progress
        except Sketch2CTError as error:
            if events:
                _event("error", code=error.code, message=error.message, hint=error.hint)
            raise


def _progress_event(stage: str, step: int, steps: int, fraction: float, eta: float | None) -> None:
    eta_s = None if eta is None else round(eta, 1)
    _event("progress", stage=stage, step=step, steps=steps, fraction=round(fraction, 4), eta_s=eta_s)


def _event(kind: str, **facts: Any) -> None:
    print(json.dumps({"type": kind, **facts}, ensure_ascii=False), file=sys.stdout, flush=True)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("export")(export)
