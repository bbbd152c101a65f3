"""Sketch and GenerationRequest: dataclasses <-> JSON, validated here once. No torch.

On disk (version 1): `{"version": 1, "sketches": [{"structure", "plane" (4x4 SliceToRAS), "strokes" ([[[r, a, s], ...], ...] mm),
"closed", "meaning"}], "description", "grid" ({"shape", "affine"} or null), "context" (path of a label map, or null),
"mask_generator", "volume_generator", "bundle", "seed", "samples", "steps", "guidance", "device"}`, and where two bundles work together
"surroundings" and "volume_bundle" (names of bundles; absent otherwise). Unknown keys are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import REQUEST_VERSION
from .anatomy import resolve
from .errors import BadRequest
from .geometry import Grid, Plane, Points, polyline_length

MEANINGS = ("cross_section", "silhouette")
NONE = "none"  # in place of a generator: that stage is left out
WHOLE_REGION = ("guidegen",)  # mask generators that make everything that a bundle knows, whatever is asked
PAIRED = ("surroundings", "volume_bundle")  # fields that name a second bundle; left out of the JSON when they name none
MAX_TEXT = 4000  # characters; a description is a sentence or two
MAX_POINTS = 20000  # per stroke
MAX_COORDINATE_MM = 5000.0
OFF_PLANE_MM = 1.0
MIN_STROKE_MM = 2.0


@dataclass(frozen=True)
class Sketch:
    """Strokes (each N x 3, RAS mm) of one structure on one plane."""

    structure: str
    plane: Plane
    strokes: list[Points]
    closed: bool = True
    meaning: str = "cross_section"

    def __post_init__(self) -> None:
        object.__setattr__(self, "structure", resolve(self.structure))
        where = f"The sketch of the {self.structure}"
        if self.meaning not in MEANINGS:
            raise BadRequest(f"{where} has the meaning '{self.meaning}'.", f"Use one of: {', '.join(MEANINGS)}.")
        if not isinstance(self.closed, bool):
            raise BadRequest(f"{where}: 'closed' must be true or false, not {self.closed!r}.")
        if not self.strokes:
            raise BadRequest(f"{where} has no strokes.", "Draw its outline on a slice, or remove the sketch.")
        strokes = [_stroke(stroke, f"{where}, stroke {n + 1}") for n, stroke in enumerate(self.strokes)]
        for n, stroke in enumerate(strokes):
            off = float(np.abs(self.plane.to_plane(stroke)[:, 2]).max())
            if off > OFF_PLANE_MM:
                raise BadRequest(f"{where}, stroke {n + 1} leaves its plane by {off:.1f} mm.", "Draw each sketch on one plane.")
        object.__setattr__(self, "strokes", strokes)

    def points(self) -> Points:
        """All points of all strokes, (N, 3) RAS mm."""
        return np.concatenate(self.strokes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        strokes = [np.round(stroke, 4).tolist() for stroke in self.strokes]
        plane = np.round(self.plane.matrix, 9).tolist()
        return {"structure": self.structure, "plane": plane, "strokes": strokes, "closed": self.closed, "meaning": self.meaning}


def _stroke(points: Any, where: str) -> Points:
    try:
        stroke = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{where} is not a list of [r, a, s] points.") from error
    if stroke.ndim != 2 or stroke.shape[1] != 3:
        raise BadRequest(f"{where} is not a list of [r, a, s] points (shape {stroke.shape}).")
    if not np.isfinite(stroke).all():
        raise BadRequest(f"{where} holds a coordinate that is not a number (NaN or infinity).", "Draw the stroke again.")
    if len(stroke) > MAX_POINTS:
        raise BadRequest(f"{where} has {len(stroke)} points; the limit is {MAX_POINTS}.")
    if np.abs(stroke).max() > MAX_COORDINATE_MM:
        raise BadRequest(f"{where} lies more than {MAX_COORDINATE_MM:.0f} mm from the origin, outside every frame.", "Check its unit: mm.")
    if len(stroke) < 3 or polyline_length(stroke) < MIN_STROKE_MM:
        raise BadRequest(f"{where} has {len(stroke)} point(s) over {polyline_length(stroke):.1f} mm: too short.", "Draw an outline.")
    return stroke


@dataclass(frozen=True)
class GenerationRequest:
    """What to make.

    `grid` None means the bundle's own frame, placed so that the sketched structure sits where the strokes are. With
    `volume_generator` "none" the mask alone is made; with `mask_generator` "none" a CT is made from `context` as it is.

    `surroundings` names the bundle that completes the region around what is made and around the context, neither of which it changes;
    `volume_bundle` the one that the volume generator is taken from, by default `bundle`.
    """

    sketches: list[Sketch] = field(default_factory=list)
    description: str = ""
    grid: Grid | None = None
    context: str | None = None
    mask_generator: str = "sketch2ct"
    volume_generator: str = "sketch2ct"
    bundle: str = "headneck"
    seed: int = 0
    samples: int = 1
    steps: int | None = None
    guidance: float | None = None
    device: str = "auto"
    surroundings: str | None = None
    volume_bundle: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.description, str):
            raise BadRequest("The description must be text.")
        if len(self.description) > MAX_TEXT:
            raise BadRequest(
                f"The description has {len(self.description)} characters; the limit is {MAX_TEXT}.", "A few sentences are enough."
            )
        if self.mask_generator == NONE:
            self._check_given_mask()
        elif not self.sketches and not self.description.strip() and self.mask_generator not in WHOLE_REGION:
            raise BadRequest("The request has neither a sketch nor a description.", "Draw an outline, or describe a structure.")
        if not isinstance(self.device, str) or not (self.device in ("auto", "cpu", "cuda") or self.device.startswith("cuda:")):
            raise BadRequest(f"Unknown device {self.device!r}.", "Use auto, cpu, cuda, or cuda:N.")
        _check_number("seed", self.seed, int, lambda x: 0 <= x < 2**63)
        _check_number("samples", self.samples, int, lambda x: 1 <= x <= 1000)
        _check_number("steps", self.steps, int, lambda x: 1 <= x <= 1000, optional=True)
        _check_number("guidance", self.guidance, float, lambda x: 0 <= x <= 20, optional=True)
        for name in ("mask_generator", "volume_generator", "bundle", *PAIRED):
            value = getattr(self, name)
            if value is None and name in PAIRED:
                continue
            if not isinstance(value, str) or not value.replace("-", "").replace("_", "").isalnum():
                raise BadRequest(f"'{name}' must be a plain name, not {value!r}.")
        if self.context is not None and not isinstance(self.context, str):
            raise BadRequest("'context' must be the path of a label map, or null.")
        if self.surroundings is not None and self.mask_generator in WHOLE_REGION:
            raise BadRequest(f"The generator '{self.mask_generator}' makes the whole region anyway.", "Leave the surroundings out.")

    def _check_given_mask(self) -> None:
        if self.volume_generator == NONE and self.surroundings is None:
            raise BadRequest("Both stages are left out.", "Name a mask generator, a volume generator, or both.")
        if self.context is None:
            raise BadRequest("No mask is to be made, and none is given.", "Give a label map as the context, or name a mask generator.")

    def structures(self) -> list[str]:
        """The sketched structures, in order, each once."""
        return list(dict.fromkeys(sketch.structure for sketch in self.sketches))

    def with_changes(self, **changes: Any) -> GenerationRequest:
        """A copy with the given (not None) fields changed, validated again."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """As JSON, every key present, but for PAIRED where they are None."""
        data: dict[str, Any] = {"version": REQUEST_VERSION}
        for item in fields(self):
            if item.name not in PAIRED or getattr(self, item.name) is not None:
                data[item.name] = getattr(self, item.name)
        data["sketches"] = [sketch.to_dict() for sketch in self.sketches]
        data["grid"] = self.grid.to_dict() if self.grid else None
        return data

    @classmethod
    def from_dict(cls, data: Any) -> GenerationRequest:
        """From parsed JSON. Raises BadRequest."""
        if not isinstance(data, dict):
            raise BadRequest("A request must be a JSON object.")
        known = {item.name for item in fields(cls)} | {"version"}
        _refuse_unknown(data, known, "The request")
        if data.get("version", REQUEST_VERSION) != REQUEST_VERSION:
            raise BadRequest(f"The request has version {data['version']!r}; this program reads version {REQUEST_VERSION}.")
        sketches = data.get("sketches", [])
        if not isinstance(sketches, list):
            raise BadRequest("'sketches' must be a list.")
        values = {key: value for key, value in data.items() if key != "version"}
        values["sketches"] = [_sketch(item, n) for n, item in enumerate(sketches)]
        values["grid"] = _grid(data.get("grid"))
        if isinstance(values.get("guidance"), int) and not isinstance(values["guidance"], bool):
            values["guidance"] = float(values["guidance"])
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> GenerationRequest:
        """From a JSON file. Raises BadRequest."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"Cannot read the request file {path}: {error}.") from error
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"{path} is not valid JSON: {error}.") from error
        return cls.from_dict(data)

    def write(self, path: str | Path) -> None:
        """To a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")


def _check_number(name: str, value: Any, kind: type, ok: Callable[[Any], bool], *, optional: bool = False) -> None:
    if value is None and optional:
        return
    allowed = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed) or not ok(value):  # NaN fails every comparison
        raise BadRequest(f"'{name}' cannot be {value!r}.")


def _refuse_unknown(data: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise BadRequest(f"{where} has unknown keys: {', '.join(map(str, unknown))}.", f"Known: {', '.join(sorted(known))}.")


def _sketch(item: Any, number: int) -> Sketch:
    if not isinstance(item, dict):
        raise BadRequest(f"Sketch {number + 1} must be a JSON object.")
    known = {f.name for f in fields(Sketch)}
    _refuse_unknown(item, known, f"Sketch {number + 1}")
    missing = [key for key in ("structure", "plane", "strokes") if key not in item]
    if missing:
        raise BadRequest(f"Sketch {number + 1} lacks {', '.join(missing)}.")
    try:
        plane = Plane(np.asarray(item["plane"], dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"Sketch {number + 1}: {error}") from error
    if not isinstance(item["strokes"], list):
        raise BadRequest(f"Sketch {number + 1}: 'strokes' must be a list of strokes.")
    return Sketch(**{**item, "plane": plane})


def _grid(data: Any) -> Grid | None:
    if data is None:
        return None
    if not isinstance(data, dict) or set(data) != {"shape", "affine"}:
        raise BadRequest("'grid' must be null or hold 'shape' and 'affine'.")
    try:
        grid = Grid(tuple(data["shape"]), np.asarray(data["affine"], dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"The grid is wrong: {error}") from error
    if np.prod(grid.shape) > 768**3 or max(grid.shape) > 4096:
        raise BadRequest(f"The grid {grid.shape} is too large.", "Use a larger spacing or a smaller frame.")
    return grid
