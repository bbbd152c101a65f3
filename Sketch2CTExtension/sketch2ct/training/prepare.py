"""Training data, prepared once: shapes with their sentences, word features, boxes, scans, HU ranges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import describe
from ..conditioning.text import TextEncoder
from ..data.cache import load_scans, load_shapes, save_scan, save_shape
from ..data.nnunet import Dataset
from ..data.scans import Scan, build_scans, real_ranges
from ..data.shapes import Shape, build_shapes, fit_ranges, write_texts
from ..errors import BadRequest
from ..masks.boxes import Boxes
from ..modality import of
from ..request import Sketch
from ..results import writing

_NO_SHAPES = "A contour must be mostly in one piece, of a volume that the vocabulary takes for plausible."


# What of a recipe the prepared data depend on; of its stages, what lies under these names.
DECIDING = ("train", "choose", "structures", "frame", "mirror", "placement", "shapes", "mask.prior", "mask.statements")


def claim(cache: Path, key: dict[str, Any]) -> None:
    """Make the folder of prepared data, for data of this key only. Raises BadRequest, which names what differs, or WriteFailed."""
    mark, key = cache / "made.json", json.loads(json.dumps(key))
    if mark.is_file():
        before = json.loads(mark.read_text(encoding="utf-8"))
        other = [name for name in {**before, **key} if before.get(name) != key.get(name)]
        if other:
            raise BadRequest(f"{cache} holds data prepared with another '{other[0]}'.", "Name another folder, or delete this one.")
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(key), encoding="utf-8")


def claimed(cache: Path, dataset: Dataset, recipe: dict[str, Any]) -> None:
    """`claim` for what a recipe makes of a data set."""
    found: dict[str, Any] = {"data": dataset.root.name}
    for name in DECIDING:
        value: Any = recipe
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    claim(cache, found)


def _done(folder: Path) -> Path:
    return folder / "done"


def prepared_scans(dataset: Dataset, split: str, recipe: dict[str, Any], cache: Path) -> list[Scan]:
    """The scans of a split, from the cache when it is complete."""
    folder = cache / f"scans{split}"
    if not _done(folder).exists():
        folder.mkdir(parents=True, exist_ok=True)
        structures, spacing = tuple(recipe["structures"]), tuple(recipe["frame"]["spacing"])
        for scan in build_scans(dataset, dataset.cases(split), structures, spacing, recipe.get("workers", 2)):
            save_scan(folder, scan)
        _done(folder).touch()
    return load_scans(folder)


def prepared_shapes(dataset: Dataset, split: str, recipe: dict[str, Any], cache: Path, *, variants: int) -> list[Shape]:
    """The shapes of a split with their sentences, from the cache when it is complete; sentences are worded by training ranges."""
    folder = cache / f"shapes{split}"
    if not _done(folder).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shapes = build_shapes(
            dataset,
            dataset.cases(split),
            tuple(recipe["structures"]),
            variants=variants,
            seed=recipe["seed"],
            mirror=recipe.get("mirror", True),
            workers=recipe.get("workers", 2),
        )
        if not shapes:
            raise BadRequest(f"No case of {split} has a usable contour of {', '.join(recipe['structures'])}.", _NO_SHAPES)
        ranges = prepared_ranges(recipe, cache, shapes)
        write_texts(shapes, ranges, count=recipe["shapes"]["sentences"], seed=recipe["seed"])
        for shape in shapes:
            save_shape(folder, shape)
        _done(folder).touch()
    return load_shapes(folder)


def prepared_ranges(recipe: dict[str, Any], cache: Path, shapes: list[Shape] | None = None) -> dict[str, describe.Ranges]:
    """Percentiles of the facts by structure, fitted on the first shapes that come (the training split)."""
    path = cache / "ranges.json"
    if not path.exists():
        if shapes is None:
            raise FileNotFoundError(f"{path} is missing: prepare the training split first.")
        path.write_text(json.dumps({name: r.to_dict() for name, r in fit_ranges(shapes).items()}))
    return {name: describe.Ranges.from_dict(r) for name, r in json.loads(path.read_text()).items()}


def prepared_words(shapes: list[Shape], split: str, cache: Path) -> dict[str, np.ndarray]:
    """Token features (T, 384) float16 of every sentence of the shapes."""
    return encoded_words([t for shape in shapes for variant in shape.variants for t in variant.texts], cache / f"words{split}.npz")


def encoded_words(texts: list[str], path: Path) -> dict[str, np.ndarray]:
    """Token features (T, 384) float16 of every text, from `path` when it is there."""
    sentences = sorted(set(texts), key=lambda s: (len(s), s))
    if not path.exists():
        encoder, found = TextEncoder(), []
        for n in range(0, len(sentences), 64):
            features, real = encoder(sentences[n : n + 64])
            found += [f[m].half().numpy() for f, m in zip(features, real, strict=True)]
        np.savez(path, lengths=[len(f) for f in found], features=np.concatenate(found))
    with np.load(path, allow_pickle=False) as data:
        if len(data["lengths"]) != len(sentences):
            raise ValueError(f"{path} belongs to other sentences; delete it and prepare again.")
        parts = np.split(data["features"], np.cumsum(data["lengths"])[:-1])
    return dict(zip(sentences, parts, strict=True))


def make_boxes(shapes: list[Shape], recipe: dict[str, Any], ranges: dict[str, describe.Ranges]) -> Boxes:
    """The recipe's boxes with each structure's usual offset from its sketches, measured over the training shapes."""
    ways: dict[str, list[list[np.ndarray]]] = {name: [[], [], []] for name in recipe["structures"]}
    for shape in shapes:
        for variant in shape.variants:
            for outline in variant.outlines:
                sketch = Sketch(variant.structure, outline.plane, [np.asarray(x, float) for x in outline.lines], True, outline.meaning)
                points = sketch.points()
                middle = (points.min(0) + points.max(0)) / 2
                ways[variant.structure][sketch.plane.axis].append(np.asarray(variant.facts.centroid_ras) - middle)
    offsets: dict[str, tuple[tuple[float, float, float], ...]] = {
        name: tuple(_triple(np.median(w, axis=0)) if w else (0.0, 0.0, 0.0) for w in axes) for name, axes in ways.items()
    }
    boxes = recipe["boxes"]
    return Boxes(
        names=tuple(recipe["structures"]),
        shapes={name: (b["shape"][0], b["shape"][1], b["shape"][2]) for name, b in boxes.items()},
        spacings={name: _triple(np.asarray(b["spacing"], dtype=float), digits=3) for name, b in boxes.items()},
        offsets=offsets,
        ranges=ranges,
        placement=given_places(recipe) or usual_places(shapes, tuple(recipe["structures"])),
    )


def given_places(recipe: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """The recipe's own places (RAS mm from the frame's middle): a single structure says nothing about where the body lies around it."""
    return {name: _triple(np.asarray(place, dtype=float)) for name, place in recipe.get("placement", {}).items()}


def usual_places(shapes: list[Shape], names: tuple[str, ...]) -> dict[str, tuple[float, float, float]]:
    """The places of `aligned_places`, from the patients' own shapes."""
    return aligned_places([(s.case, s.structure, np.asarray(s.variants[0].facts.centroid_ras)) for s in shapes], names)


