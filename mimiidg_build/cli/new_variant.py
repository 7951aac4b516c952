"""``mimiidg new-variant``: a variant file to edit, every key explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from mimiidg_build.storage.places import Place


@click.command(name="new-variant")
@click.argument("name")
@click.option(
    "--dataset",
    default="synthetic-1pct",
    show_default=True,
    help="What it is built from: a name, or a manifest's path.",
    shell_complete=complete.datasets,
)
@common
def new_variant(name: str, dataset: str, root: Place, as_json: bool, quiet: bool) -> None:
    """Write NAME.toml here: a variant to edit, with every key explained.

    It is valid as it is: `mimiidg build NAME.toml` builds it.

    Example: mimiidg new-variant workshop --dataset mimii_dg
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.toml_files import RESOURCES
    from mimiidg_build.datasets.variant import load_variant, parse_variant
    from mimiidg_build.storage.files import write_file

    load_dataset(dataset)
    parse_variant(load_variant("paper").model_dump() | {"name": name, "dataset": dataset}, "command line")
    path = Path(f"{name}.toml")
    if path.exists():
        raise UsageError(f"{path} is there already, and is left as it is. Give another name, or remove it.")
    text = (RESOURCES / "variants" / "paper.toml").read_text(encoding="utf-8")
    write_file(path, [template(text, name, dataset).encode()])
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(path)


def template(paper: str, name: str, dataset: str) -> str:
    """The file: the shipped variant ``paper``, which explains every key, under another name and of another dataset.

    Parameters
    ----------
    paper : str
        The shipped file's text.
    name, dataset : str
        Values of these keys.

    Returns
    -------
    str
    """
    head = f"# What to build from a dataset, and how. Edit it, then: mimiidg build {name}.toml\n"
    body = paper[paper.index("name = ") :]
    values = {"name": name, "title": f"{name}: say in a line what it is", "dataset": dataset}
    for key, value in values.items():
        line = f"{key} = {json.dumps(value)}".replace("\\", r"\\")  # a JSON string is a TOML string
        body = re.sub(f'^{key} = "[^"]*"', line, body, count=1, flags=re.MULTILINE)
    return head + body
