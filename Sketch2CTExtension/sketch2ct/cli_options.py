"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

BundleName = Annotated[str, typer.Option("--bundle", help="Name of an installed bundle.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
