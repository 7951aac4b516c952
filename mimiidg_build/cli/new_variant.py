"""``mimiidg new-variant``: a variant file to edit, every key explained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import common
from mimiidg_build.cli.printing import print_json
from mimiidg_build.errors import UsageError

if TYPE_CHECKING:
    from mimiidg_build.schemas.manifests import DatasetManifest
    from mimiidg_build.schemas.sections import SectionId
    from mimiidg_build.storage.places import Place

# what the shipped variant says of Table 1, for a dataset without a recipe
UNPUBLISHED = {
    '# noise at the SNR of Table 1; "none" adds no noise': "# the recordings as they are; to add noise, see below",
    "added to every SNR of Table 1": "added to every SNR of a recipe",
    "SNR per section instead of Table 1's; sections 03-05 need one, theirs is not published": "SNR per section",
}
MOST_SHOWN = 12  # sections that a comment names
RECIPE = """
# A recipe of your own: noise and SNR of each section. Take the # away, and the line `mixing` above; name your noise
# under [noise]. Or write it, without "recipe." in its titles, into a file, and say mixing = "my_recipe.toml".
# [recipe.default]           # of every section that is not listed
# snr_db = 0.0
# noise = [{{ kinds = ["hall"] }}]
# [[recipe.sections]]
# machine_type = {machine_type}
# section = {section}
# snr_db = 6.0               # or snr_attribute = "lv", snr_db_by_value = {{ L1 = 0.0, L2 = -6.0 }}
# noise = [                  # one or two layers, each drawn among
#     {{ kinds = ["hall", "yard"] }},                  # some kinds of noise,
#     # {{ source = ["hall"], target = ["yard"] }},    # kinds by domain,
#     # {{ attribute = "n" }},                         # or what a clip's attribute names
# ]
"""


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

    It is valid as it is: `mimiidg build NAME.toml` builds it. It names the dataset's sections, where those are known,
    and mixes noise in by the dataset's own recipe; where it has none, the recordings stay as they are, and a recipe
    to edit stands below.

    Example: mimiidg new-variant workshop --dataset mimii_dg
    """
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.datasets.release import held_sections
    from mimiidg_build.datasets.toml_files import RESOURCES
    from mimiidg_build.datasets.variant import load_variant, parse_variant
    from mimiidg_build.fetch.archives import archive_path
    from mimiidg_build.storage.files import write_file

    manifest = load_dataset(dataset)
    changes = {"name": name, "dataset": dataset, "mixing": manifest.recipe or "none"}
    parse_variant(load_variant("paper").model_dump() | changes, "command line")
    path = Path(f"{name}.toml")
    if path.exists():
        raise UsageError(f"{path} is there already, and is left as it is. Give another name, or remove it.")
    archives = {
        f"{record.id}/{file.name}": archive_path(root, record.id, file.name)
        for record in manifest.records
        for file in record.files
    }
    text = (RESOURCES / "variants" / "paper.toml").read_text(encoding="utf-8")
    write_file(path, [template(text, name, dataset, manifest, held_sections(manifest, archives)).encode()])
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(path)


def template(paper: str, name: str, dataset: str, manifest: DatasetManifest, sections: Sequence[SectionId] = ()) -> str:
    """The file: the shipped variant ``paper``, which explains every key, under another name and of another dataset.

    Parameters
    ----------
    paper : str
        The shipped file's text.
    name, dataset : str
        Values of these keys.
    manifest : DatasetManifest
        The dataset's.
    sections : sequence of SectionId
        Its sections, as far as they are known.

    Returns
    -------
    str
    """
    head = f"# What to build from a dataset, and how. Edit it, then: mimiidg build {name}.toml\n"
    if sections:
        shown = ", ".join(map(str, sections[:MOST_SHOWN]))
        more = f" and {len(sections) - MOST_SHOWN} more" if len(sections) > MOST_SHOWN else ""
        head += f"# {manifest.name} has the sections {shown}{more}.\n"
    body = paper[paper.index("name = ") :]
    values = {"name": name, "title": f"{name}: say in a line what it is", "dataset": dataset}
    if manifest.recipe is None:
        values["mixing"] = "none"
        for said, instead in UNPUBLISHED.items():
            body = body.replace(said, instead)
    for key, value in values.items():
        line = f"{key} = {json.dumps(value)}".replace("\\", r"\\")  # a JSON string is a TOML string
        body = re.sub(f'^{key} = "[^"]*"', line, body, count=1, flags=re.MULTILINE)
    if manifest.recipe is not None:
        return head + body
    first = sections[0] if sections else None
    machine_type, section = first or ((manifest.machine_types or ["fan"])[0], "00")
    body = body.replace('["fan", "valve/02"]', json.dumps([machine_type, f"{machine_type}/{section}"]))
    body = body.replace('"fan/03" = -6.0', f'"{machine_type}/{section}" = -6.0')
    return head + body + RECIPE.format(machine_type=json.dumps(machine_type), section=json.dumps(section))
