"""What one case varies, and how that moves a sketch: one affine map of the patient's space, for the sketch and the mask alike. No torch."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Grid, Plane
from ..request import Sketch
from ..sketching import hand
from .spec import Span, Vary

Matrix = NDArray[np.float64]  # 4x4, RAS mm -> RAS mm


def stream(seed: int, number: int, what: str) -> np.random.Generator:
    """The random numbers of one purpose in one case: varying one thing more leaves the others as they were."""
    return np.random.default_rng([seed, number, zlib.crc32(what.encode())])


@dataclass(frozen=True)
class Draw:
    """What was drawn for one case; `hand` None leaves the strokes as they are."""

    volume: float = 1.0
    elongation: float = 1.0
    mirrored: bool = False
    hand: float | None = None
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotate_deg: float = 0.0

    def facts(self, vary: Vary) -> dict[str, Any]:
        """Those that the spec varies, as case.json has them."""
        shown: dict[str, Any] = {}
        if vary.volume:
            shown["volume_factor"] = round(self.volume, 4)
        if vary.elongation:
            shown["elongation"] = round(self.elongation, 4)
        if vary.side:
            shown["mirrored"] = self.mirrored
        if self.hand is not None:
            shown["hand"] = round(self.hand, 3)
        if vary.shift_mm:
            shown["shift_mm"] = [round(x, 2) for x in self.shift_mm]
        if vary.rotate_deg:
            shown["rotate_deg"] = round(self.rotate_deg, 2)
        return shown


def draw(vary: Vary, seed: int, number: int, *, may_mirror: bool) -> Draw:
    """What case `number` varies."""

    def within(what: str, span: Span) -> float:
        return float(stream(seed, number, what).uniform(*span))

    def factor(what: str, span: Span | None) -> float:
        # By the logarithm, so that half and double are equally likely.
        return float(np.exp(within(what, (float(np.log(span[0])), float(np.log(span[1])))))) if span else 1.0

    shift = stream(seed, number, "shift").uniform(-vary.shift_mm, vary.shift_mm, 3)
    return Draw(
        volume=factor("volume", vary.volume),
        elongation=factor("elongation", vary.elongation),
        mirrored=may_mirror and within("side", (0, 1)) < vary.side,
        hand=within("hand", vary.hand) if vary.hand else None,
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        rotate_deg=within("rotate", (-vary.rotate_deg, vary.rotate_deg)),
    )


def placed(drawn: Draw, sketches: list[Sketch], midline_x: float) -> Matrix:
    """The map of a case, without its shift: sized and turned about the middle of the drawing, then mirrored at the plane x = `midline_x`.

    The longest axis is that of the first sketch in its plane; stretching along it keeps the volume.
    """
    points = np.concatenate([sketch.points() for sketch in sketches])
    centre, first = (points.min(axis=0) + points.max(axis=0)) / 2, sketches[0]
    uv = first.plane.to_plane(first.points())[:, :2]
    main = np.linalg.eigh(np.cov((uv - uv.mean(axis=0)).T))[1][:, -1]
    axis = first.plane.matrix[:3, :2] @ main
    wide = drawn.elongation**-0.5
    stretch = wide * np.eye(3) + (drawn.elongation - wide) * np.outer(axis, axis)
    inner = _turn(first.plane.normal, drawn.rotate_deg) @ stretch * drawn.volume ** (1 / 3)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = inner, centre - inner @ centre
    return mirror(midline_x) @ matrix if drawn.mirrored else matrix


def moved(drawn: Draw) -> Matrix:
    """The shift of a case, on its own."""
    matrix = np.eye(4)
    matrix[:3, 3] = drawn.shift_mm
    return matrix


def mirror(midline_x: float) -> Matrix:
    """The reflection that swaps left and right at the plane x = `midline_x` (RAS mm)."""
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = 2 * midline_x
    return matrix


def mirrored_grid(grid: Grid) -> Grid:
    """The grid's image in the sagittal plane through its centre, with the handedness of before; an upright grid is its own image."""
    affine = mirror(float(grid.centre[0])) @ grid.affine
    flipped = int(np.abs(grid.affine[0, :3]).argmax())
    affine[:3, 3] += affine[:3, flipped] * (grid.shape[flipped] - 1)
    affine[:3, flipped] *= -1
    image = Grid(grid.shape, affine)
    return grid if grid.matches(image) else image


def _turn(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Rotation about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def carried(sketch: Sketch, matrix: Matrix, structure: str) -> Sketch:
    """A sketch after an affine map, as one of `structure`; an unmoved plane keeps its axes."""
    strokes = [stroke @ matrix[:3, :3].T + matrix[:3, 3] for stroke in sketch.strokes]
    plane = carried_plane(sketch.plane, matrix)
    return replace(sketch, structure=structure, plane=plane, strokes=strokes)


def carried_plane(plane: Plane, matrix: Matrix) -> Plane:
    """The plane after an affine map, with axes as close to its own as the map leaves them."""
    inner = matrix[:3, :3]
    normal = np.linalg.inv(inner).T @ plane.normal
    normal /= np.linalg.norm(normal)
    result = plane.matrix.copy()
    result[:3, 3] = inner @ plane.matrix[:3, 3] + matrix[:3, 3]
    if abs(float(normal @ plane.normal)) > 1 - 1e-12:
        return Plane(result)
    up = inner @ plane.matrix[:3, 1]
    up -= (up @ normal) * normal
    up /= np.linalg.norm(up)
    across = np.cross(up, normal)
    across *= np.sign(np.linalg.det(plane.matrix[:3, :3]))  # `cross` is right-handed; Slicer's axial planes are not
    result[:3, :3] = np.stack([across, up, normal], axis=1)
    return Plane(result)


def wavered(sketch: Sketch, strength: float, rng: np.random.Generator) -> Sketch:
    """The sketch drawn again by a hand of that strength."""
    return replace(sketch, strokes=[hand(stroke, sketch.plane, rng, strength) for stroke in sketch.strokes])


def rounded(sketch: Sketch) -> Sketch:
    """Strokes in hundredths of a millimetre, as a file has them."""
    return replace(sketch, strokes=[np.round(stroke, 2) for stroke in sketch.strokes])
