"""Example descriptions, worded so that the vocabulary measures every word of degree in them."""

from __future__ import annotations

from sketch2ct.anatomy import vocabulary

_BY_STRUCTURE = {
    "mandible": ("a broad mandible, about 62 mL", "a small, slender mandible of 45 mL, 95 mm wide"),
    "brainstem": ("a large brainstem of 30 mL", "a short, thick brainstem, 22 mL"),
    "spinal_cord": ("a long, thin spinal cord, tilted by 20 degrees", "a spinal cord of 25 mL, 160 mm tall"),
    "parotid_gland_right": ("a large right parotid gland, 40 mL", "a small, flat right parotid gland"),
    "parotid_gland_left": ("a large left parotid gland, 40 mL", "a small, flat left parotid gland"),
    "larynx": ("a large larynx, 40 mL", "a small larynx of 18 mL, 40 mm tall"),
    "esophagus": ("a thin oesophagus of 9 mL", "a long, thick oesophagus, 16 mL"),
}


def examplesFor(structure: str) -> tuple[str, ...]:
    """Descriptions of a structure that a user may start from."""
    spoken = vocabulary()[structure].spoken if structure in vocabulary() else structure
    return _BY_STRUCTURE.get(structure, (f"a large {spoken}", f"a small, smooth {spoken}"))
