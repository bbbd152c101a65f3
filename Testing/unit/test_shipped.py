"""The shipped bundles and sample: what a user gets who types one command. Real weights, no stand-ins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sketch2ct import bundle
from sketch2ct.engine import Engine
from sketch2ct.generation import Progress
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import read_ct, read_labels
from sketch2ct.request import GenerationRequest, Sketch
from sketch2ct.resources import resources_dir

SAMPLE = resources_dir() / "Samples" / "mandible.json"
LIMIT_BYTES = 16_000_000


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def demo(engine, tmp_path_factory) -> Path:
    return engine.generate(GenerationRequest.read(SAMPLE), tmp_path_factory.mktemp("shipped") / "demo")[0]


@pytest.mark.parametrize("name", ["headneck", "headneck-guidegen"])
def test_the_bundle_is_whole_small_and_says_what_it_was_trained_on(name):
    shipped = bundle.load(name)
    assert bundle.verify(shipped.folder) >= 6
    weights = list((shipped.folder / "models").iterdir())
    assert all(path.suffix == ".safetensors" for path in weights)
    assert sum(path.stat().st_size for path in weights) <= LIMIT_BYTES
    assert "OpenKBP" in shipped.metadata["training"]["data"]
    assert "OpenKBP" in (shipped.folder / "LICENSE").read_text()


def test_the_sample_gives_a_mandible_where_it_was_drawn(demo):
    readout = json.loads((demo / "manifest.json").read_text())["quality"]
    assert readout["sketches"][0]["dice"] > 0.9
    assert readout["sketches"][0]["contour_distance_95_mm"] < 5.0
    mandible = readout["structures"]["mandible"]
    assert mandible["components"] == 1
    assert abs(mandible["volume_error"]) < 0.25
    low, high = mandible["hu_plausible"]
    assert low < mandible["hu_median"] < high


def test_the_ct_has_air_outside_soft_tissue_around_and_bone_in_the_mandible(demo):
    ct = read_ct(demo / "ct.nii.gz")
    names = {int(k): v for k, v in json.loads((demo / "labels.json").read_text()).items()}
    mandible = read_labels(demo / "labels.nii.gz", names).mask("mandible")
    assert np.median(ct.array[:4, :4]) < -900  # a corner of the frame
    assert np.median(ct.array[mandible]) > 200
    body = ct.array[ct.array > -300]
    assert 0.05 < body.size / ct.array.size < 0.7
    assert -150 < np.median(body) < 100


def test_the_same_request_and_seed_give_the_same_bytes_and_another_seed_does_not(engine, demo, tmp_path):
    request = GenerationRequest.read(SAMPLE)
    again = engine.generate(request, tmp_path / "again")[0]
    other = engine.generate(request.with_changes(seed=request.seed + 1), tmp_path / "other")[0]
    for name in ("labels.nii.gz", "ct.nii.gz", "labels.json", "request.json"):
        assert (again / name).read_bytes() == (demo / name).read_bytes(), name
    assert (other / "ct.nii.gz").read_bytes() != (demo / "ct.nii.gz").read_bytes()


def test_the_mask_stays_on_the_strokes_on_a_given_oblique_grid(engine, tmp_path):
    """The same sketch on a tilted, anisotropic grid: the mask keeps its place in the patient."""
    angle = np.radians(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.5, -2.5, 3.0])
    centre = np.array([120.0, -80.0, 40.0])
    shape = (72, 72, 56)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    angle = np.linspace(0, 2 * np.pi, 60)
    uv = np.stack([15 * np.cos(angle), 20 * np.sin(angle)], axis=1)
    plane = Plane.named("axial", centre)
    sketch = Sketch("parotid_gland_left", plane, [plane.to_ras(uv)])
    request = GenerationRequest([sketch], "left parotid gland, about 28 mL", Grid(shape, affine), steps=4)
    made = engine.generate(request, tmp_path / "oblique")[0]
    names = {int(k): v for k, v in json.loads((made / "labels.json").read_text()).items()}
    labels = read_labels(made / "labels.nii.gz", names)
    assert labels.grid.matches(Grid(shape, affine), 1e-3)
    middle = labels.grid.to_ras(np.argwhere(labels.mask("parotid_gland_left"))).mean(0)
    assert np.abs(middle[:2] - centre[:2]).max() < 8.0
    assert json.loads((made / "manifest.json").read_text())["quality"]["sketches"][0]["dice"] > 0.85


@pytest.mark.parametrize("stage", ["mask", "volume"])
def test_cancel_is_heard_within_two_seconds(engine, tmp_path, stage):
    import time

    from sketch2ct.errors import Cancelled

    asked: list[float] = []
    progress = Progress()

    def report(name: str, step: int, steps: int, fraction: float, eta: float | None) -> None:
        if name == stage and step == 1:
            progress.cancel.set()
            asked.append(time.monotonic())

    progress.report = report
    with pytest.raises(Cancelled):
        engine.generate(GenerationRequest.read(SAMPLE), tmp_path / "never", progress)
    assert time.monotonic() - asked[0] < 2.0
    assert not (tmp_path / "never").exists()


def test_words_alone_make_a_structure_of_the_size_they_say(engine, tmp_path):
    made = engine.generate(GenerationRequest([], "a left parotid gland of 30 mL", seed=3), tmp_path / "words")[0]
    parotid = json.loads((made / "manifest.json").read_text())["quality"]["structures"]["parotid_gland_left"]
    assert parotid["asked_volume_ml"] == 30
    assert 15 < parotid["volume_ml"] < 60


def test_words_alone_make_a_whole_region_that_follows_them_and_a_ct_of_it(engine, tmp_path):
    said = "The left parotid gland measures 30 mL. The right parotid gland is larger than the left parotid gland."
    own = {"bundle": "headneck-guidegen", "mask_generator": "guidegen", "volume_generator": "guidegen"}
    made = engine.generate(GenerationRequest([], said, steps=4, seed=5, **own), tmp_path / "region")[0]
    names = {int(k): v for k, v in json.loads((made / "labels.json").read_text()).items()}
    labels, ct = read_labels(made / "labels.nii.gz", names), read_ct(made / "ct.nii.gz")
    assert set(names.values()) >= {"body", "bone", "air", *bundle.load("headneck-guidegen").metadata["structures"]}
    left, right = (labels.mask(f"parotid_gland_{side}").sum() * labels.grid.voxel_ml for side in ("left", "right"))
    assert left == pytest.approx(30, rel=0.2) and right > left
    assert np.median(ct.array[labels.array == 0]) < -900 and np.median(ct.array[labels.mask("air")]) < -400
    assert -150 < np.median(ct.array[labels.mask("body")]) < 100
    assert np.median(ct.array[labels.mask("bone")]) > 150 and np.median(ct.array[labels.mask("mandible")]) > 200


def test_completed_surroundings_leave_what_was_drawn_as_it_is(engine, tmp_path):
    request = GenerationRequest.read(SAMPLE).with_changes(steps=4, volume_generator="none")
    alone = engine.generate(request, tmp_path / "alone")[0]
    both = {"surroundings": "headneck-guidegen", "volume_bundle": "headneck-guidegen", "volume_generator": "guidegen"}
    made = engine.generate(request.with_changes(**both), tmp_path / "completed")[0]
    before, after = (
        read_labels(folder / "labels.nii.gz", {int(k): v for k, v in json.loads((folder / "labels.json").read_text()).items()})
        for folder in (alone, made)
    )
    assert np.array_equal(before.mask("mandible"), after.mask("mandible"))
    assert {"body", "bone", "air", "brainstem", "spinal_cord", "larynx"} <= set(after.names.values())
    judged = json.loads((made / "manifest.json").read_text())
    assert judged["bundles"]["surroundings"]["bundle"] == judged["bundles"]["volume"]["bundle"] == "headneck-guidegen"
