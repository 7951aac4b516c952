"""Layouts: how each family of releases names and places its clips. One module a layout.

A layout module turns members of archives, attribute tables and lists into a
:class:`~mimiidg_build.datasets.clip_table.clips.Reading`; nothing after it knows which layout it was. To add one: write
the module with the functions of :class:`Layout`, enter it in ``LAYOUTS``, and in ``schemas.manifests.DatasetManifest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mimiidg_build.datasets.clip_table.clips import Reading
from mimiidg_build.datasets.layouts import dcase2020, dcase2021, dcase2022, mimii, recordings
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import DatasetManifest


class Layout(Protocol):
    """The functions that a layout module has."""

    def machine_type_of(self, dataset: DatasetManifest, archive: str) -> str | None:
        """The machine type whose clips an archive of that file name holds; None where it holds none."""

    def is_attribute_table(self, member: str) -> bool:
        """Whether ``read_clips`` needs the bytes of a member."""

    def read_clips(
        self,
        dataset: DatasetManifest,
        archives: Mapping[str, Mapping[str, int]],
        tables: Mapping[tuple[str, str], bytes],
        truth: Truth,
    ) -> Reading:
        """The clips of a release.

        Parameters
        ----------
        dataset : DatasetManifest
        archives : mapping
            Archive, ``<record id>/<file name>``, to {member: uncompressed size in bytes}.
        tables : mapping
            (archive, member) to bytes, for every member that ``is_attribute_table`` picks out.
        truth : Truth
            What lists beside the release say of clips whose names hide it; may be empty.

        Returns
        -------
        Reading
        """


LAYOUTS: Mapping[str, Layout] = {
    "mimii": mimii,
    "dcase2020": dcase2020,
    "dcase2021": dcase2021,
    "dcase2022": dcase2022,
    "recordings": recordings,
}


def layout_of(dataset: DatasetManifest) -> Layout:
    """The layout of a dataset's clips.

    Raises
    ------
    UsageError
        The dataset has a layout that no module reads, so it can be fetched only.
    """
    if dataset.layout not in LAYOUTS:
        raise UsageError(f"{dataset.name} has a layout of its own: it can be fetched and give noise, not be built.")
    return LAYOUTS[dataset.layout]
