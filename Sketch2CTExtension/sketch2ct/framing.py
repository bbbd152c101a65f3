"""A request and a bundle's metadata -> what to make and on which grid; refuses what cannot be made. No torch.

Metadata read here: `structures` (names, in label order), `derived` (further names that labels may have, such as bone), `frame` (`shape`
[i, j, k] and `spacing` [mm, mm, mm]) and `placement` (structure -> [r, a, s] mm from the frame's centre to the structure's usual centre).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .anatomy import find, vocabulary
from .errors import BadRequest, BundleCorrupt
from .geometry import Grid
from .naming import names_beside
from .request import NONE, WHOLE_REGION, GenerationRequest, Sketch

if TYPE_CHECKING:
    from .imaging import LabelVolume

SPACING_MM = (0.3, 10.0)  # finer is beyond a CT scanner, coarser holds no organ
MAX_VOXELS = 2**27  # 512 x 512 x 512
SNAP_MM = 0.001  # a NIfTI header holds float32; whole micrometres survive it


@dataclass(frozen=True)
class Plan:
    """What one request makes: `structures` in order (none for a given mask), on `grid`, keeping `context` (same grid) if any."""

    structures: tuple[str, ...]
    grid: Grid
    context: LabelVolume | None


def plan(request: GenerationRequest, metadata: dict[str, Any], around: dict[str, Any] | None = None) -> Plan:
    """Structures, grid and context of a request. `metadata` are those of its bundle, `around` those of the one that completes the
    surroundings, if any. Raises BadRequest, or BundleCorrupt when the metadata lack a frame."""
    made = _plan(request, metadata, around)
    if around is not None:
        check_surroundings(request, made, around)
    return made


def _plan(request: GenerationRequest, metadata: dict[str, Any], around: dict[str, Any] | None) -> Plan:
    context = read_context(request.context, metadata, around) if request.context is not None else None
    grid = choose_grid(request, metadata, context)
    check_grid(grid)
    if request.mask_generator == NONE:
        check_given(request, context)
        return Plan((), grid, context)
    if request.mask_generator in WHOLE_REGION:
        return Plan(remaining_structures(request, metadata, context), grid, context)
    structures = choose_structures(request, metadata, context)
    for sketch in request.sketches:
        check_inside(sketch, grid)
    if context is not None:
        twice = [name for name in structures if context.has(name)]
        if twice:
            raise BadRequest(
                f"The context already holds the {twice[0]}, and what it holds is kept.",
                "Remove that structure from the context, or from the request.",
            )
    return Plan(structures, grid, context)


def label_order(metadata: dict[str, Any], around: dict[str, Any] | None = None) -> list[str]:
    """The names of a bundle's label values 1, 2, ...: its structures, then what is derived; after them what only the bundle `around`,
    which completes the surroundings, knows."""
    own = [str(name) for known in (metadata, around or {}) for name in (*known.get("structures", []), *known.get("derived", []))]
    return list(dict.fromkeys(own))


def check_surroundings(request: GenerationRequest, made: Plan, around: dict[str, Any]) -> None:
    """Raises BadRequest when the bundle that shall complete the surroundings makes no regions, or not the one that is made or given."""
    which = f"The bundle '{request.surroundings}'"
    if "region" not in around:
        raise BadRequest(f"{which} makes single structures, so it cannot complete the surroundings.", "Name a bundle of GuideGen.")
    context = made.context
    given = [*made.structures, *(name for name in (context.names.values() if context else ()) if context and context.has(name))]
    known = label_order(around)
    if not set(given) & set(known):
        raise BadRequest(f"{which} completes a region that holds no {given[0]}.", f"It knows: {', '.join(known)}.")


def missing_around(made: Plan, around: dict[str, Any]) -> tuple[str, ...]:
    """What the surroundings lack: the structures, and what is derived, of the bundle `around` that are neither made nor given."""
    context = made.context
    return tuple(n for n in label_order(around) if n not in made.structures and not (context is not None and context.has(n)))


def remaining_structures(request: GenerationRequest, metadata: dict[str, Any], context: LabelVolume | None) -> tuple[str, ...]:
    """Every structure of the bundle that the context lacks. Raises BadRequest for a sketch of a structure that the context lacks."""
    for name in request.structures():
        if context is None or not context.has(name):
            raise BadRequest(
                f"The {name} is sketched, and the generator '{request.mask_generator}' reads no strokes.",
                "Make its mask first, with the generator 'sketch2ct', and give that as the context to complete.",
            )
    return tuple(str(name) for name in metadata.get("structures", []) if context is None or not context.has(name))


def check_given(request: GenerationRequest, context: LabelVolume | None) -> None:
    """Raises BadRequest when the mask to make a CT from holds nothing, or lacks what is sketched beside it."""
    if context is None or not context.array.any():
        raise BadRequest("The mask to make a CT from is empty.", "Choose a segmentation that holds a structure.")
    for name in request.structures():
        if not context.has(name):
            raise BadRequest(f"The {name} is sketched, but the given mask lacks it.", "Remove the sketch, or choose another mask.")


def choose_structures(request: GenerationRequest, metadata: dict[str, Any], context: LabelVolume | None = None) -> tuple[str, ...]:
    """The sketched structures; without a sketch, those that the description names and the context lacks.

    Raises BadRequest when there are none, or the bundle does not know one.
    """
    known = [str(name) for name in metadata.get("structures", [])]
    named = [name for name in find(request.description) if not vocabulary()[name].derived]
    wanted = request.structures() or [name for name in named if context is None or not context.has(name)]
    if not wanted:
        raise BadRequest(
            "Nothing is sketched, and the description names no structure to make.",
            f"Draw an outline, or name a structure in the description, for example 'a small mandible'. "
            f"The bundle '{request.bundle}' makes: {', '.join(known)}.",
        )
    for name in wanted:
        if name not in known:
            raise BadRequest(f"The bundle '{request.bundle}' cannot make the structure '{name}'.", _nearest(name, known))
    return tuple(wanted)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"Did you mean '{near[0]}'? " if near else "") + f"It makes: {', '.join(known)}."


def read_context(path: str, metadata: dict[str, Any], around: dict[str, Any] | None = None) -> LabelVolume:
    """The label map to keep. Its names are those beside the file, else the bundle's own order (see `label_order`). Raises BadRequest."""
    known = label_order(metadata, around)
    names = names_beside(path) or dict(enumerate(known, start=1))
    from .imaging import read_image, read_labels  # needs nibabel, which Slicer lacks; the rest of this file is used there

    array, _ = read_image(path)
    nameless = sorted({int(v) for v in np.unique(array[np.isfinite(array)])} - {0, *names})
    if nameless and min(nameless) > 0:
        raise BadRequest(
            f"The context {path} holds the label {nameless[0]}, which has no name.",
            "Name its labels in a labels.json beside it.",
        )
    context = read_labels(path, names)
    for name in context.names.values():
        if name not in known and context.has(name):
            raise BadRequest(f"The context holds '{name}', which the bundle does not know.", _nearest(name, known))
    return context


