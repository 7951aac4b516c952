"""Finished stores: opening, listing, verifying. Immutable zarr v3 groups, written by :mod:`mimiidg_build.build`.

ROOT/variants/<variant>/<fingerprint>.zarr/
    zarr.json                            attributes: variant, provenance, sections, digest of every object, seal
    zarr.json.copy                       the same again: the digests are what everything else is repaired by
    croissant.json                       files, licences and citations, for other programs
    clips.parquet, mix_plan.parquet      one row per clip; column ``row`` is the row in its section's arrays
    <machine>/section_<NN>/audio         int16   (clip, sample), or (clip, channel, sample) where channels are kept
    <machine>/section_<NN>/logmel        float32 (clip, frame, mel), dB, or (clip, channel, frame, mel)
    <machine>/section_<NN>/stft          float32 (clip, frame, bin), magnitudes, where the variant asks for them
ROOT/variants/<variant>/latest           the fingerprint of the newest finished store

The *seal* is the digest of zarr.json itself: BLAKE3 of its bytes with the seal's 64 digits as zeros. What is read of a
store is checked (:mod:`mimiidg_build.store.recorded`): tables and metadata when it is opened, a shard when it is first
read. An open store is held (:mod:`mimiidg_build.storage.holds`): as long as the :class:`Store` lives, ``mimiidg prune``
leaves it where it is.

ROOT may be on object storage (``s3://bucket/prefix``). There are no locks there: nothing is held, and nothing pruned.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import DataError, UsageError, counted, shown
from mimiidg_build.schemas.sections import SectionId, rows_by_section
from mimiidg_build.schemas.stores import SectionSummary, StoreAttributes
from mimiidg_build.schemas.variants import MAX_NAME, is_variant_name
from mimiidg_build.storage.holds import Hold
from mimiidg_build.storage.places import Place, hold, is_local, is_published, matching, place, staging
from mimiidg_build.store.metadata import METADATA, METADATA_COPY, read_attributes
from mimiidg_build.store.recorded import Recorded
from mimiidg_build.store.tables import CLIPS, MIX_PLAN, read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import zarr

    Values = npt.NDArray[np.float64]

REQUESTS_AT_ONCE = 8  # on object storage, where each file that is checked is a request


def variant_dir(root: Place, variant: str) -> Place:
    """Where a variant's stores lie.

    Raises
    ------
    UsageError
        It is no variant's name, but a path perhaps: nothing is read or written beside ROOT/variants.
    """
    if not is_variant_name(variant):
        raise UsageError(
            f"{shown(variant)} is not a variant's name: letters, digits and _ . + -, beginning with a letter or digit, "
            f"at most {MAX_NAME} characters."
        )
    return root / "variants" / variant


@dataclass(frozen=True)
class Store:
    """A finished store.

    ``store.clips`` is the clip table, ``store.mix_plan`` the plan, ``store.audio("fan", "00")`` and
    ``store.logmel("fan", "00")`` the arrays in the clip table's row order, ``store.logmel_statistics("fan", "00")`` the
    mean and deviation of each mel band, ``store.attributes`` everything else.
    """

    path: Place
    attributes: StoreAttributes
    hold: Hold | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """A line: the attributes hold the digest of every object."""
        n_clips = sum(section.n_clips for section in self.sections.values())
        return f"<Store {self.path}: {counted(n_clips, 'clip')} of {counted(len(self.sections), 'section')}>"

    @property
    def root(self) -> Place:
        """The root that it lies under, with its archives: ROOT/variants/<variant>/<fingerprint>.zarr."""
        # A relative path may be too short to have such a parent.
        return self.path.absolute().parents[2] if is_local(self.path) else self.path.parents[2]

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decided the store's bytes."""
        return self.attributes.fingerprint

    @property
    def sections(self) -> dict[str, SectionSummary]:
        """Per section (``"fan/00"``): n_clips, a, attenuation, counts, SNR."""
        return self.attributes.sections

    @cached_property
    def recorded(self) -> Recorded:
        """What its files are held against."""
        return Recorded(self.path, self.attributes.objects)

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table (``schemas.tables.StoredClips``)."""
        return read_table(self.recorded, CLIPS)

    @cached_property
    def rows_by_section(self) -> dict[str, npt.NDArray[np.intp]]:
        """The numbers of each section's (``"fan/00"``) rows of the clip table and of the plan, ascending."""
        return {str(section_id): rows for section_id, rows in rows_by_section(self.clips).items()}

    @cached_property
    def mix_plan(self) -> pd.DataFrame:
        """The mix plan (``schemas.tables.MixPlan``), row for row with the clip table."""
        return read_table(self.recorded, MIX_PLAN)

    @cached_property
    def group(self) -> zarr.Group:
        """The zarr group, every file of it checked when it is first read."""
        import zarr

        from mimiidg_build.store.checked_zarr import checked_zarr

        return zarr.open_group(checked_zarr(self.recorded), mode="r")

    def audio(self, machine_type: str, section: str) -> zarr.Array[Any]:
        """Samples of a section [shape=(n_clips, n_samples)], int16; with ``channels = "all"`` [shape=(n_clips,
        n_channels, n_samples)]. ``sections[...].audio`` says how many, and at which rate.
        """
        return self._array(machine_type, section, "audio")

    def logmel(self, machine_type: str, section: str) -> zarr.Array[Any]:
        """Log-mel of a section [shape=(n_clips, n_frames, n_mels)], dB, with ``attributes.variant.features``; with
        ``channels = "all"`` and no reference channel [shape=(n_clips, n_channels, n_frames, n_mels)].
        """
        return self._array(machine_type, section, "logmel")

    def stft(self, machine_type: str, section: str) -> zarr.Array[Any]:
        """Magnitudes of a section's STFT [shape=(n_clips, n_frames, 1 + n_fft // 2)], at full scale 1.

        Raises
        ------
        UsageError
            The store has no such section, or its variant did not ask for the STFT.
        """
        self.check_holds("stft")
        return self._array(machine_type, section, "stft")

    def check_holds(self, array: str) -> None:
        """Refuse to read an array that the store's variant did not ask for.

        Raises
        ------
        UsageError
            It did not; the message says how to ask for it.
        """
        held = ("audio", *self.attributes.variant.features.arrays)
        if array not in held:
            raise UsageError(
                f"{self.path} has no array {array}, but {', '.join(held)}. Build a variant with `{array} = true` under "
                "[features]."
            )

    def logmel_statistics(self, machine_type: str, section: str) -> tuple[Values, Values]:
        """Mean and standard deviation of each mel band over all frames of the section's training clips.

        What normalises a section: ``(logmel - mean) / std``. They are of the log-mel as stored, with the population's
        standard deviation, and `mimiidg verify --deep` computes them anew.

        Parameters
        ----------
        machine_type, section : str

        Returns
        -------
        mean, std : np.ndarray [shape=(n_mels,)], float64, dB
            [shape=(n_channels, 1, n_mels)] where its channels are kept: both broadcast to a clip's log-mel.

        Raises
        ------
        UsageError
            The store has no such section, or the section no training clip.
        DataError
            The store is of an early version, which did not compute them.
        """
        import numpy as np

        self._check_section(machine_type, section)
        summary = self.sections[str(SectionId(machine_type, section))]
        found = summary.logmel
        if found is None:
            if not any("train" in cell.split("_") for cell in summary.counts):
                raise UsageError(f"{machine_type}/{section} of {self.path} has no training clips to compute them from.")
            raise DataError(f"{self.path} was built by an early version, without statistics. Build its variant again.")
        kept = self.attributes.variant.features.keeps_channels("logmel")
        shape = (summary.audio.channels, 1, -1) if summary.audio.channels and kept else (-1,)
        return np.reshape(found.mean_db, shape), np.reshape(found.std_db, shape)

    def _array(self, machine_type: str, section: str, name: str) -> zarr.Array[Any]:
        import zarr

        self._check_section(machine_type, section)
        path = f"{SectionId(machine_type, section).group}/{name}"
        array = self.group.get(path)
        if not isinstance(array, zarr.Array):
            raise DataError(f"{self.path / path} is not an array; run `mimiidg verify {self.path}`.")
        return array

    def _check_section(self, machine_type: str, section: str) -> None:
        if str(SectionId(machine_type, section)) not in self.sections:
            raise UsageError(f"{self.path} has no section {machine_type}/{section}; it has {', '.join(self.sections)}")

    def check_small_files(self) -> None:
        """Check tables and the metadata of groups and arrays: all but the shards.

        Raises
        ------
        DataError
            One is missing or not what was recorded.
        """
        names = [name for name in self.attributes.objects if "/c/" not in name]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(self.recorded.check, names))


