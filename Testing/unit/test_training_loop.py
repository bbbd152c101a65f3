"""The endless batches of the training loop: every pass and every leg of a training draws others, and a seed repeats them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sketch2ct.networks.volume_unet import VolumeNetworkSize
from sketch2ct.training.autoencoder_stage import CropBatches
from sketch2ct.training.loop import Endless, Stage, fit, rate
from sketch2ct.training.mask_stage import MaskBatches
from sketch2ct.training.segmenter_stage import SegmentBatches
from sketch2ct.training.volume_stage import LatentBatches, VolumeStage


class Numbers(Endless):
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[torch.Tensor]:
        rng = self.rng()
        while True:
            yield torch.from_numpy(rng.random(1))


def epochs(batches: Endless, workers: int, count: int = 3) -> list[list[float]]:
    """The first four batches of every epoch, as the loop asks for them."""
    loader = DataLoader(batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    found = []
    for _ in range(count):
        stream = iter(loader)
        found.append([float(next(stream)) for _ in range(4)])
    return found


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_no_epoch_repeats_another(workers: int) -> None:
    drawn = np.concatenate(epochs(Numbers(3), workers))
    assert len(np.unique(drawn)) == len(drawn)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_seed_repeats_them_and_another_does_not(workers: int) -> None:
    assert epochs(Numbers(3), workers) == epochs(Numbers(3), workers)
    assert epochs(Numbers(3), workers) != epochs(Numbers(4), workers)


def test_every_stage_draws_from_it() -> None:
    assert all(issubclass(kind, Endless) for kind in (CropBatches, LatentBatches, MaskBatches, SegmentBatches))


class Guess(Stage):
    """One weight that is pulled towards what it is shown; keeps what that was."""

    def __init__(self, out) -> None:
        super().__init__({"learning_rate": 0.1, "steps_per_epoch": 4, "check_every": 1, "workers": 0}, out, minutes=1.0)
        self.net = torch.nn.Linear(1, 1)
        self.seen: list[float] = []

    def progress(self) -> float:
        """Two epochs."""
        return min(1.0, len(self.seen) / 8)

    def loss(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen.append(float(batch))
        return {"loss": (self.net(batch.float()[None])[0] ** 2).sum()}

    def check(self) -> dict[str, float]:
        return {"nothing": 0.0}


def test_a_resumed_training_goes_on_with_other_batches(tmp_path) -> None:
    first, second, again = Guess(tmp_path / "a"), Guess(tmp_path / "a"), Guess(tmp_path / "b")
    for stage, resume in ((first, False), (second, True), (again, False)):
        stage.out.mkdir(exist_ok=True)
        fit(stage, Numbers(0), stage.out, resume=resume, device="cpu", seed=0)
    assert len(first.seen) == len(set(first.seen)) == 8
    assert not set(first.seen) & set(second.seen)
    assert first.seen == again.seen
    assert (tmp_path / "a" / "weights.safetensors").is_file()
    assert '"steps": 16' in (tmp_path / "a" / "steps.json").read_text()


def test_a_training_begun_anew_leaves_no_old_checkpoint(tmp_path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"old")
    (tmp_path / "epoch=7-step=800.ckpt").write_bytes(b"old")
    fit(Guess(tmp_path), Numbers(0), tmp_path, resume=False, device="cpu", seed=0)
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == ["epoch=1-step=8.ckpt", "last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() != b"old"


def test_the_rate_rises_holds_and_falls() -> None:
    assert rate(0.0) == pytest.approx(0.002)
    assert rate(0.03) == rate(0.6) == 1.0
    assert rate(0.8) == pytest.approx(0.5)
    assert rate(1.0) == pytest.approx(0.002)


def test_cells_inside_a_given_structure_count_more_and_the_rest_as_before(tmp_path):
    size = VolumeNetworkSize((16, 16), (False, False), 1, 8, latent=2, labels=4, detail=4)
    stage = VolumeStage({}, tmp_path, 1.0, size, [], structures=1)
    stage.net.forward = lambda noisy, time, labels, atlas: torch.zeros_like(noisy)
    latent, labels = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 4, 16, 16, 16)
    latent[:, :, 0], latent[:, :, 3] = 1.0, 2.0  # what is wrong: 1 in the first quarter, 4 in the last
    labels[:, 0, :4] = 1.0  # the first quarter is a structure
    labels[:, 3, 12:] = 1.0  # the last one is only air
    batch = (latent, labels, torch.zeros(1, 3, 4, 4, 4), torch.ones(1, 1, 4, 4, 4))
    errors = [float(stage._error(batch, torch.ones(1), torch.zeros_like(latent), emphasis)) for emphasis in (0.0, 3.0)]
    assert errors == pytest.approx([(1 + 4) / 4, (4 * 1 + 4) / 7])
