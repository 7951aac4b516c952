"""``mimiidg verify``: check every byte of a store or of a dataset's archives, and restore what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.names import absolute_for_cluster, named_dataset, noise_by_kind, store_path
from mimiidg_build.cli.options import common, noise_option, run_options, truth_option
from mimiidg_build.cli.printing import print_json, print_lines, shown_progress
from mimiidg_build.errors import UsageError, counted

if TYPE_CHECKING:
    from mimiidg_build.parallel.runner import Runner
    from mimiidg_build.progress import Reporter
    from mimiidg_build.schemas.manifests import DatasetManifest
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("name", metavar="STORE|DATASET", shell_complete=complete.stores_and_datasets)
@click.option("--deep", is_flag=True, help="Make every clip and table anew from the archives and compare.")
@click.option("--repair", "with_repair", is_flag=True, help="Restore what is damaged, and only that.")
@noise_option
@truth_option
@run_options
@common
def verify(
    name: str,
    deep: bool,
    with_repair: bool,
    noise: tuple[str, ...],
    truth: tuple[Path, ...],
    scheduler: str,
    workers: int | None,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Verify every byte of a store or of a dataset's archives.

    A store is given by path or variant. A store's files are compared with their digests, the archives that were
    fetched with their checksums. --repair renders damaged shards again from the archives, or fetches damaged archives
    again, and verifies anew. Noise that was moved since the build is found with --noise. What truth lists told of the
    clips stands in the store; --truth gives the lists again where that table is damaged.

    Example: mimiidg verify demo --repair
    """
    from mimiidg_build.datasets.toml_files import shipped_names
    from mimiidg_build.parallel.runner import running

    root = absolute_for_cluster(root, scheduler)
    dataset, given = named_dataset(name, root), noise_by_kind(noise)
    if given and (dataset is not None or not (deep or with_repair)):
        raise UsageError("--noise says where a store's noise is now: it goes with a store, and --deep or --repair.")
    if truth and (dataset is not None or not (deep or with_repair)):
        raise UsageError("--truth tells of a store's clips again: it goes with a store, and --deep or --repair.")
    with shown_progress(quiet) as reporter:
        if dataset is not None:
            verified = _verify_archives(dataset, root, with_repair, reporter)
        else:
            path = store_path(name, root, also=shipped_names("datasets"))
            with running(scheduler, workers, root) as run:
                verified = _verify_store(path, root, with_repair, deep, given, list(truth) or None, run, reporter)
    verified.show(as_json)
    if verified.problems:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True)
class _Verified:
    """What was verified, what was restored before, and what is wrong."""

    path: str
    what: str
    restored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def show(self, as_json: bool) -> None:
        """Print it."""
        if as_json:
            print_json({"path": self.path, "restored": self.restored, "problems": self.problems})
            return
        print_lines(f"{self.path}/{name}: restored" for name in self.restored)
        print_lines(f"{self.path}/{problem}" for problem in self.problems)
        found = counted(len(self.problems), "problem") if self.problems else "all as recorded"
        click.echo(f"{self.path}: {self.what}, {found}")


def _verify_store(
    path: Place,
    root: Place,
    with_repair: bool,
    deep: bool,
    given: dict[str, list[str]],
    truth: list[Path] | None,
    run: Runner,
    reporter: Reporter,
) -> _Verified:
    from mimiidg_build.store.store import open_store
    from mimiidg_build.upkeep.repair import repair_store
    from mimiidg_build.upkeep.verify import verify_store

    restored = repair_store(path, root, run, reporter, noise=given, truth=truth) if with_repair else []
    store = open_store(path, check=False)  # only now: before the repair its metadata may be damaged
    problems = verify_store(store, root, deep=deep, run=run, reporter=reporter, noise=given, truth=truth)
    return _Verified(str(path), counted(len(store.attributes.objects), "object"), restored, problems)


def _verify_archives(dataset: DatasetManifest, root: Place, with_repair: bool, reporter: Reporter) -> _Verified:
    from mimiidg_build.upkeep.verify import damaged_archives, replace_archives

    damage = damaged_archives(dataset, root, reporter.transfer)
    restored = sorted(damage) if with_repair else []
    if restored:
        replace_archives(dataset, root, restored, reporter)
        damage = damaged_archives(dataset, root, reporter.transfer)
    problems = [f"{key}: {what}" for key, what in damage.items()]
    return _Verified(str(root / "archives"), f"archives of {dataset.name}", restored, problems)
