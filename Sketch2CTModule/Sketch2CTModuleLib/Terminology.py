"""Structures of the vocabulary <-> the terminology entries of Slicer's segments."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from sketch2ct.anatomy import Structure, vocabulary

# Slicer's own lists that have every structure of ours, the parotid glands with their side included.
_CONTEXT = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"
_SCHEME = "SCT"
_SIDES = {"right": ("24028007", _SCHEME, "Right"), "left": ("7771000", _SCHEME, "Left"), None: ("", "", "")}


class Terminology:
    """SNOMED CT codes, in the form that a segment's `TerminologyEntry` tag has."""

    def tag(self, segment: Any, structure: Structure) -> None:
        """Give a segment the codes of a structure, side included."""
        category = (structure.category_code, _SCHEME, structure.category_meaning)
        kind = (structure.snomed, _SCHEME, structure.snomed_meaning)
        codes = (*category, *kind, *_SIDES[structure.laterality])
        logic = slicer.vtkSlicerTerminologiesModuleLogic
        entry = logic.SerializeTerminologyEntry(_CONTEXT, *codes, _REGIONS, *[""] * 6)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)

    def structureOf(self, segment: Any) -> str | None:
        """The vocabulary's name for a segment's codes; None when it has none that is known."""
        text = vtk.mutable("")
        entry = slicer.vtkSlicerTerminologyEntry()
        if not segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text):
            return None
        if not slicer.vtkSlicerTerminologiesModuleLogic().DeserializeTerminologyEntry(str(text), entry):
            return None
        kind, side = entry.GetTypeObject(), entry.GetTypeModifierObject()
        code = kind.GetCodeValue() if kind and kind.GetCodingSchemeDesignator() == _SCHEME else None
        modifier = (side.GetCodeValue() or "") if side else ""
        for structure in vocabulary().values():
            if structure.snomed == code and _SIDES[structure.laterality][0] == modifier:
                return structure.name
        return None
