"""Masks to measured facts, facts to sentences, sentences back to what they say. No torch, no language model.

`measure` reads a mask, `describe` words the facts in many ways, `read` recovers numbers and degrees from any text, and
`vector_of` and `Reading.vector` put both on the same scale, so that a model can be conditioned on either.
"""

from .measure import FACTS, Facts, measure
from .ranges import Ranges, vector_of
from .read import Reading, read
from .sentences import Written, canonical, describe, write
from .words import LEVELS, band

__all__ = [
    "FACTS",
    "LEVELS",
    "Facts",
    "Ranges",
    "Reading",
    "Written",
    "band",
    "canonical",
    "describe",
    "measure",
    "read",
    "vector_of",
    "write",
]
