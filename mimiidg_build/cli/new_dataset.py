"""``mimiidg new-dataset``: a manifest of own recordings to edit, as a first guess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json
from mimiidg_build.cli.values import FilePath
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command(name="new-dataset")
@click.argument("folder", type=FilePath(exists=True, file_okay=False))
@click.option("--output", type=FilePath(dir_okay=False), help="The file to write. [default: FOLDER's name.toml, here]")
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
@common
def new_dataset(folder: Path, output: Path | None, replace: bool, root: Place, as_json: bool, quiet: bool) -> None:
    """Write a manifest of the recordings in FOLDER: a first guess.

    Looks at names, folders, sample rates, channels and lengths; the file says what was seen, how names were read, and
    how many clips for training and testing that gives. Read it and correct it: every line is a key that you may change.

    Example: mimiidg new-dataset recordings/hall3 --output hall3.toml
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.recordings.guess import slug
    from mimiidg_build.datasets.recordings.template import first_manifest
    from mimiidg_build.storage.files import write_file

    path = output or Path(f"{slug(folder.resolve().name)}.toml")
    if path.suffix != ".toml":
        raise UsageError(f"--output {path}: give a name that ends in .toml, as a manifest's does.")
    if path.exists() and not replace:
        raise UsageError(f"{path} is there already, and is left as it is. Give another --output, or --replace.")
    first = first_manifest(folder, path)
    write_file(path, [first.text.encode()])
    load_dataset(str(path))
    following = [f"mimiidg validate {path}", f"mimiidg build released --dataset {path} --name {first.name}"]
    if as_json:
        print_json({"path": str(path), "files": first.n_files, "fit": first.n_fit, "next": following})
        return
    click.echo(f"{path}: {first.n_fit} of {first.n_files} sound files fit its pattern. Read it and correct it, then:")
    for line in following:
        click.echo(f"  {line}")
