"""The parts of the `slicer` package that are in the desktop but not in `slicer-core`, so that module files can be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

import slicer


def install() -> None:
    """Add `slicer.i18n`, `slicer.ScriptedLoadableModule` and `slicer.parameterNodeWrapper`. Needs `qtshim.install()` before."""
    from . import parameter_node, scripted_module, validators

    _add("i18n", {"tr": lambda text: text, "translate": lambda _context, text: text, "getContext": lambda _file: ""})
    scripted = {name: value for name, value in vars(scripted_module).items() if name.startswith("ScriptedLoadableModule")}
    _add("ScriptedLoadableModule", scripted)
    wrapper = {name: value for name, value in vars(validators).items() if isinstance(value, type)}
    wrapper.update(
        parameterNodeWrapper=parameter_node.parameterNodeWrapper,
        isParameterNodeWrapper=parameter_node.isParameterNodeWrapper,
    )
    _add("parameterNodeWrapper", wrapper)
    slicer.qSlicerScriptedLoadableModule = scripted_module.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = scripted_module.qSlicerScriptedLoadableModuleWidget


def _add(name: str, content: dict[str, Any]) -> None:
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(content, __all__=sorted(content))
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
