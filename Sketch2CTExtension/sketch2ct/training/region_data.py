"""What the whole-region stage learns from, prepared once: class maps, places, the spatial prior, statements and their word features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..data.nnunet import Dataset
from ..data.regions import Region, build_region, load_regions, save_region
from ..describe import region as words
from ..describe.relations import Pair, varying
from ..errors import BadRequest
from ..evaluation.region_validity import RegionLimits
from ..geometry import Grid
from ..masks.region_classes import RegionClasses
from ..masks.region_law import Codes, RegionLaw
from ..masks.region_prior import Case, Hiding, Places, RegionPrior, build, coarse_grid, origin
from ..masks.region_shapes import Shape
from ..modality import of
from . import prepare


@dataclass(frozen=True)
class Anatomy:
    """What is known of the region before the network: classes, ranges of facts, where structures lie and hide, how they go together,
    pairs, limits."""

    classes: RegionClasses
    ranges: dict[str, describe.Ranges]
    prior: RegionPrior
    hiding: Hiding
    law: RegionLaw
    pairs: tuple[Pair, ...]
    limits: RegionLimits

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the arrays."""
        return {
            "derived": self.classes.derived,
            "structures": self.classes.structures,
            "placement": self.prior.placement,
            "ranges": {name: ranges.to_dict() for name, ranges in self.ranges.items()},
            "pairs": [asdict(pair) for pair in self.pairs],
            "limits": self.limits.to_dict(),
        }


def region_classes(recipe: dict[str, Any]) -> RegionClasses:
    """The classes of a recipe: what its modality derives, and its structures."""
    return RegionClasses(of(recipe).derived, tuple(recipe["structures"]))


def prepared_regions(dataset: Dataset, split: str, recipe: dict[str, Any], cache: Path) -> list[Region]:
    """The class maps of a split, from the cache when it is complete. Raises BadRequest when no case has a usable contour."""
    folder = cache / f"regions{split}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for scan in prepare.prepared_scans(dataset, split, recipe, cache):
            save_region(folder, build_region(scan, region_classes(recipe)))
        (folder / "done").touch()
    found = [region for region in load_regions(folder) if region.contoured]
    if not found:
        raise BadRequest(f"No case of {split} has a usable contour of {', '.join(recipe['structures'])}.")
    return found


def prepared_anatomy(regions: list[Region], recipe: dict[str, Any], cache: Path) -> Anatomy:
    """The anatomy of the training regions, mirrored ones too where the recipe mirrors; its arrays from the cache when they are there."""
    classes = region_classes(recipe)
    facts = [region.facts for region in regions]
    ranges = {n: describe.Ranges.fit([own[n] for own in facts if n in own]) for n in classes.structures if any(n in own for own in facts)}
    found = [(r.case, name, middle) for r in regions for name, middle in r.middles.items()]
    placement = prepare.given_places(recipe) or prepare.aligned_places(found, tuple(n for n in classes.structures if n in ranges))
    limits = RegionLimits.fit(((r.middles, {n: f.volume_ml for n, f in r.facts.items()}) for r in regions), placement)
    shape, spacing = recipe["frame"]["shape"], recipe["frame"]["spacing"]
    frame = Grid.centred((0, 0, 0), spacing, (shape[0], shape[1], shape[2]))
    own, path = recipe["mask"]["prior"], cache / "anatomy.npz"
    everyone = [*regions, *(r.mirrored(classes) for r in regions)] if recipe.get("mirror", True) else regions

    def cases() -> Iterator[Case]:
        for region in everyone:
            middle = origin(region.middles, placement)
            if middle is not None:
                yield region.on(Grid.centred(middle, spacing, frame.shape)), region.contoured

    law = _prepared_law(everyone, classes, ranges, placement, cache)
    if not path.exists():
        under = sum((r.under for r in everyone), np.zeros_like(regions[0].under))
        hiding = Hiding.fit(cases, under, frame, classes)
        codes = prepared_codes(regions, law, classes, cache, recipe["train"])
        sides = [code for code, _ in codes] + [code for _, code in codes]
        alike = list(_in_usual_anatomy(everyone, sides[: len(everyone)], law, frame))
        usual = Hiding.fit(lambda: alike, under, frame, classes)
        prior = build(lambda: alike, usual, classes, frame, placement, coarse=own["coarse"], smooth_mm=own["smooth_mm"])
        np.savez_compressed(path, values=prior.values, under=hiding.under, support=np.packbits(hiding.support))
    with np.load(path, allow_pickle=False) as data:
        support = np.unpackbits(data["support"], count=len(classes.structures) * int(np.prod(frame.shape))).astype(bool)
        hiding = Hiding(data["under"], support.reshape(-1, *frame.shape))
        # as rounded as a bundle stores it
        prior = RegionPrior(data["values"].astype(np.float16).astype(np.float32), coarse_grid(frame, own["coarse"]), placement, frame)
    return Anatomy(classes, ranges, prior, hiding, law, varying(facts, classes.structures), limits)


