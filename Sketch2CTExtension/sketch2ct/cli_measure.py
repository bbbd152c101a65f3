"""The commands that measure: a bundle on cases, its speed, and what synthetic CTs are worth. As in `cli`, no logic of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_options import BundleName, Device
from .evaluation.parts import DEFAULT, PARTS

Data = Annotated[Path, typer.Option(help="A data set in nnU-Net layout.")]
Images = Annotated[str, typer.Option(help="Folder of the CTs in DATA.")]
Labels = Annotated[str, typer.Option(help="Folder of the label maps in DATA.")]
Cases = Annotated[int | None, typer.Option(help="Only the first so many.")]
Recipe = Annotated[str, typer.Option(help="How the segmenter is trained: a recipe's name, or the path of a .yaml file.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from what OUT holds of the same settings.")]
_PARTS = f"Some of {', '.join(PARTS)}, with commas, or all; by default {', '.join(DEFAULT)}."


def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    bundle: BundleName = "headneck",
    images: Images = "imagesVa",
    labels: Labels = "labelsVa",
    cases: Cases = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Of the sketches and of the generation.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Masks a sketch.")] = 1,
    hand: Annotated[float, typer.Option(min=0, max=5, help="How much the sketches waver: 0 exact, 1 careful, 3 hasty.")] = 0.0,
    parts: Annotated[str | None, typer.Option(help=_PARTS)] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="Of each probe and structure; by default 10, or fewer of few cases.")] = None,
    ct_cases: Annotated[int | None, typer.Option(min=0, help="CTs of the first so many cases only; 0 for none.")] = None,
    ct_samples: Annotated[int, typer.Option(min=1, help="CTs of one label map that are compared with one another.")] = 2,
    segmenter: Annotated[Path | None, typer.Option(help="Folder of 'train-segmenter'; it judges the CTs.")] = None,
    fid_weights: Annotated[
        Path | None, typer.Option(help="ResNet-50 of RadImageNet, .safetensors, for the Fréchet distance; slow without a GPU.")
    ] = None,
    usefulness: Annotated[Path | None, typer.Option(help="Folder of 'usefulness' of the same bundle, to be quoted.")] = None,
    ablation: Annotated[Path | None, typer.Option(help="Folder of 'ablate', to be quoted.")] = None,
    surroundings: Annotated[
        str | None,
        typer.Option(help="A bundle that makes whole regions: also measure it, and every pairing of its generators with BUNDLE's."),
    ] = None,
    gaussian: Annotated[
        Path | None, typer.Option(help="Folder of 'train-region-baseline': whole regions are compared with those of Gaussian diffusion.")
    ] = None,
    region_samples: Annotated[int | None, typer.Option(min=1, help="Whole regions from text that are measured; by default 40.")] = None,
) -> None:
    """Measure a bundle on cases it has not seen."""
    from .evaluation.run import evaluate as run

    own: dict[str, Any] = {"only": parts, "draws": draws, "ct_cases": ct_cases, "ct_samples": ct_samples}
    own |= {"segmenter": segmenter, "fid_weights": fid_weights, "usefulness": usefulness, "ablation": ablation}
    own |= {"surroundings": surroundings, "gaussian": gaussian, "region_samples": region_samples}
    run(bundle, data, images, labels, out, cases, device, seed, samples, hand, **own)


def quote(
    report: Annotated[Path, typer.Argument(help="Folder of 'evaluate'.")],
    usefulness: Annotated[Path | None, typer.Option(help="Folder of 'usefulness' of the same bundle.")] = None,
    ablation: Annotated[Path | None, typer.Option(help="Folder of 'ablate'.")] = None,
) -> None:
    """Put results that were measured later into a report; nothing is measured again."""
    from .evaluation.quote import quote as run

    typer.echo(run(report, usefulness, ablation))


def bench(
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    bundle: BundleName = "headneck",
    device: Annotated[str, typer.Option(help="auto (the CPU and every CUDA device), cpu, cuda or cuda:N.")] = "auto",
    frames: Annotated[str, typer.Option(help="Some of small, default and large, with commas.")] = "small,default,large",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each frame, cold and again warm.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the request and of random weights.")] = 0,
    published: Annotated[bool, typer.Option("--published", help="Also time networks of the published sizes; takes minutes.")] = False,
) -> None:
    """Measure seconds and memory by stage, and how much of this machine's peak is used."""
    from .benchmark.run import bench as run

    run(bundle, out, device, frames, repeats, seed, with_published=published)


