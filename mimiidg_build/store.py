"""Finished stores: opening, listing, verifying. Immutable zarr v3 groups; writing one is :mod:`mimiidg_build.build`.

ROOT/variants/<variant>/<fingerprint>.zarr/
    zarr.json                            attributes: variant, provenance, sections, digest of every object
    clips.parquet, mix_plan.parquet      one row per clip; column ``row`` is the row in its section's arrays
    <machine>/section_<NN>/audio         int16   (clip, sample)
    <machine>/section_<NN>/logmel        float32 (clip, frame, mel), dB
ROOT/variants/<variant>/latest           the fingerprint of the newest finished store
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.shards import hash_object

if TYPE_CHECKING:
    import zarr

FORMAT_VERSION = 1
ARRAYS = ("audio", "logmel")


def section_path(machine_type: str, section: str) -> str:
    """Path of a section's group within a store.

    >>> section_path("fan", "00")
    'fan/section_00'
    """
    return f"{machine_type}/section_{section}"


def variant_dir(root: Path, variant: str) -> Path:
    """Where a variant's stores lie."""
    return root / "variants" / variant


@dataclass(frozen=True)
class Store:
    """A finished store.

    ``store.clips`` is the clip table, ``store.mix_plan`` the plan, ``store.audio("fan", "00")`` and
    ``store.logmel("fan", "00")`` the arrays in the clip table's row order, ``store.attributes`` everything else.
    """

    path: Path
    attributes: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decided the store's bytes."""
        return str(self.attributes["fingerprint"])

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """Per section (``"fan/00"``): n_clips, a, attenuation, counts, SNR."""
        return dict(self.attributes["sections"])

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table (``schemas.tables.StoredClips``)."""
        return pd.read_parquet(self.path / "clips.parquet")

    @cached_property
    def mix_plan(self) -> pd.DataFrame:
        """The mix plan (``schemas.tables.MixPlan``), row for row with the clip table."""
        return pd.read_parquet(self.path / "mix_plan.parquet")

    @cached_property
    def group(self) -> zarr.Group:
        """The zarr group."""
        import zarr

        return zarr.open_group(self.path, mode="r")

    def audio(self, machine_type: str, section: str) -> zarr.Array[Any]:
        """Samples of a section [shape=(n_clips, n_samples)], int16."""
        return self._array(machine_type, section, "audio")

    def logmel(self, machine_type: str, section: str) -> zarr.Array[Any]:
        """Log-mel of a section [shape=(n_clips, n_frames, 128)], dB."""
        return self._array(machine_type, section, "logmel")

    def _array(self, machine_type: str, section: str, name: str) -> zarr.Array[Any]:
        import zarr

        if f"{machine_type}/{section}" not in self.attributes["sections"]:
            raise UsageError(f"{self.path} has no section {machine_type}/{section}; it has {', '.join(self.sections)}")
        array = self.group[f"{section_path(machine_type, section)}/{name}"]
        if not isinstance(array, zarr.Array):
            raise DataError(f"{self.path}: {array.path} is no array; run `mimiidg verify`.")
        return array


def open_store(path: str | Path) -> Store:
    """Open a finished store, or the latest one of a variant's directory.

    Parameters
    ----------
    path : str or Path
        ``<fingerprint>.zarr``, or ROOT/variants/<variant>.

    Raises
    ------
    DataError
        No store, an unfinished one, or one of another format.
    """
    path = Path(path)
    if path.name.endswith(".partial"):
        raise DataError(f"{path} is not finished. Run the `mimiidg build` that began it again: it resumes.")
    if not (path / "zarr.json").is_file() and (path / "latest").is_file():
        path = path / f"{(path / 'latest').read_text().strip()}.zarr"
    if not (path / "zarr.json").is_file():
        partial = sorted(path.glob("*.partial")) if path.is_dir() else []
        if partial:
            raise DataError(
                f"{path} holds an unfinished build only ({partial[0].name}). Run its `mimiidg build` again."
            )
        raise DataError(f"{path} is no store. `mimiidg list` shows what there is, `mimiidg build` makes one.")
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        version = attributes["format_version"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}/zarr.json is not a store of this program, or it is damaged.") from None
    if version != FORMAT_VERSION:
        raise DataError(f"{path} has format {version}, this program reads {FORMAT_VERSION}. Build it again.")
    return Store(path, attributes)


@dataclass(frozen=True)
class Listed:
    """A store as ``mimiidg list`` shows it."""

    variant: str
    fingerprint: str
    state: str  # latest, kept, partial or damaged
    n_clips: int
    n_sections: int
    size_bytes: int
    path: Path


def list_stores(root: Path) -> list[Listed]:
    """Every store under ROOT, finished or not, by variant."""
    listed = []
    for path in sorted((root / "variants").glob("*/*.zarr")) + sorted((root / "variants").glob("*/*.zarr.partial")):
        size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        fingerprint = path.name.split(".")[0]
        latest = path.parent / "latest"
        if path.suffix == ".partial":
            state, counts = "partial", []
        else:
            state = "latest" if latest.is_file() and latest.read_text().strip() == fingerprint else "kept"
            try:
                counts = [section["n_clips"] for section in open_store(path).sections.values()]
            except DataError:
                state, counts = "damaged", []
        listed.append(Listed(path.parent.name, fingerprint, state, sum(counts), len(counts), size, path))
    return listed


def verify_objects(store: Store, on_bytes: Any = lambda n: None) -> list[str]:
    """Compare every file of a store with its recorded size and digest.

    Returns
    -------
    list of str
        One line for every damaged, missing or foreign file; empty if the store is whole.
    """
    problems = []
    recorded: dict[str, dict[str, Any]] = store.attributes["objects"]
    for path, expected in recorded.items():
        if not (store.path / path).is_file():
            problems.append(f"{path}: missing")
            continue
        found = hash_object(store.path, path)
        on_bytes(found.size_bytes)
        if found.size_bytes != expected["size_bytes"]:
            problems.append(
                f"{path}: {found.size_bytes} bytes, expected {expected['size_bytes']}: truncated or overwritten"
            )
        elif found.blake3 != expected["blake3"]:
            problems.append(f"{path}: content differs from its recorded digest: bit rot, or it was changed")
    files = {f.relative_to(store.path).as_posix() for f in store.path.rglob("*") if f.is_file()}
    problems += [f"{path}: not part of the store" for path in sorted(files - set(recorded) - {"zarr.json"})]
    return problems
