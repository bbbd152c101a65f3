"""The command line. No logic of its own: a command reads its options, calls one function and prints what it returns.

Results go to stdout; progress, warnings and errors to stderr. Exit status: 0 done, 2 the user's input is wrong (one
line says what, where and how to mend it), 130 cancelled, 1 anything else. Torch is imported by those that need it.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from . import cli_cohort, cli_export, cli_measure, cli_review, memory
from .cli_options import BundleName, Device
from .errors import BadRequest, BundleCorrupt, BundleMissing, Cancelled, Sketch2CTError, WriteFailed
from .request import NONE

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # typer brings its own click, or uses the installed one

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Strokes and a sentence to a 3D segmentation mask, then to a synthetic CT. Not for clinical use.",
)
bundles_app = typer.Typer(no_args_is_help=True, help="Trained models: list, verify, install.")
convert_app = typer.Typer(no_args_is_help=True, help="Public data sets to nnU-Net layout.")
app.add_typer(bundles_app, name="bundles")
app.add_typer(convert_app, name="convert")

Structure = Annotated[str, typer.Option(help="Name of the structure, in any accepted spelling.")]


@app.callback()
def _everywhere(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Read by `main` before the commands are."""


@app.command()
def generate(
    request: Annotated[Path, typer.Argument(help="A request, JSON.")],
    out: Annotated[Path, typer.Option(help="Folder to make; with several samples, one folder each inside.")],
    bundle: Annotated[str | None, typer.Option(help="Instead of the request's.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; instead of the request's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; fewer are faster.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the request's.")] = None,
    samples: Annotated[int | None, typer.Option(help="How many different results.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly to follow the request.")] = None,
    mask_only: Annotated[bool, typer.Option("--mask-only", help="Stop after the mask; no CT.")] = False,
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Complete the surroundings: the whole region around what is made or given, which stays as it is."),
    ] = False,
    volume_bundle: Annotated[str | None, typer.Option(help="The bundle that makes the CT; by default that of the mask.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier result in OUT.")] = False,
    scene: Annotated[bool, typer.Option("--scene", help="Also write scene.mrb for 3D Slicer.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Also write preview.png.")] = False,
) -> None:
    """Make a segmentation and a synthetic CT from a request."""
    from . import pairing
    from .console import run_progress
    from .intake import check, read_request

    changes = {
        "volume_generator": NONE if mask_only else None,
        "bundle": bundle,
        "device": device,
        "steps": steps,
        "seed": seed,
        "samples": samples,
        "guidance": guidance,
        "volume_bundle": volume_bundle,
    }
    asked = read_request(request).with_changes(**changes)
    asked = pairing.fitted(asked, *(["mask"] if bundle else []), *(["volume"] if bundle or volume_bundle else []))
    if complete and asked.surroundings is None:
        asked = asked.with_changes(surroundings=pairing.completing(asked.bundle))
    if asked.volume_generator == NONE and (scene or preview):
        raise BadRequest("A scene and a preview need a CT, and only the mask is asked for.", "Leave --scene and --preview out.")
    check(asked, out, replace=replace)
    with run_progress() as progress:
        from .engine import Engine

        folders = Engine().generate(asked, out, progress, replace=replace)
    for folder in folders:
        _add_views(folder, scene=scene, preview=preview)
        for warning in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["quality"]["warnings"]:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(folder)


def _add_views(folder: Path, *, scene: bool, preview: bool) -> None:
    from .results import writing

    with writing(folder):
        if scene:
            from .export.scene import write_scene

            write_scene(folder, folder / "scene.mrb")
        if preview:
            from .preview import write_preview

            write_preview(folder, folder / "preview.png")


@app.command()
def sketch(
    labels: Annotated[Path, typer.Argument(help="A label map, NIfTI or NRRD.")],
    structure: Structure,
    out: Annotated[Path, typer.Option(help="The request to write, JSON.")],
    plane: Annotated[str | None, typer.Option(help="axial, coronal or sagittal; by default the largest section.")] = None,
    meaning: Annotated[str, typer.Option(help="cross_section or silhouette.")] = "cross_section",
    bundle: BundleName = "headneck",
) -> None:
    """Make a request from an existing mask: the sketch a person would draw of it, and its description."""
    from .drafting import request_from_mask
    from .results import writing

    drafted = request_from_mask(labels, structure, plane=plane, meaning=meaning, bundle_name=bundle)
    with writing(out):
        drafted.write(out)
    typer.echo(out)


@app.command()
def describe(
    labels: Annotated[Path, typer.Argument(help="A label map, NIfTI or NRRD.")],
    structure: Structure,
    bundle: BundleName = "headneck",
    wordings: Annotated[int, typer.Option(min=0, max=100, help="Freer wordings to add.")] = 3,
) -> None:
    """Measure a structure, and say it in sentences. Prints JSON."""
    from .drafting import measured, read_named_labels, sentences

    facts = measured(read_named_labels(labels), structure)
    text = sentences(facts, structure, bundle, wordings)
    typer.echo(json.dumps({"facts": facts.to_dict(), "sentences": text}, indent=1, ensure_ascii=False))


@convert_app.command("openkbp")
def convert_openkbp(
    source: Annotated[Path, typer.Argument(help="The cloned repository of OpenKBP.")],
    dest: Annotated[Path, typer.Argument(help="The folder to write, in nnU-Net layout.")],
) -> None:
    """The public OpenKBP head-and-neck data to nnU-Net layout."""
    from .data.openkbp import convert

    convert(source, dest, _converted)


