"""Whether a CT was taken with contrast agent, told from its brightest soft tissue; no published label says it. No torch.

Iodine makes vessels the brightest voxels away from bone. Of 57 OpenKBP training scans, the 99.7th percentile of HU in soft tissue at least
9 mm away from bone, skin and air lies at 51 to 116 HU in 31 of them and at 129 to 208 HU in 25; one lies between. Without contrast,
blood has about 40 HU, and what is left at 100 HU is thyroid gland and cartilage.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..modality import CT, Modality
from .scans import Scan

WITHOUT_HU, WITH_HU = 116.0, 129.0  # the brightest soft tissue lies below the one or above the other; between them it is not told
PERCENTILE = 99.7
AWAY_MM = 9.0  # two voxels of the usual scan: their partial volume with bone would look like contrast
SOFT_HU = (-20.0, 400.0)
DENSE_HU = 350.0  # bone or metal that the derived bone missed
FEWEST = 500  # voxels


def brightest(scan: Scan, modality: Modality = CT) -> float | None:
    """PERCENTILE of HU in the stored soft tissue far from bone, skin and air; None where there is too little of it, or of an MR."""
    if modality is not CT:
        return None
    body, bone, air = (scan.labels[n - len(CT.derived)] for n in range(len(CT.derived)))
    far = _away((bone > 0) | (scan.hu > DENSE_HU), scan) & _away((body < 128) | (air > 0), scan)
    values = scan.hu[scan.known & far & (scan.hu > SOFT_HU[0]) & (scan.hu < SOFT_HU[1])]
    return float(np.percentile(values, PERCENTILE)) if len(values) >= FEWEST else None


def _away(mask: NDArray[np.bool_], scan: Scan) -> NDArray[np.bool_]:
    if not mask.any():
        return np.ones(mask.shape, bool)
    return np.asarray(ndimage.distance_transform_edt(~mask, scan.grid.spacing) >= AWAY_MM)


def told(hu: float | None) -> bool | None:
    """With contrast (True), without (False), or not to be told (None), of what `brightest` gives."""
    if hu is None or WITHOUT_HU <= hu <= WITH_HU:
        return None
    return hu > WITH_HU


def prepared_contrast(scans: list[Scan], path: Path, modality: Modality = CT) -> dict[str, float | None]:
    """`brightest` of every scan by case, from `path` when it is there."""
    if not path.exists():
        path.write_text(json.dumps({scan.case: brightest(scan, modality) for scan in scans}))
    return json.loads(path.read_text())
