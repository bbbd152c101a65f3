"""The sections of the page on masks: truth and baselines, other requests, the text, plausibility, several seeds, training masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .forest import FOURTH, MADE, OTHER, REAL, Axis, Series
from .html_parts import MEAN, Cell, Column, Section, Table, figure, forest_plot, label, table
from .mask_tables import CHECKS, CONDITIONS, FACTS, REQUESTS

_SHARE = Axis("Dice", (0, 1))
_BESIDE = ((MADE, ("generated",)), (REAL, ("real",)))
_METRICS = (
    Column("Dice 3D", ("dice_3d",)),
    Column("Dice on the sketch plane", ("dice_plane",)),
    Column("Dice with the sketch", ("dice_sketch",)),
    Column("surface Dice, 3 mm", ("surface_dice_3mm",)),
    Column("HD95, mm", ("hd95_mm",), 1),
    Column("volume error", ("volume_error",), percent=True),
    Column("pieces", ("components",), 2),
)
_BASELINES = (Column("retrieval: Dice 3D", ("retrieval_dice_3d",)), Column("mean shape: Dice 3D", ("mean_shape_dice_3d",)))


def sections(report: Mapping[str, Any]) -> list[Section]:
    """Every part on masks that was measured."""
    makers = {
        "masks": _masks,
        "conditions": _conditions,
        "probes": _probes,
        "obedience": _obedience,
        "plausibility": _plausibility,
        "diversity": _diversity,
        "neighbours": _neighbours,
    }
    return [make(report[key], report) for key, make in makers.items() if report.get(key)]


def whole(entry: Mapping[str, Any]) -> tuple[str, Any]:
    """The row that stands for all of them: the mean of five, or the only structure that there is; else ("", None)."""
    names = [MEAN] if MEAN in entry else [name for name in entry if name != "overall"]
    return (names[0], entry[names[0]]) if len(names) == 1 else ("", None)


def _masks(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    drawn = f"by a hand of strength {report['hand']:g}" if report.get("hand") else "with its exact outline"
    section = Section(
        "masks",
        "Masks from one sketch and the full description",
        f"Every contoured structure of every case is sketched on its largest section ({drawn}) and described in words and numbers that "
        "were measured on it; a mask is generated from sketch and description and held against the contour.",
        "Dice is 1 for the same mask and 0 without overlap. Two ways without any learning stand beside it: the training mask that fits "
        "the sketch best (retrieval), and the mean training shape, both moved and scaled to the sketch. Where the whole interval lies "
        "above theirs, the generator knows more than a look-up would.",
    )
    columns = (*_METRICS, *_BASELINES)
    section.blocks += table("Masks as generated, mean and 95 % interval over patients", "structure", columns, found.items())
    clean = [(name, entry["clean"]) for name, entry in found.items() if "clean" in entry]
    section.blocks += table("The same masks after clean-up (the largest piece kept)", "structure", _METRICS, clean)
    series = (
        (Series("this bundle", MADE.color, MADE.marker), ("dice_3d",)),
        (Series("retrieval", OTHER.color, OTHER.marker), ("retrieval_dice_3d",)),
        (Series("mean shape", FOURTH.color, FOURTH.marker), ("mean_shape_dice_3d",)),
    )
    section.blocks += forest_plot(found.items(), series, _SHARE, "3D Dice by structure")
    return section


def _conditions(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "conditions",
        "The same masks from other requests",
        "The masks are asked for again: from other planes, with a second sketch, from the sketch or the description alone, and with "
        "sketches that waver as a person's do. Each starts from the noise that the first mask started from.",
        "The gain is the 3D Dice less that of the same patient's mask from one sketch and the full description. Words say nothing of where "
        "a structure lies, so the masks from the description alone are moved onto the contour's centroid before they are measured.",
    )
    name, first = whole(report["masks"])
    columns = (*(column for column in _METRICS if column.path != ("dice_sketch",)), Column("Dice 3D, gain", ("dice_3d_gain",)))
    rows = [("one sketch, largest section, full description", first)] if first else []
    rows += [(CONDITIONS.get(key, key), entry[name]) for key, entry in found.items() if name in entry]
    section.blocks += table(f"By request: {label(name)}", "request", columns, rows)
    section.blocks += _crossed(found, report)
    section.blocks += forest_plot(rows, ((MADE, ("dice_3d",)),), _SHARE, f"3D Dice by request, {label(name)}")
    return section


def _crossed(found: Mapping[str, Any], report: Mapping[str, Any]) -> list[Table]:
    """The 3D Dice of each structure (rows) from each request (columns)."""
    columns = [Column(CONDITIONS.get(key, key), (key, "dice_3d")) for key in found]
    names = [name for name in report["masks"] if name != MEAN]
    rows = [(name, {key: entry.get(name) for key, entry in found.items()}) for name in names]
    return table("3D Dice by structure and request", "structure", columns, rows)


def _probes(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "probes",
        "Volumes and sizes in words",
        "From text alone: masks of a volume named in mL, between the 10th and the 90th training percentile, and pairs of a small and a "
        "large structure from the same noise. With sketch and description: the masks above.",
        "A volume counts when it lies within 20 % of the one asked for. Pieces are counted before clean-up.",
    )
    columns = (
        Column("asked volume met, text only", ("volume_within_20", "text_only"), percent=True),
        Column("true volume met, sketch and text", ("volume_within_20", "with_sketch"), percent=True),
        Column("large is larger than small", ("small_large_obeyed",), percent=True),
        Column("in one piece", ("one_component",), percent=True),
    )
    rows = [*found.get("by_structure", {}).items(), ("all", found)]
    section.blocks += table("Share of masks", "structure", columns, rows)
    return section


def _obedience(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "obedience",
        "Is every word and number followed?",
        "From text alone, one fact at a time: two texts differ in one word (narrow, wide) or one number (the 10th and the 90th training "
        "percentile) and start from the same noise. The pair is followed when the mask that was asked to be more measures more.",
        "By chance, half of the pairs would be followed. 'Asked side' is the share of masks on the asked side of the training median "
        "(numbers: within 20 % or 10 degrees of the number); measured ÷ asked is how much of the asked change was made, 1 being all of it. "
        "Intervals are over pairs; in the share over facts every fact of every structure weighs the same.",
    )
    groups = {kind: found[kind] for kind in ("words", "numbers") if found.get(kind)}
    columns = [
        column
        for kind in groups
        for column in (
            Column(f"{kind} followed", (kind, "followed"), percent=True),
            Column("on the asked side" if kind == "words" else "near the number", (kind, "side"), percent=True),
            Column("measured ÷ asked change", (kind, "moved"), 2),
        )
    ]
    if found.get("share_followed"):
        section.blocks.append(Table("Over facts", ["figure", "n", "share followed, %"], [_share_row(found)]))
    for key, first in (("by_fact", "fact"), ("by_structure", "structure")):
        names = dict.fromkeys(name for group in groups.values() for name in group[key])
        rows: list[tuple[str, Any]] = [
            (FACTS.get(name, name), {kind: group[key].get(name) for kind, group in groups.items()}) for name in names
        ]
        section.blocks += table(f"Pairs by {first}", first, columns, [*rows, ("all", groups)])
    return section


def _share_row(found: Mapping[str, Any]) -> list[Cell]:
    share = found["share_followed"]
    return [Cell("all facts of all structures"), Cell(str(share["n"]), key=share["n"]), figure(share, percent=True)]


def _plausibility(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "plausibility",
        "Would the masks stand out among patients?",
        "Volume, measured facts, position to the case's other structures, reach beyond the sketch's plane and number of pieces of every "
        "mask are held against the 2.5th to 97.5th percentile of the training cases. The real mask of each case is judged alike.",
        "Shares within those percentiles: real masks of unseen patients reach about 95 %, and a generator should reach what they do.",
    )
    for side, whose in (("generated", "generated masks"), ("real", "the real masks of the same cases")):
        columns = [Column(text, (key, side), percent=True) for key, text in CHECKS.items()]
        section.blocks += table(f"Share within the training percentiles: {whose}", "structure", columns, found.items())
    rows = [(text, found.get("overall", {}).get(key)) for key, text in CHECKS.items()]
    section.blocks += forest_plot(rows, _BESIDE, Axis("share within the percentiles", (0, 1)), "plausible masks by check, all structures")
    return section


def _diversity(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "diversity",
        "One request, several seeds",
        "Each request is answered under several seeds, and the masks are compared in pairs. Real patients stand beside them, with their "
        "centroids on one another, as do masks that only a name asked for.",
        "A pairwise Dice of 1 and a variation of 0 mean that the seed changes nothing. The more a request says, the less should vary; "
        "masks from a name alone should vary as patients do.",
    )
    names = dict.fromkeys(name for entry in found.values() for name in entry)
    turned = [(name, {request: entry.get(name) for request, entry in found.items()}) for name in names]
    for key, caption in (("pairwise_dice", "Pairwise Dice"), ("volume_cv", "Volume: coefficient of variation")):
        columns = [Column(REQUESTS.get(request, request), (request, key)) for request in found]
        section.blocks += table(f"{caption} by structure and request", "structure", columns, turned)
    rows = [(REQUESTS.get(request, request), entry.get("overall")) for request, entry in found.items()]
    series = ((MADE, ("pairwise_dice",)),)
    section.blocks += forest_plot(rows, series, Axis("pairwise Dice", (0, 1)), "pairwise Dice by request, all structures")
    return section


def _neighbours(found: Mapping[str, Any], report: Mapping[str, Any]) -> Section:
    section = Section(
        "neighbours",
        "Is a mask a copy of a training mask?",
        "The distance of every generated mask to its nearest training mask (1 - Dice with centroids on one another, mirrored ones "
        "included), beside that of the same patient's real mask.",
        "A ratio of 1 means that generated masks lie as far from the training masks as unseen patients do. Smooth masks resemble everybody "
        "a little more, so the ratio is also taken with all masks smoothed. Where one training mask were copied, the nearest would be "
        "much nearer than the median (contrast). A copy is a mask nearer than half the smallest distance of any real one.",
    )
    columns = (
        Column("distance, generated", ("generated",)),
        Column("distance, real", ("real",)),
        Column("generated ÷ real", ("ratio",)),
        Column("the same, smoothed", ("ratio_smooth",)),
        Column("contrast, generated", ("contrast", "generated")),
        Column("contrast, real", ("contrast", "real")),
    )
    rows = [(name, {**entry, "copies": len(entry["copies"])}) for name, entry in found.items()]
    section.blocks += table("Nearest training mask", "structure", columns, rows, extra="copies")
    series = ((Series("generated ÷ real", MADE.color, MADE.marker), ("ratio",)),)
    section.blocks += forest_plot(found.items(), series, Axis("generated ÷ real", mark=1), "distance ratio by structure")
    section.notes += copies(copy for name, entry in found.items() if name != "overall" for copy in entry["copies"])
    return section


def copies(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every copy, named; or that there is none."""
    told = [
        f"Copy: {copy['case']}{', ' + label(copy['structure']) if copy.get('structure') else ''} lies at {copy['distance']:.3f} of "
        f"training case {copy['training']}."
        for copy in found
    ]
    return told or ["No copy of a training case was found."]