def _converted(done: int, total: int, case: str) -> None:
    typer.echo(f"{done}/{total} {case}", err=True)


SplitSeed = Annotated[int, typer.Option(min=0, help="Of the shuffle that puts 8 of 10 cases into training (Tr) and 2 into tests (Ts).")]
Voxels = Annotated[float, typer.Option(min=0, help="Finer voxels are averaged to about so many mm; 0 keeps them.")]
Converted = Annotated[Path, typer.Argument(help="The folder to write, in nnU-Net layout.")]


@convert_app.command("chaos")
def convert_chaos(
    source: Annotated[Path, typer.Argument(help="The unpacked CHAOS_Train_Sets.zip.")],
    dest: Converted,
    seed: SplitSeed = 0,
    spacing: Voxels = 1.5,
) -> None:
    """The livers of CHAOS (CT) to nnU-Net layout, split 8:2. Needs pydicom."""
    from .data.chaos import convert

    convert(source, dest, seed=seed, spacing=spacing, progress=_converted)


@convert_app.command("avt")
def convert_avt(
    source: Annotated[Path, typer.Argument(help="The folder that holds Dongyang, KiTS and Rider.")],
    dest: Converted,
    seed: SplitSeed = 0,
    spacing: Voxels = 1.5,
) -> None:
    """The aortas of AVT (CT angiography) to nnU-Net layout, split 8:2."""
    from .data.avt import convert

    convert(source, dest, seed=seed, spacing=spacing, progress=_converted)


@convert_app.command("msd")
def convert_msd(
    source: Annotated[Path, typer.Argument(help="The unpacked Task02_Heart or Task03_Liver.")],
    dest: Converted,
    seed: SplitSeed = 0,
    spacing: Voxels = 1.5,
) -> None:
    """A task of the Medical Segmentation Decathlon (heart MR, liver CT) to nnU-Net layout, split 8:2."""
    from .data.msd import convert

    convert(source, dest, seed=seed, spacing=spacing, progress=_converted)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or the path of a .yaml file.")],
    data: Annotated[Path, typer.Option(help="A data set in nnU-Net layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    device: Device = "auto",
    stage: Annotated[str | None, typer.Option(help="Only this one: mask, autoencoder, volume or bundle.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time limit of each stage.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of an evaluation that the model card quotes.")] = None,
    init: Annotated[str | None, typer.Option(help="The mask network starts from this installed bundle's weights.")] = None,
) -> None:
    """Train the networks of a bundle, stage by stage (mask, autoencoder, volume), and write it (bundle)."""
    from .training.run import train as run

    run(recipe, data, out, stage=stage, resume=resume, device=device, minutes=minutes, seed=seed, report=report, init=init)


cli_measure.add_to(app)
cli_cohort.add_to(app)
cli_export.add_to(app)
cli_review.add_to(app)


@bundles_app.command("list")
def list_bundles() -> None:
    """The installed bundles, and what they make."""
    from .bundle import available, load

    for folder in available():
        made = ", ".join(load(folder.name, check=False).metadata.get("structures", []))
        typer.echo(f"{folder.name}\t{folder}\t{made}")


@bundles_app.command("verify")
def verify_bundles(name: Annotated[str | None, typer.Argument(help="One bundle; by default all.")] = None) -> None:
    """Check every file against its published checksum."""
    from .bundle import available, load

    for chosen in [name] if name else [folder.name for folder in available()]:
        typer.echo(f"{chosen}\tverified\t{load(chosen).digest}")


@bundles_app.command("install")
def install_bundle(
    file: Annotated[Path, typer.Argument(help="A bundle as a zip file.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the bundle of that name.")] = False,
) -> None:
    """Install a bundle from a file."""
    from .installing import install

    typer.echo(install(file, replace=replace))


@app.command()
def worker() -> None:
    """Serve requests as JSON lines on stdin and stdout (used by the 3D Slicer module)."""
    from .worker import run

    run()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False) -> None:
    """Look for everything that a run needs; exit status 1 when something is missing."""
    from .doctor import as_json as to_json
    from .doctor import examine

    findings = examine()
    if as_json:
        typer.echo(to_json(findings))
    for item in [] if as_json else findings:
        typer.echo(f"{'ok     ' if item.ok else 'MISSING'} {item.name:<14} {item.detail}")
    raise typer.Exit(0 if all(item.ok for item in findings) else 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    memory.keep()
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = app(arguments, standalone_mode=False, prog_name="sketch2ct")
        return status if isinstance(status, int) else 0
    except USAGE_ERROR as error:
        message = error.format_message()
        return _failed(f"{message} Use 'sketch2ct --help'." if message else "", 2, debug and bool(message))
    except (KeyboardInterrupt, typer.Abort, Cancelled) as error:
        return _failed(str(error) or "Cancelled.", 130, debug)
    except (BadRequest, WriteFailed, BundleMissing, BundleCorrupt) as error:
        return _failed(str(error), 2, debug)
    except Sketch2CTError as error:
        return _failed(str(error), 1, debug)
    except Exception as error:
        hint = "" if debug else " Run it again with --debug for the details."
        return _failed(f"{type(error).__name__}: {error}.{hint}", 1, debug)


def _failed(message: str, status: int, debug: bool) -> int:
    """One line on stderr."""
    if debug:
        traceback.print_exc()
    if message:
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status
