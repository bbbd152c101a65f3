"""The end of a blind reading: the key is opened, and guesses are compared with it. Standard library only.

key.json in the folder: version, seed, cases (case -> kind `real` or `synthetic`, origin, sha256 of its files). Nothing else in the
folder tells; it is read here, after the reading, and nowhere else.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..provenance import read_json
from .store import ReviewStore
from .verdict import GUESSES, REAL, SYNTHETIC

KEY, KEY_VERSION = "key.json", 1
BLIND = "blind"  # in cohort.json: that the folder is one of a blind reading
Z = 1.959964  # two-sided 95 %


@dataclass(frozen=True)
class Share:
    """`hits` of `of` cases, and the 95 % interval (0 to 1); `value` is None of no case."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """Hits as a share, 0 to 1."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Score interval (E. B. Wilson, J. Am. Stat. Assoc. 22:209-212, 1927); 0 to 1 of no case."""
        if not self.of:
            return 0.0, 1.0
        share, spread = self.hits / self.of, Z**2 / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = Z / (1 + spread) * math.sqrt(share * (1 - share) / self.of + spread / (4 * self.of))
        return max(0.0, middle - half), min(1.0, middle + half)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: hits, of, value, ci95."""
        return {**asdict(self), "value": self.value, "ci95": list(self.interval)}


@dataclass(frozen=True)
class Reading:
    """One reviewer's guesses: `table[truth][guess]` counts. A synthetic case that is taken for synthetic counts as a hit."""

    reviewer: str
    table: dict[str, dict[str, int]]
    unjudged: int

    @property
    def sensitivity(self) -> Share:
        """Synthetic cases that were found out."""
        return Share(self.table[SYNTHETIC][SYNTHETIC], sum(self.table[SYNTHETIC].values()))

    @property
    def specificity(self) -> Share:
        """Real cases that were taken for real."""
        return Share(self.table[REAL][REAL], sum(self.table[REAL].values()))

    @property
    def accuracy(self) -> Share:
        """Right guesses; one half is what a coin gives."""
        right = sum(self.table[kind][kind] for kind in GUESSES)
        return Share(right, sum(sum(row.values()) for row in self.table.values()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        shares = {name: getattr(self, name).to_dict() for name in ("sensitivity", "specificity", "accuracy")}
        return {**asdict(self), **shares}

    def lines(self) -> list[str]:
        """As text: the confusion matrix, and the shares with their intervals."""
        rows = [f"{self.reviewer}: {self.accuracy.of} judged, {self.unjudged} left"]
        rows.append(f"{'':18}{'said synthetic':>16}{'said real':>12}")
        rows += [f"{'is ' + kind:18}{self.table[kind][SYNTHETIC]:>16}{self.table[kind][REAL]:>12}" for kind in (SYNTHETIC, REAL)]
        for name in ("sensitivity", "specificity", "accuracy"):
            share = getattr(self, name)
            low, high = share.interval
            value = "-" if share.value is None else f"{100 * share.value:.0f} %"
            rows.append(f"{name:18}{value:>6}  (95 % interval {100 * low:.0f} to {100 * high:.0f} %, {share.hits} of {share.of})")
        return rows


def read_key(folder: Path) -> dict[str, dict[str, Any]]:
    """Case -> its entry in the key. Raises BadRequest when there is no key, it is damaged, or a file is not the one that was shown."""
    if not (folder / KEY).is_file():
        raise BadRequest(f"{folder} has no {KEY}: it is no blind reading, or the key was moved away.", "Put the key back.")
    data = read_json(folder / KEY)
    cases = data.get("cases")
    if data.get("version") != KEY_VERSION or not isinstance(cases, dict) or not all(_is_entry(entry) for entry in cases.values()):
        raise BadRequest(f"{folder / KEY} is damaged or of another version.", "Restore it from a copy.")
    for name, entry in cases.items():
        for file, digest in entry["sha256"].items():
            path = folder / "cases" / name / file
            if not path.is_file() or sha256(path) != digest:
                raise BadRequest(f"{path} is not the file that the key was made for.", "The reading is not valid; make a new one.")
    return cases


def results(folder: Path) -> list[Reading]:
    """One reading per reviewer who guessed, by name. Raises BadRequest as `read_key` does, and when nobody has guessed."""
    folder = Path(folder).expanduser()
    key = read_key(folder)
    guesses: dict[str, dict[str, str]] = {}
    for (case, reviewer), verdict in ReviewStore(folder).latest().items():
        if verdict.guess is not None and case in key:
            guesses.setdefault(reviewer, {})[case] = verdict.guess
    if not guesses:
        raise BadRequest(f"Nobody has judged a case of {folder} yet.", "Open the folder in 3D Slicer, section Cohort, and judge its cases.")
    return [_reading(reviewer, own, key) for reviewer, own in sorted(guesses.items())]


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("kind") in GUESSES and isinstance(entry.get("sha256"), dict)


def _reading(reviewer: str, guesses: dict[str, str], key: dict[str, dict[str, Any]]) -> Reading:
    table = {truth: dict.fromkeys(GUESSES, 0) for truth in GUESSES}
    for case, guess in guesses.items():
        table[key[case]["kind"]][guess] += 1
    return Reading(reviewer, table, len(key) - len(guesses))
