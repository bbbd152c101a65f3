"""The vocabulary of structures: names, synonyms, SNOMED CT codes, colours, plausible HU and volume. No torch.

The data lie in `Resources/Anatomy/vocabulary.json`; nothing else in the package holds a list of names.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache

from .errors import BadRequest
from .resources import resources_dir


@dataclass(frozen=True)
class Structure:
    """One anatomical structure. `hu` and `volume_ml` are wide plausible ranges, not measurements; a `bony` one is part of the skeleton."""

    name: str
    display: str
    synonyms: tuple[str, ...]
    snomed: str
    snomed_meaning: str
    category_code: str
    category_meaning: str
    laterality: str | None
    mirror: str | None
    color: tuple[int, int, int]
    hu: tuple[float, float]
    volume_ml: tuple[float, float]
    pieces: int
    tube: bool
    bony: bool = False
    derived: bool = False

    @property
    def spoken(self) -> str:
        """The name as a sentence has it, for example `left parotid gland`."""
        return self.display.split(" (")[0].lower()


@cache
def vocabulary() -> dict[str, Structure]:
    """Every structure by name, derived ones (body, bone, air) last."""
    data = json.loads((resources_dir() / "Anatomy" / "vocabulary.json").read_text(encoding="utf-8"))
    entries: dict[str, Structure] = {}
    for group, derived in (("structures", False), ("derived", True)):
        for item in data[group]:
            lists = {key: tuple(item[key]) for key in ("synonyms", "color", "hu", "volume_ml")}
            entries[item["name"]] = Structure(**{**item, **lists}, derived=derived)
    return entries


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-]+", " ", text.strip().lower())


@cache
def _names() -> dict[str, str]:
    """Every accepted spelling -> structure name."""
    table: dict[str, str] = {}
    for entry in vocabulary().values():
        for word in (entry.name, entry.display, entry.spoken, *entry.synonyms):
            table[_plain(word)] = entry.name
    return table


def resolve(name: str) -> str:
    """The vocabulary's name for any accepted spelling. Raises BadRequest naming the nearest known structure."""
    table = _names()
    key = _plain(str(name)[:200])
    if key in table:
        return table[key]
    near = difflib.get_close_matches(key, table, n=1, cutoff=0.4)
    guess = f"Did you mean '{table[near[0]]}'? " if near else ""
    known = ", ".join(n for n, s in vocabulary().items() if not s.derived)
    raise BadRequest(f"Unknown structure '{str(name)[:80]}'.", f"{guess}Known: {known}.")


def find(text: str) -> list[str]:
    """The structures that a text names, in the order of their first mention, longest spelling first."""
    plain = _plain(text)
    hits: dict[str, int] = {}
    taken = [False] * (len(plain) + 1)
    for spelling, name in sorted(_names().items(), key=lambda item: -len(item[0])):
        for match in re.finditer(rf"\b{re.escape(spelling)}\b", plain):
            if not any(taken[match.start() : match.end()]):
                taken[match.start() : match.end()] = [True] * (match.end() - match.start())
                hits[name] = min(hits.get(name, match.start()), match.start())
    return sorted(hits, key=lambda name: hits[name])
