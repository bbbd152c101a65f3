"""Where the desktop application, or a version of it, is not as one expects: the module must bear it, and the stand-ins must show it."""

import sys

import pytest
import slicer

from headless_slicer import bootstrap
from module_driver import MODULE, ModuleDriver


@pytest.fixture
def module(desktop, tmp_path):
    return ModuleDriver(desktop, tmp_path / "results")


def test_the_module_opens_without_a_main_window(tmp_path):
    app = bootstrap(tmp_path, qt=True)
    from headless_slicer.scripted_module import qSlicerScriptedLoadableModule

    sys.path.insert(0, str(MODULE.parent))
    try:
        assert slicer.app.layoutManager() is None and slicer.util.mainWindow() is None
        widget = qSlicerScriptedLoadableModule(str(MODULE)).widgetRepresentation().self()
        assert widget._panel.views() == []
        widget.enter()
        widget.exit()
        widget.cleanup()
    finally:
        sys.path.remove(str(MODULE.parent))
        sys.modules.pop("Sketch2CTModule", None)
        app.close()


def test_widgets_change_nothing_once_their_parameters_were_left(module):
    left = module.parameters
    module.panel.setParameters(None)
    module.ui.samplesSpin.value = 7
    assert left.samples == 1
    left.samples = 3
    assert module.ui.samplesSpin.value == 7
    module.panel.setParameters(left)
    module.ui.samplesSpin.value = 5
    assert left.samples == 5 and module.parameters is left


def test_connecting_by_name_returns_nothing_to_disconnect_by(module):
    from Sketch2CTModuleLib.Parameters import Parameters

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "other")
    assert Parameters(node).connectGui(module.ui) is None


def test_esc_is_taken_from_others_only_while_the_pen_is_on(module):
    import qt

    pressed = []
    other = qt.QShortcut(qt.QKeySequence("Esc"), slicer.util.mainWindow())
    other.connect("activated()", lambda: pressed.append("other"))
    module.desktop.key("Red", "Esc")
    assert pressed == ["other"]
    other.enabled = False
    module.desktop.click(module.ui.drawButton)
    assert module.panel.pen.mode == "draw"
    module.desktop.key("Red", "Esc")
    assert module.panel.pen.mode == "off" and pressed == ["other"]


def test_a_python_is_chosen_when_its_path_is_whole(module, tmp_path):
    from Sketch2CTModuleLib.BackendPython import BackendPython

    stopped = []
    module.panel.environment.backendMustStop.connect(lambda: stopped.append(BackendPython.chosen()))
    for end in range(1, len(sys.executable) + 1):  # ctkPathLineEdit tells of every letter
        module.ui.pythonPath.setCurrentPath(sys.executable[:end])
    assert BackendPython.chosen() == sys.executable and sys.executable in stopped
    heard = len(stopped)
    module.ui.pythonPath.setCurrentPath(str(tmp_path / "no-python"))
    assert BackendPython.chosen() == sys.executable and len(stopped) == heard
    assert "no-python" in module.ui.environmentLabel.text
    module.ui.pythonPath.setCurrentPath("")
    assert BackendPython.chosen() == "" and stopped[-1] == ""


def test_a_property_hides_the_static_function_of_its_name(desktop):
    import qt

    assert slicer.app.doubleClickInterval > 0
    with pytest.raises(TypeError):
        qt.QApplication.doubleClickInterval()
    qt.QTimer.singleShot(0, lambda: None)
