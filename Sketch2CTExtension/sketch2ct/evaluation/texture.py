"""Noise, sharpness and continuity of a CT on the bundle's frame, to be held against the real CT of the same case.

All are taken on the frame (RAS axes, so slices across the third axis are axial), where real CTs were resampled to it: what the
frame's voxels cannot hold is not asked of a generated CT.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from ..data.derived import BONE_HU
from ..imaging import CTVolume
from ..modality import CT

Mask = NDArray[np.bool_]

PATCH = 8  # voxels along both axes of an axial patch
BANDS = 4  # rings of spatial frequency around 1/4, 2/4, 3/4 and all of the coarser axis's Nyquist frequency: those a patch has
SOFT_HU = (-20.0, 120.0)  # of the smoothed CT: muscle, glands, brain
SMOOTH = 1.5  # voxels
# How far the smoothed CT may range within a patch. In one real head, patches with up to 40, 80 and any HU of it had a noise of 9, 19
# and 26 HU (the last is anatomy); below 80, generated CTs with blotched soft tissue have hardly a patch.
EVEN_HU = 80.0
FEWEST = 5  # patches, or points of a border
REACH_MM, STEP_MM = 14.0, 0.25  # of the profiles across a border
POINTS = 3000  # of a border, evenly taken


def soft_patches(ct: CTVolume, inside: Mask) -> NDArray[np.float64]:
    """Axial patches (n, PATCH, PATCH) of homogeneous soft tissue, HU, half overlapping.

    A patch counts when the CT, smoothed by SMOOTH voxels, stays within SOFT_HU all over it and ranges over EVEN_HU at most: noise
    itself excludes hardly any.
    """
    smooth = ndimage.gaussian_filter(ct.array.astype(np.float32), SMOOTH)
    soft = inside & (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
    step = (slice(None, None, PATCH // 2), slice(None, None, PATCH // 2))
    whole = sliding_window_view(soft, (PATCH, PATCH), axis=(0, 1))[step].all(axis=(-1, -2))
    whole &= np.ptp(sliding_window_view(smooth, (PATCH, PATCH), axis=(0, 1))[step], axis=(-1, -2)) <= EVEN_HU
    return sliding_window_view(ct.array, (PATCH, PATCH), axis=(0, 1))[step][whole].astype(np.float64)


def noise(ct: CTVolume, inside: Mask) -> dict[str, float]:
    """The number of `patches`, `noise_sd` (HU) and the radially averaged noise power spectrum `nps_0` ... (HU² mm², lowest frequency
    first) of soft tissue.

    NPS(f) = dx dy / (Nx Ny) <|DFT(patch - its fitted plane)|²> (ICRU Report 87, 2012); NaN with fewer than FEWEST patches and for
    other modalities, which have no HU to find soft tissue by.
    """
    patches = soft_patches(ct, inside if ct.modality is CT else np.zeros_like(inside))
    names = [f"nps_{band}" for band in range(BANDS)]
    if len(patches) < FEWEST:
        return {"patches": float(len(patches)), **dict.fromkeys(("noise_sd", *names), float("nan"))}
    u, v = np.meshgrid(*(np.arange(PATCH),) * 2, indexing="ij")
    plane = np.stack([np.ones(PATCH**2), u.ravel(), v.ravel()], axis=1)
    flat = patches.reshape(len(patches), -1)
    rest = flat - flat @ plane @ np.linalg.pinv(plane)
    dx, dy = ct.grid.spacing[:2]
    power = dx * dy / PATCH**2 * (np.abs(np.fft.fft2(rest.reshape(patches.shape))) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(PATCH, dx)[:, None], np.fft.fftfreq(PATCH, dy)[None])
    ring = np.rint(frequency * 2 * max(dx, dy) * BANDS).astype(int) - 1  # -1 is the mean, which was taken out
    spectrum = {name: float(power[ring == n].mean()) for n, name in enumerate(names)}
    return {"patches": float(len(patches)), "noise_sd": float(np.sqrt((rest**2).mean())), **spectrum}


def edges(ct: CTVolume, body: Mask, known: Mask) -> dict[str, float]:
    """Median 10-90 % width (mm) and median steepness (HU/mm, at half height) of the skin's and, in a CT, of the bones' border."""
    hu = ct.array.astype(np.float32)
    core = ndimage.binary_erosion(body, iterations=2)
    near = ndimage.binary_dilation(body, iterations=2)
    air, level = ct.modality.outside, ct.modality.body
    skin = np.where(core, np.maximum(hu, level + 300), np.where(near, hu, air)).astype(np.float32)  # no airway, no table
    bone = np.where(body, hu, air).astype(np.float32) if "bone" in ct.modality.derived else np.full(hu.shape, air, np.float32)
    found = {}
    for name, volume, at in (("skin", skin, level), ("bone", bone, BONE_HU)):
        width, steepness = border(volume, at, ct.grid.spacing, known)
        found[f"{name}_width_mm"], found[f"{name}_hu_per_mm"] = width, steepness
    return found


def border(volume: NDArray[np.float32], level: float, spacing: NDArray[np.float64], known: Mask) -> tuple[float, float]:
    """Median 10-90 % width (mm) and steepness (HU/mm) of the border where `volume` (i, j, k) crosses `level`.

    Profiles run along the surface's normal by REACH_MM to both sides, which must be known. The plateaus are the lowest value outside
    and the highest inside, so thin bones count with the height they have. NaN with fewer than FEWEST profiles.
    """
    nothing = (float("nan"), float("nan"))
    if not (volume.min() < level < volume.max()):
        return nothing
    points, _, normals, _ = marching_cubes(volume, level, spacing=tuple(spacing), gradient_direction="descent")
    pick = np.linspace(0, len(points) - 1, min(POINTS, len(points))).astype(int)
    points, normals = points[pick], _inward(volume, points[pick], spacing, normals[pick])
    along = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)  # outside is negative
    at = (points[:, None] + along[None, :, None] * normals[:, None]) / spacing
    at = np.moveaxis(at, -1, 0)
    seen = (ndimage.map_coordinates(known.astype(np.float32), at[:, :, ::8], order=1, mode="constant") > 0.99).all(axis=1)
    profiles = ndimage.map_coordinates(volume, at[:, seen], order=1, mode="nearest")
    middle = len(along) // 2
    low, high = profiles[:, :middle].min(axis=1, keepdims=True), profiles[:, middle:].max(axis=1, keepdims=True)
    rise = np.maximum(high - low, 1e-3)
    share = (profiles - low) / rise
    inner, outer = share[:, middle:] >= 0.9, share[:, middle::-1] <= 0.1
    width = (inner.argmax(axis=1) + outer.argmax(axis=1)) * STEP_MM
    half = 1 / STEP_MM  # samples a mm
    steepness = (profiles[:, middle + round(half)] - profiles[:, middle - round(half)]) / 2
    good = inner.any(axis=1) & outer.any(axis=1) & (share[:, middle] > 0.1) & (share[:, middle] < 0.9)
    if good.sum() < FEWEST:
        return nothing
    return float(np.median(width[good])), float(np.median(steepness[good]))


def _inward(volume: NDArray, points: NDArray, spacing: NDArray, normals: NDArray) -> NDArray:
    """The unit normals turned so that `volume` rises along them."""
    sides = [ndimage.map_coordinates(volume, ((points + s * normals) / spacing).T, order=1, mode="nearest") for s in (1.0, -1.0)]
    return normals * np.where(sides[0] >= sides[1], 1.0, -1.0)[:, None]


def continuity(ct: CTVolume, body: Mask) -> dict[str, float]:
    """How alike neighbouring axial slices are, within the body that both show.

    `z_correlation` (Pearson, mean over pairs of slices), `z_step_hu` (mean absolute difference), `z_worst_step` (the largest over the
    median: a slice that does not fit stands out) and `z_to_plane` (steps along z over steps within the slices).
    """
    hu = ct.array.astype(np.float64)
    shared = body[..., 1:] & body[..., :-1]
    correlations, steps = [], []
    for n in np.flatnonzero(shared.sum(axis=(0, 1)) >= PATCH**2):
        a, b = hu[..., n][shared[..., n]], hu[..., n + 1][shared[..., n]]
        steps.append(np.abs(a - b).mean())
        if a.std() > 0 and b.std() > 0:
            correlations.append(np.corrcoef(a, b)[0, 1])
    across = [np.abs(np.diff(hu, axis=d))[_shared(body, d)] for d in (0, 1)]
    in_plane = float(np.concatenate(across).mean()) if body.any() else 0.0
    if not steps or not correlations or np.median(steps) == 0 or in_plane == 0:
        return dict.fromkeys(("z_correlation", "z_step_hu", "z_worst_step", "z_to_plane"), float("nan"))
    step = float(np.mean(steps))
    worst = float(np.max(steps) / np.median(steps))
    return {"z_correlation": float(np.mean(correlations)), "z_step_hu": step, "z_worst_step": worst, "z_to_plane": step / in_plane}


def _shared(body: Mask, axis: int) -> Mask:
    """Where both of two neighbours along an axis lie in the body."""
    first, second = [slice(None)] * 3, [slice(None)] * 3
    first[axis], second[axis] = slice(None, -1), slice(1, None)
    return np.asarray(body[tuple(first)] & body[tuple(second)])
