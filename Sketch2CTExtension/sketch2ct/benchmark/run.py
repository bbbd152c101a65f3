"""Measure how fast a bundle runs here, how much memory it takes, and how that compares with networks of the published sizes."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import bundle as bundles
from .. import devices, masks, volumes
from ..engine import versions
from ..errors import BadRequest, Sketch2CTError
from ..generation import MaskGenerator, VolumeGenerator
from ..request import GenerationRequest
from ..results import writing
from . import ours, peak, published, report

VERSION = 1  # of bench.json
BUSY = 0.5  # load a core before the run from which the times are not to be trusted


def bench(
    bundle: str,
    out: Path,
    device: str = "auto",
    frames: str = ",".join(ours.FRAMES),
    repeats: int = 3,
    seed: int = 0,
    *,
    with_published: bool = False,
    load_bundle: Callable[[str], bundles.Bundle] = bundles.load,
    load_masks: Callable[[str, bundles.Bundle, torch.device], MaskGenerator] = masks.load,
    load_volumes: Callable[[str, bundles.Bundle, torch.device], VolumeGenerator] = volumes.load,
    worker: list[str] | None = None,
    systems: dict[str, published.Published] | None = None,
    measure: Callable[[torch.device], peak.Peak] = peak.measure,
) -> dict[str, Any]:
    """Measure `bundle`, write `bench.json` and `bench.md` to `out`; what `bench.json` holds (see `report`).

    `device` auto means the CPU and every CUDA device; `frames` names some of FRAMES, with commas; each frame runs `repeats`
    times cold and as often warm. With `with_published`, networks of the published sizes run beside. What does not fit into
    memory or frame is left out, and the report says why. Raises BadRequest, BundleMissing, BundleCorrupt or WriteFailed.
    """
    chosen = load_bundle(bundle)
    asked = _frames(frames)
    if repeats < 1:
        raise BadRequest(f"The number of repeats cannot be {repeats}.", "Give 1 or more.")
    places = _devices(device)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    request = ours.standard_request(chosen, seed)
    framed = {name: ours.framed(request, chosen.metadata, factor) for name, factor in asked.items()}
    found: dict[str, Any] = {}
    result: dict[str, Any] = {
        **{"version": VERSION, "complete": False},
        "command": _command(bundle, device, frames, repeats, seed, with_published),
        **{"seed": seed, "repeats": repeats, "versions": versions(), "hardware": _hardware()},
        "bundle": {"name": chosen.name, "digest": chosen.digest},
        "request": {"structures": request.structures(), "description": request.description},
        "frames": {name: _described(asked[name], one) for name, one in framed.items()},
        "devices": found,
    }
    others = (published.SYSTEMS if systems is None else systems) if with_published else {}
    for place in places:
        _say(f"{place}: peak of {devices.label(place)}")
        best = measure(place)
        entry: dict[str, Any] = {"label": devices.label(place), "peak": best.to_dict(), "frames": {}, "published": {}}
        found[str(place)] = entry
        for name, one in framed.items():
            _say(f"{place}: frame '{name}', {repeats} cold and {repeats} warm")
            entry["frames"][name] = _frame(one, place, chosen, repeats, best, (load_masks, load_volumes), worker)
            _save(result, out)
        for name, system in others.items():
            _say(f"{place}: {system.title}")
            entry["published"][name] = published.time_one(system, place, best, seed)
            _compare(entry["published"][name], entry["frames"].get("default"), result["frames"].get("default"))
            _save(result, out)
    result["complete"] = True
    _save(result, out)
    return result


def _save(result: dict[str, Any], out: Path) -> None:
    """Write what is known so far, so that an end before time loses nothing."""
    with writing(out):
        report.write(result, out)


def _frames(names: str) -> dict[str, float]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ours.FRAMES]
    if unknown or not wanted:
        raise BadRequest(f"Unknown frame '{unknown[0] if unknown else names}'.", f"Known: {', '.join(ours.FRAMES)}.")
    return {name: factor for name, factor in ours.FRAMES.items() if name in wanted}


def _devices(name: str) -> list[torch.device]:
    if name == "auto":
        return [torch.device(item["name"]) for item in devices.describe_devices()]
    return [devices.choose(name)]


def _frame(
    request: GenerationRequest,
    place: torch.device,
    chosen: bundles.Bundle,
    repeats: int,
    best: peak.Peak,
    loaders: tuple[Callable[..., Any], Callable[..., Any]],
    worker: list[str] | None,
) -> dict[str, Any]:
    """One frame on one device: its times, and its work against the peak; `{"skipped": why}` where it cannot be made."""
    request = request.with_changes(device=str(place))
    try:
        timing = ours.time_frame(request, chosen.folder.parent, repeats, worker)
        return timing | {"work": ours.efficiency(timing, ours.work_of(request, chosen, *loaders), best)}
    except Sketch2CTError as error:
        _say(f"{place}: left out: {error}")
        return {"skipped": str(error)}


def _compare(entry: dict[str, Any], timed: dict[str, Any] | None, described: dict[str, Any] | None) -> None:
    """Adds to a published system the ratio to our own stages that do the same, warm, on the bundle's own frame."""
    if "skipped" in entry:
        _say(f"left out: {entry['skipped']}")
    elif timed is not None and "skipped" not in timed and described is not None:
        seconds = timed["warm"]["seconds"]
        own = max(sum(seconds[stage]["median"] for stage in entry["stages"]), 1e-3)
        ratio = entry["seconds"] / own
        larger = float(np.prod(entry["shape"]) / described["voxels"])
        entry |= {"ours_seconds": round(own, 3), "ratio": round(ratio, 1), "ratio_per_voxel": round(ratio / larger, 1)}


def _described(factor: float, request: GenerationRequest) -> dict[str, Any]:
    grid = request.grid
    assert grid is not None
    extent = np.round(np.asarray(grid.shape) * grid.spacing, 3).tolist()
    voxels = int(np.prod(grid.shape))
    return {"factor": factor, "shape": list(grid.shape), "spacing_mm": grid.spacing.tolist(), "extent_mm": extent, "voxels": voxels}


def _hardware() -> dict[str, Any]:
    """The machine; `load` is the load average (1 min) before the run, None on Windows, `busy` whether others took part."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    cpus = os.cpu_count() or 1
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cpus": cpus,
        "threads": torch.get_num_threads(),
        "memory_mb": devices.describe_devices()[0]["total_mb"],
        "load": load,
        "busy": load is not None and load > BUSY * cpus,
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _command(bundle: str, device: str, frames: str, repeats: int, seed: int, with_published: bool) -> str:
    """The command that repeats the measurement; of the folders only the names."""
    words = ["sketch2ct", "bench", "--out", "OUT", "--bundle", Path(bundle).name, "--device", device, "--frames", frames]
    words += ["--repeats", str(repeats), "--seed", str(seed)]
    return shlex.join([*words, *(["--published"] if with_published else [])])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
