"""Measures what a cohort adds to bare generation: the same requests, alone, as a cohort, and on Ray. Prints JSON.

    cohort_bench.py [--cases 5] [--fake] [--ray] [--device cpu]

Needs `Testing/support` on the path. `--fake` takes ellipsoids instead of the shipped weights, for a look at the parts alone. Every way
makes one case before its clock starts, so that loading weights does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohort_kit import FRAME, QuickEngine, wanted, write_spec
from fake_backend import circle, make_bundle
from sketch2ct.cohort import job, runner, start
from sketch2ct.cohort.plan import Planner
from sketch2ct.cohort.reporting import Reporter, Tally
from sketch2ct.request import GenerationRequest
from sketch2ct.resources import resources_dir

VARY = {"volume": [0.9, 1.1], "hand": [0.5, 1.5], "wording": True}


class Clock(Reporter):
    """Seconds from the first finished case to the last: the first pays for loading."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def case(self, tally: Tally, name: str, source: str, verdict: str, reasons: list[str]) -> None:
        """As Reporter."""
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5, help="how many are timed, after one that is not")
    parser.add_argument("--fake", action="store_true", help="ellipsoids instead of the shipped bundle")
    parser.add_argument("--ray", action="store_true", help="also on a Ray cluster started here, with one worker")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), arguments), indent=1))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each way, what is added in percent of the bare time, and the milliseconds of the parts."""
    engine: Callable[[], Any] = start.engine
    if arguments.fake:
        make_bundle(folder / "shelf", frame=FRAME)
        os.environ["SKETCH2CT_BUNDLES"] = str(folder / "shelf")
        engine = QuickEngine
    sample = resources_dir() / "Samples" / "mandible.json"
    base = GenerationRequest([circle(30)], "about 60 mL") if arguments.fake else GenerationRequest.read(sample)
    base.write(folder / "base.json")
    spec = write_spec(folder / "spec.yaml", request="base.json", count=arguments.cases + 1, vary=VARY, device=arguments.device)
    asked = wanted(spec, folder / "cohort")
    bare = bare_seconds(asked.planner, engine(), folder / "bare")
    clock, parts = Clock(), timed_parts()
    runner.run(asked, engine, clock, threading.Event())
    result: dict[str, Any] = {"cases": arguments.cases, "fake": arguments.fake, "bare_s": bare, "cohort_s": clock.seconds}
    result["cohort_added_percent"] = 100 * (clock.seconds / bare - 1)
    result["parts_ms"] = {part: round(1e3 * statistics.median(times), 2) for part, times in parts.items()}
    result["parts_percent_of_a_case"] = sum(result["parts_ms"].values()) / (10 * bare / arguments.cases)
    if arguments.ray:
        from sketch2ct.cohort.ray_runner import run as run_on_ray

        on_ray = Clock()
        run_on_ray(wanted(spec, folder / "ray"), engine, on_ray, threading.Event(), "local", 1)
        result |= {"ray_s": on_ray.seconds, "ray_added_percent": 100 * (on_ray.seconds / bare - 1)}
    return result


def bare_seconds(planner: Planner, engine: Any, out: Path) -> float:
    """The engine alone, on the requests of the cohort's cases but the first."""
    requests = [planner.case(number).request for number in range(1, planner.total + 1)]
    engine.generate(requests[0], out / "0")
    begun = time.perf_counter()
    for number, request in enumerate(requests[1:], start=1):
        engine.generate(request, out / str(number))
    return time.perf_counter() - begun


def timed_parts() -> dict[str, list[float]]:
    """Puts a clock around what a cohort does beside the engine; part -> seconds of each call, filled as a run goes on."""
    found: dict[str, list[float]] = {}

    def clocked(name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                found.setdefault(name, []).append(time.perf_counter() - begun)

        return call

    job.Job.plan = clocked("plan", job.Job.plan)  # type: ignore[method-assign]
    job.Job.finish = clocked("finish (gate, picture, case.json, rename)", job.Job.finish)  # type: ignore[method-assign]
    return found


if __name__ == "__main__":
    main()