def ablate(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or the path of a .yaml file.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the table and of the trainings.")],
    steps: Annotated[int, typer.Option(min=1, help="Of the training of each variant.")] = 400,
    cases: Cases = None,
    seed: Annotated[int | None, typer.Option(help="Of start, batches, sketches and noise; instead of the recipe's.")] = None,
    resume: Resume = False,
    device: Device = "auto",
    variants: Annotated[
        str | None, typer.Option(help="Some of full, capsules, tsfe, cgfm, text, strokes (what is left out), with commas, or none.")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Also measure this bundle at other sampling steps and guidance.")] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Begin every variant with the weights of BUNDLE, not with an untrained model.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Prepared data of a training of the same recipe; by default OUT/cache.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Volumes in numbers of each structure.")] = 10,
) -> None:
    """Train the mask model without each of its parts, for the same number of steps, and measure what each part gives."""
    from .evaluation.ablation import ablate as run

    own: dict[str, Any] = {"steps": steps, "cases": cases, "seed": seed, "resume": resume, "device": device, "variants": variants}
    run(recipe, data, out, **own, bundle=bundle, fine_tune=fine_tune, cache=cache, draws=draws)


def train_segmenter(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the segmenter.")],
    bundle: BundleName = "headneck",
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Time limit, instead of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="A number of steps instead of minutes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Resume = False,
    device: Device = "auto",
    recipe: Recipe = "segmenter",
) -> None:
    """Train the segmenter that judges generated CTs, on the real training cases, with the structures and the spacing of a bundle."""
    from .bundle import load
    from .training.segmenter_stage import train_segmenter as run

    own: dict[str, Any] = {"recipe": recipe, "resume": resume, "device": device, "minutes": minutes, "steps": steps, "seed": seed}
    typer.echo(run(data, out, load(bundle).metadata, **own))


def usefulness(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the report, the segmenters and the synthetic scans.")],
    bundle: BundleName = "headneck",
    images: Images = "imagesVa",
    labels: Labels = "labelsVa",
    cases: Cases = None,
    steps: Annotated[int, typer.Option(min=1, help="Of each of the three trainings.")] = 1500,
    samples: Annotated[int, typer.Option(min=1, help="Synthetic CTs of each training label map.")] = 1,
    training: Annotated[int | None, typer.Option(min=1, help="Only the first so many training cases.")] = None,
    seed: Annotated[int, typer.Option(help="Of the generation and of the training.")] = 0,
    resume: Resume = False,
    device: Device = "auto",
    recipe: Recipe = "segmenter",
) -> None:
    """Train a segmenter on real, on synthetic and on both kinds of CT, and test it on real cases it has not seen."""
    from .evaluation.usefulness_run import usefulness as run

    own: dict[str, Any] = {"cases": cases, "steps": steps, "samples": samples, "training": training, "seed": seed}
    run(bundle, data, images, labels, out, **own, resume=resume, device=device, recipe=recipe)


def train_region_baseline(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the baseline.")],
    recipe: Annotated[str, typer.Option(help="Of whole regions: its name, or the path of a .yaml file.")] = "headneck-guidegen",
    minutes: Annotated[float, typer.Option(min=0.01, help="Of both trainings together; those of the recipe's mask stage are fair.")] = 240,
    cache: Annotated[Path | None, typer.Option(help="Prepared data of a training of the recipe; by default OUT/cache.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    resume: Resume = False,
    device: Device = "auto",
) -> None:
    """Train the baseline of whole regions: Gaussian diffusion in the latent of class maps, as large as the recipe's own network."""
    from .training.region_baseline import train_baseline as run

    typer.echo(run(recipe, data, out, minutes=minutes, cache=cache, resume=resume, device=device, seed=seed))


def samples(
    out: Annotated[Path, typer.Option(help="The picture to write, PNG.")],
    bundle: BundleName = "headneck-guidegen",
    count: Annotated[int, typer.Option(min=1, max=40, help="How many.")] = 10,
    volume_bundle: Annotated[str | None, typer.Option(help="The bundle that makes the CTs; by default the same.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first; the others count on.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; fewer are faster.")] = None,
    device: Device = "auto",
) -> None:
    """Draw a sheet of whole regions from words alone: what was said, three planes of the label map and of the CT."""
    from .evaluation.region_sheet import sheet

    typer.echo(sheet(bundle, out, count=count, volume_bundle=volume_bundle, seed=seed, steps=steps, device=device))


COMMANDS: dict[str, Callable[..., None]] = {
    "evaluate": evaluate,
    "quote": quote,
    "bench": bench,
    "ablate": ablate,
    "train-segmenter": train_segmenter,
    "usefulness": usefulness,
    "train-region-baseline": train_region_baseline,
    "samples": samples,
}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for name, command in COMMANDS.items():
        app.command(name)(command)
