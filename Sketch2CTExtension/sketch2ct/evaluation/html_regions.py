"""The section of the page on whole regions and on pairings of generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .html_parts import Cell, Column, Section, Table, figure, table
from .region_tables import KINDS, SETS, WAYS


def sections(report: Mapping[str, Any]) -> list[Section]:
    """The part, where it was measured."""
    found = report.get("regions")
    return [_masks(found), *([_pairings(found["pairings"])] if found["pairings"] else [])] if found else []


def _masks(found: Mapping[str, Any]) -> Section:
    about, masks = found["about"], found["masks"]
    section = Section(
        "regions",
        f"Whole regions of {about['bundle']['name']}",
        f"{about['samples']} label maps are made from words that are true of unseen cases, as many from nothing at all, and as many by a "
        "Gaussian diffusion in a latent, if one was trained.",
        "A structure is in range when its volume and its place are those of a training case. The Fréchet distance is that of the measured "
        "facts of each structure to those of the training cases; smaller is nearer.",
    )
    rows = [(SETS[key], {"share": value}) for key, value in masks["validity"].items()]
    section.blocks += table("Structures in their training range", "label map", (Column("in range", ("share",), percent=True),), rows)
    rows = [(SETS[key], {"distance": value}) for key, value in masks["fid"].items() if key in SETS]
    section.blocks += table("Fréchet distance to the training cases", "label map", (Column("distance", ("distance",)),), rows)
    said = masks["obedience"]
    rows = [(KINDS[key], {"share": said[key]}) for key in KINDS] + [(name, {"share": v}) for name, v in said["by_structure"].items()]
    section.blocks += table("What was said and is so", "said", (Column("is so", ("share",), percent=True),), rows)
    return section


def _pairings(found: Mapping[str, Any]) -> Section:
    kept = found["kept"]
    section = Section(
        "pairings",
        "Every mask generator with every CT generator",
        "The label maps of the unseen cases are made in three ways, beside their contours, and a CT of each by every volume generator.",
        "The segmenter's Dice to the map that was given, and its ratio to that on real CTs: 1 is as obedient as real CTs are to their "
        "contours. A Fréchet distance over that of the single-organ way below 1 means that completed surroundings look more real.",
    )
    body = []
    for way, generators in found["ways"].items():
        for name, entry in generators.items():
            own, fid = entry["obedience"], entry["fid"]
            figures = [own.get("generated"), own.get("ratio"), fid.get("generated"), fid.get("ratio"), entry.get("fid_to_single")]
            whole = found["seconds"]["whole"].get(name) if way == "completed" else None
            body.append([Cell(WAYS[way]), Cell(name), *(figure(f) for f in figures), figure(whole, 1)])
    head = ["label map", "CT by", "Dice", "Dice ÷ real", "Fréchet distance", "÷ real", "÷ single organ", "whole request, s"]
    section.blocks += [Table("Pairings", head, body)] if body else []
    section.notes.append(f"Of {kept['voxels']} voxels of the users' structures, completing changed {kept['changed']}.")
    return section
