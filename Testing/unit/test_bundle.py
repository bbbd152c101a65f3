"""Bundles: found, verified byte by byte, and installed from a zip only when they are whole and safe."""

import json
import zipfile

import pytest

from fake_backend import make_bundle
from sketch2ct import bundle
from sketch2ct.errors import BadRequest, BundleCorrupt, BundleMissing
from sketch2ct.installing import install


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(folder))
    return folder


@pytest.fixture
def archive(tmp_path):
    """A bundle as the zip that a user downloads."""
    return zipped(make_bundle(tmp_path / "made", "toy"), tmp_path / "toy.zip")


def zipped(folder, path, root="toy/"):
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                packed.write(file, root + file.relative_to(folder).as_posix())
    return path


def test_a_bundle_is_found_by_name(shelf):
    make_bundle(shelf, "toy")
    loaded = bundle.load("toy")
    assert loaded.name == "toy" and "mandible" in loaded.metadata["structures"] and len(loaded.digest) == 64


def test_a_missing_bundle_is_named_with_those_there_are(shelf):
    make_bundle(shelf, "toy")
    with pytest.raises(BundleMissing, match=r"no bundle 'abdomen'.*toy"):
        bundle.load("abdomen")


def test_one_changed_byte_is_found_and_named(shelf):
    weights = make_bundle(shelf, "toy") / "models" / "mask.safetensors"
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BundleCorrupt, match=r"mask\.safetensors is damaged"):
        bundle.load("toy")


def test_a_missing_an_unlisted_and_an_unsummed_file_are_found(shelf):
    folder = make_bundle(shelf, "toy")
    (folder / "extra.py").write_text("x")
    with pytest.raises(BundleCorrupt, match=r"extra\.py"):
        bundle.load("toy")
    (folder / "extra.py").unlink()
    (folder / "LICENSE").unlink()
    with pytest.raises(BundleCorrupt, match="lacks the file LICENSE"):
        bundle.load("toy")
    (folder / bundle.SUMS).unlink()
    with pytest.raises(BundleCorrupt, match=bundle.SUMS):
        bundle.load("toy")


def test_weights_come_back_as_they_were_saved_up_to_half_precision(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {"a": torch.linspace(-1, 1, 7), "n": torch.tensor([3])}
    saved = bundle.save(tmp_path / "toy", {"structures": []}, {"mask": tensors}, "card", "CC0")
    loaded = saved.weights("mask")
    assert loaded["a"].dtype == torch.float32 and torch.allclose(loaded["a"], tensors["a"], atol=1e-3)
    assert loaded["n"].tolist() == [3] and bundle.verify(saved.folder) == 4


def test_weights_that_are_no_safetensors_are_corrupt(shelf):
    make_bundle(shelf, "toy")
    with pytest.raises(BundleCorrupt, match="'mask'"):
        bundle.load("toy").weights("mask")


def test_an_installed_bundle_is_there_and_verified(shelf, archive):
    assert install(archive) == shelf / "toy"
    assert bundle.load("toy").name == "toy" and [p.name for p in shelf.iterdir()] == ["toy"]


def test_a_zip_without_a_folder_takes_the_name_of_its_file(shelf, tmp_path):
    flat = zipped(make_bundle(tmp_path / "made", "x"), tmp_path / "neck.zip", root="")
    assert install(flat).name == "neck" and bundle.load("neck").name == "neck"


def test_a_bundle_is_replaced_only_when_asked(shelf, archive):
    install(archive)
    with pytest.raises(BadRequest, match="--replace"):
        install(archive)
    assert install(archive, replace=True) == shelf / "toy" and [p.name for p in shelf.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "toy/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
def test_a_path_that_leaves_the_folder_installs_nothing(shelf, archive, name):
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(name, "x")
    with pytest.raises(BadRequest, match="unsafe"):
        install(archive)
    assert not list(shelf.iterdir()) and not list(shelf.parent.glob("evil*"))


def test_a_link_installs_nothing(shelf, archive):
    link = zipfile.ZipInfo("toy/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(BadRequest, match="unsafe"):
        install(archive)
    assert not list(shelf.iterdir())


def test_a_damaged_bundle_never_becomes_visible(shelf, tmp_path):
    folder = make_bundle(tmp_path / "made", "toy")
    (folder / "LICENSE").write_text("another")
    with pytest.raises(BundleCorrupt, match="LICENSE is damaged"):
        install(zipped(folder, tmp_path / "toy.zip"))
    assert not list(shelf.iterdir())


def test_what_is_no_zip_or_no_bundle_is_refused(shelf, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        packed.writestr("readme.txt", json.dumps({}))
    for name, match in (("a.zip", "complete zip"), ("b.zip", "no bundle"), ("c.zip", "no file")):
        with pytest.raises(BadRequest, match=match):
            install(tmp_path / name)
