"""What an export can be: each form's table of clips, its files, and how Croissant describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from mimiidg_build.errors import UsageError
from mimiidg_build.store.croissant import CROISSANT, PARQUET, Node, described, file_object, record_set, table_schema
from mimiidg_build.store.store import Store
from mimiidg_build.upkeep.export import dcase, huggingface, released, webdataset
from mimiidg_build.upkeep.export.about import MANIFEST, about_files, manifest
from mimiidg_build.upkeep.export.clips import CLIPS, as_parquet
from mimiidg_build.upkeep.export.released import digest
from mimiidg_build.upkeep.export.target import Target

LAYOUTS = ("own", "dcase")
FORMATS = ("wav", "webdataset", "huggingface")


@dataclass(frozen=True)
class Form:
    """One form: in words, its clips, and what writes them and says how Croissant describes what was written."""

    words: str
    table: Callable[[Store], pd.DataFrame]
    write: Callable[[Store, pd.DataFrame, Target], list[Node]]


def form_of(layout: str, file_format: str, as_zip: bool) -> Form:
    """The form that options ask for.

    Parameters
    ----------
    layout : str
        One of :data:`LAYOUTS`.
    file_format : str
        One of :data:`FORMATS`.
    as_zip : bool

    Returns
    -------
    Form

    Raises
    ------
    UsageError
        Options that exclude each other, or an unknown one.
    """
    if layout not in LAYOUTS or file_format not in FORMATS:
        raise UsageError(
            f"layout {layout!r}, format {file_format!r}: a layout is one of {', '.join(LAYOUTS)}, a format one of "
            f"{', '.join(FORMATS)}."
        )
    if layout != "own" and (as_zip or file_format != "wav"):
        raise UsageError(f"layout {layout!r} is for WAV files in folders: give it without --zip and --format.")
    if as_zip and file_format != "wav":
        raise UsageError(f"--zip is for WAV files: give it without --format {file_format}.")
    return _FORMS["zip" if as_zip else layout if layout != "own" else file_format]


def write_form(store: Store, form: Form, about: dict[str, bytes], target: Target) -> None:
    """Write the clips in one form, and everything that stands beside them.

    Parameters
    ----------
    store : Store
    form : Form
    about : dict of str to bytes
        From :func:`about_form`.
    target : Target
    """
    clips = form.table(store)
    distribution = form.write(store, clips, target)
    table = as_parquet(clips)
    record_sets = [record_set("clip-table", CLIPS, table_schema(table))]
    record_sets += [huggingface.records(clips)] if form is _FORMS["huggingface"] else []
    distribution = [file_object(CLIPS, table, PARQUET), *distribution]
    target.write_all({CLIPS: table, CROISSANT: described(store.attributes, distribution, record_sets), **about}.items())


def about_form(store: Store, form: Form) -> dict[str, bytes]:
    """The files that tell of an export in one form."""
    is_parquet = form is _FORMS["huggingface"]
    return about_files(store, form.words, huggingface.front_matter(form.table(store)) if is_parquet else "")


def _released(store: Store, clips: pd.DataFrame, target: Target) -> list[Node]:
    released.write(store, clips, target)
    return released.distribution({})


def _zipped(store: Store, clips: pd.DataFrame, target: Target) -> list[Node]:
    sums = released.write_zips(store, target)
    target.write(MANIFEST, manifest(store, target.directory, sums))
    return released.distribution({name: digest(target, name, "sha256") for name in sums})


def _for_dcase(store: Store, clips: pd.DataFrame, target: Target) -> list[Node]:
    dcase.write(store, clips, target)
    return released.distribution({})


def _tar(store: Store, clips: pd.DataFrame, target: Target) -> list[Node]:
    webdataset.write(store, clips, target)
    return webdataset.distribution({name: digest(target, name, "sha256") for name in sorted(set(clips["shard"]))})


def _parquet(store: Store, clips: pd.DataFrame, target: Target) -> list[Node]:
    huggingface.write(store, clips, target)
    return huggingface.distribution(clips)


_FORMS = {
    "wav": Form("as WAV files in the dataset's own layout and naming", released.table, _released),
    "zip": Form("as zip archives in the dataset's own layout and naming", released.table, _zipped),
    "dcase": Form("as WAV files where the baselines and evaluators of DCASE look for them", dcase.table, _for_dcase),
    "webdataset": Form("as tar archives for the library webdataset", webdataset.table, _tar),
    "huggingface": Form("as parquet files for the library datasets", huggingface.table, _parquet),
}
