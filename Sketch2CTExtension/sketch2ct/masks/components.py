"""Principal components of more numbers than examples. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST = 1e-9  # of the largest variance; what is below is rounding


def principal_components(examples: NDArray, most: int) -> tuple[Array, Array, Array]:
    """Of examples (N, D): their mean (D,), the weights (N, K) of at most `most` components, of unit variance, and the components (K, D),
    so that examples ~ mean + weights @ components. Found by way of the (N, N) products, in float64."""
    flat = examples.astype(np.float64)
    mean = flat.mean(axis=0)
    away = flat - mean
    values, vectors = np.linalg.eigh(away @ away.T / len(away))
    order = np.argsort(values)[::-1][: min(most, len(away) - 1)]
    order = order[values[order] > LEAST * values.max()]
    weights = vectors[:, order] * np.sqrt(len(away))
    return mean, weights, weights.T @ away / len(away)
