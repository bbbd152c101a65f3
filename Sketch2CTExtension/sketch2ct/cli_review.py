"""The commands about reviews: what was said, agreement, merging, blind reading. As in `cli`, no logic of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import BadRequest

review_app = typer.Typer(no_args_is_help=True, help="Reviews of a cohort: list, agreement, merge, blind reading.")

Folder = Annotated[Path, typer.Argument(help="A cohort, or a folder of results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@review_app.command("list")
def list_reviews(folder: Folder, as_json: AsJson = False) -> None:
    """Every case with its status and what each reviewer said, and how many there are of each status."""
    from .cohort.folder import Cohort
    from .review.summary import lines, summary

    report = summary(Cohort.find(folder))
    _print(report, lines(report), as_json)


@review_app.command()
def agreement(
    folder: Folder,
    reviewers: Annotated[tuple[str, str] | None, typer.Option(help="Two names; by default every pair.", metavar="A B")] = None,
    as_json: AsJson = False,
) -> None:
    """Cohen's kappa of reviewers: plain for the status, with quadratic weights for the scores."""
    from .cohort.folder import Cohort
    from .review.agreement import between, between_all
    from .review.store import ReviewStore

    store = ReviewStore(Cohort.find(folder).root)
    known = store.reviewers()
    unknown = [name for name in reviewers or () if name not in known]
    if unknown or len(known) < 2:
        told = f"'{unknown[0]}' has reviewed nothing here." if unknown else "Agreement needs two reviewers."
        raise BadRequest(told, f"Reviewers of {folder}: {', '.join(known) or 'none'}.")
    reports = [between(store, *reviewers)] if reviewers else between_all(store)
    _print(reports, [line for report in reports for line in _agreement_lines(report)], as_json)


@review_app.command()
def merge(
    folder: Folder,
    other: Annotated[Path, typer.Argument(help="The reviews.sqlite of a copy of the cohort, or the copy's folder; it is not changed.")],
) -> None:
    """Add the verdicts that were made on a copy."""
    from .cohort.folder import Cohort
    from .review import summary

    report = summary.merge(Cohort.find(folder), other)
    typer.echo(f"{report.new} new verdicts, {report.known} known already")


@review_app.command()
def blind(
    folder: Folder,
    real: Annotated[Path, typer.Option(help="A data set of real scans in nnU-Net layout.")],
    out: Annotated[Path, typer.Option(help="Folder to make. It holds patients: it stays with you.")],
    cases: Annotated[int, typer.Option(min=1, help="So many synthetic cases, and as many real ones.")],
    split: Annotated[str, typer.Option(help="Which of the real ones: Tr, Va or Ts.")] = "Ts",
    seed: Annotated[int, typer.Option(min=0, help="Of the choice, the order and the shifts.")] = 0,
) -> None:
    """Mix synthetic and real cases for a blind reading in 3D Slicer. The folder holds patients: do not pass it on."""
    from .cohort.folder import Cohort
    from .data.nnunet import Dataset
    from .review.blind import make_blind

    made = make_blind(Cohort.find(folder), Dataset(real), split, cases, out, seed)
    typer.echo(
        "warning: the folder holds scans of patients; keep it where your data are, and do not open key.json before the end", err=True
    )
    typer.echo(made)


@review_app.command("blind-result")
def blind_result(folder: Annotated[Path, typer.Argument(help="What 'blind' made.")], as_json: AsJson = False) -> None:
    """Open the key: the confusion matrix, sensitivity and specificity of each reviewer."""
    from .review.blind_result import results

    readings = results(folder)
    text = [line for reading in readings for line in reading.lines()]
    _print([reading.to_dict() for reading in readings], text, as_json)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(review_app, name="review")


def _print(data: Any, lines: list[str], as_json: bool) -> None:
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False) if as_json else "\n".join(lines))


def _agreement_lines(report: dict[str, Any]) -> list[str]:
    rows = [f"{report['first']} and {report['second']}"]
    for name, found in report.items():
        if isinstance(found, dict):
            kappa = "not defined" if found["kappa"] is None else f"{found['kappa']:.2f}"
            equal = "-" if found["percent"] is None else f"{found['percent']:.0f} %"
            rows.append(f"{name:10} {found['cases']:4} cases, {equal:>5} equal, kappa {kappa}")
    return rows
