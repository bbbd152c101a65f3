"""The figures of an evaluation as report.json, report.md and report.html.

`report.json`. A figure is `{"mean", "ci95": [low, high], "n"}` over patients (probes: over draws; obedience: over pairs
of texts; diversity.name_only and .patients: over structures); a part that was not asked for is `{}`.

    cases, seed, samples, hand, parts, command, hardware, versions, bundle (name, digest), left_out, figures (pictures)
    seconds                       mask, ct, total, and `parts`: part -> seconds
    masks.<structure>.<metric>    dice_3d, dice_plane (sections of made and real mask), dice_sketch (section and filled sketch),
                                  surface_dice_3mm, hd95_mm, volume_error, components, retrieval_dice_3d, mean_shape_dice_3d; where
                                  the generator has a clean-up, `clean` with the same after it; `masks.mean_of_five` likewise
    probes                        volume_within_20.text_only, .with_sketch, small_large_obeyed, one_component, by_structure
    ct.<structure>                hu_median_inside, hu_median, hu_median_real, hu_median_error, hu_range; `overall`:
                                  hu_median_inside (mean of the structures), histogram_difference
    ct_kit                        the same CTs beside the real ones; what was not measured is `{}`:
      .obedience.<structure>      with a segmenter: its Dice to the given labels, generated, real, ratio; `overall` likewise
      .tissue                     tissues.<air, fat, muscle, bone>: share, median, peak, has_peak; structures.<structure>: median, spread;
                                  each generated, real, error
      .noise .edges .continuity   <figure>: generated, real, ratio; the figures are listed in `ct_kit.TEXTURE`
      .fid.<plane>                part `realism`: generated, floor (real CTs of the same patients), ratio, slabs (generated, real,
                                  training); `mean` over the planes; `features` says whose they are
      .diversity                  MS-SSIM: one_mask (of the first `ct_kit.VARIED` cases), patients, patients_real
      .neighbours                 part `realism`: generated, real, ratio, contrast.generated, contrast.real, copy_limit, copies
      .segmenter                  what it was trained on, its settings, sha256 of its weights
      .counts                     cases, training (scans compared with), training_held (by the data set), samples (CTs of one map), seed
    usefulness                    as `usefulness_run` documents its summary, with `about.command`; `{}` unless a result was given
    ablation                      as `ablation_report` documents it, without `measured`; `{}` unless a result was given
    conditions.<condition>        as `masks`, without baselines, and dice_3d_gain; the conditions stand at the head of `conditions`
    obedience                     share_followed; words and numbers, each with followed, side, moved, by_fact, by_structure
    plausibility.<structure>      volume, facts, position, beyond_sketch, components, volume_percentile, each generated and real;
                                  `overall` likewise
    diversity.<request>           sketch_and_text, sketch_only, name_only, patients: <structure> and overall with pairwise_dice, volume_cv
    neighbours.<structure>        generated, real, ratio, ratio_smooth, contrast.generated, contrast.real, copy_limit, copies;
                                  `overall` likewise, without copy_limit
    regions                       only with --surroundings, a second bundle that makes whole regions:
      .about                      bundle (name, digest), samples (maps of each kind), baseline (what it was trained on)
      .masks.validity             told (from words), silent (from nothing), gaussian, real: the share of structures in the training range
      .masks.fid                  made (silent), gaussian, floor (unseen real maps), ratio (made ÷ gaussian); see `region_facts`
      .masks.obedience            followed; number, word, relation; by_structure: the share of what was said that is so
      .masks.seconds              of one map
      .pairings.ways.<way>.<ct>   way: contours, single, completed, text; ct: bundle/generator: obedience (generated, real,
                                  ratio), fid (generated, floor, ratio), of completed maps also fid_to_single (over the single-organ way)
      .pairings.kept              voxels of the user's structures, and how many of them completing changed
      .pairings.validity          of completed maps
      .pairings.seconds           load, stages.<stage>, whole.<ct>: a whole request
    records                       every single measurement: masks, ct, ct_kit, volume_in_numbers, small_against_large, conditions,
                                  obedience, plausibility, diversity, neighbours, regions
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from . import ablation_report, ct_tables, html, mask_tables, metrics, region_tables
from .case import METRICS, MaskRecord
from .tables import cell, rows, spoken

FIVE = ("brainstem", "spinal_cord", "parotid_gland_right", "parotid_gland_left", "mandible")
BASELINES = ("retrieval_dice_3d", "mean_shape_dice_3d")
_HEADS = {
    "dice_3d": "Dice 3D",
    "dice_plane": "Dice on the sketch plane",
    "dice_sketch": "Dice with the sketch",
    "surface_dice_3mm": "surface Dice, 3 mm",
    "hd95_mm": "HD95, mm",
    "volume_error": "volume error",
    "retrieval_dice_3d": "retrieval: Dice 3D",
    "mean_shape_dice_3d": "mean shape: Dice 3D",
}


def summarise_masks(records: list[MaskRecord], seed: int, keys: tuple[str, ...] = (*METRICS, *BASELINES)) -> dict[str, Any]:
    """By structure and over the mean of five; several samples of one patient count as their mean."""
    names = list(dict.fromkeys(r.structure for r in records))
    found: dict[str, Any] = {}
    for name in names:
        found[name] = {k: metrics.summary(_patients(records, name, k), seed) for k in keys}
        clean = {k: metrics.summary(_patients(records, name, k, clean=True), seed) for k in METRICS}
        if any(value["n"] for value in clean.values()):
            found[name]["clean"] = clean
    five = [name for name in FIVE if name in names]
    if five:
        found["mean_of_five"] = {k: _over(records, five, k, seed) for k in keys}
        if any("clean" in found[name] for name in five):
            found["mean_of_five"]["clean"] = {k: _over(records, five, k, seed, clean=True) for k in METRICS}
    return found


def _patients(records: list[MaskRecord], name: str, key: str, *, clean: bool = False) -> list[float]:
    """One value a patient; NaN where undefined."""
    table = _table(records, [name], key, clean=clean)[:, 0]
    return [float(v) for v, known in zip(table, _known(records, [name])[:, 0], strict=True) if known]


def _known(records: list[MaskRecord], names: list[str]) -> np.ndarray:
    present = {(r.case, r.structure) for r in records}
    return np.array([[(case, name) in present for name in names] for case in _cases(records)])


def _cases(records: list[MaskRecord]) -> list[str]:
    return list(dict.fromkeys(r.case for r in records))


def _table(records: list[MaskRecord], names: list[str], key: str, *, clean: bool = False) -> np.ndarray:
    """(patients, structures), NaN where not measured."""
    values: dict[tuple[str, str], list[float]] = {}
    for r in records:
        source = r.clean if clean else r.values
        value = (source or {}).get(key, float("nan"))
        if np.isfinite(value):
            values.setdefault((r.case, r.structure), []).append(value)
    means = {key: float(np.mean(own)) for key, own in values.items()}
    return np.array([[means.get((c, n), np.nan) for n in names] for c in _cases(records)], dtype=np.float64).reshape(-1, len(names))


def _over(records: list[MaskRecord], names: list[str], key: str, seed: int, *, clean: bool = False) -> dict[str, Any]:
    return metrics.mean_of_means(_table(records, names, key, clean=clean), seed)


def plain(value: Any) -> Any:
    """As JSON has it: numbers rounded to 4 digits, what is no number None."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 4) if np.isfinite(value) else None
    return value


