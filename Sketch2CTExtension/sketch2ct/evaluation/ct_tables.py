"""The figures of generated CTs as tables of a report, in Markdown."""

from __future__ import annotations

from typing import Any

from .tables import cell, rows, spoken

LABELS = {
    "patches": ("patches of even soft tissue that noise is taken from", 0),
    "noise_sd": ("noise in soft tissue, HU", 1),
    "nps_0": ("noise power at a quarter of the Nyquist frequency, HU² mm²", 0),
    "nps_1": ("noise power at half of it", 0),
    "nps_2": ("noise power at three quarters", 0),
    "nps_3": ("noise power at all of it", 0),
    "skin_width_mm": ("skin, 10-90 % width, mm", 2),
    "skin_hu_per_mm": ("skin, steepness, HU/mm", 1),
    "bone_width_mm": ("bone, 10-90 % width, mm", 2),
    "bone_hu_per_mm": ("bone, steepness, HU/mm", 1),
    "z_correlation": ("correlation of neighbouring axial slices", 3),
    "z_step_hu": ("mean step between them, HU", 1),
    "z_worst_step": ("largest step over the median one", 2),
    "z_to_plane": ("step across slices over step within them", 3),
}
_SIDES = ["generated", "real", "generated ÷ real"]


def sections(report_: dict[str, Any]) -> list[str]:
    """What a report tells of CTs, with a heading of the second level; nothing where it tells nothing."""
    lines = report(report_["ct_kit"], report_["usefulness"], report_["ct"])
    return ["", "## CT from the true labels", "", *lines] if lines else []


def report(summary: dict[str, Any], worth: dict[str, Any] | None = None, hu: dict[str, Any] | None = None) -> list[str]:
    """The lines of every table, with headings of the third level; `summary` as `ct_kit.measure_ct` gives it, `worth` as
    `usefulness.measure_usefulness`, `hu` as `ct.summarise`. What was not measured is left out."""
    counts = summary.get("counts")
    lines = _counted(counts) if counts else []
    hu, parts = hu or {}, []
    if counts:
        parts = [
            ("HU by structure and tissue", [*_structures(summary["tissue"]["structures"], hu), *_tissues(summary["tissue"]["tissues"])]),
            ("The segmenter's Dice to the given label map", _obedience(summary["obedience"]) + _segmenter(summary["segmenter"])),
            ("Noise, sharpness, continuity", _texture(summary)),
            ("Fréchet distance to the training scans", _fid(summary["fid"])),
            ("Diversity (MS-SSIM; 1: nothing varies)", _diversity(summary["diversity"], counts)),
            ("Nearest training scan (1 - correlation)", _neighbours(summary["neighbours"])),
        ]
    parts.append(("A segmenter trained on synthetic scans, tested on real ones", _quoted(worth) if worth else []))
    for head, table in parts:
        lines += ["", f"### {head}", "", *table] if table else []
    return lines


def _counted(counts: dict[str, Any]) -> list[str]:
    compared = f", {counts['training']} of {counts['training_held']} training scans to compare with" if counts["training"] else ""
    return [
        f"{counts['cases']} cases{compared}, seed {counts['seed']}. Real and generated CTs lie",
        "on the bundle's frame, cut to what the real scan stored. Mean with 95 % interval over patients.",
    ]


def _beside(label: str, entry: dict[str, Any], digits: int) -> list[str]:
    return [label, cell(entry["generated"], digits), cell(entry["real"], digits), cell(entry.get("ratio"), 3)]


def _obedience(found: dict[str, Any]) -> list[str]:
    body = [[*_beside(spoken(name), entry, 3), str(entry["ratio"]["n"])] for name, entry in found.items()]
    return rows(["structure", *_SIDES, "n"], body)


def _segmenter(about: dict[str, Any]) -> list[str]:
    told = ", ".join(f"{key} {value}" for key, value in about.items() if key != "sha256")
    return ["", f"Segmenter {str(about.get('sha256', ''))[:16]}: {told}."] if about else []


def _tissues(found: dict[str, Any]) -> list[str]:
    body = []
    for name, entry in found.items():
        share, peak, held = entry["share"], entry["peak"], entry["has_peak"]
        figures = ((share, 3), (entry["median"], 0), (peak, 0), (held, 2))
        body.append([name, *(cell(figure[side], digits) for figure, digits in figures for side in ("generated", "real"))])
    parts = ("share of the body", "median, HU", "peak of the histogram, HU", "CTs with a peak")
    return rows(["tissue", *(head for part in parts for head in (part, "real"))], body)


