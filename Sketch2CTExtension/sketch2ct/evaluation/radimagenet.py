"""Features of a ResNet-50 that was trained on RadImageNet (Mei et al., Radiology: AI 2022), from weights that the user has.

Those weights are published as PyTorch or Keras files, which run code when they are opened or need Keras; neither is read here. Whoever
trusts such a file turns it into safetensors once:

    import torch; from safetensors.torch import save_file
    state = torch.load("ResNet50.pt", map_location="cpu", weights_only=True)
    save_file({name: value.contiguous() for name, value in state.items()}, "ResNet50.safetensors")

Two layouts fit: torchvision's (also as `backbone.0`, `backbone.4.0.conv1`, ...), and Keras's with the same names but biases in the
convolutions; there the stride lies in a block's first convolution. Slices are prepared as NV-Generate's 2.5D FID describes it: bilinear
to 1 mm, the middle 512 mm, HU clipped to ±1000 and scaled by the volume's own minimum and maximum, three equal channels minus (.406,
.456, .485), the middle 40 % of the slices across each plane, mean over the last map. Slices are the frame's own, not every millimetre.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import resnet50
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from ..bundle import file_digest
from ..errors import BadRequest
from .paired import Placed
from .realism import PLANES, Features

MIDDLE = 0.4  # of the slices
SIDE_MM = 512
CHANNEL_MEANS = (0.406, 0.456, 0.485)  # blue, green, red
KERAS_EPSILON = 1.001e-5
_SEQUENCE = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
CONVERT = "Turn them into safetensors where you trust the file (evaluation/radimagenet.py says how), and name that."


class RadImageNetFeatures:
    """ResNet-50 features of slices; `name` says so in a report. Raises BadRequest for a file that is no such network."""

    def __init__(self, path: Path, device: torch.device, side: int = SIDE_MM, batch: int = 8) -> None:
        path = Path(path)
        if not path.is_file():
            raise BadRequest(f"There are no weights {path}.")
        if path.suffix != ".safetensors":
            raise BadRequest(f"{path.name} is not read: weights in '{path.suffix}' files can run code when they are opened.", CONVERT)
        self.net, self.device, self.side, self.batch = _network(path).to(device).eval(), device, side, batch
        self.name = f"ResNet-50, {path.name} (SHA-256 {file_digest(path)[:16]}), {side} mm slices"

    @torch.inference_mode()
    def __call__(self, placed: Placed) -> Features:
        """plane -> (slices, 2048)."""
        hu = np.clip(placed.ct.array.astype(np.float32), -1000, 1000)
        scaled = (hu - hu.min()) / max(1.0, float(np.ptp(hu)))
        return {plane: self._plane(np.moveaxis(scaled, axis, 0), np.delete(placed.ct.grid.spacing, axis)) for plane, axis in PLANES.items()}

    def _plane(self, slices: NDArray[np.float32], pixel: NDArray[np.float64]) -> NDArray[np.float64]:
        first = round(len(slices) * (1 - MIDDLE) / 2)
        chosen = slices[first : len(slices) - first]
        found = []
        for n in range(0, len(chosen), self.batch):
            images = torch.from_numpy(np.ascontiguousarray(chosen[n : n + self.batch]))[:, None].to(self.device)
            size = [round(s * float(p)) for s, p in zip(images.shape[2:], pixel, strict=True)]
            images = nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
            means = torch.tensor(CHANNEL_MEANS, device=self.device)[None, :, None, None]
            found.append(self.net(self._square(images).repeat(1, 3, 1, 1) - means).cpu().double().numpy())
        return np.concatenate(found)

    def _square(self, images: Tensor) -> Tensor:
        """The middle `side` x `side` pixels; 0, which is the lowest value, past the border."""
        spare = [self.side - n for n in images.shape[2:]]
        return nn.functional.pad(images, [spare[1] // 2, spare[1] - spare[1] // 2, spare[0] // 2, spare[0] - spare[0] // 2])


def _network(path: Path) -> nn.Module:
    """MONAI's 2D ResNet-50 without a head, with the file's weights."""
    try:
        state = {_renamed(name): value.float() for name, value in load_file(path).items()}
    except Exception as error:  # the safetensors reader raises errors of its own
        raise BadRequest(f"{path.name} is no safetensors file: {error}.", CONVERT) from error
    state = {name: value for name, value in state.items() if not name.startswith(("fc.", "classifier."))}
    net = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False, bias_downsample=False)
    if "conv1.bias" in state:
        _like_keras(net)
    missing = [name for name in net.state_dict() if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in net.state_dict()]
    if missing or unknown:
        first = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]}' is unknown"
        raise BadRequest(f"{path.name} holds no ResNet-50: {first} ({len(missing)} missing, {len(unknown)} unknown).", "See its layouts.")
    try:
        net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise BadRequest(f"{path.name} holds no ResNet-50 of three channels: {error}.") from error
    return net


def _renamed(name: str) -> str:
    """torchvision's name of a tensor that a sequence of its layers may have numbered."""
    parts = name.removeprefix("module.").removeprefix("backbone.").split(".")
    return ".".join([_SEQUENCE.get(parts[0], parts[0]), *parts[1:]])


def _like_keras(net: nn.Module) -> None:
    """Biases in all convolutions, strides in the first one of a block, Keras's epsilon."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = KERAS_EPSILON
    for layer in ("layer2", "layer3", "layer4"):
        block = getattr(net, layer)[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