def aligned_places(found: list[tuple[str, str, np.ndarray]], names: tuple[str, ...]) -> dict[str, tuple[float, float, float]]:
    """Mean position (RAS mm) of each structure's middle in the frame, whose middle is that of all structures' positions.

    `found` holds case, structure and its middle (RAS mm). Cases are aligned by least squares: every case has its own shift, every
    structure one place (alternating means, to convergence).
    """
    cases = sorted({case for case, _, _ in found})
    case_of, structure_of = np.array([cases.index(c) for c, _, _ in found]), np.array([names.index(n) for _, n, _ in found])
    at = np.array([p for _, _, p in found])
    place = np.zeros((len(names), 3))
    for _ in range(50):
        shift = _group_means(at - place[structure_of], case_of, len(cases))
        place = _group_means(at - shift[case_of], structure_of, len(names))
    place -= (place.min(axis=0) + place.max(axis=0)) / 2
    return {name: _triple(place[n]) for n, name in enumerate(names)}


def _triple(values: np.ndarray, digits: int = 1) -> tuple[float, float, float]:
    """Three millimetres, rounded."""
    a, b, c = values.round(digits).tolist()
    return (a, b, c)


def _group_means(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, group, values)
    return sums / np.maximum(np.bincount(group, minlength=count), 1)[:, None]


def prepared_hu(dataset: Dataset, split: str, recipe: dict[str, Any], cache: Path) -> dict[str, list[float]]:
    """0.5 and 99.5 percentiles of HU by structure over a split."""
    path = cache / "hu.json"
    if not path.exists():
        path.write_text(json.dumps(real_ranges(dataset, dataset.cases(split), tuple(recipe["structures"]))))
    return json.loads(path.read_text())


def label_names(recipe: dict[str, Any]) -> tuple[str, ...]:
    """The volume model's label channels: the recipe's structures, then the derived ones."""
    return (*recipe["structures"], *of(recipe).derived)
