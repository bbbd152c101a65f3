"""The ablations as ablation.json and ablation.md.

`ablation.json` (version 1), written again after every row: `version`, `complete` (false when the run ended before time), `command`,
`seed`, `data`, `split`, `cases`, `structures`, `draws`, `begin` (the bundle whose weights the variants began with, null: untrained),
`hardware`, `bundle` (`name`, `digest`, its own `steps` and `guidance`), and
`rows`, each with `row`, `title`, `reference` (the row it is compared with), `parameters`, `sampling` (`steps`, `guidance`; of variants
also `temperature`), `trained` (`steps`, `seconds`, `seed`, `device`, `torch`; null for a bundle), `seconds_a_mask`, and

`steering.<off|on>.<measure>`     figure {"mean", "ci95", "n"} over patients, mean over structures: `dice_3d` and `dice_plane` (one sketch
                                  and the full description), `two_sketches` (3D Dice), and over draws `volume_within_20` (text alone)
`difference.<off|on>.<measure>`   the same of the differences from the reference, on the same patients and draws; absent in a reference
`by_structure.<off|on>.<name>`    `dice_3d`, `two_sketches`
`measured`                        every single mask
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from . import metrics
from .tables import cell, rows

RESULT = "ablation.json"
TITLES = {
    "full": "full model",
    "capsules": "without capsule attention (a plain convolutional encoder)",
    "tsfe": "without TSFE (sketch tokens not modulated by the text)",
    "cgfm": "without CGFM (sketch and word tokens side by side)",
    "text": "without text (no words; numbers through the shape model alone)",
    "strokes": "without the 3D stroke channels (the drawing and the shape model alone)",
}
MEASURES = {
    "dice_3d": "3D Dice",
    "dice_plane": "Dice on the sketch plane",
    "two_sketches": "3D Dice, two sketches",
    "volume_within_20": "volume within 20 %, text alone",
}
_STEERING = {"off": "nothing held", "on": "held"}
Values = dict[tuple[str, str], float]


def values(measured: dict[str, Any], measure: str) -> Values:
    """(case, structure) -> value of a measure under one steering; of volumes, (draw, structure) -> 1 within, 0 not."""
    if measure == "volume_within_20":
        turn: dict[str, int] = {}
        found = {}
        for entry in measured["volumes"]:
            name = entry["structure"]
            turn[name] = turn.get(name, -1) + 1
            found[str(turn[name]), name] = float(entry["within"])
        return found
    key, part = ("dice_3d", "two") if measure == "two_sketches" else (measure, "one")
    return {(entry["case"], entry["structure"]): float(entry[key]) for entry in measured[part]}


def figure(found: Values, measure: str, structures: list[str], seed: int) -> dict[str, Any]:
    """Mean over structures of the means over patients; of volumes, over all draws."""
    if measure == "volume_within_20":
        return metrics.summary(list(found.values()), seed)
    return metrics.mean_of_means(metrics.table(found, structures), seed)


def differences(found: Values, reference: Values) -> Values:
    """What a row has more than its reference, where both were measured on the same thing."""
    return {key: value - reference[key] for key, value in found.items() if key in reference}


def summarise(result: dict[str, Any], seed: int) -> dict[str, Any]:
    """The result with the figures of every row."""
    names = result.get("structures", [])
    measured = {row["row"]: row["measured"] for row in result["rows"]}
    return {**result, "rows": [_row(row, measured.get(row["reference"]), names, seed) for row in result["rows"]]}


def _row(row: dict[str, Any], reference: dict[str, Any] | None, names: list[str], seed: int) -> dict[str, Any]:
    own = row["measured"]
    found: dict[str, Any] = {"steering": {}, "difference": {}, "by_structure": {}}
    for steer in own:
        got = {measure: values(own[steer], measure) for measure in MEASURES}
        found["steering"][steer] = {measure: figure(value, measure, names, seed) for measure, value in got.items()}
        if reference is not None and row["row"] != row["reference"]:
            less = {measure: differences(value, values(reference[steer], measure)) for measure, value in got.items()}
            found["difference"][steer] = {measure: figure(value, measure, names, seed) for measure, value in less.items()}
        found["by_structure"][steer] = {
            name: {measure: figure(got[measure], measure, [name], seed) for measure in ("dice_3d", "two_sketches")} for name in names
        }
    seconds = metrics.summary([entry["seconds"] for entry in own["off"]["one"]], seed)["mean"]
    about = {key: value for key, value in row.items() if key != "measured"}
    return {**about, "seconds_a_mask": seconds, **found, "measured": own}


def write(result: dict[str, Any], out: Path, seed: int) -> None:
    """`ablation.json` and `ablation.md` in a folder, each whole or not at all."""
    whole = summarise(result, seed)
    for name, text in ((RESULT, json.dumps(whole, indent=1) + "\n"), ("ablation.md", markdown(whole))):
        partial = out / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(out / name)


def read_ablation(folder: Path) -> dict[str, Any]:
    """The result of an earlier `ablate` without its single measurements, for a report to quote. Raises BadRequest."""
    path = Path(folder) / RESULT
    again = "Measure it with 'sketch2ct ablate'."
    if not path.is_file():
        raise BadRequest(f"{folder} holds no ablation ({RESULT}).", again)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = found["complete"] and found["rows"]
        own = [{key: value for key, value in row.items() if key != "measured"} for row in found["rows"]]
        if whole:
            quoted({**found, "rows": own})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path} cannot be read: {error!r}.", again) from error
    if not whole:
        raise BadRequest(f"{path} is not complete.", "Go on with 'sketch2ct ablate --resume'.")
    return {**found, "rows": own}


def quoted(result: dict[str, Any]) -> list[str]:
    """The part of a report.md that quotes it; nothing where there is none."""
    if not result:
        return []
    return ["", "## Ablations of the mask model", "", f"`{result['command']}`", "", *_told(result), "", *_table(result["rows"])]


def markdown(result: dict[str, Any]) -> str:
    """The same as tables."""
    lines = ["# Ablations of the mask model", "", f"`{result['command']}`", ""]
    lines += [] if result["complete"] else ["**Not complete: the run ended before time.**", ""]
    own = result["rows"]
    gaps = ["## Differences from the first row of the same model", "", *_gaps(own)]
    return "\n".join([*lines, *_told(result), "", *_table(own), "", *gaps, ""])


def _told(result: dict[str, Any]) -> list[str]:
    """What was measured, and what the figures do not say."""
    hardware = result["hardware"]
    trained = next((row["trained"] for row in result["rows"] if row["trained"]), None)
    lines = [
        f"Cases: {result.get('cases', 0)} of {result['data']}, split {result['split']}; seed {result['seed']}; {hardware['device']}, "
        f"{hardware['cpus']} cores, torch {hardware['torch']}.",
        "",
        "One sketch (the outline of the largest section) and the full description, unless another request is named; mean over "
        f"structures ({len(result.get('structures', []))}) with 95 % bootstrap interval over patients (volumes: over draws, "
        f"{result['draws']} a structure). *Held*: sampling holds what the request states exactly, as it does in use; *nothing held*: "
        "the network alone. Every row has the same questions and the same noise; differences are paired, and bold where their interval "
        "does not hold 0.",
    ]
    return [*lines, "", _trainings(trained, result["begin"])] if trained else lines


def _trainings(trained: dict[str, Any], begin: str | None) -> str:
    start = "the same start" if begin is None else f"the weights of {begin}, as far as a variant shares them,"
    limit = (
        "a training says what a part gives early on, not what it gives in the end"
        if begin is None
        else "a training may not make up for a part that the model had learned to use, so what a part gives may be overstated"
    )
    return (
        f"Variants: one training each of {trained['steps']} steps from {start} with the same batches and noise (seed {trained['seed']}). "
        f"The intervals are over patients: they do not say how much another training would differ, and so short {limit}."
    )


def _about(row: dict[str, Any]) -> list[str]:
    trained, sampling = row["trained"], row["sampling"]
    parameters = "-" if row["parameters"] is None else f"{row['parameters']:,}".replace(",", " ")
    training = f"{trained['steps']} steps, {trained['seconds']:.0f} s" if trained else "-"
    seconds = "-" if row["seconds_a_mask"] is None else f"{row['seconds_a_mask']:.2f}"
    return [row["title"], parameters, training, f"{sampling['steps']}, {sampling['guidance']:g}", seconds]


def _table(own: list[dict[str, Any]]) -> list[str]:
    """Every row: what it is, its 3D Dice with the difference, and the other measures, without and with holding."""
    keys = [(measure, steer) for measure in MEASURES for steer in _STEERING]
    head = ["model", "parameters", "trained", "steps, guidance of sampling", "s a mask, nothing held"]
    for measure, steer in keys:
        head.append(f"{MEASURES[measure]}, {_STEERING[steer]}")
        head += [f"difference, {_STEERING[steer]}"] if measure == "dice_3d" else []
    body = []
    for row in own:
        cells = []
        for measure, steer in keys:
            cells.append(cell(row["steering"][steer][measure]))
            cells += [gap(row["difference"].get(steer, {}).get(measure))] if measure == "dice_3d" else []
        body.append([*_about(row), *cells])
    return rows(head, body)


def _gaps(own: list[dict[str, Any]]) -> list[str]:
    keys = [(measure, steer) for measure in MEASURES for steer in _STEERING]
    body = [[row["title"], *(gap(row["difference"][s][m]) for m, s in keys)] for row in own if row["difference"]]
    return rows(["model", *(f"{MEASURES[m]}, {_STEERING[s]}" for m, s in keys)], body)


def gap(figure: dict[str, Any] | None) -> str:
    """A difference with its sign and interval, bold where that does not hold 0 (one patient has none); a dash where there is none."""
    if not figure or figure["mean"] is None:
        return "-"
    low, high = figure["ci95"]
    text = f"{figure['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if figure["n"] > 1 and (low > 0 or high < 0) else text
