"""The sections of the page on what generated CTs are worth for training, and on the design: variants of the mask generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .forest import MADE, OTHER, REAL, Axis, Series, known
from .html_parts import Cell, Column, Section, Table, figure, forest_plot, number, table


def sections(report: Mapping[str, Any]) -> list[Section]:
    """Both parts, where they were measured."""
    makers = {"usefulness": _usefulness, "ablation": _ablation}
    return [make(report[key]) for key, make in makers.items() if report.get(key)]


def _usefulness(found: Mapping[str, Any]) -> Section:
    about = found.get("about", {})
    told = [f"Each was trained for {about['steps']} steps."] if "steps" in about else []
    if "training_cases" in about:
        told.append(f"CTs generated of each of {about['training_cases']} label maps: {about.get('samples', 1)}.")
    if "split" in about:
        told.append(f"Tested on split {about['split']}.")
    section = Section(
        "usefulness",
        "What generated CTs are worth for training",
        "The same segmenter is trained on real, on generated, and on both kinds of CTs of the training cases, and tested on real CTs that "
        f"none of them has seen. {' '.join(told)}".strip(),
        "Dice on real CTs; a ratio of 1 means as good as trained on real CTs, above 1 better.",
    )
    rows = [(name, entry) for name, entry in found.items() if name != "about"]
    columns = (
        Column("real", ("real",)),
        Column("generated", ("synthetic",)),
        Column("both", ("both",)),
        Column("generated ÷ real", ("synthetic_to_real",)),
        Column("both ÷ real", ("both_to_real",)),
    )
    section.blocks += table("Dice on real CTs by what it was trained on", "structure", columns, rows)
    both = Series("both", OTHER.color, OTHER.marker)
    series = ((MADE, ("synthetic",)), (REAL, ("real",)), (both, ("both",)))
    section.blocks += forest_plot(rows, series, Axis("Dice on real CTs", (0, 1)), "Dice on real CTs by training")
    return section


def _ablation(found: Mapping[str, Any]) -> Section:
    begun = f" from the weights of {found['begin']} on" if found.get("begin") else ""
    section = Section(
        "ablation",
        "What each part of the design brings",
        f"The mask generator is trained without one of its parts{begun}, or sampled in other ways, with all else equal, and measured on "
        "the same cases with the same noise.",
        "A part is worth keeping where leaving it out costs more than the intervals are wide. They are over patients and do not say how "
        "much another training would differ.",
    )
    series = (
        (Series("one sketch", MADE.color, MADE.marker), ("dice_3d",)),
        (Series("two sketches", OTHER.color, OTHER.marker), ("two_sketches",)),
    )
    for caption, variants in _variants(found):
        section.blocks += _variant_table(caption, variants)
        section.blocks += forest_plot(variants, series, Axis("Dice, 3D"), f"3D Dice by variant{caption}")
    return section


_HELD = {"off": ", sampling holds nothing", "on": ", sampling holds the drawn section and a stated volume"}


def _variants(found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Caption -> (title, figures) of each variant; `found` is variant -> figures, or has the `rows` of `ablation_report`."""
    if "rows" not in found:
        return [("", [(entry.get("label", name), entry) for name, entry in found.items() if isinstance(entry, Mapping)])]
    tables = []
    for steer, caption in _HELD.items():
        rows = [row for row in found["rows"] if steer in row["steering"]]
        about = [{"parameters": row["parameters"], "steps": (row["trained"] or {}).get("steps", "-")} for row in rows]
        gains = [row["difference"].get(steer, {}).get("dice_3d") for row in rows]
        figures = [{**row["steering"][steer], "gain": gain, **own} for row, gain, own in zip(rows, gains, about, strict=True)]
        tables.append((caption, list(zip((row["title"] for row in rows), figures, strict=True))))
    return tables


_MEASURES = {
    "dice_3d": "Dice 3D",
    "gain": "Dice 3D, difference from the full model",
    "dice_plane": "Dice on the sketch plane",
    "two_sketches": "Dice 3D, two sketches",
    "volume_within_20": "volume within 20 %, text alone",
}


def _variant_table(caption: str, variants: list[tuple[str, Any]]) -> list[Table]:
    keys = [key for key in _MEASURES if any(known(entry.get(key)) for _, entry in variants)]
    rows = []
    for name, entry in variants:
        n, size = entry["dice_3d"]["n"], entry.get("parameters")
        about = [Cell("-" if size is None else number(size / 1e6, 2), key=size), Cell(str(entry.get("steps", "-")))]
        rows.append([Cell(name), Cell(str(n), key=n), *(figure(entry.get(key), n=n) for key in keys), *about])
    head = ["variant", "n", *(_MEASURES[key] for key in keys), "parameters, millions", "steps"]
    return [Table(f"Variants{caption}", head, rows)] if rows else []
