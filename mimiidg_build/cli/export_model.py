"""``mimiidg export-model``: a trained network as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import backend_option, common
from mimiidg_build.cli.printing import print_json
from mimiidg_build.cli.values import FilePath

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command("export-model")
@click.argument("run", type=FilePath())
@click.argument("file", type=FilePath(dir_okay=False))
@click.option(
    "--section",
    help="Which section's score: fan/00; fan where scores do not depend on it. [default: the only one]",
    shell_complete=complete.sections,
)
@backend_option
@common
def export_model(
    run: Path, file: Path, section: str | None, backend: str | None, root: Place, as_json: bool, quiet: bool
) -> None:
    """Write a trained network as one file that needs none of this package.

    Samples in, score out: the features are in the file, and so are sample rate, channels, length, section and
    threshold, as JSON. FILE ends in .pt2 (torch.export: torch.export.load reads it) or in .onnx (ONNX, for any runtime;
    needs the extra `onnx`). Scores equal the run's to 1e-4. Where features take a reference channel, samples are
    (n_channels, n_samples).

    Example: mimiidg export-model mimiidg-data/runs/demo/<fingerprint>/autoencoder-cpu-0 fan.pt2 --section fan
    """
    from mimiidg_build.benchmark.detection.export import export_model as export

    metadata = export(run, file, section, backend)
    if as_json:
        print_json(metadata | {"path": str(file), "size_bytes": file.stat().st_size})
    else:
        click.echo(file)
