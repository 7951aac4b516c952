"""What a store is made from, with licences and citations: records of its dataset, and those that its noise is from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Literal

from mimiidg_build.build.inputs import Inputs
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.noise_choice import noise_sources
from mimiidg_build.schemas.manifests import DatasetManifest, NoiseSource, Record
from mimiidg_build.schemas.stores import Source


def stated_sources(inputs: Inputs) -> list[Source]:
    """Every record that the clips or the noise come from, and noise that was given as files; each of them once.

    Parameters
    ----------
    inputs : Inputs

    Returns
    -------
    list of Source
    """
    dataset = inputs.release.dataset
    used = {key.split("/")[0] for key in inputs.release.checksums}
    sources = [_of_record(dataset, record, "recordings") for record in dataset.records if record.id in used]
    # the kinds that were listed are those that were mixed in: none where the variant adds no noise
    given = noise_sources(inputs.variant, dataset, inputs.sections) if inputs.noise else {}
    for kind in inputs.noise:
        sources += [source for noise in given[kind] for source in _of_noise(kind, noise)]
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
