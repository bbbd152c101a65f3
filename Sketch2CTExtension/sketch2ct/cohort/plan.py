"""CohortSpec -> the request and the facts of each case: a function of spec and case number alone. No torch.

So a run that goes on after a kill, or runs on other machines, makes the same cases. Cases go round the sources: first one of each base,
then a second one of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..anatomy import vocabulary
from ..data.nnunet import Dataset
from ..describe import Ranges, measure, read
from ..drafting import measured, ranges_of, read_named_labels, sketch_from_mask
from ..errors import BadRequest
from ..framing import bundle_frame, choose_structures
from ..geometry import Grid
from ..imaging import LabelVolume
from ..intake import read_request
from ..request import NONE, GenerationRequest
from . import wording
from .case import case_name
from .spec import MAX_CASES, CohortSpec
from .variation import Draw, Matrix, carried, draw, mirrored_grid, moved, placed, rounded, stream, wavered

MIDLINE_MM = 10.0  # a structure without a counterpart whose usual place is further off the middle is not mirrored: a liver stays right
DEFAULT_BUNDLE = "headneck"


@dataclass(frozen=True)
class Planned:
    """One case to be made; `facts` is its case.json but for the gate."""

    name: str
    request: GenerationRequest
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Base:
    """One thing to make cases from; `read` is called when its first case is due."""

    said: str
    group: str | None  # None: every case is a group of its own
    read: Callable[[], GenerationRequest | LabelVolume | None]
    structure: str = ""  # of a mask, or of words alone


class Planner:
    """The cases of a spec. `metadata` are those of its bundle. Raises BadRequest when the spec and what it names do not fit."""

    def __init__(self, spec: CohortSpec, metadata: dict[str, Any]) -> None:
        self.spec, self._metadata = spec, metadata
        self._bases = _bases(spec, [str(name) for name in metadata.get("structures", [])])
        self.total = spec.count or (spec.per_source or 1) * len(self._bases)
        if self.total > MAX_CASES:
            raise BadRequest(f"The spec asks for {self.total} cases; the limit is {MAX_CASES}.", "Make several cohorts.")
        self._check_volume()

    @property
    def sources(self) -> list[str]:
        """What the bases are, in order; a run that goes on must find the same."""
        return [base.said for base in self._bases]

    def case(self, number: int) -> Planned:
        """The case at place `number`, 1 to `total`. Raises BadRequest when its base cannot be used."""
        base = self._bases[(number - 1) % len(self._bases)]
        given = base.read()
        names = list(choose_structures(given, self._metadata)) if isinstance(given, GenerationRequest) else [base.structure]
        drawn = draw(self.spec.vary, self.spec.seed, number, may_mirror=all(self._may_mirror(name) for name in names))
        if isinstance(given, GenerationRequest):
            request = self._from_request(given, names, drawn, number)
        elif given is not None:
            request = self._from_mask(given, base.structure, drawn, number)
        else:
            request = self._from_words(base.structure, drawn, number)
        facts = {
            "version": 1,
            "case": case_name(number),
            "group": base.group or f"g{number:04d}",
            "source": base.said.partition(" sha256:")[0],
        }
        shown = drawn.facts(self.spec.vary) | ({"wording": "free"} if self.spec.vary.wording else {})
        return Planned(case_name(number), self._settled(request, number), facts | {"structure": _swapped(names[0], drawn), "drawn": shown})

    def _from_request(self, base: GenerationRequest, names: list[str], drawn: Draw, number: int) -> GenerationRequest:
        """A base request, varied: strokes moved, stated numbers scaled, sides swapped."""
        text = wording.restated(base.description, drawn)
        ranges = ranges_of(self._metadata, names[0]) if len(names) == 1 else None
        if self.spec.vary.wording and ranges is not None:
            facts, known = wording.stated(text, ranges)
            if known:
                volume = "volume_ml" in read(text).values
                text = wording.said(facts, names[0], ranges, self._rng(number, "wording"), state_volume=volume, only=known)
        if drawn.mirrored:
            text = wording.swapped_sides(text)
        if not base.sketches:
            return base.with_changes(description=text)
        matrix = placed(drawn, base.sketches, self._midline(base))
        grid = mirrored_grid(base.grid) if base.grid is not None and drawn.mirrored else base.grid
        return self._moved(base.with_changes(description=text, grid=grid), matrix, drawn, number)

    def _from_mask(self, labels: LabelVolume, structure: str, drawn: Draw, number: int) -> GenerationRequest:
        """The request that a mask would answer after the case's own map: its section as a sketch, its facts in words."""
        sketch = rounded(sketch_from_mask(labels, structure))
        base = GenerationRequest([sketch], "", bundle=self._bundle)
        matrix = placed(drawn, base.sketches, self._midline(base))
        facts = measure(labels.mask(structure), matrix @ labels.grid.affine)
        text = self._words(facts, _swapped(structure, drawn), number)
        return self._moved(base.with_changes(description=text), matrix, drawn, number)

    def _from_words(self, structure: str, drawn: Draw, number: int) -> GenerationRequest:
        """An invented case: facts from the training ranges, no sketch."""
        name = _swapped(structure, drawn)
        facts = wording.scaled_facts(wording.drawn_facts(self._ranges(name), self._rng(number, "facts")), drawn)
        return GenerationRequest([], self._words(facts, name, number), bundle=self._bundle)

    def _moved(self, base: GenerationRequest, matrix: Matrix, drawn: Draw, number: int) -> GenerationRequest:
        """A request whose sketches went through the case's map; a shift moves them within the frame that they would have had."""
        sketches = [carried(sketch, matrix, _swapped(sketch.structure, drawn)) for sketch in base.sketches]
        if self.spec.vary.shift_mm:
            if base.grid is None and base.context is None:
                base = base.with_changes(grid=bundle_frame(base.with_changes(sketches=sketches), self._metadata))
            sketches = [carried(sketch, moved(drawn), sketch.structure) for sketch in sketches]
        if drawn.hand is not None:
            rng = self._rng(number, "strokes")
            sketches = [wavered(sketch, drawn.hand, rng) for sketch in sketches]
        return base.with_changes(sketches=[rounded(sketch) for sketch in sketches])

    def _settled(self, request: GenerationRequest, number: int) -> GenerationRequest:
        """The settings of the spec put over those of the request, and the case's seed."""
        spec = self.spec
        seed = int(self._rng(number, "seed").integers(2**62))
        changes: dict[str, Any] = {"steps": spec.steps, "guidance": spec.guidance, "bundle": spec.bundle, "device": spec.device}
        return request.with_changes(seed=seed, samples=1, volume_generator=NONE if spec.mask_only else None, **changes)

    def _words(self, facts: Any, structure: str, number: int) -> str:
        rng = self._rng(number, "wording") if self.spec.vary.wording else None
        return wording.said(facts, structure, ranges_of(self._metadata, structure), rng, state_volume=self.spec.vary.volume is not None)

    def _midline(self, base: GenerationRequest) -> float:
        """Where the body's middle is taken to be, RAS x in mm: the middle of the frame."""
        grid: Grid = base.grid or bundle_frame(base, self._metadata)
        return float(grid.centre[0])

    def _may_mirror(self, name: str) -> bool:
        """Whether a mirrored one exists: as its counterpart, or as itself where it lies in the middle."""
        known = self._metadata.get("structures", [])
        entry = vocabulary()[name]
        if entry.mirror is not None:
            return entry.mirror in known
        aside = abs(float(self._metadata.get("placement", {}).get(name, (0.0, 0.0, 0.0))[0]))
        return entry.laterality is None and not name.startswith(("left_", "right_")) and aside <= MIDLINE_MM

    def _ranges(self, structure: str) -> Ranges:
        found = ranges_of(self._metadata, structure)
        if found is None:
            raise BadRequest(f"The bundle '{self._bundle}' has no training ranges of the {structure}.", "Give a request or a data set.")
        return found

    def _check_volume(self) -> None:
        """Raises BadRequest when nothing in a base request could follow what is varied."""
        base = self._bases[0].read() if self.spec.source.kind == "request" else None
        if not isinstance(base, GenerationRequest):
            return
        vary = self.spec.vary
        if base.mask_generator == NONE:
            raise BadRequest("The base request brings its mask, so there is nothing to vary.", "Use a request that makes a mask.")
        if base.context is not None and vary.side:
            raise BadRequest("'vary: side' mirrors the drawing, but the base request keeps a context.", "Leave 'side' out.")
        if not base.sketches and vary.volume and "volume_ml" not in read(base.description).values:
            hint = "Draw a sketch, or say in the description how large it is, for example 'about 60 mL'."
            raise BadRequest("'vary: volume' has nothing to act on: the base request has no sketch and states no volume.", hint)
        if not base.sketches and vary.side:
            raise BadRequest("'vary: side' has nothing to mirror: the base request has no sketch.", "Draw one, or leave 'side' out.")

    @property
    def _bundle(self) -> str:
        return self.spec.bundle or DEFAULT_BUNDLE

    def _rng(self, number: int, what: str) -> Any:
        return stream(self.spec.seed, number, what)


