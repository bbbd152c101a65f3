"""Parts of an export that a network can be trained on: cases with the same structures, and their folds. No torch.

A generated case has only its own structures labelled; the CT shows others too, which are no background. So cases with different
structures never share a data set: each set of structures is a part with values of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .case import ExportCase
from .options import Options

MAX_WORDS = 3  # structures that a part's name spells out


@dataclass(frozen=True)
class Part:
    """Cases that all have exactly `structures`, whose values are 1, 2, ...; `fold` of each case, in `folds` of them.

    `folds` is 1 when all cases are of one group, which cannot be split. `slug` is a name for files, unique in an export.
    """

    structures: tuple[str, ...]
    cases: tuple[ExportCase, ...]
    fold: tuple[int, ...]
    folds: int
    slug: str

    @property
    def values(self) -> dict[str, int]:
        """Structure -> value."""
        return {name: value for value, name in enumerate(self.structures, start=1)}

    def splits(self) -> list[dict[str, list[str]]]:
        """For each fold the keys of the cases of `train` and `val`; none when there is one fold only."""
        keys = [one.key for one in self.cases]
        parted = [(fold, list(zip(keys, self.fold, strict=True))) for fold in range(self.folds if self.folds > 1 else 0)]
        return [{"train": [k for k, f in rows if f != fold], "val": [k for k, f in rows if f == fold]} for fold, rows in parted]


def parts(cases: Sequence[ExportCase], options: Options) -> list[Part]:
    """One part for each set of structures, the one with most cases first."""
    by_set: dict[tuple[str, ...], list[ExportCase]] = {}
    for one in cases:
        by_set.setdefault(one.structures, []).append(one)
    found: list[Part] = []
    for structures, members in sorted(by_set.items(), key=lambda item: (-len(item[1]), item[0])):
        groups = [one.case.group for one in members]
        count = min(options.folds, len(set(groups)))
        fold = tuple(assigned(groups, count, options.seed))
        found.append(Part(structures, tuple(members), fold, count, _slug(structures, {part.slug for part in found})))
    return found


def assigned(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """The fold (0 to `folds` - 1) of each case: groups stay together, folds have about the same number of cases.

    The largest groups are dealt first, each to the fold with the fewest cases; the seed decides between equals.
    """
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(np.asarray(groups), return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load = np.zeros(folds, dtype=int)
    fold: dict[str, int] = {}
    for number in order:
        least = int(load.argmin())
        fold[str(names[number])] = least
        load[least] += sizes[number]
    return [fold[str(group)] for group in groups]


def _slug(structures: tuple[str, ...], taken: set[str]) -> str:
    spelled = "_".join(structures[:MAX_WORDS])
    slug = spelled if len(structures) <= MAX_WORDS else f"{spelled}_and_{len(structures) - MAX_WORDS}_more"
    number, unique = 1, slug
    while unique in taken:
        number += 1
        unique = f"{slug}_{number}"
    return unique
