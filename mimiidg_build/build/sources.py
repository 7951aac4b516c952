"""What a store is made from, with licences and citations: records of its dataset, and those that its noise is from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.schemas.manifests import DatasetManifest, NoiseSource, Record
from mimiidg_build.schemas.stores import Source


def stated_sources(
    dataset: DatasetManifest, archives: Iterable[str], noise: Mapping[str, Sequence[NoiseSource]]
) -> list[Source]:
    """Every record that clips or noise come from, and noise that was given as files; each of them once.

    Parameters
    ----------
    dataset : DatasetManifest
    archives : iterable of str
        Those that were read: ``<record id>/<file name>``.
    noise : mapping of kind to sequence of NoiseSource
        What was mixed in.

    Returns
    -------
    list of Source
        The dataset's first, in its manifest's order.
    """
    used = {key.split("/")[0] for key in archives}
    sources = [_of_record(dataset, record, "recordings") for record in dataset.records if record.id in used]
    sources += [source for kind, given in noise.items() for entry in given for source in _of_noise(kind, entry)]
    return list(dict.fromkeys(sources))


def _of_record(dataset: DatasetManifest, record: Record, role: Literal["recordings", "noise"]) -> Source:
    return Source(
        name=dataset.name if len(dataset.records) == 1 else f"{dataset.name}/{record.id}",
        title=record.title,
        role=role,
        license=record.license,
        citation=dataset.citation.strip(),
        url=f"https://doi.org/{record.doi}" if record.doi else dataset.url,
    )


def _of_noise(kind: str, source: NoiseSource) -> Iterator[Source]:
    """The records that hold an archive of noise; or the user's recordings, by the last part of their path."""
    if source.dataset is None:
        given = PurePath(source.folder or source.archive or "").name
        yield Source(name=given, title=f"recordings of noise kind {kind}, given as files", role="noise")
        return
    dataset = load_dataset(source.dataset)
    for record in dataset.records:
        if source.file in [file.name for file in record.files]:
            yield _of_record(dataset, record, "noise")
