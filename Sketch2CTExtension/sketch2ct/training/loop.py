"""The loop every stage shares: time budget, warm-up and decay, averaged weights, checkpoints, resume, logs."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

WARM_UP = 0.03  # of the budget
DECAY = 0.4  # of the budget, at its end: linear to zero


def rate(progress: float, decay: float = DECAY, peak: float = 1.0) -> float:
    """Share of the learning rate at a progress of 0..1: a trapezoid of height `peak`, so that any budget ends annealed."""
    return peak * max(0.002, min(1.0, progress / WARM_UP, (1 - progress) / decay))


class Endless(IterableDataset):
    """Endless random batches. Every pass over it (an epoch of the loop) and every leg of a training that is resumed draws others."""

    seed = 0
    leg = 0  # `fit` counts them
    _passes = 0

    def rng(self) -> np.random.Generator:
        """The generator of one pass, for the head of `__iter__`; each worker has its own."""
        info = get_worker_info()
        self._passes += 1  # a worker that persists keeps its copy of this
        return np.random.default_rng([self.seed, self.leg, self._passes, info.id if info else 0])


class Average:
    """Exponential moving average whose memory grows with the run, so that a short run is not an average with its random start."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        """The new average."""
        decay = min(self.decay, float((1 + updates) / (10 + updates)))
        return averaged + (1 - decay) * (current - averaged)


class Stage(pl.LightningModule):
    """A network `net` under training; subclasses give `loss` and `check`."""

    net: nn.Module

    def __init__(self, settings: dict[str, Any], out: Path, minutes: float) -> None:
        super().__init__()
        self.settings, self.out, self.budget = settings, out, 60.0 * minutes
        self.started = time.monotonic()

    @abstractmethod
    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Named loss terms; `loss` is what is minimised."""

    @abstractmethod
    def check(self) -> dict[str, float]:
        """Figures on validation data, with the averaged weights."""

    def on_train_start(self) -> None:
        """The budget counts from here, also after a resume."""
        self.started = time.monotonic()

    def progress(self) -> float:
        """Share of the budget that is spent: a number of steps where the settings name `steps`, so that trainings on different data or of
        different networks are alike, else time."""
        steps = self.settings.get("steps")
        return min(1.0, self.global_step / steps if steps else (time.monotonic() - self.started) / self.budget)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """One step."""
        terms = self.loss(batch)
        self.log_dict({f"train_{k}": v for k, v in terms.items()}, on_step=False, on_epoch=True, batch_size=1)
        return terms["loss"]

    def validation_step(self, batch: Any, index: int) -> None:
        """Figures now and then; the averaged weights are in place here, so they are saved too."""
        self.save()
        self.log_dict({f"val_{k}": v for k, v in self.check().items()}, batch_size=1)

    def save(self) -> None:
        """Write the weights in place as `weights.safetensors` (whole or not at all)."""
        path = self.out / "weights.safetensors"
        partial = path.with_suffix(".partial")
        save_file({k: v.detach().cpu().contiguous() for k, v in self.net.state_dict().items()}, partial)
        partial.replace(path)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with the trapezoid."""
        decay, peak = self.settings.get("decay", DECAY), self.settings.get("peak", 1.0)

        def share(_step: int) -> float:
            return rate(self.progress(), decay, peak)

        optimizer = torch.optim.AdamW(self.parameters(), lr=self.settings["learning_rate"], weight_decay=0.01, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Budget(Callback):
    """Stops when the time is spent; prints one line an epoch."""

    def on_train_batch_end(self, trainer: pl.Trainer, stage: pl.LightningModule, *_: Any) -> None:
        assert isinstance(stage, Stage)
        if stage.progress() >= 1:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, stage: pl.LightningModule) -> None:
        assert isinstance(stage, Stage)
        figures = "  ".join(f"{k} {float(v):.4f}" for k, v in sorted(trainer.callback_metrics.items()))
        print(f"step {trainer.global_step}  {100 * stage.progress():.0f} %  {figures}", flush=True)


def fit(stage: Stage, batches: Endless, out: Path, *, resume: bool, device: str, seed: int) -> Path:
    """Train a stage until its budget is spent; the path of its averaged weights, `weights.safetensors`."""
    settings = stage.settings
    last = out / "last.ckpt"
    if not resume:
        for old in out.glob("*.ckpt"):  # else the new ones would get other names beside them
            old.unlink()
    batches.leg = len(list((out / "logs").glob("version_*"))) if resume else 0
    pl.seed_everything(seed + batches.leg, verbose=False)
    checkpoint = ModelCheckpoint(dirpath=out, save_last=True, every_n_epochs=1, save_on_train_epoch_end=True)
    average = WeightAveraging(use_buffers=False, avg_fn=Average(settings.get("average", 0.999)))
    trainer = pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu"}.get(device, "gpu"),
        devices=1,
        precision="bf16-mixed",
        max_epochs=-1,
        limit_train_batches=settings["steps_per_epoch"],
        gradient_clip_val=1.0,
        logger=CSVLogger(out, name="logs"),  # a resumed run gets its own folder, so no curve is lost
        log_every_n_steps=settings["steps_per_epoch"],
        callbacks=[checkpoint, average, _Budget()],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=settings.get("check_every", 4),
    )
    workers = settings.get("workers", 1)
    ahead = 4 if workers else None
    loader = DataLoader(batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0, prefetch_factor=ahead)
    once: DataLoader = DataLoader([0], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(stage, loader, once, ckpt_path=str(last) if resume and last.is_file() else None)
    stage.save()  # training ends with the averaged weights in place
    (out / "steps.json").write_text(json.dumps({"steps": trainer.global_step, "batch": settings.get("batch")}))
    return out / "weights.safetensors"
