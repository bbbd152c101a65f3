"""All measures of generated CTs together, with stand-ins for generator and segmenter, on a data set made on the spot."""

import json

import numpy as np
import pytest

from sketch2ct.data.nnunet import Dataset
from sketch2ct.evaluation import ct, ct_tables, obedience_ct, texture, tissue
from sketch2ct.evaluation.ct_kit import measure_ct, training_scans
from sketch2ct.evaluation.paired import Placed, place
from sketch2ct.geometry import Grid
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.modality import MR

METADATA = {
    "structures": ["brainstem", "mandible"],
    "frame": {"shape": [48, 48, 56], "spacing": [3.0, 3.0, 3.0]},
    "placement": {"brainstem": [0, -10, 10], "mandible": [0, 35, -15]},
}


class ByThreshold:
    """Sees the mandible only, as what is denser than 500 HU; its features are the HU themselves."""

    structures = ("mandible",)

    def segment(self, ct):
        return LabelVolume((ct.array > 500).astype(np.uint8), ct.grid, {1: "mandible"})

    def features(self, ct):
        a, b, c = (n // 8 for n in ct.array.shape)
        cells = ct.array[: 8 * a, : 8 * b, : 8 * c].reshape(a, 8, b, 8, c, 8).astype(np.float32)
        return np.stack([cells.mean(axis=(1, 3, 5)), cells.std(axis=(1, 3, 5))]), 8

    def about(self):
        return {"kind": "threshold", "sha256": "0" * 64}


class Real:
    """Gives back the real CT of the case that the labels come from, made worse by `change`."""

    def __init__(self, root, change=lambda hu, rng: hu):
        self.dataset, self.change = Dataset(root), change

    def generate(self, labels, text, rng, progress, *, steps=None):
        for case in self.dataset.cases("Va"):
            real = place(self.dataset, case, METADATA)
            if real.ct.grid.matches(labels.grid):
                hu = self.change(real.ct.array.astype(float), np.random.default_rng(rng.initial_seed() % 2**32))
                return CTVolume(np.round(hu).astype(np.int16), labels.grid)
        raise AssertionError("no case lies there")


def measured(toy_root, change=lambda hu, rng: hu, **options):
    dataset = Dataset(toy_root)
    silent = {"say": lambda text: None, **options}
    return measure_ct(dataset, dataset.cases("Va"), METADATA, Real(toy_root, change), ByThreshold(), 0, **silent)


@pytest.fixture(scope="module")
def perfect(toy_root):
    return measured(toy_root)


def test_real_cts_in_the_place_of_generated_ones_are_perfect(perfect):
    records, found = perfect
    assert found["obedience"]["mandible"]["ratio"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 2}
    assert found["obedience"]["overall"]["generated"]["mean"] > 0.9
    assert list(found["obedience"]) == ["mandible", "overall"]  # the segmenter knows no brainstem
    for plane in ("axial", "coronal", "sagittal", "mean"):
        assert found["fid"][plane]["ratio"]["mean"] == 1
    for group in ("noise", "edges", "continuity"):
        for entry in found[group].values():
            assert entry["ratio"]["mean"] in (1, None)
    assert found["neighbours"]["ratio"]["mean"] == 1 and found["neighbours"]["copies"] == []
    assert found["tissue"]["tissues"]["muscle"]["peak"]["error"]["mean"] == 0
    assert found["counts"] == {"cases": 3, "training": 6, "training_held": 6, "samples": 2, "seed": 0}
    assert [r.case for r in records] == ["toy_07", "toy_08", "toy_09"]


def test_few_cases_are_compared_with_fewer_training_scans(toy_root, monkeypatch):
    training = [f"case_{n:03d}" for n in range(170)]
    monkeypatch.setattr(Dataset, "cases", lambda self, split: training if split == "Tr" else [])
    dataset = Dataset(toy_root)
    for measured_cases, compared in ((1, 40), (8, 48), (33, 170), (51, 170)):
        assert training_scans(dataset, [f"va_{n}" for n in range(measured_cases)]) == training[:compared]
    assert training_scans(dataset, training[:2]) == training[2:42]  # never with themselves


def test_everything_is_json_and_tables(perfect):
    records, found = perfect
    again = json.loads(json.dumps({"summary": found, "records": [r.to_dict() for r in records]}, allow_nan=False))
    assert again["records"][0]["generated"]["dice"] == again["records"][0]["real"]["dice"]
    text = "\n".join(ct_tables.report(found))
    assert "| mandible | 0." in text and "| axial | " in text and "Copies (nearer than" in text and "| muscle | " in text
    assert "Segmenter 0000000000000000: kind threshold." in text


def test_one_mask_varies_by_the_noise_that_the_seed_gives(toy_root, perfect):
    assert np.isnan(perfect[0][0].samples[0]) or perfect[0][0].samples[0] == pytest.approx(1, abs=1e-4)

    def grainy(hu, rng):
        return hu + 60 * rng.standard_normal(hu.shape)

    records, found = measured(toy_root, grainy, samples=3)
    assert len(records[0].samples) == 3 and found["diversity"]["one_mask"]["n"] == 3
    assert found["diversity"]["one_mask"]["mean"] < 0.98
    assert found["noise"]["noise_sd"]["generated"]["mean"] > 40 > found["noise"]["noise_sd"]["real"]["mean"]
    assert found["fid"]["axial"]["ratio"]["mean"] > 1
    assert found == measured(toy_root, grainy, samples=3)[1]


def test_a_ct_without_its_mandible_disobeys(toy_root):
    found = measured(toy_root, lambda hu, rng: np.minimum(hu, 40), training=[])[1]
    assert found["obedience"]["mandible"]["ratio"]["mean"] == 0
    assert found["tissue"]["structures"]["mandible"]["median"]["generated"]["mean"] == 40
    assert found["neighbours"] == found["fid"] == {}
    assert "Nearest training scan" not in "\n".join(ct_tables.report(found))


def test_a_generator_that_repeats_a_training_scan_is_caught(toy_root, perfect):
    copy = place(Dataset(toy_root), "toy_02", METADATA).ct.array
    found = measured(toy_root, lambda hu, rng: copy)[1]["neighbours"]
    assert {(c["case"], c["training"]) for c in found["copies"]} == {(f"toy_0{n}", "toy_02") for n in (7, 8, 9)}
    assert found["ratio"]["mean"] < 0.1 and found["contrast"]["generated"]["mean"] < found["contrast"]["real"]["mean"]


def test_a_constant_ct_is_not_measured_as_a_good_one(toy_root):
    found = measured(toy_root, lambda hu, rng: np.full(hu.shape, -1000.0), samples=1)[1]
    assert found["obedience"]["mandible"]["ratio"]["mean"] == 0
    assert found["fid"]["mean"]["generated"]["mean"] is None or found["fid"]["mean"]["ratio"]["mean"] > 3
    assert found["edges"]["skin_width_mm"]["generated"]["n"] == 0 and found["edges"]["skin_width_mm"]["ratio"]["mean"] is None
    assert found["diversity"]["one_mask"]["n"] == 0


def test_swapped_labels_and_what_was_not_stored():
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (20, 20, 20))
    array = np.zeros(grid.shape, np.uint8)
    array[2:8], array[12:18] = 1, 2
    labels = LabelVolume(array, grid, {1: "mandible", 2: "brainstem"})
    known = np.ones(grid.shape, bool)
    known[..., 10:] = False
    hu = np.where(array == 1, 800, 0)
    hu[..., 10:] = 900  # not stored, so not judged
    image = CTVolume(hu.astype(np.int16), grid)
    assert obedience_ct.dice_of(ByThreshold(), Placed("a", image, known, known, labels)) == {"mandible": 1.0}
    swapped = CTVolume(np.where(array == 2, 800, 0).astype(np.int16), grid)
    assert obedience_ct.dice_of(ByThreshold(), Placed("a", swapped, known, known, labels)) == {"mandible": 0.0}


