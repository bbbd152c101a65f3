"""The quality readout: how well a result follows the sketch and the sentence, and whether it looks plausible. No torch.

Metadata read here: `ranges` (structure -> `volume_ml`: 21 percentiles, 0 to 100 by fives, of the training cases) and
`hu` (structure -> [0.5 %, 99.5 %] of the training voxels, HU, or what `modality` has instead).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from .anatomy import find, vocabulary
from .describe import contrast, read
from .geometry import Grid, Plane, Points, distance_to, inside, outlines, resample_polyline
from .imaging import CTVolume, LabelVolume
from .modality import of
from .request import GenerationRequest, Sketch
from .sketching import crop

LOW_DICE = 0.80
FAR_CONTOUR_MM = 5.0
RARE_PERCENT = 2.5
VOLUME_ERROR = 0.25
_STEP_MM = 1.0  # of the section's raster
_CHUNK = 4096  # points tested at once against an outline


def readout(
    labels: LabelVolume,
    ct: CTVolume | None,
    request: GenerationRequest,
    metadata: dict[str, Any],
    *,
    made: tuple[str, ...] | None = None,
    asked: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The readout as JSON: `sketches`, `structures` and plain-language `warnings`. Volumes in mL, distances in mm, HU. What the description
    says of contrast and of the display window is under `contrast` and `display` (see `describe.contrast`).

    Only the structures `made` are judged, not those that the context brought; by default those that the request names. `asked` are the
    volumes (mL) asked for; by default that of the description, where a single structure is made.
    """
    made = made or tuple(request.structures() or (n for n in find(request.description) if n in labels.names.values()))
    if asked is None:
        said = read(request.description).values.get("volume_ml") if len(made) == 1 else None
        asked = {made[0]: said} if said else {}
    sketches = [_sketch_agreement(sketch, labels) for sketch in request.sketches]
    structures = {name: _structure(name, labels, ct, metadata, asked.get(name)) for name in made}
    warnings = [text for item in sketches for text in _sketch_warnings(item)]
    warnings += [text for name, item in structures.items() for text in _structure_warnings(name, item, of(metadata).unit)]
    warnings += _mismatch(request)
    facts, unheard = contrast.answer(request.description, request.volume_generator, metadata) if ct is not None else ({}, [])
    return {"sketches": sketches, "structures": structures, "warnings": warnings + unheard, **facts}


def _sketch_agreement(sketch: Sketch, labels: LabelVolume) -> dict[str, Any]:
    """Dice and 95 % contour distance (mm) between a sketch and the mask on the sketch's plane; None where undefined."""
    result: dict[str, Any] = {
        "structure": sketch.structure,
        "plane": sketch.plane.orientation,
        "meaning": sketch.meaning,
    }
    drawn = [resample_polyline(sketch.plane.to_plane(stroke)[:, :2], _STEP_MM) for stroke in sketch.strokes]
    filled = outlines(drawn) if sketch.closed else []
    if not labels.has(sketch.structure):
        return result | {"dice": 0.0 if filled else None, "contour_distance_95_mm": None}
    mask, grid = crop(labels.mask(sketch.structure), labels.grid)
    u, v = _raster(sketch.plane, grid, drawn)
    section = _section(mask, grid, sketch.plane, u, v, silhouette=sketch.meaning == "silhouette")
    result["dice"] = _round(_dice(_fill(filled, u, v), section >= 0.5), 4) if filled else None
    contours = [np.array([u[0], v[0]]) + c * _STEP_MM for c in measure.find_contours(section, 0.5)]
    lines = [np.concatenate([p, p[:1]]) for p in filled] or drawn
    result["contour_distance_95_mm"] = _contour_distance(lines, contours, both_ways=sketch.closed)
    return result


def _raster(plane: Plane, grid: Grid, drawn: list[Points]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Plane coordinates u and v (mm) that cover both the drawing and the grid."""
    points = np.concatenate([*drawn, plane.to_plane(grid.corners())[:, :2]])
    low, high = points.min(axis=0) - 2 * _STEP_MM, points.max(axis=0) + 2 * _STEP_MM
    return np.arange(low[0], high[0], _STEP_MM), np.arange(low[1], high[1], _STEP_MM)


def _section(mask: NDArray[np.bool_], grid: Grid, plane: Plane, u: NDArray, v: NDArray, *, silhouette: bool) -> NDArray[np.float64]:
    """The mask's presence (0 to 1, linear between voxels) on the plane, or its shadow along the normal, (u, v)."""
    result = np.zeros((len(u), len(v)))
    depth = plane.to_plane(grid.corners())[:, 2]
    heights = np.arange(depth.min(), depth.max(), float(grid.spacing.min()) / 2) if silhouette else np.zeros(1)
    flat = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1)
    values = mask.astype(np.float32)
    for w in heights:
        uvw = np.concatenate([flat, np.full((*flat.shape[:2], 1), w)], axis=-1)
        index = np.moveaxis(grid.to_index(plane.to_ras(uvw)), -1, 0)
        result = np.maximum(result, ndimage.map_coordinates(values, index, order=1))
    return result


