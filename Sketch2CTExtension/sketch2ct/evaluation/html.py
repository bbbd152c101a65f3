"""The report as one HTML page that opens anywhere: no network, no script needed to read it, pictures inside.

`report.html.jinja` is the page; what it shows is put together here from the keys of `report.json` (see `report`). A part that was not
measured leaves no trace but a line under what was left out. The same report gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import glossary, html_ct, html_masks, html_regions, html_worth
from .html_masks import whole
from .html_parts import Cell, Picture, Section, Table, at, figure, label
from .parts import PARTS

NAME = "report.html"
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_RESEARCH = "Masks and CTs made by this bundle are for research and teaching. They are not for diagnosis or treatment."
_PATIENTS = (
    "The sheets of slices on this page show CT scans of patients. Hand the page on only to those who may see them, and publish it only "
    "where the terms of the data allow it."
)
# Picture -> its section, what it shows, and whether it shows patients
_PICTURES = {
    "dice": ("masks", "Box plots of the 3D Dice of every mask, by structure, beside those of the baselines.", False),
    "masks": (
        "masks",
        "Slices of real CTs (window -500 to 1000 HU) with the contour (green), the generated mask (orange) and the sketch (yellow): the "
        "worst, the median and the best mask of each structure, on the sketch's plane and on one across it.",
        True,
    ),
    "conditions": ("conditions", "Box plots of the 3D Dice of every mask, by request.", False),
    "obedience": ("obedience", "The share of pairs followed, in per cent, by fact (rows) and structure (columns).", False),
}
_SHEETS = "ct-"  # of one case each


@dataclass(frozen=True)
class Tile:
    """A key figure: its name, mean and interval, and how to read it in a few words."""

    name: str
    cell: Cell
    n: int
    hint: str
    unit: str = ""


def write_html(report: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a report to its folder, in which the pictures that it names lie."""
    path = Path(out) / NAME
    path.write_text(page(report, Path(out)), encoding="utf-8", newline="\n")
    return path


