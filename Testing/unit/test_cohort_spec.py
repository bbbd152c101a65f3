"""A cohort's spec: what is read, and how each mistake is answered."""

import pytest
import yaml

from fake_backend import circle
from sketch2ct.cohort.spec import Source, Stop, Vary, parse, read
from sketch2ct.errors import BadRequest
from sketch2ct.request import GenerationRequest


@pytest.fixture
def folder(tmp_path):
    GenerationRequest([circle(20)], "a mandible").write(tmp_path / "base.json")
    (tmp_path / "data").mkdir()
    (tmp_path / "mask.nii.gz").write_bytes(b"")
    return tmp_path


def test_a_full_spec_is_read_from_the_folder_it_lies_in(folder):
    text = """
    dataset: {path: data, split: labelsVa, structures: [jaw, brain stem], cases: 3}
    per_source: 4
    vary: {volume: [0.8, 1.25], elongation: [0.9, 1.1], side: 0.5, wording: true, hand: [0, 2], shift_mm: 3, rotate_deg: 5}
    bundle: headneck
    mask_only: true
    steps: 8
    guidance: 2
    device: cpu
    seed: 11
    gates: {pieces: off, border: reject}
    stop: {cases: 9, minutes: 1.5, gigabytes: 0.25}
    """
    (folder / "spec.yaml").write_text(text)
    spec = read(folder / "spec.yaml")
    assert spec.source == Source("dataset", str(folder / "data"), "Va", ("mandible", "brainstem"), 3)
    assert spec.vary == Vary((0.8, 1.25), (0.9, 1.1), 0.5, True, (0.0, 2.0), 3.0, 5.0)
    assert (spec.per_source, spec.count, spec.bundle, spec.mask_only, spec.steps) == (4, None, "headneck", True, 8)
    assert (spec.guidance, spec.device, spec.seed) == (2.0, "cpu", 11)
    assert spec.gates["pieces"] == {"flag": None, "reject": None} and spec.gates["border"] == "reject"
    assert spec.stop == Stop(9, 1.5, 0.25)


@pytest.mark.parametrize(
    "data",
    [
        {"request": "base.json", "count": 3, "vary": {"hand": [1, 2]}},
        {"dataset": {"path": "data"}, "gates": False},
        {"dataset": {"labels": "mask.nii.gz", "structures": ["mandible"]}, "stop": {"minutes": 3}},
        {"structures": ["mandible"], "per_source": 2, "device": "cuda:1"},
    ],
)
def test_the_resolved_spec_is_a_spec_again(folder, data):
    spec = parse(data, folder)
    again = parse(yaml.safe_load(yaml.safe_dump(spec.to_dict())), folder / "elsewhere")
    assert again == spec


