"""The sections of the page on generated CTs: HU, the given labels, texture, and sets of scans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import forest
from .ct_tables import LABELS
from .forest import MADE, REAL, Axis, Series
from .html_masks import copies
from .html_parts import Cell, Column, Section, Table, at, figure, forest_plot, known_rows, number, plot, table
from .texture import BANDS
from .tissue import TISSUES

_BESIDE = ((MADE, ("generated",)), (REAL, ("real",)))
_RATIO = Series("generated ÷ real", MADE.color, MADE.marker)


def sections(report: Mapping[str, Any]) -> list[Section]:
    """Every part on CTs that was measured."""
    makers = {"ct": _hu, "ct_kit": _kit}
    return [make(report[key]) for key, make in makers.items() if report.get(key)]


def _hu(found: Mapping[str, Any]) -> Section:
    section = Section(
        "ct",
        "HU of CTs made from true label maps",
        "A CT is generated from the contoured structures of every case, on the bundle's frame, and compared with the real CT of the case "
        "where that one was stored.",
        "The median of each structure should lie within the range of its real training voxels (0.5th to 99.5th percentile), and near the "
        "median of the same patient's real CT. The histogram figure is the share of body voxels that would have to change their 50 HU bin.",
    )
    columns = (
        Column("median within range", ("hu_median_inside",), percent=True),
        Column("median, HU", ("hu_median",), 0),
        Column("real median, HU", ("hu_median_real",), 0),
        Column("error of a patient, HU", ("hu_median_error",), 0),
    )
    rows = [(name, entry) for name, entry in found.items() if name != "overall"]
    spans = [{**entry, _RANGE: " to ".join(number(end, 0) for end in entry["hu_range"])} for _, entry in rows]
    named = zip((name for name, _ in rows), spans, strict=True)
    section.blocks += table("HU by structure, mean and 95 % interval over patients", "structure", columns, named, extra=_RANGE)
    every = found.get("overall", {})
    overall = (
        ("median within range, all structures, %", every.get("hu_median_inside"), True),
        ("histogram difference", every.get("histogram_difference"), False),
    )
    section.blocks += _few("All structures", overall)
    series = ((MADE, ("hu_median",)), (REAL, ("hu_median_real",)))
    band = ("range of real voxels", ("hu_range",))
    section.blocks += forest_plot(rows, series, Axis("HU"), "median HU by structure, generated and real", band)
    return section


_RANGE = "range of real voxels, HU"


def _few(caption: str, figures: Iterable[tuple[str, Any, bool]], digits: int = 3) -> list[Table]:
    """A table of single figures: (name, figure, whether in percent)."""
    held = [(name, entry, percent) for name, entry, percent in figures if forest.known(entry)]
    rows = [[Cell(name), Cell(str(entry["n"]), key=entry["n"]), figure(entry, digits, percent=percent)] for name, entry, percent in held]
    return [Table(caption, ["figure", "n", "mean"], rows)] if rows else []


def _kit(found: Mapping[str, Any]) -> Section:
    counts = found.get("counts", {})
    told = f"{counts['cases']} cases" if "cases" in counts else "The cases"
    if counts.get("training"):
        held = f" of {counts['training_held']}" if counts.get("training_held", counts["training"]) != counts["training"] else ""
        told += f", beside {counts['training']}{held} training scans"
    section = Section(
        "ct_kit",
        "Generated CTs beside the real CTs of the same cases",
        f"{told}. Real and generated CTs lie on the bundle's frame and are cut to what the real scan stored, so both are asked for no more "
        "than that frame can hold.",
        "Every figure of the generated CTs stands beside the same figure of the real ones: that is what to compare it with.",
    )
    for part in (_obedience, _tissues, _structures, _texture, _fid, _diversity, _neighbours):
        made = part(found)
        section.parts += [] if made.empty else [made]
    return section


def _obedience(kit: Mapping[str, Any]) -> Section:
    found = kit.get("obedience") or {}
    section = Section(
        "ct_kit-obedience",
        "Does a CT obey its label map?",
        "A segmenter that was trained on real CTs segments the generated one; its Dice to the label map that the CT was made from stands "
        "beside the same segmenter's Dice on the real CT of the case.",
        "A ratio of 1 means that structures are seen in generated CTs as well as in real ones. Above 1, they are easier to see than real "
        "ones.",
    )
    section.blocks += table("The segmenter's Dice", "structure", _sides(3), found.items())
    section.blocks += forest_plot(found.items(), _BESIDE, Axis("the segmenter's Dice", (0, 1)), "the segmenter's Dice by structure")
    about = kit.get("segmenter") or {}
    if found and about:
        told = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in about.items() if key != "sha256")
        section.notes.append(f"Segmenter {str(about.get('sha256', ''))[:16]}: {told}.")
    return section


def _short(value: Any) -> str:
    """A setting as text; of long lists the length."""
    if isinstance(value, (list, tuple)):
        return " x ".join(str(entry) for entry in value) if len(value) <= 4 else str(len(value))
    return str(value)


def _sides(digits: int) -> tuple[Column, ...]:
    return (Column("generated", ("generated",), digits), Column("real", ("real",), digits), Column("generated ÷ real", ("ratio",)))


def _tissues(kit: Mapping[str, Any]) -> Section:
    found = at(kit, ("tissue", "tissues")) or {}
    section = Section(
        "ct_kit-tissue",
        "HU by tissue",
        "Air, fat, muscle and bone are told apart by their HU within the body; a peak is the highest of the body's histogram within the "
        "tissue's range.",
        "Fat usually peaks near -100 HU and muscle near 50 HU. A tissue without a peak has been blurred into its "
        "neighbours, which coarse voxels do to real CTs, too.",
    )
    parts = (("share of the body", "share", 0, True), ("median, HU", "median", 0, False), ("peak, HU", "peak", 0, False))
    columns = [
        Column(head + (", real" if side == "real" else ""), (key, side), digits, percent)
        for head, key, digits, percent in (*parts, ("CTs with a peak", "has_peak", 0, True))
        for side in ("generated", "real")
    ]
    named = [(f"{name}, {low:.0f} to {high:.0f} HU", found[name]) for name, (low, high) in TISSUES.items() if name in found]
    section.blocks += table("Tissues of the body", "tissue", columns, named)
    return section


def _structures(kit: Mapping[str, Any]) -> Section:
    found = at(kit, ("tissue", "structures")) or {}
    section = Section(
        "ct_kit-structures",
        "Spread of HU within structures",
        "Median and interquartile range of the HU inside every given structure.",
        "A range far below the real one means that structures are painted too evenly, far above it, that they are too mixed.",
    )
    columns = (
        Column("median, HU", ("median", "generated"), 0),
        Column("median, real", ("median", "real"), 0),
        Column("error of a patient, HU", ("median", "error"), 0),
        Column("interquartile range, HU", ("spread", "generated"), 0),
        Column("range, real", ("spread", "real"), 0),
        Column("range, generated ÷ real", ("spread", "ratio"), 2),
    )
    section.blocks += table("HU inside the structures", "structure", columns, found.items())
    return section


def _texture(kit: Mapping[str, Any]) -> Section:
    section = Section(
        "ct_kit-texture",
        "Noise, sharpness and continuity",
        "Noise is taken from axial patches of even soft tissue, sharpness from profiles across the border of skin and bones, continuity "
        "from neighbouring axial slices.",
        "A ratio of 1 is like the real CT. Noise power that is too low at high frequencies means smeared texture, borders that are too "
        "wide mean blur, and a largest step far above the real one means a slice that does not fit its neighbours.",
    )
    entries = {name: entry for group in ("noise", "edges", "continuity") for name, entry in (kit.get(group) or {}).items()}
    rows = []
    for name, entry in known_rows(entries, ("generated", "real")):
        text, digits = LABELS.get(name, (name, 3))
        n = max(entry[side]["n"] for side in ("generated", "real"))
        sides = [figure(entry[side], digits, n=n) for side in ("generated", "real")]
        rows.append([Cell(text), Cell(str(n), key=n), *sides, figure(entry.get("ratio"), n=n)])
    section.blocks += [Table("Figures of texture", ["figure", "n", "generated", "real", "generated ÷ real"], rows)] if rows else []
    ratios = [(LABELS.get(name, (name, 3))[0].split(", HU")[0], entry) for name, entry in entries.items() if name != "patches"]
    section.blocks += forest_plot(
        ratios, ((_RATIO, ("ratio",)),), Axis("generated ÷ real", mark=1, log=True), "figures of texture, generated ÷ real"
    )
    noise = kit.get("noise") or {}
    bands = [(f"nps_{n}", (n + 1) / BANDS) for n in range(BANDS)]
    if any(forest.known(at(noise, (key, side))) for key, _ in bands for side in ("generated", "real")):
        alt = "Plot of the noise power of generated and real CTs at four spatial frequencies. The numbers stand in the table."
        caption = "Noise power spectrum of soft tissue. Marks are means, lines 95 % intervals."
        section.blocks.append(plot(forest.spectrum(noise, bands), alt, caption))
    return section


def _fid(kit: Mapping[str, Any]) -> Section:
    found = kit.get("fid") or {}
    section = Section(
        "ct_kit-fid",
        "Fréchet distance to the training scans",
        f"Features: {found.get('features', 'not told')}. Generated CTs and, as the floor, the real CTs of the same patients are each held "
        "against the training scans, plane by plane.",
        "The ratio to the floor says how much farther generated CTs lie than real, unseen ones; 1 is as near as real. The values "
        "themselves depend on the features and are not to be compared with those of other features.",
    )
    planes = {name: entry for name, entry in found.items() if isinstance(entry, Mapping)}
    slabs = "vectors: generated / real / training"
    rows = [(name, {**entry, slabs: " / ".join(map(str, entry["slabs"])) if "slabs" in entry else "-"}) for name, entry in planes.items()]
    columns = (
        Column("generated", ("generated",)),
        Column("floor: real, the same patients", ("floor",)),
        Column("generated ÷ floor", ("ratio",), 2),
    )
    section.blocks += table("Fréchet distance", "plane", columns, rows, extra=slabs)
    floor = Series("floor: real", REAL.color, REAL.marker)
    series = ((MADE, ("generated",)), (floor, ("floor",)))
    section.blocks += forest_plot(rows, series, Axis("Fréchet distance", (0, None)), "Fréchet distance by plane")
    return section


def _diversity(kit: Mapping[str, Any]) -> Section:
    found, samples = kit.get("diversity") or {}, at(kit, ("counts", "samples")) or "Several"
    section = Section(
        "ct_kit-diversity",
        "Do CTs differ?",
        "Multi-scale structural similarity of pairs of CTs: of one label map under several seeds, and of two patients each.",
        "1 means that nothing varies. Generated CTs of two patients should be as alike as two patients' real CTs are, not more.",
    )
    figures = (
        (f"{samples} CTs of one label map", found.get("one_mask"), False),
        ("generated CTs of two patients", found.get("patients"), False),
        ("real CTs of two patients", found.get("patients_real"), False),
    )
    section.blocks += _few("MS-SSIM of pairs", figures)
    return section


def _neighbours(kit: Mapping[str, Any]) -> Section:
    found = kit.get("neighbours") or {}
    section = Section(
        "ct_kit-neighbours",
        "Is a CT a copy of a training scan?",
        "The distance of every generated CT to its nearest training scan (1 - correlation), beside that of the same patient's real CT.",
        "A ratio of 1 means that generated CTs lie as far from the training scans as unseen patients do. A smooth CT resembles everybody a "
        "little more, which lowers the ratio without any copying; then the contrast, nearest over median distance, stays that of real CTs. "
        "A copy is a CT nearer than half the smallest distance of any real one.",
    )
    contrast = found.get("contrast", {})
    rows = [("distance", found), ("contrast: nearest over median distance", contrast)]
    section.blocks += table("Nearest training scan", "figure", _sides(3), rows) if found else []
    section.notes += copies(found["copies"]) if found else []
    return section
