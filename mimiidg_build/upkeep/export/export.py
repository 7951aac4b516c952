"""The way into exports: one process at a time writes into a folder, and everything appears at once, or nothing.

All is written to DIR/.partial (:mod:`mimiidg_build.upkeep.export.target`), which becomes DIR/.whole by one rename once
nothing is missing; from there everything moves to its place, README.md last. The same command finishes an export that
was interrupted, before that rename or after it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from mimiidg_build.audio.zip_directory import name_problem
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.storage.backend import write_errors
from mimiidg_build.storage.locks import locked_directory
from mimiidg_build.store.croissant import CROISSANT
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export.about import MANIFEST, README
from mimiidg_build.upkeep.export.clips import CLIPS
from mimiidg_build.upkeep.export.forms import Form, about_form, form_of, write_form
from mimiidg_build.upkeep.export.released import MD5_SUMS
from mimiidg_build.upkeep.export.target import BEGUN, Target, begin

PARTIAL, WHOLE = ".partial", ".whole"


def export_store(
    store: Store,
    directory: str | Path,
    *,
    layout: str = "own",
    file_format: str = "wav",
    as_zip: bool = False,
    on_progress: OnProgress = no_progress,
) -> list[Path]:
    """Write a store's clips as files that other programs read, with their truth, provenance and licences.

    Parameters
    ----------
    store : Store
    directory : str or Path
        Made if it is not there; it must not hold an export already.
    layout : str
        ``"own"``: as the dataset's release has it; ``"dcase"``: as the organisers' baselines and evaluators want it.
    file_format : str
        ``"wav"``, ``"webdataset"`` (tar archives) or ``"huggingface"`` (parquet).
    as_zip : bool
        The archives of the release, with md5 sums and a dataset manifest.
    on_progress : callable
        Called with how many more clips are written.

    Returns
    -------
    list of Path
        What stands in ``directory`` now.

    Raises
    ------
    UsageError
        The directory is not empty, or options exclude each other.
    DataError
        The store is damaged, its clip table holds a name that would be written outside the directory, or the directory
        cannot be written.
    """
    directory, form = Path(directory), form_of(layout, file_format, as_zip)
    if directory.is_file():
        raise UsageError(f"{directory} is a file; give a new directory.")
    _check_names(store, directory)
    about = about_form(store, form)
    with write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    waiting = f"another export into {directory} is running; waiting for it"
    with locked_directory(directory, waiting) as waited:
        there = {path.name for path in directory.iterdir()}
        if WHOLE in there:
            _check_resumable(directory, about[README])
        elif waited and _is_same(directory / README, about[README]):
            return sorted(directory.iterdir())
        elif there - {PARTIAL}:
            raise UsageError(f"{directory} is there already and not empty; give a new directory.")
        else:
            _write_whole(store, directory, form, about, on_progress)
        with write_errors(directory):
            _publish(directory)
        return sorted(directory.iterdir())


def _check_names(store: Store, directory: Path) -> None:
    """Refuse names that would leave the directory, or collide there with files of the export's own."""
    clips = store.clips
    for name in {
        name for column in ("machine_type", "section", "member", "full_name", "clip") for name in clips[column]
    }:
        if problem := name_problem(name):
            raise DataError(
                f"{store.path}/clips.parquet: {name!r} has {problem}; nothing is written outside {directory}."
            )
    for machine_type in {*clips["machine_type"]}:
        if machine_type.startswith(".") or machine_type in _OURS:
            raise DataError(
                f"{store.path}/clips.parquet: a machine type is called {machine_type!r}, as files of the export itself "
                "or hidden ones are; nothing is written."
            )


_OURS: Collection[str] = {README, MANIFEST, MD5_SUMS, CLIPS, CROISSANT, "variant.toml", "mix_plan.csv"}


def _is_same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _check_resumable(directory: Path, about: bytes) -> None:
    """Refuse to finish what another command began, and to replace what somebody put there since."""
    whole = directory / WHOLE
    if not _is_same(whole / README, about) and not _is_same(directory / README, about):
        raise UsageError(
            f"{directory} holds another export, which was interrupted when it was moved to its place. Run that one "
            "again to finish it, or give a new directory."
        )
    if foreign := [path.name for path in whole.iterdir() if (directory / path.name).exists()]:
        raise UsageError(f"{directory} holds {foreign[0]}, which this export did not write; move it away.")


def _write_whole(store: Store, directory: Path, form: Form, about: dict[str, bytes], on_progress: OnProgress) -> None:
    """All of the export under :data:`WHOLE`, which appears at once."""
    partial = directory / PARTIAL
    # of another version the files might have other bytes
    begin(partial, f"{store.fingerprint} {form.words}, written by mimiidg_build {version('mimiidg_build')}\n")
    write_form(store, form, about, Target(partial, on_progress))
    with write_errors(directory):
        (partial / BEGUN).unlink()
        os.rename(partial, directory / WHOLE)


def _publish(directory: Path) -> None:
    """Move everything to its place: a manifest after its archives, and last what says that the export is whole."""
    whole = directory / WHOLE
    for path in sorted(whole.iterdir(), key=lambda path: (path.name == README, path.name == MANIFEST)):
        os.rename(path, directory / path.name)
    whole.rmdir()
