"""Requests: what is read is what was written, and what is wrong is refused with a way out."""

import json

import numpy as np
import pytest

from fake_backend import circle
from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid
from sketch2ct.request import MAX_TEXT, GenerationRequest


@pytest.fixture
def a_request():
    return GenerationRequest([circle(20, (1, 2, 3))], "a small mandible", grid=Grid.centred((0, 0, 0), (2, 2, 3), (40, 40, 30)))


@pytest.fixture
def as_json(a_request):
    return json.loads(json.dumps(a_request.to_dict()))


def refused(data, match):
    with pytest.raises(BadRequest, match=match):
        GenerationRequest.from_dict(data)


def test_a_request_survives_the_disk(a_request, tmp_path):
    a_request.write(tmp_path / "r.json")
    again = GenerationRequest.read(tmp_path / "r.json")
    assert again.to_dict() == a_request.to_dict()
    assert np.allclose(again.sketches[0].points(), a_request.sketches[0].points(), atol=1e-4)


def test_writing_twice_gives_the_same_bytes(a_request, tmp_path):
    a_request.write(tmp_path / "a.json")
    GenerationRequest.read(tmp_path / "a.json").write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_changes_of_none_change_nothing_and_zero_is_a_change(a_request):
    changed = a_request.with_changes(seed=0, samples=None, steps=7)
    assert (changed.seed, changed.samples, changed.steps) == (0, 1, 7)


def test_synonyms_are_brought_to_the_vocabularys_name():
    assert circle(structure="lower jaw").structure == "mandible"


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("colour", 1, "unknown keys: colour"),
        ("version", 2, "version 2"),
        ("seed", -1, "seed"),
        ("seed", True, "seed"),
        ("seed", 2**63, "seed"),
        ("samples", 0, "samples"),
        ("samples", 1.5, "samples"),
        ("steps", 0, "steps"),
        ("guidance", float("nan"), "guidance"),
        ("device", "tpu", "device"),
        ("bundle", "../secret", "plain name"),
        ("mask_generator", "", "plain name"),
        ("description", 5, "must be text"),
        ("description", "x" * (MAX_TEXT + 1), str(MAX_TEXT)),
        ("context", 5, "context"),
        ("sketches", {}, "list"),
        ("grid", {"shape": [4, 4], "affine": np.eye(4).tolist()}, "[Gg]rid"),
        ("grid", {"shape": [4, 4, 4], "affine": np.zeros((4, 4)).tolist()}, "[Gg]rid"),
    ],
)
def test_a_wrong_field_is_refused_by_name(as_json, key, value, match):
    refused({**as_json, key: value}, match)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("strokes", [], "no strokes"),
        ("strokes", [[[0, 0, 3]]], "too short"),
        ("strokes", [[[0, 0, 3], [0.1, 0, 3], [0.2, 0, 3]]], "too short"),
        ("strokes", [[[0, 0], [1, 0], [9, 9]]], "points"),
        ("strokes", [[[0, 0, 3], [float("nan"), 0, 3], [9, 9, 3]]], "not a number"),
        ("strokes", [[[0, 0, 3], [9, 0, 3], [9, 99999, 3]]], "unit"),
        ("strokes", [[[0, 0, 3], [9, 0, 3], [9, 9, 30]]], "leaves its plane by 27.0 mm"),
        ("strokes", "all", "list of strokes"),
        ("plane", [[1, 0], [0, 1]], "plane"),
        ("plane", np.diag([2, 1, 1, 1]).tolist(), "orthogonal"),
        ("meaning", "shadow", "cross_section, silhouette"),
        ("closed", 1, "true or false"),
        ("structure", "mandibel", "Did you mean 'mandible'"),
        ("width", 3, "unknown keys: width"),
    ],
)
def test_a_wrong_sketch_is_refused_with_its_reason(as_json, key, value, match):
    as_json["sketches"][0][key] = value
    refused(as_json, match)


def test_neither_a_sketch_nor_words_is_refused():
    refused({"description": "   "}, "neither a sketch nor a description")


def test_a_request_that_is_no_object_is_refused():
    refused([], "JSON object")


def test_a_missing_or_broken_file_is_refused(tmp_path):
    (tmp_path / "r.json").write_text("{")
    for path, match in ((tmp_path / "none.json", "Cannot read"), (tmp_path / "r.json", "not valid JSON")):
        with pytest.raises(BadRequest, match=match):
            GenerationRequest.read(path)
