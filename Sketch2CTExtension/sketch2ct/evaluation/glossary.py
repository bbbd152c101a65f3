"""The measures of a report in words: what each is, its formula or the library that computes it, and where it was first described."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One measure; `parts` are the sections of the page in which it appears, `best` the value to hope for."""

    name: str
    parts: tuple[str, ...]
    meaning: str
    formula: str
    best: str


_MASKS = ("masks", "conditions")
TERMS = (
    Term(
        "95 % interval",
        (),
        "Where the mean would probably lie if other patients had been drawn. With few cases it is wide, and with one or two it says "
        "nothing.",
        "Percentile bootstrap (Efron and Tibshirani, 1993), 1000 resamples of the patients with the report's seed; structures of one "
        "patient stay together. Fréchet distances: the figure ± 1.96 standard deviations over 100 resamples.",
        "narrow",
    ),
    Term(
        "n",
        (),
        "How many patients a mean is over (probes: draws; pairs of texts: pairs). Undefined values, such as distances to an empty mask, "
        "are left out of the mean and counted.",
        "count",
        "large",
    ),
    Term(
        "Dice 3D",
        (*_MASKS, "usefulness", "ablation"),
        "Overlap of two masks in space, 0 to 1. Both empty counts as 1.",
        "2 |A and B| / (|A| + |B|); MONAI compute_dice.",
        "1",
    ),
    Term(
        "Mean of five structures",
        (*_MASKS, "ablation"),
        "Brainstem, spinal cord, both parotid glands and mandible, each weighing the same however often it was contoured.",
        "Mean over structures of the means over patients.",
        "1 for Dice",
    ),
    Term(
        "Dice on the sketch plane, Dice with the sketch",
        (*_MASKS, "ablation"),
        "Overlap on the plane that was drawn on: of the mask's section with the contour's, and of the mask's section with the filled "
        "sketch.",
        "Dice of sections on a raster of 1 mm, masks linear between voxels.",
        "1",
    ),
    Term(
        "Surface Dice, 3 mm",
        _MASKS,
        "The share of both surfaces that lies within 3 mm of the other one, weighed by area.",
        "Nikolov et al., Journal of Medical Internet Research 23:e26151 (2021); MONAI compute_surface_dice.",
        "1",
    ),
    Term(
        "HD95",
        _MASKS,
        "How far the surfaces lie apart where they fit worst, without the worst 5 %.",
        "95th percentile of the surface distances in mm, both ways; MONAI compute_hausdorff_distance.",
        "0 mm",
    ),
    Term("Volume error", _MASKS, "Difference of the volumes.", "|generated - real| / real.", "0"),
    Term(
        "Pieces",
        (*_MASKS, "probes", "plausibility"),
        "Separate parts of a mask.",
        "Connected voxels, corners touch; scipy.ndimage.label.",
        "as real",
    ),
    Term(
        "Pairs followed",
        ("obedience",),
        "Two texts that differ in one word or number, one noise: does the one that asks for more measure more?",
        "Share of pairs with measure(high) > measure(low), measured on the generated masks in voxels of at most 2 mm.",
        "100 %, 50 % by chance",
    ),
    Term(
        "Within the training percentiles",
        ("plausibility",),
        "Whether a mask would stand out among the training cases.",
        "Share of checks between the 2.5th and 97.5th percentile of the training masks.",
        "as real, about 95 %",
    ),
    Term(
        "Pairwise Dice, coefficient of variation",
        ("diversity",),
        "How alike the masks of one request are, and how much their volumes vary.",
        "Mean Dice of all pairs; standard deviation of the volumes over their mean.",
        "as patients, for a name alone",
    ),
    Term(
        "Distance ratio",
        ("neighbours", "ct_kit-neighbours"),
        "Whether generated cases lie nearer to the training cases than unseen patients do: a sign of memorising.",
        "Mean distance to the nearest training case, generated over real. Masks: 1 - Dice, centroids on one another, raster of 3 mm. CTs: "
        "1 - Pearson correlation of HU, clipped to -200 to 400, in blocks of 2 voxels.",
        "1",
    ),
    Term(
        "Contrast",
        ("neighbours", "ct_kit-neighbours"),
        "Whether one training case stands out as much nearer than the others.",
        "Nearest over median distance to the training cases.",
        "as real",
    ),
    Term(
        "Median within range",
        ("ct",),
        "Whether the middle of a structure has a HU that occurs in it.",
        "Share of CTs whose median HU lies within the 0.5th to 99.5th percentile of the structure's training voxels.",
        "100 %",
    ),
    Term(
        "Histogram difference",
        ("ct",),
        "The share of body voxels that would have to change their 50 HU bin to give the real histogram.",
        "Half the summed absolute difference of the shares of each bin.",
        "0",
    ),
    Term(
        "Segmenter's ratio",
        ("ct_kit-obedience",),
        "How well structures are seen where the label map says they are.",
        "Dice of the segmenter's map and the given map on generated CTs, over the same on real CTs of the same patients.",
        "1",
    ),
    Term(
        "Noise power spectrum",
        ("ct_kit-texture",),
        "How much of the noise is coarse and how much is fine.",
        "dx dy / (Nx Ny) mean |DFT(patch - its fitted plane)|², averaged over rings of frequency (ICRU Report 87, 2012).",
        "as real",
    ),
    Term(
        "10-90 % width, steepness",
        ("ct_kit-texture",),
        "How sharp the border of skin and bones is.",
        "Median over profiles along the surface's normal; steepness in HU/mm at half height.",
        "as real",
    ),
    Term(
        "Fréchet distance",
        ("ct_kit-fid",),
        "How far two sets of images lie apart as sets, in features of a network.",
        "|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of the features' means and covariances (Heusel et al., NeurIPS 2017); MONAI FIDMetric.",
        "the floor",
    ),
    Term(
        "MS-SSIM",
        ("ct_kit-diversity",),
        "How alike two CTs look at several scales.",
        "Wang et al., Asilomar Conference 2003, in 3D, HU clipped to -1000 to 1000; MONAI MultiScaleSSIMMetric.",
        "below 1, as patients",
    ),
    Term(
        "Trained on generated ÷ trained on real",
        ("usefulness",),
        "What a generated CT is worth as training material.",
        "Ratio of mean Dice on the same real test CTs.",
        "1 or more",
    ),
)


def terms(parts: Collection[str]) -> list[Term]:
    """Those that appear in some sections, and what concerns all of them."""
    return [term for term in TERMS if not term.parts or set(term.parts) & set(parts)] if parts else []
