"""`sketch2ct cohort`: a spec and a folder -> a run, local or on Ray, with what a person or a program hears of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import bundle
from ..console import run_cancel
from ..errors import BadRequest
from .opening import Asked
from .plan import Planner, bundle_name
from .reporting import Tally, reporter
from .runner import Generates
from .spec import CohortSpec, read

SHOWN = 5  # cases of a dry run


def asked(spec_file: Path, out: Path, *, device: str | None = None, retry_failed: bool = False) -> Asked:
    """What a spec file asks for, checked with the bundle that it names. Raises BadRequest, BundleMissing or BundleCorrupt."""
    spec: CohortSpec = read(spec_file)
    if device is not None:
        spec = replace(spec, device=device)
    chosen = bundle.load(bundle_name(spec))
    return Asked(Planner(spec, chosen.metadata), chosen, out.expanduser().absolute(), retry_failed)


def dry_run(wanted: Asked) -> dict[str, Any]:
    """What a run would make: how many cases, from what, and the first few of them."""
    planner = wanted.planner
    cases = [planner.case(number) for number in range(1, min(planner.total, SHOWN) + 1)]
    shown = [{**case.facts, "seed": case.request.seed, "description": case.request.description} for case in cases]
    return {"total": planner.total, "sources": len(planner.sources), "bundle": wanted.bundle.name, "first": shown}


def start(wanted: Asked, *, ray: str | None = None, workers: int | None = None, events: bool = False) -> Tally:
    """Make what is left of the cohort; how it ended. Raises what `runner.run` does."""
    if workers is not None and ray is None:
        raise BadRequest("--workers is for a Ray cluster.", "Add --ray local, or --ray ADDRESS.")
    with reporter(events=events) as hears, run_cancel() as cancel:
        if ray is not None:
            from .ray_runner import run as run_on_ray

            return run_on_ray(wanted, engine, hears, cancel, ray, workers)
        from ..devices import choose
        from .runner import run

        choose(wanted.planner.spec.device or "auto")  # refused once, not by every case
        return run(wanted, engine, hears, cancel)


def engine() -> Generates:
    """The engine of a run."""
    from ..engine import Engine

    return Engine()
