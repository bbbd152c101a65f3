"""How much the cases of a cohort differ: numbers that a person sets -> the part `vary` of a cohort's spec. No Qt, no MRML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variety:
    """`volume` and `elongation`: up to so many percent more or less; `side`: percent of the cases that are mirrored; `hand`: how much
    the strokes waver, 0 exact, 1 careful, 3 hasty; `shift` (mm) and `turn` (degrees) at most; `wording`: whether the words differ, too.
    """

    volume: int = 0
    elongation: int = 0
    side: int = 0
    hand: float = 0.0
    shift: float = 0.0
    turn: float = 0.0
    wording: bool = False

    @classmethod
    def ofSlider(cls, percent: float, side: int = 0) -> Variety:
        """From one number, 0 (cases differ by their seed alone) to 100. Sides stay as they were: who draws a left organ wants left ones."""
        share = min(max(percent, 0.0), 100.0) / 100
        most = cls(volume=40, elongation=20, hand=2.0, shift=6.0, turn=10.0)
        scaled = {name: round(share * getattr(most, name), 1) for name in ("hand", "shift", "turn")}
        return cls(round(share * most.volume), round(share * most.elongation), side, **scaled, wording=share > 0)

    def toSpec(self, *, drawn: bool = True, sized: bool = True) -> dict[str, Any]:
        """`vary` of a spec. Not `drawn`: there is no sketch to move or to mirror; not `sized`: nothing says a volume to scale."""
        vary: dict[str, Any] = {"wording": self.wording}
        if self.volume and (drawn or sized):
            vary["volume"] = _about(self.volume)
        if self.elongation:
            vary["elongation"] = _about(self.elongation)
        if drawn:
            vary |= {"side": self.side / 100, "shift_mm": self.shift, "rotate_deg": self.turn}
            vary |= {"hand": [0.0, self.hand]} if self.hand else {}
        return vary


def _about(percent: int) -> list[float]:
    return [round(1 - percent / 100, 2), round(1 + percent / 100, 2)]