BASE = {"request": "base.json"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1], "The spec must hold keys and values"),
        ({}, "names no source; exactly one is needed. Use one of: request, dataset, structures"),
        ({**BASE, "structures": ["mandible"]}, "names request and structures; exactly one"),
        ({**BASE, "cuont": 3}, "The spec has unknown keys: cuont. Known: bundle, count"),
        ({**BASE, "version": 2}, "has version 2; this program reads version 1"),
        ({**BASE, "count": 3, "per_source": 1}, "both 'count' and 'per_source'"),
        ({**BASE, "count": 0}, "'count' cannot be 0. Give a whole number from 1 to 99999"),
        ({**BASE, "count": 2.5}, "'count' cannot be 2.5"),
        ({**BASE, "count": True}, "'count' cannot be True"),
        ({**BASE, "per_source": -1}, "'per_source' cannot be -1"),
        ({**BASE, "seed": -1}, "'seed' cannot be -1"),
        ({**BASE, "steps": 0}, "'steps' cannot be 0"),
        ({**BASE, "guidance": float("nan")}, "'guidance' cannot be nan"),
        ({**BASE, "guidance": 21}, "'guidance' cannot be 21. Give a number from 0 to 20"),
        ({**BASE, "device": "tpu"}, "Unknown device 'tpu'"),
        ({**BASE, "bundle": "../x"}, "'bundle' must be a plain name"),
        ({**BASE, "mask_only": "yes"}, "'mask_only' must be true or false"),
        ({"request": "none.json"}, "'request': there is no"),
        ({"request": 3}, "'request' must be a path, not 3"),
        ({"structures": "mandible"}, "'structures' must be a list of names, not 'mandible'"),
        ({"structures": "all"}, "'structures' must list names"),
        ({"structures": []}, "'structures' must be a list of names"),
        ({"structures": ["mandibel"]}, "Unknown structure 'mandibel'. Did you mean 'mandible'?"),
        ({"dataset": "data"}, "'dataset' must hold keys and values"),
        ({"dataset": {}}, "needs either a 'path' or 'labels'"),
        ({"dataset": {"path": "data", "labels": "mask.nii.gz"}}, "needs either a 'path' or 'labels'"),
        ({"dataset": {"path": "data", "folder": 1}}, "'dataset' has unknown keys: folder. Known: cases, labels, path"),
        ({"dataset": {"path": "data", "split": 5}}, "'dataset: split' must be a name"),
        ({"dataset": {"path": "data", "cases": 0}}, "'dataset: cases' cannot be 0"),
        ({"dataset": {"path": "data", "structures": [3]}}, "'dataset: structures' must be a list of names or all"),
        ({"dataset": {"labels": "mask.nii.gz", "cases": 2}}, "'dataset' with 'labels' is one case"),
        ({**BASE, "vary": {"size": [1, 2]}}, "'vary' has unknown keys: size. Known: elongation, hand"),
        ({**BASE, "vary": {"volume": 1.2}}, "'vary: volume' cannot be 1.2. Give two numbers"),
        ({**BASE, "vary": {"volume": [1.2, 0.8]}}, "The first number must not be larger"),
        ({**BASE, "vary": {"volume": [0, 2]}}, "'vary: volume' cannot be 0. Give a number from 0.1 to 10"),
        ({**BASE, "vary": {"elongation": [1, None]}}, "'vary: elongation' cannot be [1, None]"),
        ({**BASE, "vary": {"side": 2}}, "'vary: side' cannot be 2"),
        ({**BASE, "vary": {"wording": 1}}, "'vary: wording' must be true or false"),
        ({**BASE, "vary": {"hand": [0, 9]}}, "'vary: hand' cannot be 9. Give a number from 0 to 5"),
        ({**BASE, "vary": {"shift_mm": -1}}, "'vary: shift_mm' cannot be -1"),
        ({**BASE, "vary": {"rotate_deg": 90}}, "'vary: rotate_deg' cannot be 90"),
        ({**BASE, "gates": {"dice": 1}}, "'gates' has unknown keys: dice"),
        ({**BASE, "stop": {"hours": 1}}, "'stop' has unknown keys: hours. Known: cases, gigabytes, minutes"),
        ({**BASE, "stop": {"cases": 0}}, "'stop: cases' cannot be 0"),
        ({**BASE, "stop": {"gigabytes": "5"}}, "'stop: gigabytes' cannot be '5'"),
    ],
)
def test_each_mistake_is_named_with_the_way_out(folder, data, words):
    with pytest.raises(BadRequest) as caught:
        parse(data, folder)
    assert words in str(caught.value)


def test_a_file_that_is_no_yaml_is_refused_in_one_line(folder):
    (folder / "spec.yaml").write_text("request: [base.json\ncount: 3")
    with pytest.raises(BadRequest, match="is not valid YAML") as caught:
        read(folder / "spec.yaml")
    assert "\n" not in str(caught.value)
    with pytest.raises(BadRequest, match="Cannot read the spec"):
        read(folder / "nothing.yaml")
