"""How the structures of a region go together: one Gaussian of all codes and measured facts, given what is known. No torch.

Given structures, stated numbers and words, and relations of size and of place are all linear in these numbers (a relation holds when a
difference of two of them is large enough), so that the rest of the anatomy follows in closed form: with a draw x of the whole and what is
to be seen, A x = t, Matheron's rule x + S A' (A S A' + R)^-1 (t - A x) is a draw given t. A drawn shape is then measured as any mask is,
and t corrected by what it misses, for facts are not quite linear in the codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..describe import Facts, Ranges
from ..describe.region import RegionReading
from ..geometry import Grid
from . import region_aims as aims
from .region_aims import FACTS, VOLUME, Aim, Key
from .region_classes import RegionClasses
from .region_prior import Places, Share
from .region_shapes import PLACE, Array, Shape

Codes = dict[str, Array]
Case = tuple[Codes, Mapping[str, Facts], Array]  # of the contoured structures, and the middle of the case's frame (RAS mm)

WITHIN = 20.0  # as many cases speak against any correlation between numbers of one structure
ACROSS = 8.0  # times its variance must the square of a correlation of two structures' numbers be, to be believed at all
LEAST = 1e-3  # of the variances of independent combinations
MOST = 2.5  # standard deviations within which independent numbers are drawn
ASTRAY = 1.8  # standard deviations within which a place is drawn
STRANGE = 3.0  # standard deviations beyond which what is given no longer shapes the rest
GIVEN_SD = 0.03  # of a given structure's numbers, in their standard deviations
ADRIFT_MM = 60.0  # a frame laid by some structures may lie so far from one laid by all
ROUNDS = 4
OVERSHOOT = 10.0  # times its doubt may a target be moved to make up for what is not linear
USUAL = (2.0, 98.0)  # percentiles between which an unstated volume stays
SOFT_MM = 1.0  # a drawn border is known no better


@dataclass(frozen=True)
class RegionLaw:
    """`mean`, `scale` (D,) and `correlation` (D, D) of the numbers of every structure of `shapes`: its code, with the place relative to
    where `placement` puts it, then its facts on the scale of `ranges`."""

    shapes: dict[str, Shape]
    ranges: Mapping[str, Ranges]
    placement: Places
    mean: Array
    scale: Array
    correlation: Array

    @classmethod
    def fit(cls, cases: Iterable[Case], shapes: dict[str, Shape], ranges: Mapping[str, Ranges], placement: Places) -> RegionLaw:
        """From training cases. A structure that was not contoured in a case tells nothing.

        Correlations of pairs of numbers come from the cases that have both, and are drawn towards 0 the fewer these are; between structures
        faint ones, of which there are many by chance, go to 0 (positive-part shrinkage, Efron and Morris, 1973).
        """
        law = cls(shapes, ranges, placement, *(np.zeros(0) for _ in range(3)))
        rows = np.stack([law._numbers(*case) for case in cases])
        have = np.isfinite(rows)
        count = np.maximum(have.sum(axis=0), 1)
        mean = np.where(have, rows, 0).sum(axis=0) / count
        away = np.where(have, rows - mean, 0)
        scale = np.maximum(np.sqrt((away**2).sum(axis=0) / count), 1e-6)
        away /= scale
        owner = np.repeat(np.arange(len(shapes)), [law._length(name) for name in shapes])
        pairs = have.T.astype(np.float64) @ have
        seen = away.T @ away / np.maximum(pairs, 1)
        chance = (1 - np.minimum(seen**2, 1)) ** 2 / np.maximum(pairs, 1)  # the variance of a correlation
        believed = np.maximum(0, 1 - ACROSS * chance / np.maximum(seen**2, 1e-12))
        correlation = seen * np.where(owner[:, None] == owner, pairs / (pairs + WITHIN), believed)
        np.fill_diagonal(correlation, 1.0)
        values, vectors = np.linalg.eigh(correlation)
        correlation = (vectors * np.maximum(values, LEAST)) @ vectors.T
        unit = np.sqrt(np.diag(correlation))
        return cls(shapes, ranges, placement, mean, scale, correlation / np.outer(unit, unit))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """To be stored."""
        found: dict[str, NDArray] = {"mean": self.mean, "scale": self.scale, "correlation": self.correlation}
        for name, shape in self.shapes.items():
            box = np.array([*shape.reach, shape.rest, shape.degree])
            found |= {f"{name}.mean": shape.mean, f"{name}.modes": shape.modes, f"{name}.box": box}
        return {key: np.ascontiguousarray(value, np.float32) for key, value in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], structures: Sequence[str], ranges: Mapping[str, Ranges], places: Places) -> RegionLaw:
        """The inverse of `arrays`, for arrays or tensors; `structures` in the order in which it was fitted."""
        own = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
        shapes = {}
        for name in (n for n in structures if f"{n}.mean" in own):
            i, j, k, rest, degree = (float(x) for x in own[f"{name}.box"])
            shapes[name] = Shape(own[f"{name}.mean"], own[f"{name}.modes"], np.array([i, j, k]), rest, round(degree))
        mean, scale, correlation = (own[key].astype(np.float64) for key in ("mean", "scale", "correlation"))
        return cls(shapes, ranges, places, mean, scale, correlation)

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

        `spread` scales the standard deviations of what is not told; shapes are measured and corrected in `rounds`.
        """
        x: Array = spread * self._root @ np.clip(rng.standard_normal(len(self.mean)), -MOST, MOST)
        covariance = self.correlation
        if given:  # they lie where they are, and the frame lies by them
            covariance = covariance + self._adrift @ self._adrift.T
        asked = [*self._given(given, frame), *self._stated(reading, given, covariance, rng)]
        y = self._conditioned(x, covariance, asked, [aim.target for aim in asked])
        asked += self._volumes(y, given, asked)
        targets = wanted = np.array([aim.target for aim in asked])
        most = np.array([OVERSHOOT * aim.sd for aim in asked])  # what cannot be had must not bend everything else
        moving = {name for aim in asked for name, kind, _ in aim.weights if kind != "code"} - set(given)
        codes = self._codes(self._conditioned(x, covariance, asked, targets), frame, bool(given)) | given
        facts: dict[str, Facts] = {}
        for _ in range(rounds if moving else 0):
            facts = {name: own for name in (*moving, *given) if (own := self.measured(name, codes[name], frame)) is not None}
            seen = [aim.seen(facts, self.ranges, self.placement) if any(n in moving for n, _, _ in aim.weights) else None for aim in asked]
            missed = np.array([0.0 if s is None else aim.target - s for aim, s in zip(asked, seen, strict=True)])
            targets = np.clip(targets + missed, wanted - most, wanted + most)
            codes = self._codes(self._conditioned(x, covariance, asked, targets), frame, bool(given)) | given
        return codes

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

    @cached_property
    def _root(self) -> Array:
        return np.asarray(np.linalg.cholesky(self.correlation + 1e-9 * np.eye(len(self.mean))), np.float64)

    @cached_property
    def _starts(self) -> dict[str, int]:
        ends = np.cumsum([self._length(name) for name in self.shapes])
        return {name: int(end) - self._length(name) for name, end in zip(self.shapes, ends, strict=True)}

    @cached_property
    def _adrift(self) -> Array:
        """What a move of the whole region by ADRIFT_MM along each axis does to the numbers (D, 3)."""
        moved = np.zeros((len(self.mean), PLACE))
        for start in self._starts.values():
            for axis in range(PLACE):
                moved[start + axis, axis] = ADRIFT_MM / self.scale[start + axis]
        return moved

    def _length(self, name: str) -> int:
        return self.shapes[name].length + FACTS

    def _column(self, key: Key) -> int:
        name, kind, number = key
        return self._starts[name] + number + (self.shapes[name].length if kind == "fact" else 0)

    def _numbers(self, codes: Codes, facts: Mapping[str, Facts], middle: Array) -> Array:
        """The numbers (D,) of a case, NaN of what is not known of it."""
        parts = []
        for name in self.shapes:
            if name not in codes:
                parts.append(np.full(self._length(name), np.nan))
                continue
            code = codes[name].copy()
            code[:PLACE] -= middle + np.asarray(self.placement[name])
            parts += [code, describe.vector_of(facts[name], self.ranges[name])[0]]
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
        matrix = np.stack([self._row(aim.weights) for aim in asked])
        usual = matrix @ (self.mean / self.scale)
        doubt = np.diag([aim.sd**2 for aim in asked])
        missed = np.asarray(targets) - usual - matrix @ x
        return np.asarray(x + covariance @ matrix.T @ np.linalg.solve(matrix @ covariance @ matrix.T + doubt, missed), np.float64)

    def _row(self, weights: Mapping[Key, float]) -> Array:
        row = np.zeros(len(self.mean))
        for key, weight in weights.items():
            column = self._column(key)
            row[column] = weight * self.scale[column]
        return row

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
        found: list[Aim] = []
        for name, own in reading.said.items() if reading else ():
            if name in self.shapes and name not in given:
                values, there = own.vector(self.ranges[name])
                found += [aims.fact(name, int(n), float(values[n])) for n in np.flatnonzero(there)]
        for said in reading.relations if reading else ():
            names = {said.one, said.other}
            if names <= set(self.shapes) and names - set(given):
                weights, offset = aims.relation(said, self.ranges, self.placement)
                row = self._row(weights)
                usual, spread = float(row @ (self.mean / self.scale)) + offset, float(np.sqrt(row @ covariance @ row))
                sd = aims.RELATION_SD["place" if said.kind in aims.AXES else "volume"]
                found.append(Aim(weights, aims.holding(said, usual, spread, rng) - offset, sd, offset))
        return found

    def _volumes(self, y: Array, given: Codes, asked: Sequence[Aim]) -> list[Aim]:
        """Every other structure keeps the volume that was drawn with it; thin parts of a shape that is a mean of many would vanish."""
        stated = {name for aim in asked for name, kind, number in aim.weights if (kind, number) == ("fact", VOLUME)}
        found = []
        for name in self.shapes:
            if name not in given and name not in stated:
                column = self._column((name, "fact", VOLUME))
                own = self.ranges[name]
                limits = [own.standardise({"volume_ml": own.value_at("volume_ml", p)})[0][VOLUME] for p in USUAL]
                value = np.clip(self.mean[column] + self.scale[column] * y[column], *limits)
                found.append(aims.fact(name, VOLUME, float(value)))
        return found
