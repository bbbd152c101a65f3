"""What a text says of contrast agent and of the display of a CT. No torch.

A display window says how the numbers are shown; it never changes or clips them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_AGENT = r"(?:iv |intravenous |iodine |iodinated )?contrast(?: agent| medium| media)?"
_WITHOUT = re.compile(
    rf"\b(?:non|un|without|no|not)[\s-]+(?:any )?(?:{_AGENT}|enhanced|contrasted)\b|\bnon?contrast\b|\bunenhanced\b|\bnative (?:ct|scan)\b"
)
_WITH = re.compile(
    rf"\bwith {_AGENT}\b|\bafter {_AGENT}\b|\bcontrast[\s-]+enhanced\b|\bpost[\s-]?contrast\b|\benhanced (?:ct|scan)\b|\bcect\b"
)
_WINDOW = re.compile(r"\b(soft[\s-]?tissue|bone|bony|lung|air|brain|fat)[\s-]+(?:window|windowing|setting|kernel)s?\b")
_NUMBERS = re.compile(r"\blevel (-?\d{1,4})\b.{0,20}?\bwidth (\d{1,4})\b|\bwindow (\d{1,4})\s*/\s*(-?\d{1,4})\b")


@dataclass(frozen=True)
class Window:
    """A display window: its `name`, and `level` and `width` in HU."""

    name: str
    level: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"window": self.name, "level": self.level, "width": self.width}


# As viewers have them for the head and neck
SOFT_TISSUE = Window("soft tissue", 40, 400)
WINDOWS = {
    "soft tissue": SOFT_TISSUE,
    "bone": Window("bone", 500, 2000),
    "lung": Window("lung", -600, 1500),
    "brain": Window("brain", 40, 80),
    "fat": Window("fat", -100, 300),
}
_SAME = {"bony": "bone", "air": "lung", "soft-tissue": "soft tissue", "softtissue": "soft tissue"}


def contrast(text: str) -> bool | None:
    """With contrast (True), without (False), or nothing said (None); where both are said, nothing."""
    plain = " ".join(text.lower().split())
    without = _WITHOUT.search(plain) is not None
    found = _WITH.search(_WITHOUT.sub(" ", plain)) is not None
    return None if found == without else found


def window(text: str) -> Window | None:
    """The display window that a text asks for, by name or as a level and a width; the first where there are several."""
    plain = " ".join(text.lower().split())
    numbers = _NUMBERS.search(plain)
    if numbers:
        level, width = (numbers[1], numbers[2]) if numbers[1] else (numbers[4], numbers[3])
        return Window("own", int(level), int(width)) if int(width) > 0 else None
    named = _WINDOW.search(plain)
    return WINDOWS[_SAME.get(named[1], named[1])] if named else None


def answer(text: str, generator: str, metadata: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the manifest says of contrast and display (`contrast`, `display`; each only when the text does), and warnings.

    `metadata` are those of the bundle that made the CT, with the volume generator of that name.
    """
    facts: dict[str, Any] = {}
    shown = window(text)
    if shown is not None:
        facts["display"] = shown.to_dict()
    asked = contrast(text)
    if asked is None:
        return facts, []
    known = metadata.get("region_volume", {}).get("contrast", {}) if generator == "guidegen" else {}
    enough = bool(known.get("with")) and bool(known.get("without"))
    facts["contrast"] = {"asked": "with" if asked else "without", "heeded": enough}
    if enough:
        return facts, []
    return facts, [
        f"The description asks for a CT {'with' if asked else 'without'} contrast, which was not heeded: "
        "the training data of this model do not tell contrast."
    ]