def page(report: Mapping[str, Any], out: Path) -> str:
    """The page as text; `out` is the folder of the pictures."""
    pictures, missing = _pictures(report, out)
    made = (*html_masks.sections(report), *html_ct.sections(report), *html_regions.sections(report), *html_worth.sections(report))
    sections = [section for section in made if not section.empty]
    for section in sections:
        section.blocks += pictures.pop(section.key, [])
    if pictures:
        rest = [picture for own in pictures.values() for picture in own]
        sections.append(Section("pictures", "Further pictures", "Pictures of the report that belong to no part above.", blocks=[*rest]))
    warnings = [_PATIENTS] if any(isinstance(b, Picture) and b.sheet for s in sections for b in s.blocks) else []
    return _PAGES.get_template("report.html.jinja").render(
        title=f"{report['bundle']['name']}: evaluation on {_count(report['cases'], 'case')}",
        about=_about(report),
        command=report["command"],
        warnings=[*warnings, _RESEARCH],
        tiles=_tiles(report),
        sections=sections,
        left_out=[*_not_asked(report), *report.get("left_out", []), *missing],
        terms=glossary.terms([part.key for section in sections for part in (section, *section.parts)]),
        times=_times(report),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _about(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The head of the page: what was measured, and on what."""
    bundle, hardware = report["bundle"], report.get("hardware", {})
    versions = {**{k: v for k, v in hardware.items() if k not in ("device", "cpus")}, **report.get("versions", {})}
    device = ", ".join([str(hardware.get("device", "unknown")), *([f"{hardware['cpus']} CPU cores"] if hardware.get("cpus") else [])])
    hand = report.get("hand")
    drawn = f"by a hand of strength {hand:g}" if hand else "exact outlines"
    return [
        ("Bundle", bundle["name"]),
        ("Digest", bundle["digest"]),
        ("Cases", str(report["cases"])),
        ("Sketches", f"{drawn}, {_count(report.get('samples', 1), 'mask')} of each"),
        ("Parts", ", ".join(report.get("parts", []))),
        ("Seed", str(report["seed"])),
        ("Hardware", device),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Figures", "mean and 95 % bootstrap interval, over patients unless said otherwise"),
    ]


def _tiles(report: Mapping[str, Any]) -> list[Tile]:
    """The key figures, of which only those that were measured."""
    name, first = whole(report.get("masks") or {})
    name = label(name)
    nearer = "1: as far from the training cases as unseen patients are"
    figures = (
        (f"3D Dice, {name}", at(first, ("dice_3d",)), 3, False, "one sketch and full description; 1 is perfect"),
        ("Dice on the sketch plane", at(first, ("dice_plane",)), 3, False, f"{name}; 1 is perfect"),
        ("Words and numbers followed", at(report, ("obedience", "share_followed")), 1, True, "from text alone; 50 % by chance"),
        ("CT obeys mask", at(report, ("ct_kit", "obedience", "overall", "ratio")), 3, False, "segmenter's Dice on generated ÷ on real CTs"),
        ("HU medians within range", at(report, ("ct", "overall", "hu_median_inside")), 1, True, "of the structure's training voxels"),
        ("Fréchet distance ratio", at(report, ("ct_kit", "fid", "mean", "ratio")), 2, False, "generated ÷ real, unseen CTs; 1 is as real"),
        ("Distance to training masks", at(report, ("neighbours", "overall", "ratio")), 3, False, f"generated ÷ real; {nearer}"),
        ("Distance to training scans", at(report, ("ct_kit", "neighbours", "ratio")), 3, False, f"generated ÷ real; {nearer}"),
        ("Trained on generated CTs", at(report, ("usefulness", "overall", "synthetic_to_real")), 3, False, "Dice ÷ trained on real CTs"),
        ("Trained on both", at(report, ("usefulness", "overall", "both_to_real")), 3, False, "Dice ÷ trained on real CTs"),
    )
    return [
        Tile(title, figure(entry, digits, percent=percent), entry["n"], hint, " %" if percent else "")
        for title, entry, digits, percent, hint in figures
        if entry and entry["mean"] is not None
    ]


def _pictures(report: Mapping[str, Any], out: Path) -> tuple[dict[str, list[Picture]], list[str]]:
    """Section -> its pictures; and a line for every one that the folder does not hold."""
    found: dict[str, list[Picture]] = {}
    missing = []
    for name in report.get("figures", []):
        path = (out / name).resolve()
        if path.suffix != ".png" or not path.is_relative_to(out.resolve()) or not path.is_file():
            missing.append(f"Picture {name}: the folder of the report does not hold it.")
            continue
        section, alt, sheet = _PICTURES.get(path.stem, ("pictures", path.stem, True))
        if path.stem.startswith(_SHEETS):
            case = path.stem.removeprefix(_SHEETS)
            section, alt = (
                "ct",
                f"Case {case}: slices of the real CT, of the CT generated from its labels, and of the labels, on three planes.",
            )
        source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        found.setdefault(section, []).append(Picture(source, alt, alt, sheet))
    return found, missing


def _not_asked(report: Mapping[str, Any]) -> list[str]:
    """What this evaluation has not, and what would have measured it."""
    missing = [part for part in PARTS if part not in report.get("parts", PARTS)]
    told = [f"Not asked for: {', '.join(missing)}. They can be named with --parts, or all with --parts all."] if missing else []
    if report.get("ct_kit") and not report["ct_kit"].get("obedience"):
        told.append("Whether CTs obey their label map: no trained segmenter was named (--segmenter).")
    if report.get("ct_kit") and "realism" not in missing and not report["ct_kit"].get("fid"):
        told.append(
            "The Fréchet distance: no training scans, or no network was named to take features from (--segmenter or --fid-weights)."
        )
    if "ct" not in missing and not report.get("usefulness"):
        told.append("What generated CTs are worth for training: 'sketch2ct usefulness' measures it, --usefulness quotes it.")
    return told


def _times(report: Mapping[str, Any]) -> Table:
    """How long the evaluation took."""
    seconds = report.get("seconds", {})
    means = [("a mask", seconds.get("mask")), ("a CT", seconds.get("ct"))]
    rows = [(f"mean of {name}", value) for name, value in means if value is not None]
    rows += [(f"part {name}", value) for name, value in seconds.get("parts", {}).items()]
    rows += [("in all", seconds["total"])] if "total" in seconds else []
    body = [[Cell(name), Cell(f"{value:.2f}", key=value)] for name, value in rows]
    return Table("How long it took", ["what", "seconds"], body)