def _in_usual_anatomy(regions: list[Region], codes: list[Codes], law: RegionLaw, frame: Grid) -> Iterator[Case]:
    """The class maps of regions on the frame, carried to the usual anatomy; of what was not contoured the likeliest code tells."""
    for region, own in zip(regions, codes, strict=True):
        middle = origin(region.middles, law.placement)
        if middle is not None:
            laid = Grid.centred(np.round(middle, 3), frame.spacing, frame.shape)
            whole = law.drawn(laid, own, None, np.random.default_rng(0), spread=0.0, rounds=0)
            yield law.way(whole, laid).back().carried(region.on(laid), frame), region.contoured


def _prepared_law(
    everyone: list[Region], classes: RegionClasses, ranges: dict[str, describe.Ranges], placement: Places, cache: Path
) -> RegionLaw:
    """How the structures of the training regions go together, from the cache when it is there."""
    path = cache / "law.npz"
    if not path.exists():
        shapes = {}
        for name in classes.structures:
            masks = [(region.labels == classes.index(name), region.grid) for region in everyone if name in region.contoured]
            if masks:
                shapes[name] = Shape.fit(masks)
        placed = [(region, origin(region.middles, placement)) for region in everyone]
        cases = [(_codes(region, shapes, classes), region.facts, middle) for region, middle in placed if middle is not None]
        arrays: dict[str, Any] = dict(RegionLaw.fit(cases, shapes, ranges, placement).arrays())
        np.savez_compressed(path, **arrays)
    with np.load(path, allow_pickle=False) as data:
        # as rounded as a bundle stores it
        return RegionLaw.from_arrays({key: data[key].astype(np.float16) for key in data.files}, classes.structures, ranges, placement)


def _codes(region: Region, shapes: dict[str, Shape], classes: RegionClasses) -> Codes:
    return {n: shapes[n].code(region.labels == classes.index(n), region.grid) for n in region.contoured if n in shapes}


def prepared_codes(regions: list[Region], law: RegionLaw, classes: RegionClasses, cache: Path, split: str) -> list[tuple[Codes, Codes]]:
    """The codes of every region's contoured structures, straight and mirrored, from the cache when they are there."""
    path = cache / f"codes{split}.json"
    if not path.exists():
        both = [[_codes(r, law.shapes, classes) for r in (own, own.mirrored(classes))] for own in regions]
        path.write_text(json.dumps([[{name: code.tolist() for name, code in codes.items()} for codes in own] for own in both]))
    found = json.loads(path.read_text())
    straight, mirrored = ([{name: np.array(code) for name, code in own[side].items()} for own in found] for side in (0, 1))
    return list(zip(straight, mirrored, strict=True))


Library = dict[str, NDArray[np.float16]]


def prepared_statements(regions: list[Region], anatomy: Anatomy, recipe: dict[str, Any], cache: Path, split: str) -> tuple[list, Library]:
    """Statements of every region, straight and mirrored: a list of (straight, mirrored) lists of sentences, and the word features of each
    piece of them, for use encodes each piece alone (see `describe.region.chunks`)."""
    path, count = cache / f"statements{split}.json", recipe["mask"]["statements"]
    if not path.exists():
        found = []
        for region in regions:
            rng = np.random.default_rng([recipe["seed"], crc32(f"region/{region.case}".encode())])
            both = [region.facts, region.mirrored(anatomy.classes).facts]
            found.append([[s.text for s in words.statements(f, anatomy.ranges, rng, count=count, pairs=anatomy.pairs)] for f in both])
        path.write_text(json.dumps(found))
    told = json.loads(path.read_text())
    pieces = [piece for both in told for own in both for text in own for piece, _ in words.chunks(text)]
    return told, prepare.encoded_words(pieces, cache / f"regionwords{split}.npz")