def open_store(path: str | Place, *, check: bool = True) -> Store:
    """Open a finished store, or the latest one of a variant's directory, and hold it.

    Parameters
    ----------
    path : str or Place
        ``<fingerprint>.zarr``, or ROOT/variants/<variant>; ``s3://bucket/prefix/variants/<variant>`` on object storage.
    check : bool
        Whether tables and metadata must be what was recorded. Without it a damaged store opens, to be verified.

    Returns
    -------
    Store

    Raises
    ------
    DataError
        No store, an unfinished or damaged one, or one of another format.
    """
    path = place(path)
    if path.name.endswith(".partial"):
        raise DataError(f"{path} is not finished. Run the `mimiidg build` that began it again: it resumes.")
    if (path / METADATA).is_file() or not (path / "latest").is_file():
        return _opened(path, check)
    while True:
        named = latest(path)
        try:
            return _opened(path / f"{named}.zarr", check)
        except DataError:
            if latest(path) == named:
                raise  # else `latest` moved and the store was pruned between two lines of this function: try again


def _opened(path: Place, check: bool) -> Store:
    is_there = (path / METADATA).is_file()
    partial = [] if is_there or not path.is_dir() else matching(path, staging(path / "*.zarr").name)
    if partial:
        raise DataError(f"{path} holds an unfinished build only ({partial[0].name}). Run its `mimiidg build` again.")
    held = hold(path)  # before anything is read, so that it cannot be removed in between
    if not is_there and not (path / METADATA_COPY).is_file():
        if path.suffix == ".zarr" and path.is_dir() and not is_finished(path):
            raise DataError(f"{path} is not finished. Run the `mimiidg build` that began it again: it resumes.")
        raise DataError(f"{path} is not a store. `mimiidg list` shows what there is, `mimiidg build` makes one.")
    store = Store(path, read_attributes(path), held)
    if check:
        store.check_small_files()
    return store


def latest(directory: Place) -> str:
    """The fingerprint that a variant's ``latest`` names.

    Raises
    ------
    DataError
        There is none, or it is no fingerprint.
    """
    try:
        named = (directory / "latest").read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        raise DataError(f"{directory} has no `latest`: no build of the variant was finished.") from None
    if not re.fullmatch("[0-9A-Za-z_-]+", named):
        raise DataError(
            f"{directory}/latest is damaged: it names no store. Run the variant's `mimiidg build` again to repair it."
        )
    return named


def is_finished(path: Place) -> bool:
    """Whether a store has been published under this name; it may be damaged since."""
    return is_published(path, METADATA)


def is_latest(path: Place) -> bool:
    """Whether its variant's ``latest`` names this store."""
    try:
        return latest(path.parent) == path.name.removesuffix(".zarr")
    except DataError:
        return False
