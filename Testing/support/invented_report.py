"""A report of an evaluation with invented figures, for tests of what is made of it."""

from sketch2ct.evaluation.parts import PARTS

STRUCTURES = ("brainstem", "mandible")


class Figures:
    """Figures that all differ, so that each can be found again."""

    def __init__(self):
        self.count = 0

    def __call__(self, base=0.5, n=9):
        self.count += 1
        mean = round(base + self.count / 1000, 4)
        return {"mean": mean, "ci95": [round(mean - 0.03, 4), round(mean + 0.03, 4)], "n": n}

    def sides(self, base=0.5, *more):
        return {key: self(base) for key in ("generated", "real", "ratio", *more)}


def invented():
    """A report in which every part was measured."""
    f = Figures()
    metrics = ("dice_3d", "dice_plane", "dice_sketch", "surface_dice_3mm", "hd95_mm", "volume_error", "components")
    names = (*STRUCTURES, "mean_of_five")
    masks = {name: {key: f() for key in (*metrics, "retrieval_dice_3d", "mean_shape_dice_3d")} for name in names}
    masks["mandible"]["clean"] = {key: f() for key in metrics}
    asked = {key: f() for key in ("followed", "side", "moved")}
    kind = {**asked, "by_fact": {"volume_ml": asked}, "by_structure": {"mandible": asked}}
    checks = ("volume", "facts", "position", "beyond_sketch", "components", "volume_percentile")
    near = {"contrast": {"generated": f(), "real": f()}, "copies": []}
    near |= {key: f() for key in ("generated", "real", "ratio", "ratio_smooth")}
    probe = {"volume_within_20": {"text_only": f(), "with_sketch": f()}, "small_large_obeyed": f(), "one_component": f()}
    noise = ("patches", "noise_sd", "nps_0", "nps_1", "nps_2", "nps_3")
    spread = {"median": f.sides(40, "error"), "spread": f.sides(60)}
    tissue = {key: f.sides(0.2) for key in ("share", "median", "peak", "has_peak")}
    plane = {key: f(2) for key in ("generated", "floor", "ratio")}
    worth = {key: f() for key in ("real", "synthetic", "both", "synthetic_to_real", "both_to_real")}
    hu = ("hu_median_inside", "hu_median", "hu_median_real", "hu_median_error")
    return {
        "cases": 9,
        "seed": 3,
        "samples": 1,
        "hand": 0.0,
        "parts": list(PARTS),
        "command": "sketch2ct evaluate --bundle toy --seed 3",
        "hardware": {"device": "CPU (test)", "cpus": 2, "torch": "2.13.0"},
        "bundle": {"name": "toy", "digest": "f24c506f1eb8" * 5},
        "left_out": ["hn_201 esophagus: too small to be drawn"],
        "figures": ["figures/dice.png", "figures/masks.png", "figures/ct-hn_201.png"],
        "seconds": {"mask": 0.5, "ct": 4.25, "total": 321.0, "parts": {"masks": 17.5}},
        "masks": masks,
        "conditions": {"two_sketches": {name: {key: f() for key in (*metrics, "dice_3d_gain")} for name in names}},
        "probes": {**probe, "by_structure": {"mandible": probe}},
        "obedience": {"share_followed": f(0.9), "words": kind, "numbers": kind},
        "plausibility": {name: {key: {"generated": f(), "real": f()} for key in checks} for name in (*STRUCTURES, "overall")},
        "diversity": {"name_only": {name: {"pairwise_dice": f(), "volume_cv": f()} for name in ("mandible", "overall")}},
        "neighbours": {"mandible": {**near, "copy_limit": 0.02}, "overall": near},
        "ct": {
            **{name: {**{key: f(30) for key in hu}, "hu_range": [-17.0, 83.0]} for name in STRUCTURES},
            "overall": {"hu_median_inside": f(), "histogram_difference": f()},
        },
        "ct_kit": {
            "obedience": {"mandible": f.sides(0.8), "overall": f.sides(0.8)},
            "tissue": {"tissues": {"fat": tissue}, "structures": {"mandible": spread}},
            "noise": {key: f.sides(15) for key in noise},
            "edges": {"skin_width_mm": f.sides(3)},
            "continuity": {"z_correlation": f.sides(0.9)},
            "fid": {"axial": {**plane, "slabs": [11, 12, 13]}, "mean": {key: f(2) for key in plane}, "features": "a network's"},
            "diversity": {"one_mask": f(), "patients": f(), "patients_real": f()},
            "neighbours": {**f.sides(0.3), "contrast": {"generated": f(), "real": f()}, "copy_limit": 0.1, "copies": []},
            "segmenter": {"cases": ["hn_001"] * 170, "sha256": "ab" * 32, "budget": 1500},
            "counts": {"cases": 9, "training": 54, "training_held": 170, "samples": 2, "seed": 3},
        },
        "usefulness": {"mandible": worth, "overall": worth, "about": {"split": "Ts", "training_cases": 170, "samples": 1, "steps": 1500}},
        "ablation": {
            "full": {"label": "as shipped", "dice_3d": f(), "dice_plane": f(), "two_sketches": f(), "parameters": 12_340_000, "steps": 10},
            "no_text": {"label": "without text", "dice_3d": f(), "dice_plane": f(), "two_sketches": f(), "parameters": 11e6, "steps": 10},
        },
    }


def number(mean, low, high):
    return {"mean": mean, "ci95": [low, high], "n": 5}
