"""The segmenter that judges generated CTs, trained on real ones: inference, and the features that FID is taken over.

A trained one is a folder with `segmenter.json` (structures, spacing, network, window, what it was trained on) and
`weights.safetensors`. `training.segmenter_stage.train_segmenter` makes it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from safetensors.torch import load_file

from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, resample
from ..modality import of
from ..networks.segmenter import SegmenterNetwork, SegmenterSize

SETTINGS, WEIGHTS = "segmenter.json", "weights.safetensors"
SPACING_TOLERANCE = 0.01  # mm


class SegmentsCT(Protocol):
    """What the measures need of a segmenter."""

    structures: tuple[str, ...]

    def segment(self, ct: CTVolume) -> LabelVolume:
        """The structures of a CT, on its grid."""

    def features(self, ct: CTVolume) -> tuple[NDArray[np.float32], int]:
        """The bottleneck (C, a, b, c) of a CT, and how many voxels a cell spans along each axis."""

    def about(self) -> dict[str, Any]:
        """What a report says of it."""


class Segmenter:
    """A trained network on a device; `spacing` (mm) and RAS axes are what it was trained on."""

    def __init__(self, net: SegmenterNetwork, settings: dict[str, Any], device: torch.device, digest: str = "") -> None:
        self.net, self.settings, self.device, self.digest = net.to(device).eval(), settings, device, digest
        self.structures: tuple[str, ...] = tuple(settings["structures"])
        self.spacing = np.asarray(settings["spacing"], dtype=np.float64)
        self.outside = of(settings).outside

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Segmenter:
        """The segmenter of a run folder. Raises BadRequest when there is none, or it does not fit its settings."""
        folder = Path(folder)
        if not (folder / SETTINGS).is_file() or not (folder / WEIGHTS).is_file():
            raise BadRequest(f"{folder} holds no trained segmenter.", "Train one with 'sketch2ct train-segmenter'.")
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            net = SegmenterNetwork(SegmenterSize.from_dict(settings["network"]))
            net.load_state_dict(load_file(folder / WEIGHTS))
            return cls(net, settings, device, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())
        except Exception as error:  # the safetensors reader raises errors of its own
            raise BadRequest(f"The segmenter in {folder} cannot be read: {error!r}.", "Train it again.") from error

    def about(self) -> dict[str, Any]:
        """What it was trained on and its hash, for a report."""
        return {**self.settings.get("trained", {}), "spacing": self.spacing.tolist(), "sha256": self.digest}

    @torch.inference_mode()
    def probabilities(self, ct: CTVolume) -> NDArray[np.float32]:
        """The probability of every structure (structures, i, j, k) on the CT's grid, by MONAI's sliding window."""
        hu, grid = self._own(ct)
        inputs = torch.from_numpy(hu)[None, None].to(self.device)
        logits = sliding_window_inference(
            inputs, self.settings["crop"], 4, self.net, overlap=self.settings["overlap"], mode="gaussian", cval=self.outside
        )
        shares = torch.sigmoid(logits[0]).float().cpu().numpy()
        if grid is ct.grid:
            return shares
        return np.stack([resample(share, grid, ct.grid) for share in shares])

    def segment(self, ct: CTVolume) -> LabelVolume:
        """The label map on the CT's grid: the likeliest structure where one is likelier than not; values 1, 2, ... in order."""
        shares = self.probabilities(ct)
        array = np.where(shares.max(axis=0) > 0.5, shares.argmax(axis=0) + 1, 0).astype(np.uint8)
        return LabelVolume(array, ct.grid, dict(enumerate(self.structures, start=1)))

    @torch.inference_mode()
    def features(self, ct: CTVolume) -> tuple[NDArray[np.float32], int]:
        """The bottleneck (C, a, b, c) of a CT, in one go, and the voxels a cell spans; the far ends are padded with air.

        Each cell has mean 0 and variance 1 over its channels: as they are, the features have no bound, and the metal in one
        patient's teeth would outweigh everything else in a set.
        """
        hu, _ = self._own(ct)
        m = self.net.size.multiple
        padded = np.pad(hu, [(0, -n % m) for n in hu.shape], constant_values=self.outside)
        found = self.net.bottleneck(torch.from_numpy(padded)[None, None].to(self.device))[0].float()
        scaled = torch.nn.functional.layer_norm(found.movedim(0, -1), found.shape[:1]).movedim(-1, 0)
        return scaled.cpu().numpy(), m

    def _own(self, ct: CTVolume) -> tuple[NDArray[np.float32], Grid]:
        """HU on the segmenter's spacing and RAS axes; the CT's own grid when it has them."""
        rotation = ct.grid.affine[:3, :3]
        hu = ct.array.astype(np.float32)
        if np.abs(rotation - np.diag(self.spacing)).max() < SPACING_TOLERANCE:
            return hu, ct.grid
        corners = ct.grid.corners()
        cells = np.ceil(np.ptp(corners, axis=0) / self.spacing).astype(int) + 1
        grid = Grid.centred((corners.min(0) + corners.max(0)) / 2, self.spacing, (int(cells[0]), int(cells[1]), int(cells[2])))
        return resample(hu, ct.grid, grid, outside=self.outside), grid
