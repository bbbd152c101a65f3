"""The command that makes a cohort. As in `cli`, no logic of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def cohort(
    spec: Annotated[Path, typer.Argument(help="What to make, YAML.")],
    out: Annotated[Path, typer.Option(help="Folder of the cohort; one that is there already is gone on with.")],
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; instead of the spec's.")] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster; local starts one here.", metavar="ADDRESS")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Engines on the Ray cluster; by default one a GPU, or one a node.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed in earlier runs.")] = False,
    events: Annotated[bool, typer.Option("--events", help="One JSON object a line on stdout, for programs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be made, and make nothing.")] = False,
) -> None:
    """Make many cases from one spec; goes on where it was stopped."""
    from .cohort.start import asked, start
    from .cohort.start import dry_run as planned

    wanted = asked(spec, out, device=device, retry_failed=retry_failed)
    if dry_run:
        typer.echo(json.dumps(planned(wanted), indent=1, ensure_ascii=False))
        return
    tally = start(wanted, ray=ray, workers=workers, events=events)
    raise typer.Exit(1 if tally.failed else 0)


def add_to(app: typer.Typer) -> None:
    """Give the command line this command."""
    app.command()(cohort)
