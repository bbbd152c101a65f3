"""How far two reviewers agree: Cohen's kappa. No torch, no numpy.

    kappa = 1 - sum(w_ij o_ij) / sum(w_ij e_ij)

where o_ij is the share of cases that the first reviewer put into category i and the second into j, e_ij = o_i. o_.j what chance
would give, and w_ij the weight of a disagreement: 1 for i != j (J. Cohen, Educational and Psychological Measurement 20:37-46, 1960),
or (i - j)^2 for scores, where far is worse than near (J. Cohen, Psychological Bulletin 70:213-220, 1968).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from .store import ReviewStore
from .verdict import BEST_SCORE, SCORES, STATUSES, Verdict


@dataclass(frozen=True)
class Agreement:
    """Of two reviewers on the cases that both judged: `cases`, how many `equal`, and `table` [first's category][second's] counts.

    `kappa` is 1 for perfect agreement, 0 for what chance would give, and None where it is not defined: no case, or all in one category.
    """

    cases: int
    equal: int
    kappa: float | None
    table: list[list[int]]

    @property
    def percent(self) -> float | None:
        """Share of cases on which both say the same, in percent."""
        return 100 * self.equal / self.cases if self.cases else None


def cohen(first: Sequence[Hashable], second: Sequence[Hashable], categories: Sequence[Hashable], *, quadratic: bool = False) -> Agreement:
    """Agreement of two lists of judgements on the same cases, in the same order. Raises ValueError for other categories."""
    place = {category: number for number, category in enumerate(categories)}
    size = len(place)
    table = [[0] * size for _ in range(size)]
    for one, other in zip(first, second, strict=True):
        if one not in place or other not in place:
            raise ValueError(f"{one!r} or {other!r} is not among {categories}")
        table[place[one]][place[other]] += 1
    cases = sum(map(sum, table))
    equal = sum(table[n][n] for n in range(size))
    rows, columns = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]
    observed = chance = 0.0
    for i in range(size):
        for j in range(size):
            weight = (i - j) ** 2 if quadratic else float(i != j)
            observed += weight * table[i][j]
            chance += weight * rows[i] * columns[j] / max(cases, 1)
    return Agreement(cases, equal, 1 - observed / chance if chance else None, table)


def between(store: ReviewStore, first: str, second: str) -> dict[str, Any]:
    """`first`, `second`, and by what was judged (`status`, each score): cases, equal, percent, kappa, categories, table.

    The verdicts that count are compared, on the cases on which both said something.
    """
    ones, others = (_by_case(store, name) for name in (first, second))
    report: dict[str, Any] = {"first": first, "second": second}
    scale = list(range(1, BEST_SCORE + 1))
    questions: dict[str, list[Any]] = {"status": list(STATUSES), **{name: scale for name in SCORES}}
    for name, categories in questions.items():
        pairs = [(getattr(ones[case], name), getattr(others[case], name)) for case in sorted(ones.keys() & others.keys())]
        pairs = [pair for pair in pairs if None not in pair]
        found = cohen([a for a, _ in pairs], [b for _, b in pairs], categories, quadratic=name in SCORES)
        report[name] = {**asdict(found), "percent": found.percent, "categories": categories}
    return report


def between_all(store: ReviewStore) -> list[dict[str, Any]]:
    """`between` for every pair of reviewers."""
    return [between(store, first, second) for first, second in combinations(store.reviewers(), 2)]


def _by_case(store: ReviewStore, reviewer: str) -> dict[str, Verdict]:
    return {case: verdict for (case, _), verdict in store.latest(reviewer=reviewer).items()}
