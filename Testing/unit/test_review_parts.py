"""Parts of the review in the module that need no Qt: reading ahead, the order of cases, and writing a mask."""

import subprocess
import sys
import threading
import time

import nibabel
import numpy as np
import pytest

from result_folders import turned_grid
from review_cohorts import make_cohort
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid
from sketch2ct.review.verdict import Verdict


@pytest.fixture
def ahead():
    """What was read, and a reader that waits until it may."""
    from Sketch2CTModuleLib.ReviewAhead import ReviewAhead

    calls, gate = [], threading.Event()
    gate.set()

    def read(name):
        gate.wait(5)
        calls.append((name, threading.current_thread() is threading.main_thread()))
        if name == "bad":
            raise BadRequest("It is damaged.")
        return name.upper()

    made = ReviewAhead(read)
    made.calls, made.gate = calls, gate
    yield made
    gate.set()
    made.close()


def settle(ahead):
    end = time.monotonic() + 5
    while ahead.tend(0.01) and time.monotonic() < end:
        pass


def test_what_is_wanted_is_read_in_its_order_and_in_another_thread(ahead):
    ahead.want(["b", "c", "a"])
    settle(ahead)
    assert ahead.calls == [("b", False), ("c", False), ("a", False)]
    assert [ahead.take(name) for name in "abc"] == ["A", "B", "C"] and len(ahead.calls) == 3


def test_what_was_not_begun_is_read_at_once(ahead):
    ahead.gate.clear()
    ahead.want(["a", "b", "c"])
    threading.Timer(0.1, ahead.gate.set).start()
    assert ahead.take("c") == "C" and ahead.take("d") == "D"
    assert ("c", True) in ahead.calls and ("d", True) in ahead.calls and ("c", False) not in ahead.calls


def test_what_is_wanted_no_more_is_forgotten(ahead):
    ahead.want(["a", "b"])
    settle(ahead)
    ahead.want(["b"])
    ahead.want(["a", "b"])
    settle(ahead)
    assert [name for name, _ in ahead.calls] == ["a", "b", "a"]
    ahead.forget("b")
    assert ahead.take("b") == "B" and [name for name, _ in ahead.calls].count("b") == 2


def test_what_could_not_be_read_is_tried_again(ahead):
    ahead.want(["bad"])
    settle(ahead)
    for _ in range(2):
        with pytest.raises(BadRequest, match="damaged"):
            ahead.take("bad")
    assert len(ahead.calls) == 2


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_a_written_image_is_read_as_it_was(tmp_path, left_handed, kind):
    from Sketch2CTModuleLib.NiftiImage import NiftiImage

    grid = turned_grid(left_handed, (7, 6, 5))
    array = np.arange(7 * 6 * 5).reshape(7, 6, 5).astype(kind)
    NiftiImage(array, grid).write(tmp_path / "image.nii.gz")
    again, other = NiftiImage.read(tmp_path / "image.nii.gz"), nibabel.load(tmp_path / "image.nii.gz")
    assert np.array_equal(again.array, array) and again.array.dtype == array.dtype and again.grid.matches(grid, 1e-4)
    assert np.array_equal(np.asanyarray(other.dataobj), array) and np.allclose(other.affine, grid.affine, atol=1e-4)
    assert np.allclose(other.header.get_zooms(), grid.spacing) and other.header.get_xyzt_units()[0] == "mm"


def test_a_view_of_an_array_is_written_in_its_order(tmp_path):
    from Sketch2CTModuleLib.NiftiImage import NiftiImage

    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)[:, ::-1, ::-1]
    NiftiImage(array, Grid.centred((0, 0, 0), (1, 2, 3), array.shape)).write(tmp_path / "image.nii.gz")
    assert np.array_equal(NiftiImage.read(tmp_path / "image.nii.gz").array, array)


@pytest.fixture
def session(tmp_path):
    from Sketch2CTModuleLib.ReviewSession import ReviewSession

    return ReviewSession(make_cohort(tmp_path / "cohort", 5, thumbs=False), "AB")


def test_cases_without_a_value_come_last_whatever_the_direction(session):
    session.store.add(Verdict("case-00002", "AB", realism=5))
    session.store.add(Verdict("case-00004", "AB", realism=1, anatomy=2))
    session.refresh()
    session.sortBy("scores", False)
    assert session.shown[:3] == ["case-00004", "case-00002", "case-00001"]
    session.sortBy("scores", True)
    assert session.shown[:3] == ["case-00002", "case-00004", "case-00001"]
    session.sortBy("dice", False)
    assert session.shown[0] == "case-00005" and session.row("case-00005").dice == pytest.approx(0.74)


def test_neighbours_follow_the_shown_order_and_end_at_its_ends(session):
    session.sortBy("case", True)
    assert session.neighbour(1, "case-00003") == "case-00002" and session.neighbour(-1, "case-00003") == "case-00004"
    assert session.neighbour(1, "case-00001") is None and session.neighbour(-1, "case-00005") is None
    session.setFilter("flagged")
    assert session.shown == ["case-00005"] and session.neighbour(1, "case-00002") == "case-00005"


def test_rows_are_read_a_few_at_a_time(session):
    assert not session.readSome(-1)
    assert session.readSome(60) and session.row("case-00001").structure == "Mandible"
    session.forgetRow("case-00001")
    assert not session.readSome(-1)


IMPORTS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "nibabel", "PIL", "yaml", "pydicom", "skimage", "typer", "rich"):
            raise ImportError(f"{name} is not part of Slicer")
sys.meta_path.insert(0, Refuse())
import sketch2ct.review.agreement, sketch2ct.review.blind_result, sketch2ct.review.store, sketch2ct.review.summary
"""


def test_what_slicer_imports_of_the_review_needs_no_other_package():
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, timeout=60)


def test_making_a_blind_reading_leaves_torch_alone():
    lines = "import sys, sketch2ct.review.blind, sketch2ct.cli_review; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", lines], check=True, timeout=60)