def write_report(report: dict[str, Any], out: Path) -> None:
    """`report.json`, `report.md` and `report.html` in a folder, which holds the pictures already."""
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(_markdown(report), encoding="utf-8")
    html.write_html(report, out)


def _markdown(report: dict[str, Any]) -> str:
    bundle, hardware = report["bundle"], report["hardware"]
    lines = [
        f"# {bundle['name']}: {report['cases']} cases",
        "",
        f"`{report['command']}`",
        "",
        f"Bundle {bundle['digest'][:16]}, seed {report['seed']}, {hardware['device']}, {hardware['cpus']} cores, "
        f"torch {hardware['torch']}; {_seconds(report['seconds'])}. Mean with 95 % bootstrap interval over patients.",
    ]
    if report["masks"]:
        head = f"## Masks from the sketch of the largest section ({_hand(report['hand'])}) and the full description"
        lines += ["", head, "", *_mask_table(report["masks"])]
    if any("clean" in entry for entry in report["masks"].values()):
        lines += ["", "With clean-up (the largest piece kept):", "", *_mask_table(report["masks"], clean=True)]
    if report["probes"]:
        lines += ["", "## Probes", "", *_probe_table(report["probes"])]
    lines += mask_tables.sections(report)
    lines += ct_tables.sections(report)
    lines += region_tables.sections(report)
    lines += ablation_report.quoted(report.get("ablation", {}))
    pictures = [f"![{Path(name).stem}]({name})" for name in report["figures"]]
    return "\n".join([*lines, "", *pictures, ""])


def _hand(strength: float) -> str:
    return f"by a hand of strength {strength:g}" if strength else "its exact outline"


def _seconds(seconds: dict[str, Any]) -> str:
    parts = [f"{seconds[key]:.1f} s {label}" for key, label in (("mask", "a mask"), ("ct", "a CT")) if seconds.get(key)]
    return ", ".join([*parts, f"{seconds['total'] / 60:.1f} min in all"])


def _mask_table(masks: dict[str, Any], *, clean: bool = False) -> list[str]:
    keys = [key for key in _HEADS if not clean or key in METRICS]
    body = []
    for name, entry in masks.items():
        chosen = entry.get("clean", {}) if clean else entry
        digits = {"hd95_mm": 1}
        first = entry["dice_3d"]["n"]
        body.append([spoken(name), str(first), *(cell(chosen.get(key), digits.get(key, 3)) for key in keys)])
    return rows(["structure", "n", *(_HEADS[key] for key in keys)], body)


def _probe_table(probes: dict[str, Any]) -> list[str]:
    body = []
    for name, entry in (("all", probes), *probes["by_structure"].items()):
        within = entry["volume_within_20"]
        figures = (within["text_only"], within["with_sketch"], entry["small_large_obeyed"], entry["one_component"])
        body.append([spoken(name), *(cell(figure, 2) for figure in figures)])
    head = ["structure", "asked volume within 20 %, text only", "true volume within 20 %, sketch and text"]
    return rows([*head, "large is larger than small, text only", "in one piece, without clean-up"], body)
