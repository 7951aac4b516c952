"""Truth lists: what clips are whose names hide it, as a caller gives it or as the records of a dataset hold it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from mimiidg_build.datasets.truth import Truth, read_truth
from mimiidg_build.storage.places import Place, is_local, local


def given_truth(truth: Truth | str | Path | Iterable[str | Path] | None) -> Truth | None:
    """What a caller gives: read already, or files and directories to read."""
    if truth is None or isinstance(truth, Truth):
        return truth
    return read_truth([Path(path) for path in ([truth] if isinstance(truth, str | os.PathLike) else truth)])


def fetched_truth(lists: Iterable[Place]) -> Truth:
    """What lists tell that are files of a dataset's records."""
    with TemporaryDirectory(prefix="mimiidg-truth-") as directory:
        return read_truth([_on_disk(path, Path(directory)) for path in lists])


def _on_disk(path: Place, directory: Path) -> Path:
    """The file, or a copy of it where it is on object storage."""
    if is_local(path):
        return local(path)
    copy = directory / path.name
    copy.write_bytes(path.read_bytes())
    return copy
