"""The check box "Complete the surroundings": what it asks of the backend, and when it cannot be had."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import slicer

from backend_listener import FAKE, environment
from fake_backend import STRUCTURES, make_bundle
from module_driver import ModuleDriver
from result_folders import turned_grid, write_result
from sketch2ct import bundle
from sketch2ct.geometry import Plane
from sketch2ct.request import NONE

AXIAL = Plane.named("axial", (0, 0, 10))


@pytest.fixture
def opened(desktop, tmp_path, monkeypatch):
    """Opens the module with a backend that is up in a moment, and with a bundle that completes the region if it shall be `installed`."""
    from Sketch2CTModuleLib.ChildProcess import ChildProcess
    from Sketch2CTModuleLib.EnvironmentCheck import EnvironmentCheck

    monkeypatch.setattr(EnvironmentCheck, "run", lambda self: None)
    monkeypatch.setenv(bundle.ENVIRONMENT_VARIABLE, str(tmp_path / "bundles"))

    def open_module(installed):
        make_bundle(tmp_path / "bundles")
        monkeypatch.setattr(bundle, "folders", lambda: [tmp_path / "bundles"])  # one that completes regions is shipped
        if installed:
            make_bundle(tmp_path / "bundles", "headneck-guidegen", region={}, generators={"mask": ["guidegen"], "volume": ["guidegen"]})
        driver = ModuleDriver(desktop, tmp_path / "results")
        child = lambda: ChildProcess(sys.executable, [str(FAKE), "--light", "0.1"], environment())  # noqa: E731
        driver.generation.backend._makeChild = child
        return driver

    return open_module


def drawn(module):
    angle = np.linspace(0, 2 * np.pi, 40)
    module.choose(module.ui.structureSelector, STRUCTURES[-1])
    module.show("Red", AXIAL.matrix)
    module.draw("Red", AXIAL.to_ras(20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)))


def test_without_a_bundle_for_it_the_box_is_grey_and_says_what_to_install(opened):
    module = opened(installed=False)
    assert not module.ui.completeCheck.enabled and "headneck-guidegen" in module.ui.completeCheck.toolTip
    assert "bundles install" in module.ui.completeCheck.toolTip


def test_ticked_it_asks_for_the_surroundings_and_otherwise_not(opened):
    module = opened(installed=True)
    assert module.ui.completeCheck.enabled and "stays as it is" in module.ui.completeCheck.toolTip
    drawn(module)
    module.generate()
    assert "surroundings" not in module.run.samples[0].request
    module.desktop.click(module.ui.completeCheck)
    assert module.parameters.completeSurroundings
    module.generate()
    assert module.desktop.dialogs == []
    assert module.run.samples[0].request["surroundings"] == "headneck-guidegen"


def test_the_ct_may_come_from_the_bundle_that_completes(opened):
    from Sketch2CTModuleLib.RequestBuilder import buildRequest

    module = opened(installed=True)
    assert [module.ui.volumeSelector.itemData(n) for n in range(module.ui.volumeSelector.count)] == ["sketch2ct", "guidegen"]
    assert buildRequest(module.parameters, [], module.results).volume_bundle is None
    module.choose(module.ui.volumeSelector, "guidegen")
    asked = buildRequest(module.parameters, [], module.results)
    assert (asked.bundle, asked.volume_generator, asked.volume_bundle) == ("headneck", "guidegen", "headneck-guidegen")


def test_a_mask_that_was_corrected_is_completed_as_it_is(opened, tmp_path):
    from Sketch2CTModuleLib.RequestBuilder import buildRequest

    module = opened(installed=True)
    module.parameters.completeSurroundings = True
    asked = buildRequest(module.parameters, [], tmp_path / "mask.nii.gz")
    assert (asked.mask_generator, asked.surroundings) == (NONE, "headneck-guidegen")


def test_a_bundle_that_makes_whole_regions_needs_it_not(opened):
    module = opened(installed=True)
    module.desktop.click(module.ui.completeCheck)
    module.choose(module.ui.bundleSelector, "headneck-guidegen")
    module.choose(module.ui.maskSelector, "guidegen")
    module.desktop.process_events()
    assert not module.ui.completeCheck.enabled and not module.parameters.completeSurroundings
    assert "whole region anyway" in module.ui.completeCheck.toolTip


def test_body_bone_and_air_are_segments_that_are_not_shown(slicer_app, tmp_path):
    from Sketch2CTModuleLib.ResultLoader import ResultLoader

    grid = turned_grid()
    array = np.zeros(grid.shape, np.uint8)
    array[1:4], array[4:6], array[2, 2] = 2, 3, 1
    folder = write_result(tmp_path / "result", grid, array)
    (folder / "labels.json").write_text(json.dumps({"1": "mandible", "2": "body", "3": "bone"}))
    node = ResultLoader(slicer.mrmlScene).load([folder]).samples[0].segmentation
    display = node.GetDisplayNode()
    assert {name: bool(display.GetSegmentVisibility(name)) for name in ("mandible", "body", "bone")} == {
        "mandible": True,
        "body": False,
        "bone": False,
    }
