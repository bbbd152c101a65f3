"""How the structures of a region go together: one Gaussian of all their codes, given what is known. No torch.

What is measured on a structure is nearly linear in its code, so given structures, stated numbers and words, and relations of size and of
place are all linear in the codes (a relation holds when a difference is large enough), and the rest of the anatomy follows in closed form:
with a draw x of the whole and what is to be seen, A x = t, Matheron's rule x + S A' (A S A' + R)^-1 (t - A x) is a draw given t. A drawn
shape is then measured as any mask is, and t corrected by what it misses, for facts are not quite linear in the codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..anatomy import vocabulary
from ..describe import Facts, Ranges
from ..describe.region import RegionReading
from ..geometry import Grid
from . import region_aims as aims
from .region_aims import VOLUME, Aim, Key
from .region_classes import RegionClasses
from .region_prior import Places, Share
from .region_shapes import PLACE, Array, Shape
from .region_warp import Way

Codes = dict[str, Array]
Case = tuple[Codes, Mapping[str, Facts], Array]  # of the contoured structures, and the middle of the case's frame (RAS mm)

WITHIN = 20.0  # as many cases speak against any correlation between numbers of one structure
ACROSS = 8.0  # times its variance must the square of a correlation of two structures' numbers be, to be believed at all
RIDGE = 5.0  # of the regression of facts on codes
LEAST = 1e-3  # of the variances of independent combinations
MOST = 2.5  # standard deviations within which independent numbers are drawn
ASTRAY = 1.8  # standard deviations within which a place is drawn
STRANGE = 3.0  # standard deviations beyond which what is given no longer shapes the rest
GIVEN_SD = 0.03  # of a given structure's numbers, in their standard deviations
ADRIFT_MM = 60.0  # a frame laid by some structures may lie so far from one laid by all
ROUNDS = 4
TRIES = 6
DRAWS = 4  # of which the one that shows best what a text states is taken
USUAL = (2.0, 98.0)  # percentiles between which an unstated volume stays
SOFT_MM = 1.0  # a drawn border is known no better


@dataclass(frozen=True)
class Draw:
    """Codes of all structures; `whole`: none fell into pieces or is of a volume that was neither seen nor stated; `missed`: how much of
    what is stated does not show, each from 0 to 1, in sum."""

    codes: Codes
    whole: bool
    missed: float


@dataclass(frozen=True)
class RegionLaw:
    """`mean`, `scale` (D,) and `correlation` (D, D) of the numbers of the codes of all structures of `shapes`, with their places relative
    to where `placement` puts them; `slopes` structure -> (1 + numbers of its code, F): its facts on the scale of `ranges` at the mean, then
    by the standard deviations of its numbers."""

    shapes: dict[str, Shape]
    ranges: Mapping[str, Ranges]
    placement: Places
    mean: Array
    scale: Array
    correlation: Array
    slopes: dict[str, Array]

    @classmethod
    def fit(cls, cases: Sequence[Case], shapes: dict[str, Shape], ranges: Mapping[str, Ranges], placement: Places) -> RegionLaw:
        """From training cases. A structure that was not contoured in a case tells nothing.

        Correlations of pairs of numbers come from the cases that have both, and are drawn towards 0 the fewer these are; between structures
        faint ones, of which there are many by chance, go to 0 (positive-part shrinkage, Efron and Morris, 1973).
        """
        law = cls(shapes, ranges, placement, np.zeros(0), np.zeros(0), np.zeros(0), {})
        rows = np.stack([law._numbers(codes, middle) for codes, _, middle in cases])
        have = np.isfinite(rows)
        count = np.maximum(have.sum(axis=0), 1)
        mean = np.where(have, rows, 0).sum(axis=0) / count
        away = np.where(have, rows - mean, 0)
        scale = np.maximum(np.sqrt((away**2).sum(axis=0) / count), 1e-6)
        away /= scale
        owner = np.repeat(np.arange(len(shapes)), [shape.length for shape in shapes.values()])
        pairs = have.T.astype(np.float64) @ have
        seen = away.T @ away / np.maximum(pairs, 1)
        chance = (1 - np.minimum(seen**2, 1)) ** 2 / np.maximum(pairs, 1)  # the variance of a correlation
        believed = np.maximum(0, 1 - ACROSS * chance / np.maximum(seen**2, 1e-12))
        correlation = seen * np.where(owner[:, None] == owner, pairs / (pairs + WITHIN), believed)
        np.fill_diagonal(correlation, 1.0)
        values, vectors = np.linalg.eigh(correlation)
        correlation = (vectors * np.maximum(values, LEAST)) @ vectors.T
        unit = np.sqrt(np.diag(correlation))
        slopes = {}
        for name, start in law._starts.items():
            known = [n for n, (codes, _, _) in enumerate(cases) if name in codes]
            measured = np.stack([describe.vector_of(cases[n][1][name], ranges[name])[0] for n in known]).astype(np.float64)
            own, usual = away[known, start : start + shapes[name].length], measured.mean(axis=0)
            found = np.linalg.solve(own.T @ own + RIDGE * np.eye(own.shape[1]), own.T @ (measured - usual))
            slopes[name] = np.concatenate([usual[None], found])
        return cls(shapes, ranges, placement, mean, scale, correlation / np.outer(unit, unit), slopes)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """To be stored."""
        found: dict[str, NDArray] = {"mean": self.mean, "scale": self.scale, "correlation": self.correlation}
        for name, shape in self.shapes.items():
            box = np.array([*shape.reach, shape.rest, shape.degree])
            found |= {f"{name}.mean": shape.mean, f"{name}.modes": shape.modes, f"{name}.box": box, f"{name}.slopes": self.slopes[name]}
        return {key: np.ascontiguousarray(value, np.float32) for key, value in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], structures: Sequence[str], ranges: Mapping[str, Ranges], places: Places) -> RegionLaw:
        """The inverse of `arrays`, for arrays or tensors; `structures` in the order in which it was fitted."""
        own = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
        shapes, slopes = {}, {}
        for name in (n for n in structures if f"{n}.mean" in own):
            i, j, k, rest, degree = (float(x) for x in own[f"{name}.box"])
            shapes[name] = Shape(own[f"{name}.mean"], own[f"{name}.modes"], np.array([i, j, k]), rest, round(degree))
            slopes[name] = own[f"{name}.slopes"].astype(np.float64)
        mean, scale, correlation = (own[key].astype(np.float64) for key in ("mean", "scale", "correlation"))
        return cls(shapes, ranges, places, mean, scale, correlation, slopes)

    def drawn(
        self,
        frame: Grid,
        given: Codes,
        reading: RegionReading | None,
        rng: np.random.Generator,
        *,
        spread: float = 1.0,
        rounds: int = ROUNDS,
    ) -> Codes:
        """The code of every structure on a frame: those `given` as they are, the others drawn to suit them and what a text states.

        `spread` scales the standard deviations of what is not told; shapes are measured and corrected in `rounds`. Where something is
        stated, DRAWS are compared, and the one that misses least of it is taken; what is not spoken of is drawn as if nothing were said.
        """
        found: list[Draw] = []
        spoken, noise = self._spoken_of(reading), self._noise(rng)
        for _ in range(TRIES):
            draw = self._draw(frame, given, reading, rng, spread * self._root @ noise, rounds)
            if draw.whole:
                found.append(draw)
                if len(found) == DRAWS or not draw.missed:
                    break
            fresh = self._noise(rng)
            noise = np.where(spoken, fresh, noise) if found else fresh
        return min(found or [draw], key=lambda d: d.missed).codes

    def _noise(self, rng: np.random.Generator) -> Array:
        return np.clip(rng.standard_normal(len(self.mean)), -MOST, MOST)

    def _spoken_of(self, reading: RegionReading | None) -> NDArray[np.bool_]:
        """Which numbers (D,) are those of structures of which a text says anything."""
        names = {*reading.said, *(name for r in reading.relations for name in (r.one, r.other))} if reading else set()
        return np.concatenate([np.full(shape.length, name in names) for name, shape in self.shapes.items()])

    def _draw(self, frame: Grid, given: Codes, reading: RegionReading | None, rng: np.random.Generator, x: Array, rounds: int) -> Draw:
        """The draw x (D,) of the whole, made to suit what is given and stated."""
        covariance = self.correlation
        if given:  # they lie where they are, and the frame lies by them
            covariance = covariance + self._adrift @ self._adrift.T
        known, told = self._given(given, frame), self._stated(reading, given, covariance, rng)
        asked = [*known, *told]
        stated = {name for aim in asked for name, kind, number in aim.weights if (kind, number) == ("fact", VOLUME)}
        asked += self._volumes(self._conditioned(x, covariance, asked, [aim.target for aim in asked]), [*given, *stated])
        targets = wanted = np.array([aim.target for aim in asked])
        most = np.array([aim.leeway for aim in asked])
        free = [name for name in self.shapes if name not in given]
        facts: dict[str, Facts] = {}
        missed = np.zeros(len(asked))
        for _ in range(rounds + 1 if free else 1):
            targets = np.clip(targets + missed, wanted - most, wanted + most)
            codes = self._codes(self._conditioned(x, covariance, asked, targets), frame, bool(given)) | given
            if rounds and free:
                facts = {name: own for name in self.shapes if (own := self.measured(name, codes[name], frame)) is not None}
                missed = np.array([self._missed(aim, facts, free) for aim in asked])
        whole = not rounds or all(self._whole(name, facts.get(name), name in stated) for name in free)
        said = slice(len(known), len(known) + len(told))
        return Draw(codes, whole, float(np.minimum(np.abs(missed[said]) / most[said], 1).sum()))

    def _missed(self, aim: Aim, facts: Mapping[str, Facts], free: Sequence[str]) -> float:
        """What is missing of an aim; 0 where nothing can be done about it, or nothing is there."""
        seen = aim.seen(facts, self.ranges, self.placement) if any(name in free for name, _, _ in aim.weights) else None
        return 0.0 if seen is None else aim.target - seen

    def _whole(self, name: str, facts: Facts | None, stated: bool) -> bool:
        if facts is None or (vocabulary()[name].pieces == 1 and facts.components > 1):
            return False
        low, high = (self.ranges[name].value_at("volume_ml", p) for p in (0, 100))
        return stated or low <= facts.volume_ml <= high

    def measured(self, name: str, code: Array, frame: Grid) -> Facts | None:
        """The facts of a structure of that code on a frame; None where nothing of it lies there."""
        part, distance = self.shapes[name].distance(code, frame)
        if not (distance > 0).any():
            return None
        affine = frame.affine.copy()
        affine[:3, 3] = frame.to_ras([p.start for p in part])
        return describe.measure(distance > 0, affine)

    def shares(self, codes: Codes, frame: Grid, classes: RegionClasses) -> dict[int, Share]:
        """How likely the voxels of a part of a frame belong to each structure, by class number."""
        found = {}
        for name, code in codes.items():
            part, distance = self.shapes[name].distance(code, frame)
            blur = np.hypot(self.shapes[name].rest, SOFT_MM)
            found[classes.index(name)] = (part, (1 / (1 + np.exp(np.clip(-1.7 * distance / blur, -30, 30)))).astype(np.float32))
        return found

    def way(self, codes: Codes, frame: Grid) -> Way:
        """From where the anatomy of such codes lies on a frame to where it usually does (mm from the frame's middle)."""
        points = [shape.landmarks(codes[name]) - np.asarray(frame.centre) for name, shape in self.shapes.items()]
        return Way(np.concatenate(points), self._usual)

    @cached_property
    def _usual(self) -> Array:
        """The landmarks of the mean codes, mm from a frame's middle."""
        around = Grid.centred((0, 0, 0), (1, 1, 1), (1, 1, 1))
        codes = self._codes(np.zeros(len(self.mean)), around, held=True)
        return np.concatenate([shape.landmarks(codes[name]) for name, shape in self.shapes.items()])

    @cached_property
    def _root(self) -> Array:
        return np.asarray(np.linalg.cholesky(self.correlation + 1e-9 * np.eye(len(self.mean))), np.float64)

    @cached_property
    def _starts(self) -> dict[str, int]:
        ends = np.cumsum([shape.length for shape in self.shapes.values()])
        return {name: int(end) - self.shapes[name].length for name, end in zip(self.shapes, ends, strict=True)}

    @cached_property
    def _adrift(self) -> Array:
        """What a move of the whole region by ADRIFT_MM along each axis does to the numbers (D, 3)."""
        moved = np.zeros((len(self.mean), PLACE))
        for start in self._starts.values():
            for axis in range(PLACE):
                moved[start + axis, axis] = ADRIFT_MM / self.scale[start + axis]
        return moved

    def _numbers(self, codes: Codes, middle: Array) -> Array:
        """The numbers (D,) of a case, NaN of what is not known of it."""
        parts = []
        for name, shape in self.shapes.items():
            own = codes[name].copy() if name in codes else np.full(shape.length, np.nan)
            own[:PLACE] -= middle + np.asarray(self.placement[name])
            parts.append(own)
        return np.concatenate(parts)

    def _codes(self, y: Array, frame: Grid, held: bool) -> Codes:
        """The codes of numbers in standard deviations; places are kept among those seen, unless they are `held` by what is given."""
        codes = {}
        for name, start in self._starts.items():
            part = slice(start, start + self.shapes[name].length)
            own = y[part].copy()
            if not held:
                own[:PLACE] = np.clip(own[:PLACE], -ASTRAY, ASTRAY)
            codes[name] = self.mean[part] + self.scale[part] * own
            codes[name][:PLACE] += np.asarray(frame.centre) + np.asarray(self.placement[name])
        return codes

    def _conditioned(self, x: Array, covariance: Array, asked: Sequence[Aim], targets: Sequence[float] | Array) -> Array:
        """Matheron's rule, in standard deviations."""
        if not asked:
            return x
        rows = [self._row(aim.weights) for aim in asked]
        matrix, usual = np.stack([row for row, _ in rows]), np.array([value for _, value in rows])
        doubt = np.diag([aim.sd**2 for aim in asked])
        missed = np.asarray(targets) - usual - matrix @ x
        return np.asarray(x + covariance @ matrix.T @ np.linalg.solve(matrix @ covariance @ matrix.T + doubt, missed), np.float64)

    def _row(self, weights: Mapping[Key, float]) -> tuple[Array, float]:
        """What standard deviations of all numbers (D,) do to a combination of facts, places and numbers of codes, and its value at the
        mean."""
        row, usual = np.zeros(len(self.mean)), 0.0
        for (name, kind, number), weight in weights.items():
            start = self._starts[name]
            if kind == "fact":
                row[start : start + self.shapes[name].length] += weight * self.slopes[name][1:, number]
                usual += weight * self.slopes[name][0, number]
            else:
                row[start + number] += weight * self.scale[start + number]
                usual += weight * self.mean[start + number]
        return row, float(usual)

    def _given(self, given: Codes, frame: Grid) -> list[Aim]:
        found = []
        for name, code in given.items():
            start = self._starts[name]
            values = code.copy()
            values[:PLACE] -= np.asarray(frame.centre) + np.asarray(self.placement[name])
            for n, value in enumerate(values):
                usual, unit = self.mean[start + n], self.scale[start + n]
                if n >= PLACE:  # a strange shape must not make strange neighbours
                    value = np.clip(value, usual - STRANGE * unit, usual + STRANGE * unit)
                found.append(Aim({(name, "code", n): 1.0}, float(value), GIVEN_SD * unit))
        return found

    def _stated(self, reading: RegionReading | None, given: Codes, covariance: Array, rng: np.random.Generator) -> list[Aim]:
        """Aims for what a text states of structures that are not given, and of how they compare with any."""

        def usual(weights: Mapping[Key, float]) -> tuple[float, float]:
            row, mean = self._row(weights)
            return mean, float(np.sqrt(row @ covariance @ row))

        found: list[Aim] = []
        for name, own in reading.said.items() if reading else ():
            if name in self.shapes and name not in given:
                values, there = own.vector(self.ranges[name])
                found += [aims.fact(name, int(n), float(values[n])) for n in np.flatnonzero(there)]
        for said in reading.relations if reading else ():
            names = {said.one, said.other}
            if names <= set(self.shapes) and names - set(given):
                found.append(aims.relation(said, self.ranges, self.placement, usual, rng))
        return found

    def _volumes(self, y: Array, others: Sequence[str]) -> list[Aim]:
        """Every structure but some others keeps the volume that was drawn with it; thin parts of a mean of many would vanish."""
        found = []
        for name in self.shapes:
            if name not in others:
                own = self.ranges[name]
                limits = [own.standardise({"volume_ml": own.value_at("volume_ml", p)})[0][VOLUME] for p in USUAL]
                row, usual = self._row({(name, "fact", VOLUME): 1.0})
                found.append(aims.fact(name, VOLUME, float(np.clip(usual + row @ y, *limits)), aims.DRAWN_SD))
        return found
