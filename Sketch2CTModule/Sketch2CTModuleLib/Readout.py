"""A result's quality readout, in words for a small table."""

from __future__ import annotations

from typing import Any

from sketch2ct.anatomy import vocabulary

Row = tuple[str, str, str]  # what, in words, "ok" or "warn"
# When the backend warns (sketch2ct.quality); a row is marked exactly then.
LOW_DICE, FAR_CONTOUR_MM, RARE_PERCENT, VOLUME_ERROR = 0.80, 5.0, 2.5, 0.25


class Readout:
    """`manifest["quality"]` as rows (name, text, "ok" or "warn"), and its warnings as sentences."""

    def __init__(self, quality: dict[str, Any]) -> None:
        self._quality = quality or {}

    @property
    def rows(self) -> list[Row]:
        """One row per sketch, then what was measured of each structure; what was not measured has no row."""
        rows = [_sketch(item) for item in self._quality.get("sketches", [])]
        for name, item in self._quality.get("structures", {}).items():
            title = vocabulary()[name].display if name in vocabulary() else name
            rows += [(f"{title}: {what}", text, "warn" if warn else "ok") for what, text, warn in _structure(name, item)]
        return rows

    @property
    def sentences(self) -> list[str]:
        """The warnings, or one sentence that there are none."""
        if not self._quality:
            return ["This result has no quality readout."]
        return list(self._quality.get("warnings", [])) or ["No warnings. Look at the images all the same: they are synthetic."]


def _sketch(item: dict[str, Any]) -> Row:
    structure = vocabulary().get(item["structure"])
    title = structure.display if structure else item["structure"]
    name = f"{title}: {item['plane']} {'silhouette' if item.get('meaning') == 'silhouette' else 'sketch'}"
    dice, away = item.get("dice"), item.get("contour_distance_95_mm")
    if away is None:
        return name, "the mask does not meet its plane", "warn"
    parts = [f"Dice {dice:.2f}"] if dice is not None else []
    parts.append(f"95 % of the contour within {away:.1f} mm")
    warn = dice < LOW_DICE or away > FAR_CONTOUR_MM if dice is not None else away > FAR_CONTOUR_MM
    return name, ", ".join(parts), "warn" if warn else "ok"


def _structure(name: str, item: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(what, in words, whether to warn) of one structure."""
    if not item.get("volume_ml"):
        return [("volume", "empty", True)]
    rows = [_volume(item)]
    entry = vocabulary().get(name)
    pieces = item.get("components", 1)
    if pieces != 1:
        rows.append(("pieces", f"{pieces}, the largest holds {100 * item['largest_share']:.0f} %", pieces > (entry.pieces if entry else 1)))
    median = item.get("hu_median")
    if median is not None:
        low, high = item["hu_plausible"]
        rows.append(("median HU", f"{median:.0f}, usual {low:.0f} to {high:.0f}", not low <= median <= high))
    if item.get("touches_border"):
        rows.append(("border", "reaches the border of the frame", not (entry and entry.tube)))
    return rows


def _volume(item: dict[str, Any]) -> tuple[str, str, bool]:
    parts, warn = [f"{item['volume_ml']:.1f} mL"], False
    rank, asked, error = item.get("volume_percentile"), item.get("asked_volume_ml"), item.get("volume_error")
    if rank is not None:
        parts.append(_rank(rank))
        warn = not RARE_PERCENT < rank < 100 - RARE_PERCENT
    if asked and error is not None:
        parts.append(f"{asked:g} mL asked for ({100 * error:+.0f} %)")
        warn = warn or abs(error) > VOLUME_ERROR
    return "volume", ", ".join(parts), warn


def _rank(percentile: float) -> str:
    """Where a volume lies among those of the training cases, 0 to 100."""
    if percentile >= 100 or percentile <= 0:
        return f"{'larger' if percentile >= 100 else 'smaller'} than all training cases"
    return f"larger than {min(max(percentile, 1), 99):.0f} % of the training cases"