def _structures(found: dict[str, Any], hu: dict[str, Any]) -> list[str]:
    """HU of each structure; the share within the training voxels' range where the bundle knows it."""
    body = []
    for name, entry in found.items():
        middle, spread, own = entry["median"], entry["spread"], hu.get(name, {})
        low, high = own.get("hu_range", (None, None))
        cells = [cell(own.get("hu_median_inside"), 2), "-" if low is None else f"{low:.0f} to {high:.0f}"]
        cells += [cell(middle["generated"], 0), cell(middle["real"], 0), cell(middle["error"], 0)]
        body.append([spoken(name), *cells, cell(spread["generated"], 0), cell(spread["real"], 0), cell(spread["ratio"], 2)])
    head = ["structure", "median within range", "range of real voxels, HU", "median, HU", "real", "error of a patient, HU"]
    lines = rows([*head, "interquartile range, HU", "real", "generated ÷ real"], body)
    if "overall" in hu:
        inside, difference = cell(hu["overall"]["hu_median_inside"]), cell(hu["overall"]["histogram_difference"])
        lines += ["", f"Medians within range, mean of the structures: {inside}."]
        lines += [f"Share of body voxels in another 50 HU bin of the histogram than in the real CT: {difference}."]
    return [*lines, ""]


def _texture(summary: dict[str, Any]) -> list[str]:
    entries = [(name, entry) for group in ("noise", "edges", "continuity") for name, entry in summary[group].items()]
    body = [[*_beside(LABELS[name][0], entry, LABELS[name][1]), str(entry["ratio"]["n"])] for name, entry in entries]
    return rows(["figure", *_SIDES, "n with both"], body)


def _fid(found: dict[str, Any]) -> list[str]:
    body = []
    for plane, entry in found.items():
        if isinstance(entry, dict):
            slabs = " / ".join(str(n) for n in entry["slabs"]) if "slabs" in entry else ""
            body.append([plane, cell(entry["generated"]), cell(entry["floor"]), cell(entry["ratio"], 2), slabs])
    head = ["plane", "generated", "real, the same patients (floor)", "generated ÷ floor", "vectors: generated / real / training"]
    return [*rows(head, body), "", f"Features: {found['features']}. Not to be compared with other features' values."] if body else []


def _diversity(found: dict[str, Any], counts: dict[str, Any]) -> list[str]:
    body = [
        [f"{counts['samples']} CTs of one label map", cell(found["one_mask"]), "-"],
        ["CTs of two patients", cell(found["patients"]), cell(found["patients_real"])],
    ]
    return rows(["pairs", "generated", "real"], body)


def _neighbours(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    contrast = found["contrast"]
    body = [
        ["distance", cell(found["generated"]), cell(found["real"]), cell(found["ratio"])],
        ["nearest over median distance", cell(contrast["generated"]), cell(contrast["real"]), "-"],
    ]
    copies = ", ".join(f"{entry['case']} (of {entry['training']})" for entry in found["copies"]) or "none"
    return [*rows(["figure", *_SIDES], body), "", f"Copies (nearer than {found['copy_limit']}): {copies}."]


def _quoted(worth: dict[str, Any]) -> list[str]:
    command = worth["about"].get("command")
    return [*([f"`{command}`", ""] if command else []), *usefulness(worth)]


def usefulness(found: dict[str, Any]) -> list[str]:
    """The table of a measured usefulness, and how it was measured."""
    keys = ("real", "synthetic", "both", "synthetic_to_real", "both_to_real")
    about, named = found["about"], [name for name in found if name != "about"]
    body = [[spoken(name), *(cell(found[name][key]) for key in keys), str(found[name]["real"]["n"])] for name in named]
    told = (
        f"Dice on {about['cases']} real cases of {about['split']}. Each segmenter was trained for {about['steps']} steps; "
        f"synthetic CTs of each of {about['training_cases']} training label maps: {about['samples']}; seed {about['seed']}."
    )
    return [*rows(["structure", "real", "synthetic", "both", "synthetic ÷ real", "both ÷ real", "n"], body), "", told] if body else []
