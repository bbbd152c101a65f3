"""Facts in words: many wordings, random subsets and orders, so that a model learns from free and partial text.

An `_Atom` says one fact; `_atoms` chooses which facts and how, and the forms at the end join atoms to text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from .measure import Facts
from .ranges import Ranges
from .words import LEVELS, MEAN, MILD, MUCH, SCALES, STRONG, band

Style = Literal["numeric", "qualitative", "mixed"]
Rng = np.random.Generator
T = TypeVar("T")

_TILT_NEEDS = 0.25  # elongation below which the main axis has no meaningful direction
# How often a fact is worth words, times `keep`: people speak of size first.
_INTEREST = {
    "volume_ml": 1.3,
    "extent_cc_mm": 1.1,
    "thickness_mm": 0.6,
    "centreline_mm": 0.5,
    "sphericity": 0.6,
    "symmetry": 0.6,
    "tilt_deg": 0.7,
}
_SPOKEN_BANDS = {0: 0.4, 1: 0.7, 2: 1.0, 3: 1.0}  # an average is often not worth a word
_MILLILITRES = ("mL", "ml", "cc", "cm3", "cm³", "cubic centimetres", "millilitres")
_MILLIMETRES = ("mm", "mm", "mm", "cm", "cm", "millimetres", "centimetres")
_DEGREES = (" degrees", "°", " deg")
_ABOUT = ("", "", "", "about ", "approximately ", "around ", "roughly ", "~")
_PHRASES = {
    "volume_ml": ("{}", "{}", "{} in volume"),
    "extent_lr_mm": ("{} wide", "{} LR", "{} left to right", "{} in width", "{} across"),
    "extent_ap_mm": ("{} deep", "{} AP", "{} front to back", "{} in depth", "{} anteroposteriorly"),
    "extent_cc_mm": ("{} tall", "{} CC", "{} craniocaudally", "{} in height", "{} cranio-caudally", "{} high"),
    "length_mm": ("{} long", "{} in length", "{} along its main axis", "{} along the long axis"),
    "centreline_mm": ("{} along its centreline", "{} along the centerline"),
    "thickness_mm": ("{} thick", "{} in diameter", "{} in thickness"),
}
_LABELS = {
    "volume_ml": ("volume",),
    "extent_lr_mm": ("width", "LR", "left-right extent"),
    "extent_ap_mm": ("depth", "AP", "anteroposterior extent"),
    "extent_cc_mm": ("height", "CC", "craniocaudal extent"),
    "length_mm": ("length", "main axis length"),
    "centreline_mm": ("centreline length", "centreline"),
    "thickness_mm": ("thickness", "diameter"),
}
_LEANING = ("tilted {}", "tilted by {}", "inclined by {}", "leaning {} from the vertical", "slanted by {}")
_SURFACES = ("surface", "outline", "contour")
_ASKS = ("", "", "", "", "Generate ", "Draw ", "Please make ", "Show ", "Create ", "I need ")


class Written(NamedTuple):
    """A text and what it says. `values`: fact -> the printed number. `levels`: fact -> the percentile of its words."""

    text: str
    values: dict[str, float]
    levels: dict[str, float]


@dataclass(frozen=True)
class _Atom:
    """One fact in words. `kind`: "pre" an adjective, "post" a phrase after "is", "with" a noun, "size" a number."""

    fact: str
    kind: str
    text: str
    value: float | None = None
    level: float | None = None


def describe(
    facts: Facts,
    structure_name: str,
    ranges: Ranges,
    rng: Rng,
    *,
    style: Style = "mixed",
    keep: float = 0.6,
    full: bool = False,
) -> str:
    """A random description of `facts`; see `write`. With `full`, the one `canonical` text instead."""
    if full:
        return canonical(facts, structure_name, ranges)
    return write(facts, structure_name, ranges, rng, style=style, keep=keep).text


def write(
    facts: Facts,
    structure_name: str,
    ranges: Ranges,
    rng: Rng,
    *,
    style: Style = "mixed",
    keep: float = 0.6,
    only: Collection[str] | None = None,
) -> Written:
    """A random description and what it says. `keep` (0..1) is about the part of the facts that is mentioned, `only` limits which may be.

    `only` must not be empty when it is given.
    """
    if style not in ("numeric", "qualitative", "mixed"):
        raise ValueError(f"A style is 'numeric', 'qualitative' or 'mixed', not {style!r}.")
    atoms = _atoms(facts, ranges, rng, style, keep)
    if only is not None:
        atoms = [atom for atom in atoms if atom.fact in only] or [_any_atom(facts, ranges, rng, _pick(rng, sorted(only)))]
    atoms = [atoms[index] for index in rng.permutation(len(atoms))]
    form = _pick(rng, (_telegraphic, _labelled, _one_sentence, _one_sentence, _sentences, _sentences))
    text = form(structure_name, atoms, rng)
    values = {atom.fact: atom.value for atom in atoms if atom.value is not None}
    return Written(text, values, {atom.fact: atom.level for atom in atoms if atom.level is not None})


def canonical(facts: Facts, structure_name: str, ranges: Ranges) -> str:
    """The one full text of `facts` (at most about 60 words), the same at every call."""

    def word(fact: str) -> str:
        return degree(fact, band(ranges.percentile(fact, getattr(facts, fact))), None)[1]

    size = band(ranges.percentile("volume_ml", facts.volume_ml))
    first = f"{word('volume_ml')} {structure_name}" if size else structure_name
    sides = [
        f"{facts.extent_lr_mm:.0f} mm wide",
        f"{facts.extent_ap_mm:.0f} mm deep",
        f"{facts.extent_cc_mm:.0f} mm tall",
    ]
    main = f"{facts.length_mm:.0f} mm long"
    if facts.centreline_mm > 1.1 * facts.length_mm:
        main += f", {facts.centreline_mm:.0f} mm along its centreline"
    if facts.elongation >= _TILT_NEEDS:
        main += f", tilted {facts.tilt_deg:.0f} degrees"
    shape = [word("elongation"), word("flatness"), word("smoothness")]
    if abs(band(ranges.percentile("symmetry", facts.symmetry))) >= 2:
        shape.append(word("symmetry"))
    text = f"{_article(first)} of {_volume(facts.volume_ml)} mL, {_join(sides)}. It is {main}. It is {_join(shape)}."
    if facts.components > 1:
        text += f" It has {facts.components} separate pieces."
    if facts.side and facts.side not in structure_name.lower():
        text += " It lies in the midline." if facts.side == "midline" else f" It lies on the {facts.side} side."
    return text[0].upper() + text[1:]


def _atoms(facts: Facts, ranges: Ranges, rng: Rng, style: Style, keep: float) -> list[_Atom]:
    """The chosen facts in words, at least one. The part kept varies around `keep`, so that short texts occur too."""
    keep = float(np.clip(keep, 0.02, 0.98))
    part = rng.beta(3 * keep, 3 * (1 - keep))
    names = list(dict.fromkeys((*_PHRASES, *SCALES)))
    if facts.elongation < _TILT_NEEDS:
        names.remove("tilt_deg")
    atoms = []
    for fact in names:
        number = fact in _PHRASES or fact == "tilt_deg"
        word = fact in SCALES
        if (style == "numeric" and not number) or (style == "qualitative" and not word):
            continue
        if rng.random() > part * _INTEREST.get(fact, 1.0):
            continue
        if number and (style == "numeric" or not word or (style == "mixed" and rng.random() < 0.5)):
            atoms.append(_number_atom(fact, getattr(facts, fact), rng))
        else:
            level = band(ranges.percentile(fact, getattr(facts, fact)))
            if rng.random() < _SPOKEN_BANDS[abs(level)]:
                atoms.append(_word_atom(fact, level, rng))
    if atoms:
        return atoms
    if style == "numeric" or (style == "mixed" and rng.random() < 0.5):
        return [_number_atom("volume_ml", facts.volume_ml, rng)]
    return [_word_atom("volume_ml", band(ranges.percentile("volume_ml", facts.volume_ml)), rng)]


def _any_atom(facts: Facts, ranges: Ranges, rng: Rng, fact: str) -> _Atom:
    """A fact as a number where it has a unit, else as a word."""
    if fact in _PHRASES:
        return _number_atom(fact, getattr(facts, fact), rng)
    return _word_atom(fact, band(ranges.percentile(fact, getattr(facts, fact))), rng)


def _number_atom(fact: str, value: float, rng: Rng) -> _Atom:
    """A number as people print it: whole mm, cm with one decimal, sometimes rounded to the nearest 5."""
    coarse = value >= 30 and rng.random() < 0.2
    rounded = 5 * round(value / 5) if coarse else value
    about = _pick(rng, _ABOUT[3:] if coarse else _ABOUT)
    if fact == "tilt_deg":
        text = f"{rounded:.0f}"
        return _Atom(fact, "post", _pick(rng, _LEANING).format(f"{about}{text}{_pick(rng, _DEGREES)}"), float(text))
    if fact == "volume_ml":
        text, unit = _volume(rounded), _pick(rng, _MILLILITRES)
        return _Atom(fact, "size", f"{about}{text}{_gap(rng, unit)}{unit}", float(text))
    unit = _pick(rng, _MILLIMETRES)
    scale = 10.0 if unit.startswith("c") else 1.0
    text = f"{rounded / scale:.1f}" if scale > 1 or value < 10 else f"{rounded:.0f}"
    return _Atom(fact, "size", f"{about}{text}{_gap(rng, unit)}{unit}", float(text) * scale)


def _volume(value_ml: float) -> str:
    """A volume in mL as people print it, never 0."""
    decimals = 0 if value_ml >= 10 else 1 if value_ml >= 1 else 3
    return f"{max(value_ml, 0.001):.{decimals}f}"


def _gap(rng: Rng, unit: str) -> str:
    return "" if len(unit) <= 3 and rng.random() < 0.2 else " "


def _word_atom(fact: str, level: int, rng: Rng) -> _Atom:
    kind, text = degree(fact, level, rng)
    if fact == "smoothness" and kind == "pre" and rng.random() < 0.6:
        kind, text = "with", f"{text} {_pick(rng, _SURFACES)}"
    return _Atom(fact, kind, text, level=LEVELS[level])


def degree(fact: str, level: int, rng: Rng | None) -> tuple[str, str]:
    """Words for a band (-3..3) of a fact, and their kind: "pre" or "post". Without `rng`, always the first choice."""

    def pick(options: Sequence[str]) -> str:
        return options[0] if rng is None else _pick(rng, options)

    scale = SCALES[fact]
    if level == 0:
        if fact == "volume_ml" and (rng is None or rng.random() < 0.6):
            return "pre", pick(("medium-sized", "average-sized", "mid-sized"))
        return "post", f"of {pick(MEAN)} {pick(scale.nouns)}"
    plain, extreme, compared = (scale.low, scale.lowest, scale.lower) if level < 0 else (scale.high, scale.highest, scale.higher)
    word = pick(plain)
    kind = "post" if " " in word else "pre"
    chance = 1.0 if rng is None else rng.random()
    if abs(level) == 3:
        return ("pre", pick(extreme)) if extreme and chance < 0.4 else (kind, f"{pick(STRONG)} {word}")
    if chance < 0.15 or (abs(level) == 1 and chance < 0.35):
        than = f"{pick(compared) if compared else f'more {word}'} than {pick(('average', 'usual', 'most'))}"
        modifiers = MUCH if abs(level) == 2 else ("", "", "slightly ", "somewhat ", "a little ")
        modifier = pick(modifiers)
        return "post", f"{modifier.strip()} {than}".strip()
    return kind, f"{pick(MILD)} {word}" if abs(level) == 1 else word


def _measured(atom: _Atom, rng: Rng) -> str:
    return _pick(rng, _PHRASES[atom.fact]).format(atom.text)


def _kind(atoms: Sequence[_Atom], *kinds: str) -> list[_Atom]:
    return [atom for atom in atoms if atom.kind in kinds]


def _short(name: str, rng: Rng) -> str:
    """Abbreviations of note-takers: "L parotid" for "left parotid gland"."""
    for side, letter in (("left ", "L "), ("right ", "R ")):
        if name.lower().startswith(side) and rng.random() < 0.6:
            name = letter + name[len(side) :]
    return name.removesuffix(" gland") if rng.random() < 0.6 else name


def _telegraphic(name: str, atoms: Sequence[_Atom], rng: Rng) -> str:
    parts = [_measured(atom, rng) if atom.kind == "size" else atom.text for atom in atoms]
    parts.insert(0 if rng.random() < 0.8 else len(parts), _short(name, rng))
    return _pick(rng, (", ", ", ", "; ")).join(parts)


def _labelled(name: str, atoms: Sequence[_Atom], rng: Rng) -> str:
    colon = _pick(rng, (" ", ": ", " = "))
    parts = [f"{_pick(rng, _LABELS[a.fact])}{colon}{a.text}" if a.kind == "size" else a.text for a in atoms]
    return _capital(f"{_short(name, rng)}: {_pick(rng, (', ', '; ')).join(parts)}", rng)


def _one_sentence(name: str, atoms: Sequence[_Atom], rng: Rng) -> str:
    adjectives = [atom.text for atom in _kind(atoms, "pre")]
    text = _article(" ".join((", ".join(adjectives), name)).strip())
    if rng.random() < 0.15:
        text = f"the {text.split(' ', 1)[1]}"
    text = f"{_pick(rng, _ASKS)}{text}"
    after = [_join([a.text for a in _kind(atoms, "post")]), "", ""]
    if holds := _kind(atoms, "with"):
        after[1] = f"with {_article(_join([atom.text for atom in holds]))}"
    if sizes := _kind(atoms, "size"):
        after[2] = f"{_pick(rng, ('measuring', 'about', 'which is', 'that measures'))} "
        after[2] = after[2].replace("about ", "") + _join([_measured(atom, rng) for atom in sizes])
    rest = [after[index] for index in rng.permutation(3) if after[index]]
    return _capital(", ".join([text, *rest]) + _pick(rng, (".", ".", "")), rng)


def _sentences(name: str, atoms: Sequence[_Atom], rng: Rng) -> str:
    clauses: list[str] = []
    if said := [atom.text for atom in _kind(atoms, "pre", "post")]:
        cut = int(rng.integers(1, len(said) + 1))
        clauses += [f"is {_join(part)}" for part in (said[:cut], said[cut:]) if part]
    if holds := _kind(atoms, "with"):
        clauses.append(f"has {_article(_join([atom.text for atom in holds]))}")
    if sizes := _kind(atoms, "size"):
        clauses.append(f"{_pick(rng, ('is', 'measures'))} {_join([_measured(atom, rng) for atom in sizes])}")
    order = rng.permutation(len(clauses))
    subjects = [f"The {name}"] + [_pick(rng, ("It", "It", "The structure")) for _ in clauses[1:]]
    return " ".join(f"{subject} {clauses[index]}." for subject, index in zip(subjects, order, strict=True))


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _article(words: str) -> str:
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _capital(text: str, rng: Rng) -> str:
    return text[0].upper() + text[1:] if rng.random() < 0.8 else text


def _pick(rng: Rng, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