def test_an_mr_has_no_hu_but_a_skin_and_structures():
    grid = Grid.centred((0, 0, 0), (3, 3, 3), (40, 40, 40))
    head = np.linalg.norm(grid.voxel_centres(), axis=-1) < 50
    known = np.ones(grid.shape, bool)
    known[..., 34:] = False
    labels = LabelVolume(head.astype(np.uint8), grid, {1: "mandible"})
    one = Placed.of("a", CTVolume(np.where(head, 400, 5).astype(np.int16), grid, MR), known, labels)
    assert (one.ct.array[~known] == 0).all() and one.ct.modality is MR
    assert one.body.sum() == pytest.approx((head & known).sum(), rel=0.02)
    found = tissue.measure(one)
    assert found == {"tissues": {}, "structures": {"mandible": {"median": 400.0, "spread": 0.0}}}
    assert tissue.summarise([(found, found)], 0)["structures"]["mandible"]["median"]["error"]["mean"] == 0
    assert np.isnan(texture.noise(one.ct, one.body)["noise_sd"])
    edges = texture.edges(one.ct, one.body, one.known)
    assert edges["skin_width_mm"] < 6 and np.isnan(edges["bone_width_mm"])


def test_the_frame_lies_so_that_structures_have_their_usual_place(toy_root):
    labels = Dataset(toy_root).labels("toy_07")
    frame = ct.frame_for(labels, METADATA)
    found = [labels.grid.to_ras(np.argwhere(labels.mask(name))).mean(0) for name in METADATA["structures"]]
    usual = [METADATA["placement"][name] for name in METADATA["structures"]]
    np.testing.assert_allclose(np.mean(found, axis=0) - np.mean(usual, axis=0), frame.centre, atol=2)
    moved = ct.on_frame(labels, frame, METADATA["structures"])
    for name in METADATA["structures"]:
        centre = frame.to_ras(np.argwhere(moved.mask(name))).mean(0)
        np.testing.assert_allclose(centre, labels.grid.to_ras(np.argwhere(labels.mask(name))).mean(0), atol=1)


def test_a_structure_at_the_arrays_end_is_placed_whole():
    grid, finer = Grid.centred((0, 0, 0), (4, 4, 4), (10, 10, 10)), Grid.centred((0, 0, 0), (2, 2, 2), (20, 20, 20))
    array = np.zeros(grid.shape, np.uint8)
    array[:3, 2:8, 7:] = 5
    moved = ct.on_frame(LabelVolume(array, grid, {5: "mandible", 6: "brainstem"}), finer, METADATA["structures"])
    assert moved.names == {1: "brainstem", 2: "mandible"} and not moved.mask("brainstem").any()
    expected = np.kron(array > 0, np.ones((2, 2, 2))) > 0
    differs = np.argwhere(moved.mask("mandible") != expected)
    assert [list(index) for index in differs] == [[i, j, k] for i in (0, 5) for j in (4, 15) for k in (14, 19)]  # its eight corners


def test_histograms_differ_by_the_share_of_voxels_that_must_move():
    a = np.array([0.0, 0, 0, 100])
    assert ct.histogram_difference(a, a) == 0
    assert ct.histogram_difference(a, np.array([0.0, 0, 100, 100])) == pytest.approx(0.25)
    assert ct.histogram_difference(a, np.full(9, 1000.0)) == 1
    assert np.isnan(ct.histogram_difference(a, a[:0]))
