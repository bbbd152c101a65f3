"""The figures of whole regions and of pairings as tables of a report, in Markdown."""

from __future__ import annotations

from typing import Any

from .tables import cell, rows, spoken

SETS = {
    "told": "from words",
    "silent": "from nothing",
    "gaussian": "from nothing, Gaussian latent diffusion",
    "real": "real, unseen",
    "made": "from nothing",
    "floor": "real, unseen",
    "ratio": "ours ÷ Gaussian",
}
WAYS = {
    "contours": "the real case's contours, body, bone and air",
    "single": "one structure from its sketch, nothing around it",
    "completed": "the same, surroundings completed",
    "text": "the whole region from words",
}
KINDS = {"followed": "all", "number": "numbers", "word": "words", "relation": "relations"}


def sections(report: dict[str, Any]) -> list[str]:
    """The lines, with a heading of the second level; none where no region was measured."""
    found = report.get("regions")
    if not found:
        return []
    masks, about = found["masks"], found["about"]
    name = about["bundle"]["name"]
    lines = ["", f"## Whole regions of {name} ({about['bundle']['digest'][:16]})", ""]
    lines += rows(["label map", "structures in their training range, share"], [[SETS[k], cell(v)] for k, v in masks["validity"].items()])
    fid = {key: value for key, value in masks["fid"].items() if key in SETS}
    lines += ["", *rows(["label map", "Fréchet distance"], [[SETS[k], cell(v)] for k, v in fid.items()])] if fid else []
    said = masks["obedience"]
    body = [[KINDS[key], cell(said[key], 2)] for key in KINDS] + [[spoken(n), cell(v, 2)] for n, v in said["by_structure"].items()]
    lines += ["", *rows(["what was said", "share that is so"], body)]
    return [*lines, *_pairings(found["pairings"])]


def _pairings(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    body = []
    for way, generators in found["ways"].items():
        for name, entry in generators.items():
            own, fid = entry["obedience"], entry["fid"]
            cells = [cell(own.get("generated")), cell(own.get("ratio")), cell(fid.get("generated")), cell(fid.get("ratio"))]
            whole = found["seconds"]["whole"].get(name) if way == "completed" else None
            body.append([WAYS[way], name, *cells, cell(entry.get("fid_to_single")), cell(whole, 1)])
    head = ["label map", "CT by", "segmenter's Dice", "÷ on real CTs", "Fréchet distance", "÷ of real CTs"]
    kept = found["kept"]
    told = f"Of {kept['voxels']} voxels of the users' structures, completing changed {kept['changed']}."
    lines = ["", "### Pairings", "", *rows([*head, "÷ of the single-organ way", "whole request, s"], body), "", told]
    return [*lines, f"Completed maps: structures in their training range {cell(found['validity'])}."]
