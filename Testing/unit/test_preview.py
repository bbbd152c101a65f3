"""The preview: the radiological convention, true distances, and a picture for every kind of sketch."""

import json
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from fake_backend import circle
from sketch2ct import preview, results
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.preview_panel import draw_panel
from sketch2ct.quality import readout
from sketch2ct.request import GenerationRequest, Sketch


@pytest.fixture
def grid():
    """Anisotropic, with axes left, posterior, superior."""
    affine = np.diag([-2.0, -2.0, 4.0, 1.0])
    affine[:3, 3] = [59, 59, -58]
    return Grid((60, 60, 30), affine)


@pytest.fixture
def volumes(grid):
    """A body with a bright spot to the patient's right, in front and above; a round mandible in the middle."""
    ras = grid.voxel_centres()
    hu = np.where((ras[..., :2] ** 2).sum(-1) < 50**2, 40, -1000)
    hu[((ras - (25, 30, 35)) ** 2).sum(-1) < 8**2] = 1500
    mask = ((ras**2).sum(-1) < 20**2).astype(np.uint8)
    return LabelVolume(mask, grid, {1: "mandible"}), CTVolume(hu.astype(np.int16), grid)


def tilted():
    turn, angle = np.radians(20), np.linspace(0, 2 * np.pi, 50)
    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    stroke = Plane(matrix).to_ras(20 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return Sketch("mandible", Plane(matrix), [stroke])


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [("axial", ("R", "L", "P", "A")), ("coronal", ("R", "L", "F", "H")), ("sagittal", ("A", "P", "F", "H"))],
)
def test_letters_and_pictures_follow_the_radiological_convention(volumes, orientation, letters):
    ct = volumes[1]
    plane = Plane.named(orientation, (25, 30, 35))
    view = preview.View(plane, "", np.array([-110.0, -110.0]), np.array([110.0, 110.0]), 1.0)
    assert preview._letters(plane) == letters
    v, u = np.argwhere(view.sample(ct.array, ct.grid, -1000) > 1000).mean(0)
    assert (u - 110, v - 110) == pytest.approx((0, 0), abs=1.5)
    centred = Plane.named(orientation, (25, 30, 35) * np.abs(plane.normal))
    v, u = np.argwhere(preview.View(centred, "", view.low, view.high, 1.0).sample(ct.array, ct.grid, -1000) > 1000).mean(0)
    side, height = {"axial": (-25, 30), "coronal": (-25, 35), "sagittal": (-30, 35)}[orientation]
    assert (u - 110, v - 110) == pytest.approx((side, height), abs=1.5)


def test_a_tilted_sketch_is_shown_on_its_own_plane_upright():
    sketch = tilted()
    turned = preview._upright(sketch.plane, Plane.named("axial", (0, 0, 0)), np.zeros(3))
    assert preview._letters(turned) == ("R", "L", "P", "A")
    assert np.abs(turned.to_plane(sketch.points())[:, 2]).max() < 1e-6


def test_a_stroke_pierces_a_crossing_plane_where_it_meets_it():
    points = preview._piercings(np.array([[0.0, 0, -1], [4, 8, 3], [9, 9, 9]]))
    assert np.allclose(points, [[1, 2]])


@pytest.mark.parametrize("kind", ["axial", "tilted", "silhouette", "open", "words only"])
def test_every_kind_of_request_gives_a_picture(volumes, tmp_path, kind):
    labels, ct = volumes
    sketches = {
        "axial": [circle(20), circle(20, orientation="sagittal")],
        "tilted": [tilted()],
        "silhouette": [circle(20, (0, 0, 300), meaning="silhouette")],
        "open": [circle(20, closed=False)],
        "words only": [],
    }[kind]
    request = GenerationRequest(sketches, "a mandible. " * 60)
    quality = readout(labels, ct, request, {})
    quality["warnings"] = ["Something to look at, said in so many words that it does not fit on one line."] * 9
    results.write_images(tmp_path / "r", results.Result(labels, ct, request))
    results.write_manifest(tmp_path / "r", {"quality": quality, "seconds": {"mask": 1.0}})
    path = preview.write_preview(tmp_path / "r", tmp_path / "p.png")
    assert path.read_bytes().startswith(b"\x89PNG") and [p.name for p in tmp_path.glob("*.p*")] == ["p.png"]


def test_the_panel_names_the_bundle_of_every_stage():
    def written(manifest):
        axes = Figure(figsize=(5, 7)).subplots()
        draw_panel(axes, GenerationRequest([], "A large mandible."), manifest)
        return [text.get_text() for text in axes.texts]

    one, two = ({"bundle": name, "bundle_hash": 32 * hashed} for name, hashed in (("heads", "ab"), ("whole", "cd")))
    assert "heads  abababababab" in written(one)
    several = written(one | {"bundles": {"mask": one, "surroundings": two}})
    pairs = dict(pairwise(several))
    assert (pairs["Mask by"], pairs["Surroundings by"]) == ("heads  abababababab", "whole  cdcdcdcdcdcd")
    assert not {"Bundle", "CT by"} & set(several)


def test_an_incomplete_folder_is_refused(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({"1": "mandible"}))
    with pytest.raises(BadRequest, match="no complete result folder"):
        preview.write_preview(tmp_path, tmp_path / "p.png")
