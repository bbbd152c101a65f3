"""The Resources folder is found from source, where the environment says, or not at all with a way out."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from sketch2ct import resources


def test_it_is_found_from_source(monkeypatch):
    monkeypatch.delenv(resources.ENVIRONMENT_VARIABLE, raising=False)
    assert (resources.resources_dir() / "Anatomy" / "vocabulary.json").is_file()


def test_the_environment_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv(resources.ENVIRONMENT_VARIABLE, str(tmp_path))
    assert resources.resources_dir() == tmp_path.resolve()


def test_a_wrong_environment_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(resources.ENVIRONMENT_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="correct or unset"):
        resources.resources_dir()


def installed_copy(root: Path):
    """The module as if the package lay in `root`/Sketch2CTExtension/sketch2ct."""
    package = root / "Sketch2CTExtension" / "sketch2ct"
    package.mkdir(parents=True)
    copy = shutil.copy(resources.__file__, package / "resources.py")
    spec = importlib.util.spec_from_file_location("resources_copy", copy)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_installed_beside_the_backend_another_programs_folder_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.delenv(resources.ENVIRONMENT_VARIABLE, raising=False)
    module = installed_copy(tmp_path / "scripted-modules")
    (tmp_path / "scripted-modules" / "Sketch2CTExtension" / "Resources").mkdir()  # not ours: nothing of ours inside
    ours = tmp_path / "scripted-modules" / "Resources"
    (ours / "Anatomy").mkdir(parents=True)
    assert module.resources_dir() == ours


def test_a_missing_folder_is_named_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.delenv(resources.ENVIRONMENT_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=resources.ENVIRONMENT_VARIABLE):
        installed_copy(tmp_path).resources_dir()
