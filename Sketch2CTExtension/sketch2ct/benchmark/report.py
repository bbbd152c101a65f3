"""The figures of a speed measurement as bench.json and bench.md.

`bench.json` (version 1), written again after every part: `version`, `complete` (false when the run ended before time), `command`,
`seed`, `repeats`, `versions`, `hardware` (`system`, `processor`, `cpus`, `threads`, `memory_mb`, `load` before the run, `busy`),
`bundle` (`name`, `digest`), `request` (`structures`, `description`) and

`frames.<frame>`: `factor` (of the bundle's own extent), `shape`, `spacing_mm`, `extent_mm`, `voxels`;
`devices.<device>`: `label`, `peak` (`flops_per_s` by precision, `bytes_per_s`, `reference` precision), `frames`, `published`;
`devices.<device>.frames.<frame>`: `cold` and `warm`, each with `seconds.<stage>` = {"median", "min", "max", "n"} and
`peak_memory_mb.<stage>` = {"host", "device"} (MiB, null if unknown); `work.<stage>` for mask and volume with `flops`, `bytes`,
`precision`, `fraction_of_peak_flops`, `fraction_of_peak_bandwidth`; `sha256` of the images, and `same_bytes`, whether all runs made them;
`devices.<device>.published.<system>`: `title`, `source`, `assumed`, `shape`, `steps`, `stages` (ours that do the same), `seconds`,
`extrapolated`, `parts.<part>` (`times`, `timed`, `share`, `seconds_each`, `seconds`, `flops`, `bytes`), `peak_memory_mb`, the keys of
`work`, and with the frame `default` measured `ours_seconds` (warm), `ratio` and `ratio_per_voxel`.
A frame or system that did not run has `skipped`: why.

Stages: `start` (process to ready; cold only), `load`, `mask`, `volume`, `write`, `other` (imports, checks, readout), `total`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_STAGES = ("start", "load", "mask", "volume", "write", "other", "total")


def write(result: dict[str, Any], out: Path) -> None:
    """`bench.json` and `bench.md` in a folder."""
    (out / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "bench.md").write_text(markdown(result), encoding="utf-8")


def markdown(result: dict[str, Any]) -> str:
    """The same as tables."""
    hardware, versions = result["hardware"], result["versions"]
    load = "" if hardware["load"] is None else f", load {hardware['load']:g} before the run"
    lines = [
        f"# Speed of {result['bundle']['name']}",
        "",
        f"`{result['command']}`",
        "",
        f"Bundle {result['bundle']['digest'][:16]}, seed {result['seed']}; {hardware['processor']}, {hardware['cpus']} cores, "
        f"{hardware['threads']} threads, {hardware['memory_mb']} MiB{load}; torch {versions['torch']}, monai {versions['monai']}.",
        "",
        *([] if result["complete"] else ["**Not complete: the run ended before time.**", ""]),
        *(
            ["**The machine was busy: the times are too long, and the shares of the peak are not to be trusted.**", ""]
            if hardware["busy"]
            else []
        ),
        "Cold is a fresh process, the system's file cache kept; warm is the same request again in that process. Seconds are medians, "
        "with the smallest and largest where they differ; memory is the highest.",
    ]
    for device, found in result["devices"].items():
        lines += ["", f"## {device}: {found['label']}", "", _peak(found["peak"])]
        lines += ["", *_times(result["frames"], found["frames"]), "", *_memory(found["frames"]), "", *_work(found["frames"])]
        lines += _skipped(found["frames"])
        if found["published"]:
            lines += ["", "### Networks of the published sizes, random weights", "", *_published(found["published"])]
    return "\n".join([*lines, ""])


def _peak(peak: dict[str, Any]) -> str:
    rates = ", ".join(f"{rate / 1e12:.3g} TFLOP/s {name}" for name, rate in peak["flops_per_s"].items())
    return f"Measured peak: {rates}; {peak['bytes_per_s'] / 1e9:.3g} GB/s copy."


def _rows(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _ran(frames: dict[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in frames.items() if "skipped" not in entry}


def _times(described: dict[str, Any], frames: dict[str, Any]) -> list[str]:
    rows = []
    for name, entry in _ran(frames).items():
        size = " x ".join(str(n) for n in described[name]["shape"])
        for state in ("cold", "warm"):
            rows.append([f"{name} ({size})", state, *(_seconds(entry[state]["seconds"].get(stage)) for stage in _STAGES)])
    return _rows(["frame", "state", *(f"{stage}, s" for stage in _STAGES)], rows)


def _seconds(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    middle, low, high = (f"{figure[key]:.2f}" for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} [{low}, {high}]"


def _memory(frames: dict[str, Any]) -> list[str]:
    rows = []
    for name, entry in _ran(frames).items():
        for state in ("cold", "warm"):
            rows.append([name, state, *(_mib(entry[state]["peak_memory_mb"].get(stage)) for stage in _STAGES[1:5])])
    return _rows(["frame", "state", *(f"{stage}: peak MiB, host / device" for stage in _STAGES[1:5])], rows)


def _mib(figure: dict[str, Any] | None) -> str:
    return "-" if figure is None else " / ".join("-" if figure[k] is None else f"{figure[k]:.0f}" for k in ("host", "device"))


def _work(frames: dict[str, Any]) -> list[str]:
    rows = [[name, stage, *_shares(work)] for name, entry in _ran(frames).items() for stage, work in entry["work"].items()]
    return _rows(["frame", "stage, warm", "GFLOP", "GB moved", "of peak FLOP/s", "of peak bandwidth"], rows)


def _shares(work: dict[str, Any]) -> list[str]:
    shares = [f"{work[key]:.1%}" for key in ("fraction_of_peak_flops", "fraction_of_peak_bandwidth")]
    return [f"{work['flops'] / 1e9:.4g}", f"{work['bytes'] / 1e9:.4g}", *shares]


def _skipped(entries: dict[str, Any]) -> list[str]:
    missing = [f"* {entry.get('title', name)}: not measured. {entry['skipped']}" for name, entry in entries.items() if "skipped" in entry]
    return ["", *missing] if missing else []


def _published(systems: dict[str, Any]) -> list[str]:
    rows = []
    for entry in _ran(systems).values():
        ratio = f"{entry['ratio']:.0f} x" if "ratio" in entry else "-"
        own = f"{entry['ours_seconds']:.2f} ({' + '.join(entry['stages'])})" if "ratio" in entry else "-"
        voxel = f"{entry['ratio_per_voxel']:.0f} x" if "ratio" in entry else "-"
        rows.append([entry["title"], f"{entry['seconds']:.1f}", own, ratio, voxel, _mib(entry["peak_memory_mb"]), *_shares(entry)])
    head = ["system", "s", "ours, s, frame 'default', warm", "ratio", "ratio a voxel", "peak MiB, host / device"]
    lines = _rows([*head, "GFLOP", "GB moved", "of peak FLOP/s", "of peak bandwidth"], rows)
    for entry in _ran(systems).values():
        lines += ["", f"*{entry['title']}.* {_how(entry)} Source: {entry['source']}. Assumed: {entry['assumed']}."]
    return lines + _skipped(systems)


def _how(entry: dict[str, Any]) -> str:
    """How the seconds were found, plainly."""
    if not entry["extrapolated"]:
        return "Measured in full."
    said = []
    for name, part in entry["parts"].items():
        share = f", on {part['share']:.3g} of the voxels" if part["share"] < 1 else ""
        said.append(f"{name}: {part['times']} times, {part['timed']} timed at {part['seconds_each']:.3g} s{share}")
    return f"Extrapolated, not run in full: {'; '.join(said)}; memory is that of what was run."