def bundle_name(spec: CohortSpec) -> str:
    """The bundle that a spec means: its own, else its base request's, else the default. Raises BadRequest."""
    if spec.bundle is None and spec.source.kind == "request":
        return read_request(Path(spec.source.path)).bundle
    return spec.bundle or DEFAULT_BUNDLE


def _swapped(name: str, drawn: Draw) -> str:
    return (vocabulary()[name].mirror or name) if drawn.mirrored else name


def _bases(spec: CohortSpec, known: list[str]) -> list[_Base]:
    source = spec.source
    wanted = source.structures
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise BadRequest(f"The bundle '{bundle_name(spec)}' cannot make the {unknown[0]}.", f"It makes: {', '.join(known)}.")
    if source.kind == "structures":
        return [_Base("sampled", None, lambda: None, name) for name in wanted or ()]
    path = Path(source.path)
    if source.kind == "request":
        request = read_request(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return [_Base(f"{path.name} sha256:{digest}", "g0001", lambda: request)]
    found = _of_label_map(path, known, wanted) if source.kind == "labels" else _of_dataset(spec, known, wanted)
    if not found:
        raise BadRequest(f"{path} holds nothing that the bundle '{bundle_name(spec)}' makes.", f"It makes: {', '.join(wanted or known)}.")
    return found


def _of_label_map(path: Path, known: list[str], wanted: tuple[str, ...] | None) -> list[_Base]:
    labels = read_named_labels(path)
    for name in wanted or ():
        measured(labels, name)  # says what the map holds when it lacks a structure that the spec names
    held = [name for name in labels.names.values() if name in (wanted or known) and labels.has(name)]
    return [_Base(f"{path.name}/{name}", "g0001", lambda: labels, name) for name in held]


def _of_dataset(spec: CohortSpec, known: list[str], wanted: tuple[str, ...] | None) -> list[_Base]:
    """Every contoured mask of the chosen cases. All masks of one patient share a group, so that a split keeps them together."""
    data = Dataset(Path(spec.source.path))
    read_map = lru_cache(maxsize=2)(data.labels)  # the structures of one case follow one another

    def reader(case: str) -> Callable[[], LabelVolume]:
        return lambda: read_map(case)

    bases = []
    for place, case in enumerate(data.cases(spec.source.split)[: spec.source.cases], start=1):
        for name in data.labelled(case):
            if name in (wanted or known):
                bases.append(_Base(f"{case}/{name}", f"g{place:04d}", reader(case), name))
    return bases
