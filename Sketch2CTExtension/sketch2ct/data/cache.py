"""Prepared training data on disk: one .npz a shape or scan, arrays and JSON only. Made once, read by every later run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..describe import Facts
from ..geometry import Grid, Plane
from .scans import Scan
from .shapes import Outline, Shape, Variant


def save_scan(folder: Path, scan: Scan) -> None:
    """One scan, compressed."""
    np.savez_compressed(
        folder / f"{scan.case}.npz", hu=scan.hu, labels=scan.labels, labelled=scan.labelled, known=scan.known, affine=scan.grid.affine
    )


def load_scans(folder: Path) -> list[Scan]:
    """Every scan of a folder, by name."""
    scans = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            grid = Grid(data["hu"].shape, data["affine"])
            scans.append(Scan(path.stem, data["hu"], data["labels"], data["labelled"], data["known"], grid))
    return scans


def save_shape(folder: Path, shape: Shape) -> None:
    """One shape with its variants."""
    variants = []
    for variant in shape.variants:
        outlines = [
            {
                "plane": outline.plane.matrix.tolist(),
                "lines": [np.round(line, 2).tolist() for line in outline.lines],
                "meaning": outline.meaning,
                "best": outline.best,
            }
            for outline in variant.outlines
        ]
        variants.append(
            {
                "structure": variant.structure,
                "transform": variant.transform.tolist(),
                "facts": variant.facts.to_dict(),
                "outlines": outlines,
                "texts": variant.texts,
            }
        )
    meta = json.dumps({"case": shape.case, "structure": shape.structure, "variants": variants})
    name = f"{shape.case}-{shape.structure}.npz"
    np.savez_compressed(folder / name, distance=shape.distance, affine=shape.grid.affine, meta=np.frombuffer(meta.encode(), np.uint8))


def load_shapes(folder: Path) -> list[Shape]:
    """Every shape of a folder, by name."""
    shapes = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            meta = json.loads(data["meta"].tobytes())
            distance, grid = data["distance"], Grid(data["distance"].shape, data["affine"])
        variants = []
        for item in meta["variants"]:
            lines = [
                Outline(Plane(np.array(o["plane"])), [np.array(x, np.float32) for x in o["lines"]], o["meaning"], o["best"])
                for o in item["outlines"]
            ]
            facts = Facts.from_dict(item["facts"])
            variants.append(Variant(item["structure"], np.array(item["transform"]), facts, lines, item["texts"]))
        shapes.append(Shape(meta["case"], meta["structure"], distance, grid, variants))
    return shapes