def _fill(polygons: list[Points], u: NDArray, v: NDArray) -> NDArray[np.bool_]:
    """The enclosed raster points, (u, v)."""
    at = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    parts = [inside(polygons, at[n : n + _CHUNK]) for n in range(0, len(at), _CHUNK)]
    return np.concatenate(parts).reshape(len(u), len(v))


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _contour_distance(drawn: list[Points], contours: list[Points], *, both_ways: bool) -> float | None:
    """95th percentile (mm) of the distance between two sets of lines; from the drawing only unless `both_ways`."""
    if not contours:
        return None
    distances = [distance_to(contours, resample_polyline(line, _STEP_MM)) for line in drawn]
    if both_ways:
        distances += [distance_to(drawn, resample_polyline(line, _STEP_MM)) for line in contours]
    return _round(float(np.percentile(np.concatenate(distances), 95)), 2)


def _structure(name: str, labels: LabelVolume, ct: CTVolume | None, metadata: dict[str, Any], asked: float | None) -> dict[str, Any]:
    """Volume, parts and HU of one structure."""
    mask = labels.mask(name) if labels.has(name) else np.zeros(labels.array.shape, dtype=bool)
    count = int(mask.sum())
    parts, sizes = 0, np.zeros(1, dtype=np.intp)
    if count:
        found, parts = ndimage.label(crop(mask, labels.grid)[0], structure=np.ones((3, 3, 3)))
        sizes = np.bincount(found.ravel())[1:]
    volume = count * labels.grid.voxel_ml
    plausible = metadata.get("hu", {}).get(name) or vocabulary()[name].hu
    return {
        "volume_ml": _round(volume, 3),
        "volume_percentile": _percentile(volume, metadata.get("ranges", {}).get(name, {}).get("volume_ml")),
        "asked_volume_ml": asked,
        "volume_error": _round(volume / asked - 1, 4) if asked else None,
        "components": int(parts),
        "largest_share": _round(float(sizes.max()) / count, 4) if count else None,
        "hu_median": float(np.median(ct.array[mask])) if ct is not None and count else None,
        "hu_plausible": [float(plausible[0]), float(plausible[1])],
        "touches_border": bool(count) and _touches_border(mask),
    }


def _percentile(value: float, percentiles: list[float] | None) -> float | None:
    """Where a value lies (0 to 100) among equally spaced percentiles; None without them."""
    if not percentiles:
        return None
    return _round(float(np.interp(value, percentiles, np.linspace(0, 100, len(percentiles)))), 1)


def _touches_border(mask: NDArray[np.bool_]) -> bool:
    return any(bool(np.take(mask, end, axis=axis).any()) for axis in range(3) for end in (0, -1))


def _round(value: float, digits: int) -> float:
    return round(float(value), digits)


def _sketch_warnings(item: dict[str, Any]) -> list[str]:
    which = f"the {item['plane']} sketch of the {vocabulary()[item['structure']].spoken}"
    dice, away = item["dice"], item["contour_distance_95_mm"]
    if away is None:
        return [f"The mask does not meet the plane of {which}."]
    if dice is not None and dice < LOW_DICE:
        return [f"The mask follows {which} loosely (Dice {dice:.2f})."]
    if away > FAR_CONTOUR_MM:
        return [f"The mask strays from {which} by up to {away:.0f} mm."]
    return []


def _structure_warnings(name: str, item: dict[str, Any], unit: str) -> list[str]:
    entry = vocabulary()[name]
    the = f"The {entry.spoken}"
    if not item["volume_ml"]:
        return [f"{the} came out empty."]
    warnings = []
    rank = item["volume_percentile"]
    if rank is not None and rank >= 100 - RARE_PERCENT:
        warnings.append(f"{the} is larger than {_share(rank)} of the training cases.")
    if rank is not None and rank <= RARE_PERCENT:
        warnings.append(f"{the} is smaller than {_share(100 - rank)} of the training cases.")
    error = item["volume_error"]
    if error is not None and abs(error) > VOLUME_ERROR:
        than = "larger" if error > 0 else "smaller"
        asked = f"the {item['asked_volume_ml']:g} mL asked for"
        warnings.append(f"{the} has {item['volume_ml']:.0f} mL, {100 * abs(error):.0f} % {than} than {asked}.")
    if item["components"] > entry.pieces:
        share = item["largest_share"]
        warnings.append(f"{the} is in {item['components']} pieces; the largest holds {100 * share:.0f} % of it.")
    if item["touches_border"] and not entry.tube:
        warnings.append(f"{the} touches the border of the frame and may be cut off.")
    median, (low, high) = item["hu_median"], item["hu_plausible"]
    if median is not None and not low <= median <= high:
        warnings.append(f"{the} has a median of {median:.0f} {unit}; {low:.0f} to {high:.0f} {unit} is usual.")
    return warnings


def _share(percent: float) -> str:
    return "all" if percent >= 100 else f"{min(percent, 99):.0f} %"


def _mismatch(request: GenerationRequest) -> list[str]:
    """A description that names structures, but none of the sketched ones."""
    named = [name for name in find(request.description) if not vocabulary()[name].derived]
    drawn = request.structures()
    if not named or not drawn or set(named) & set(drawn):
        return []
    said, seen = (vocabulary()[names[0]].spoken for names in (named, drawn))
    return [f"The description speaks of the {said}, but the {seen} is sketched."]
