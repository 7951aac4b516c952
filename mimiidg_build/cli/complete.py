"""Shell completion: what TAB offers for a value. Imports nothing that takes time."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.resources import files

import click
from click.shell_completion import CompletionItem

from mimiidg_build import settings
from mimiidg_build.storage.places import is_local, place


class Offer:
    """Offers those values that begin with what is typed so far, as click's ``shell_complete`` wants it.

    Parameters
    ----------
    values : callable
        Given click's context; all values, best first.
    or_file : bool
        Whether to offer files where no value fits: the value may also be a path.
    """

    def __init__(self, values: Callable[[click.Context], Iterable[str]], *, or_file: bool = False) -> None:
        self._values, self._or_file = values, or_file

    def __call__(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        values = dict.fromkeys(self._values(ctx))
        items = [CompletionItem(value) for value in values if value.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file")] if self._or_file and not items else items


def _shipped(kind: str) -> list[str]:
    folder = files("mimiidg_build") / "data_manifests" / kind
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _built(ctx: click.Context) -> list[str]:
    """Variants with a finished store under ROOT."""
    root = ctx.params.get("root") or place(settings.root())
    if not is_local(root):
        return []  # a network is too slow to ask at every TAB
    return sorted(path.parent.name for path in root.glob("variants/*/latest"))


@lru_cache(maxsize=1)
def section_choices() -> tuple[str, ...]:
    """Machine types and sections of Table 1 and of the datasets. Read without the schemas, whose import takes time."""
    folder = files("mimiidg_build") / "data_manifests"
    rows = tomllib.loads((folder / "recipes" / "table1.toml").read_text())["sections"]
    found = {f"{row['machine_type']}/{row['section']}": None for row in rows}
    machines = dict.fromkeys(row["machine_type"] for row in rows)
    for name in _shipped("datasets"):
        content = tomllib.loads((folder / "datasets" / f"{name}.toml").read_text(encoding="utf-8"))
        machines |= dict.fromkeys(content["machine_types"])
        for record in content["records"]:
            stated = record.get("sections", [])
            by_machine = stated if isinstance(stated, dict) else dict.fromkeys(content["machine_types"], stated)
            found |= {f"{machine}/{section}": None for machine, its in by_machine.items() for section in its}
    return (*machines, *found)


def _machine_types(ctx: click.Context) -> list[str]:
    return [choice for choice in section_choices() if "/" not in choice]


def _error_kinds(ctx: click.Context) -> Iterable[str]:
    from mimiidg_build.datasets.findings import ERROR_KINDS

    return sorted(ERROR_KINDS)


def _files(ctx: click.Context) -> list[str]:
    """Files of the datasets that stand on the command line already."""
    from mimiidg_build.datasets.manifest import load_dataset

    named = [load_dataset(name) for name in ctx.params.get("datasets") or _shipped("datasets")]
    return [file.name for dataset in named for record in dataset.records for file in record.files]


datasets = Offer(lambda ctx: [*_shipped("datasets"), "synthetic-5pct", "synthetic"], or_file=True)
variants = Offer(lambda ctx: [*_shipped("variants"), *_built(ctx)], or_file=True)
shipped_variants = Offer(lambda ctx: _shipped("variants"), or_file=True)
stores = Offer(_built, or_file=True)
variants_under_root = Offer(_built)
stores_and_datasets = Offer(lambda ctx: [*_built(ctx), *_shipped("datasets")], or_file=True)
sections = Offer(lambda ctx: section_choices())
machine_types = Offer(_machine_types)
error_kinds = Offer(_error_kinds)
archive_files = Offer(_files)
schedulers = Offer(lambda ctx: ["threads", "processes", "tcp://"])