def choose_grid(request: GenerationRequest, metadata: dict[str, Any], context: LabelVolume | None) -> Grid:
    """The request's grid, else the context's, else the bundle's frame placed under the strokes. Raises BadRequest."""
    if context is not None:
        if request.grid is not None and not request.grid.matches(context.grid):
            raise BadRequest(
                f"The context is on another grid ({_size(context.grid)}) than the request ({_size(request.grid)}).",
                "Resample the context to the request's grid, or leave the request's grid out.",
            )
        return context.grid
    return request.grid if request.grid is not None else bundle_frame(request, metadata)


def bundle_frame(request: GenerationRequest, metadata: dict[str, Any]) -> Grid:
    """The bundle's frame, placed so that the first sketched structure's usual place lies under its strokes.

    Without a sketch the frame is centred on the origin. The centre is snapped to whole micrometres.
    """
    try:
        shape = tuple(int(n) for n in metadata["frame"]["shape"])
        spacing = np.asarray(metadata["frame"]["spacing"], dtype=np.float64)
        grid = Grid.centred(np.zeros(3), spacing, (shape[0], shape[1], shape[2]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BundleCorrupt(f"The metadata of bundle '{request.bundle}' have no usable frame: {error!r}.") from error
    if not request.sketches:
        return grid
    first = request.sketches[0].structure
    points = np.concatenate([sketch.points() for sketch in request.sketches if sketch.structure == first])
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    centre = centre - np.asarray(metadata.get("placement", {}).get(first, (0, 0, 0)), dtype=np.float64)
    return Grid.centred(np.round(centre / SNAP_MM) * SNAP_MM, spacing, grid.shape)


def check_grid(grid: Grid) -> None:
    """Raises BadRequest for voxels of an implausible size, or more of them than can be held."""
    low, high = SPACING_MM
    if grid.spacing.min() < low or grid.spacing.max() > high:
        size = " x ".join(f"{x:.3g}" for x in grid.spacing)
        raise BadRequest(f"The grid's voxels are {size} mm.", f"Use {low} to {high:.0f} mm.")
    if np.prod(grid.shape, dtype=np.float64) > MAX_VOXELS:
        raise BadRequest(f"The grid of {_size(grid)} is too large.", f"The limit is {MAX_VOXELS} voxels.")


def check_inside(sketch: Sketch, grid: Grid) -> None:
    """Raises BadRequest when strokes lie outside the grid, or are larger than it.

    A silhouette may be drawn on any plane along its normal, so it is moved to the middle of the grid first.
    """
    points = sketch.points()
    normal = sketch.plane.normal
    if sketch.meaning == "silhouette":
        points = points - np.outer((points - grid.centre) @ normal, normal)
    index = grid.to_index(points)
    where = f"The sketch of the {sketch.structure}"
    extent = (index.max(axis=0) - index.min(axis=0)) * grid.spacing
    room = np.asarray(grid.shape) * grid.spacing
    if (extent > room + 1e-6).any():
        axis = int((extent - room).argmax())
        raise BadRequest(
            f"{where} is larger than the frame: {extent[axis]:.0f} mm where the frame has {room[axis]:.0f} mm.",
            "Draw it smaller, or give a larger grid.",
        )
    outside = _outside_mm(index, grid)
    if (outside > 0).all():
        raise BadRequest(f"{where} lies outside the frame, {outside.min():.0f} mm away from it.", "Draw inside the frame.")
    if (outside > 0).any():
        count = int((outside > 0).sum())
        raise BadRequest(
            f"{where} leaves the frame by up to {outside.max():.1f} mm ({count} of {len(points)} points).",
            "Draw inside the frame, or give a larger grid.",
        )


def _outside_mm(index: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """How far points (N, 3 voxel indices) lie beyond the outer faces of the grid, mm; 0 inside."""
    beyond = np.maximum(-0.5 - index, index - (np.asarray(grid.shape) - 0.5))
    return np.linalg.norm(np.where(beyond > 1e-6, beyond, 0.0) * grid.spacing, axis=1)


def _size(grid: Grid) -> str:
    voxels = " x ".join(str(n) for n in grid.shape)
    return f"{voxels} voxels of {' x '.join(f'{x:.3g}' for x in grid.spacing)} mm"
