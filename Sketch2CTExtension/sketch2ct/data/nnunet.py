"""Data sets in nnU-Net raw layout: `dataset.json` beside `imagesTr`, `labelsTr` and further splits (Va, Ts). No torch.

Beyond nnU-Net's own keys, `dataset.json` may hold `cases`: case -> {`split`, `spacing_mm`, `labelled`}. A structure
that is not `labelled` was not contoured, which is not the same as absent. Without `cases`, what a case's map holds counts
as labelled. `modality` is CT or MR; without it, the name of the first channel tells, and CT is the default. An MR's numbers are
normalised intensities (`sketch2ct.modality`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..anatomy import resolve
from ..errors import BadRequest
from ..imaging import CTVolume, LabelVolume, read_ct, read_labels
from ..modality import CT, MR, Modality, named

SPLITS = ("Tr", "Va", "Ts")
CT_CHANNEL = "_0000"  # nnU-Net's suffix of the first image channel


@dataclass(frozen=True)
class Dataset:
    """One data set folder; `names` value -> structure in the vocabulary's spelling. Raises BadRequest."""

    root: Path
    names: dict[int, str] = field(init=False)
    modality: Modality = field(init=False)
    _cases: dict[str, dict[str, Any]] = field(init=False, repr=False)
    _ending: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        data = self._read_json()
        object.__setattr__(self, "names", self._read_names(data.get("labels")))
        object.__setattr__(self, "modality", self._read_modality(data))
        cases = data.get("cases", {})
        if not isinstance(cases, dict) or not all(isinstance(entry, dict) for entry in cases.values()):
            raise BadRequest(f"{self.file}: 'cases' must map each case to its entry.")
        object.__setattr__(self, "_cases", cases)
        object.__setattr__(self, "_ending", str(data.get("file_ending", ".nii.gz")))

    @property
    def file(self) -> Path:
        """The data set's description."""
        return self.root / "dataset.json"

    def _read_json(self) -> dict[str, Any]:
        if not self.file.is_file():
            raise BadRequest(f"{self.root} is no data set: it has no dataset.json.", "Name a folder in nnU-Net layout.")
        try:
            data = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadRequest(f"{self.file} is not valid JSON: {error}.") from error
        if not isinstance(data, dict):
            raise BadRequest(f"{self.file} must hold a JSON object.")
        return data

    def _read_names(self, labels: Any) -> dict[int, str]:
        if not isinstance(labels, dict) or not all(type(value) is int for value in labels.values()):
            raise BadRequest(f"{self.file}: 'labels' must map each structure to one number.", "Regions are not read.")
        return {value: resolve(name) for name, value in sorted(labels.items(), key=lambda item: item[1]) if value}

    def _read_modality(self, data: dict[str, Any]) -> Modality:
        if isinstance(data.get("modality"), str):
            return named(data["modality"])
        channels = data.get("channel_names")
        first = str(channels.get("0", "")) if isinstance(channels, dict) else ""
        return MR if first.upper().startswith("MR") else CT

    def splits(self) -> list[str]:
        """The splits that have a folder of labels, for example `["Tr", "Va"]`."""
        return [split for split in SPLITS if (self.root / f"labels{split}").is_dir()]

    def cases(self, split: str) -> list[str]:
        """The cases of a split (`Tr`, or its folder's name, `labelsTr`), sorted. Raises BadRequest without any."""
        split = split.removeprefix("labels").removeprefix("images")
        folder = self.root / f"labels{split}"
        found = sorted(path.name.removesuffix(self._ending) for path in folder.glob(f"*{self._ending}"))
        if not found:
            known = ", ".join(self.splits()) or "none"
            raise BadRequest(f"{folder} holds no label maps (*{self._ending}).", f"Splits with labels: {known}.")
        return found

    def split(self, case: str) -> str:
        """The split that holds a case. Raises BadRequest for an unknown case."""
        named = self._cases.get(case, {}).get("split")
        for split in ([named] if named else []) + list(SPLITS):
            if (self.root / f"labels{split}" / f"{case}{self._ending}").is_file():
                return split
        raise BadRequest(f"{self.root} has no labels of case '{case}'.", "List the cases with Dataset.cases(split).")

    def labels(self, case: str) -> LabelVolume:
        """The label map of a case, with the data set's names. Raises BadRequest when missing or damaged."""
        return read_labels(self.root / f"labels{self.split(case)}" / f"{case}{self._ending}", self.names)

    def image(self, case: str) -> CTVolume:
        """The CT of a case in HU, or its MR in normalised intensities. Raises BadRequest when missing or damaged."""
        return read_ct(self.root / f"images{self.split(case)}" / f"{case}{CT_CHANNEL}{self._ending}", self.modality)

    def labelled(self, case: str) -> list[str]:
        """The structures that were contoured in a case, in the order of their values."""
        listed = self._cases.get(case, {}).get("labelled")
        if listed is None:
            labels = self.labels(case)
            return [name for name in self.names.values() if labels.has(name)]
        given = {resolve(name) for name in listed}
        return [name for name in self.names.values() if name in given]
