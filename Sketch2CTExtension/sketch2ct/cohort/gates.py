"""The quality readout of a case -> pass, flag or reject, with reasons. No torch, and no reader of images: 3D Slicer imports this.

A spec's `gates` changes the defaults below: `gates: false` switches all off, `pieces: false` one of them; `sketch_dice: {flag: 0.9,
reject: 0.7}` sets limits, of which either may be false; `empty` and `border` take `flag`, `reject` or false.
A value that equals its limit passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..anatomy import vocabulary
from ..errors import BadRequest

VERDICTS = ("pass", "flag", "reject")
# Gate -> limits. Below `sketch_dice` and `volume_tail`, above the others.
#   sketch_dice      Dice of mask and drawing on the drawing's plane
#   contour_mm       95th percentile of the distance between their outlines
#   pieces           pieces beyond those that the structure has
#   volume_tail      percentile of the volume among training cases, from the nearer end: 0.5 means outside 0.5 to 99.5
#   volume_error     part by which the volume differs from the one asked for
#   hu_beyond        HU (or the unit of the bundle's images) by which the median lies outside the plausible range
LIMITS: dict[str, dict[str, float | None]] = {
    "sketch_dice": {"flag": 0.9, "reject": 0.8},
    "contour_mm": {"flag": 5.0, "reject": 15.0},
    "pieces": {"flag": None, "reject": 0.0},
    "volume_tail": {"flag": 2.5, "reject": 0.5},
    "volume_error": {"flag": 0.25, "reject": 0.5},
    "hu_beyond": {"flag": 0.0, "reject": 100.0},
}
SWITCHES: dict[str, str | None] = {"empty": "reject", "border": "flag"}  # no voxel at all; cut off by the frame
_LESS_IS_WORSE = ("sketch_dice", "volume_tail")


@dataclass(frozen=True)
class Gate:
    """`verdict` is one of VERDICTS; `reasons` are plain sentences, none for a pass."""

    verdict: str
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As case.json has it."""
        return {"verdict": self.verdict, "reasons": list(self.reasons)}


def settings(given: Any = None) -> dict[str, Any]:
    """All gates with their limits, from what a spec says (None: nothing). Raises BadRequest."""
    if given is False:
        return {**{name: {"flag": None, "reject": None} for name in LIMITS}, **dict.fromkeys(SWITCHES)}
    if given is None or given is True:
        given = {}
    known = {**LIMITS, **SWITCHES}
    if not isinstance(given, dict):
        raise BadRequest(f"'gates' must hold settings, or be false, not {given!r}.", f"Known: {', '.join(sorted(known))}.")
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise BadRequest(f"'gates' has unknown keys: {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
    limits = {name: _limits(name, given.get(name, {}), usual) for name, usual in LIMITS.items()}
    return limits | {name: _switch(name, given.get(name, usual)) for name, usual in SWITCHES.items()}


def _limits(name: str, given: Any, usual: dict[str, float | None]) -> dict[str, float | None]:
    if given is False or given is None:
        return {"flag": None, "reject": None}
    if not isinstance(given, dict) or set(given) - {"flag", "reject"}:
        raise BadRequest(f"'gates: {name}' cannot be {given!r}.", "Give {flag: LIMIT, reject: LIMIT}, or false.")
    found = dict(usual)
    for verdict, limit in given.items():
        if limit is False or limit is None:
            found[verdict] = None
        elif isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit) or limit < 0:
            raise BadRequest(f"'gates: {name}: {verdict}' cannot be {limit!r}.", "Give a number from 0 on, or false.")
        else:
            found[verdict] = float(limit)
    return found


def _switch(name: str, given: Any) -> str | None:
    if given is False or given is None:
        return None
    if given not in ("flag", "reject"):
        raise BadRequest(f"'gates: {name}' cannot be {given!r}.", "Use flag, reject or false.")
    return str(given)


def judge(quality: dict[str, Any], limits: dict[str, Any]) -> Gate:
    """The verdict on a quality readout (`manifest["quality"]`) under `settings`; the worst of its parts."""
    worst, reasons = 0, []
    for name, value, reason in _findings(quality):
        verdict = limits[name] if name in SWITCHES else _exceeded(name, value, limits[name])
        if verdict is not None:
            worst = max(worst, VERDICTS.index(verdict))
            reasons.append(reason)
    return Gate(VERDICTS[worst], tuple(reasons))


def _exceeded(name: str, value: float, limits: dict[str, float | None]) -> str | None:
    for verdict in ("reject", "flag"):
        limit = limits[verdict]
        if limit is not None and (value < limit if name in _LESS_IS_WORSE else value > limit):
            return verdict
    return None


def _findings(quality: dict[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Gate, value, and the sentence to say if it is beyond the limit; what was not measured is not judged."""
    for item in quality.get("sketches", []):
        which = f"the {item['plane']} sketch of the {_spoken(item['structure'])}"
        if item.get("dice") is not None:
            yield "sketch_dice", item["dice"], f"The mask and {which} agree by a Dice of {item['dice']:.2f} only."
        away = item.get("contour_distance_95_mm")
        if away is not None:
            yield "contour_mm", away, f"The mask strays from {which} by {away:.1f} mm."
    for name, item in quality.get("structures", {}).items():
        yield from _structure_findings(name, item)


def _structure_findings(name: str, item: dict[str, Any]) -> Iterator[tuple[str, float, str]]:
    the = f"The {_spoken(name)}"
    if not item.get("volume_ml"):
        yield "empty", 0.0, f"{the} is empty."
        return
    entry = vocabulary().get(name)
    pieces = entry.pieces if entry else 1
    yield "pieces", item["components"] - pieces, f"{the} is in {item['components']} pieces instead of {pieces}."
    rank = item.get("volume_percentile")
    if rank is not None:
        size = "larger" if rank > 50 else "smaller"
        said = f"{the} has {item['volume_ml']:.3g} mL: {size} than {max(rank, 100 - rank):.1f} % of the training cases."
        yield "volume_tail", min(rank, 100 - rank), said
    error = item.get("volume_error")
    if error is not None:
        said = f"{the} has {item['volume_ml']:.3g} mL instead of the {item['asked_volume_ml']:.3g} mL asked for."
        yield "volume_error", abs(error), said
    median = item.get("hu_median")
    if median is not None:
        low, high = item["hu_plausible"]
        beyond = max(low - median, median - high)
        yield "hu_beyond", beyond, f"{the} has a median of {median:.0f}; {low:.0f} to {high:.0f} is usual."
    if item.get("touches_border") and not (entry and entry.tube):
        yield "border", 1.0, f"{the} touches the border of the frame and may be cut off."


def _spoken(name: str) -> str:
    entry = vocabulary().get(name)
    return entry.spoken if entry else name.replace("_", " ")
