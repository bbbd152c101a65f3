"""The figures of conditions, obedience, plausibility, diversity and neighbours as tables of a report, in Markdown."""

from __future__ import annotations

from typing import Any

from .tables import cell, rows, spoken

CONDITIONS = {
    "axial": "largest axial section",
    "non_axial": "largest coronal or sagittal section",
    "two_sketches": "two sketches on two planes",
    "sketch_only": "sketch alone",
    "text_only": "description alone, moved onto the truth's centroid",
    "hand_1": "a careful hand (1)",
    "hand_2": "a hurried hand (2)",
    "hand_3": "a hasty hand (3)",
}
REQUESTS = {
    "sketch_and_text": "sketch and full description",
    "sketch_only": "sketch alone",
    "name_only": "its name alone",
    "patients": "no request: real patients",
}
CHECKS = {
    "volume": "volume",
    "facts": "all facts",
    "position": "position to the other structures",
    "beyond_sketch": "middle beyond the sketch's plane",
    "components": "pieces",
}
FACTS = {
    "volume_ml": "volume",
    "extent_lr_mm": "width, left to right",
    "extent_ap_mm": "depth, front to back",
    "extent_cc_mm": "height",
    "length_mm": "length of the main axis",
    "centreline_mm": "length of the centreline",
    "thickness_mm": "thickness",
    "tilt_deg": "tilt",
}
MEAN = "mean_of_five"


def sections(report: dict[str, Any]) -> list[str]:
    """Every part that was measured, with headings of the second level."""
    made = (
        ("The same masks from other requests", _conditions, "conditions"),
        ("Words and numbers, one at a time, from text alone", _obedience, "obedience"),
        ("Plausibility: the share within the 2.5th to 97.5th percentile of the training cases", _plausibility, "plausibility"),
        ("One request, several seeds", _diversity, "diversity"),
        ("Nearest training mask (1 - Dice, centroids on one another)", _neighbours, "neighbours"),
    )
    lines: list[str] = []
    for head, table, key in made:
        if report.get(key):
            lines += ["", f"## {head}", "", *table(report[key], report)]
    return lines


def _conditions(found: dict[str, Any], report: dict[str, Any]) -> list[str]:
    keys = (("dice_3d", 3), ("dice_plane", 3), ("surface_dice_3mm", 3), ("hd95_mm", 1), ("volume_error", 3))
    first = report["masks"].get(MEAN)
    body = [["one sketch, largest section, full description", *(cell(first.get(key), n) for key, n in keys), "-"]] if first else []
    for name, entry in found.items():
        if MEAN in entry:
            own = entry[MEAN]
            body.append([CONDITIONS[name], *(cell(own[key], n) for key, n in keys), cell(own["dice_3d_gain"])])
    head = ["mean of five structures", "Dice 3D", "Dice on the sketch planes", "surface Dice, 3 mm", "HD95, mm", "volume error"]
    lines = rows([*head, "Dice 3D, gain over the first"], body)
    names = [name for name in report["masks"] if name != MEAN]
    table = [[spoken(name), *(cell(entry[name]["dice_3d"]) if name in entry else "-" for entry in found.values())] for name in names]
    return [*lines, "", "Dice 3D by structure:", "", *rows(["structure", *(CONDITIONS[name] for name in found)], table)]


def _obedience(found: dict[str, Any], report: dict[str, Any]) -> list[str]:
    words, numbers = found["words"], found["numbers"]
    keys = ("followed", "side", "moved")
    body = [["all", *(cell(group[key], 2) for group in (words, numbers) for key in keys)]]
    for fact in dict.fromkeys((*words["by_fact"], *numbers["by_fact"])):
        found_of = [group["by_fact"].get(fact, {}) for group in (words, numbers)]
        body.append([FACTS.get(fact, fact), *(cell(entry.get(key), 2) for entry in found_of for key in keys)])
    for name in words["by_structure"]:
        body.append([spoken(name), *(cell(group["by_structure"].get(name, {}).get(key), 2) for group in (words, numbers) for key in keys)])
    head = ["fact or structure", "words followed", "on the asked side of the median", "measured ÷ asked change"]
    head += ["numbers followed", "within 20 % (10 degrees)", "measured ÷ asked change"]
    share = f"Share followed, each fact of each structure weighing the same: {cell(found['share_followed'])}."
    told = "Followed: of a pair of texts that differs in one word or number, the higher one measures more. Intervals are over pairs."
    return [*rows(head, body), "", share, told]


def _plausibility(found: dict[str, Any], report: dict[str, Any]) -> list[str]:
    body = []
    for name, entry in found.items():
        cells = [f"{cell(entry[key]['generated'], 2)} / {cell(entry[key]['real'], 2)}" for key in CHECKS]
        body.append([spoken(name), *cells])
    return rows(["structure, generated / real", *CHECKS.values()], body)


def _diversity(found: dict[str, Any], report: dict[str, Any]) -> list[str]:
    body = [
        [REQUESTS[request], spoken(name), cell(own["pairwise_dice"]), cell(own["volume_cv"])]
        for request, entry in found.items()
        for name, own in entry.items()
    ]
    return rows(["request", "structure", "pairwise Dice (1: nothing varies)", "volume, coefficient of variation"], body)


def _neighbours(found: dict[str, Any], report: dict[str, Any]) -> list[str]:
    body = []
    for name, own in found.items():
        contrast = own["contrast"]
        cells = [cell(own[key]) for key in ("generated", "real", "ratio", "ratio_smooth")]
        body.append([spoken(name), *cells, cell(contrast["generated"]), cell(contrast["real"]), str(len(own["copies"]))])
    head = ["structure", "generated", "real, the same patients", "generated ÷ real (1: no memorising)", "the same, all smoothed"]
    return rows([*head, "nearest ÷ median distance, generated", "real", "copies"], body)
