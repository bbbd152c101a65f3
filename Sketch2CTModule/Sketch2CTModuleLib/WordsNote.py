"""The live note under the description: which of its words are measured, as what."""

from __future__ import annotations

import html

from sketch2ct.anatomy import find, vocabulary
from sketch2ct.describe import read

# What a fact is called, and its unit.
_FACTS = {
    "volume_ml": ("volume", "mL"),
    "extent_lr_mm": ("width", "mm"),
    "extent_ap_mm": ("depth", "mm"),
    "extent_cc_mm": ("height", "mm"),
    "length_mm": ("length", "mm"),
    "centreline_mm": ("centreline", "mm"),
    "thickness_mm": ("thickness", "mm"),
    "tilt_deg": ("tilt", "degrees"),
}


def wordsNote(text: str) -> str:
    """One or two lines of rich text on what the backend will measure in `text`."""
    if not text.strip():
        return "<i>Optional beside a sketch. Numbers with units and words such as large, thin or tilted are measured.</i>"
    reading = read(text)
    parts = []
    for start, end, fact in reading.spans:
        if fact in reading.values and not any(char.isdigit() for char in text[start:end]):
            continue  # a number for the same fact counts, the word does not
        said = html.escape(" ".join(text[start:end].split()))
        parts.append(f"<b>{said}</b> \u2192 {_meaning(fact, reading.values, reading.levels)}")
    named = [vocabulary()[name].spoken for name in find(text) if not vocabulary()[name].derived]
    if named:
        parts.insert(0, f"<b>{html.escape(', '.join(named))}</b>")
    if not parts:
        return "<i>None of these words is measured; they only guide the model as free text.</i>"
    return "Understood: " + "; ".join(parts)


def _meaning(fact: str, values: dict[str, float], levels: dict[str, float]) -> str:
    name, unit = _FACTS.get(fact, (fact.removesuffix("_mm").replace("_", " "), ""))
    if fact in values:
        return f"{name} {values[fact]:g} {unit}".strip()
    level = levels.get(fact)
    return name if level is None else f"{name} above {level:.0f} % of cases"
