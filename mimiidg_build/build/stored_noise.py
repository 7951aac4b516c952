"""The noise banks that a finished store was mixed from, for those who want more of its noise: trainings.

A store records the digests of its noise recordings, which name its banks under ROOT/noise. A bank that was deleted is
made again from the recordings, if they are still what they were.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import BinaryIO

from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.noise_choice import sources_of_kinds
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.dataset import noise_archive
from mimiidg_build.mixing.noise_bank import NoiseBank as NoiseBank
from mimiidg_build.mixing.noise_bank import cutting_of, load_noise_bank
from mimiidg_build.mixing.noise_recordings import NoiseRecording, list_noise
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.store.store import Store


def stored_noise_bank(store: Store, kind: str, audio: SectionAudio) -> NoiseBank:
    """The bank of a noise kind that clips of a store were mixed from.

    Parameters
    ----------
    store : Store
    kind : str
        A noise kind of its mix plan.
    audio : SectionAudio
        The shape of the clips: banks are cut to their length.

    Returns
    -------
    NoiseBank

    Raises
    ------
    DataError
        The bank is gone, and its recordings are, too, or are others than the store was mixed from.
    """
    recorded = store.attributes.provenance.noise.get(kind, {})
    sources = _Sources(store, kind)
    recordings = [
        NoiseRecording(name, digest, partial(sources.open, name, digest)) for name, digest in recorded.items()
    ]
    cutting = cutting_of(store.attributes.variant, kind)
    try:
        return load_noise_bank(kind, recordings, store.root, audio.n_samples, cutting, audio.sample_rate)
    except (DataError, UsageError) as error:
        raise DataError(
            f"{store.path}: its noise of kind {kind} is not at hand. No noise bank of it lies in "
            f"{store.root / 'noise'}, and it cannot be made again: {error}"
        ) from None


class _Sources:
    """The recordings of a noise kind, looked for when the first of them is opened: a bank that is there needs none."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store, self._kind = store, kind

    @cached_property
    def _recordings(self) -> dict[str, NoiseRecording]:
        variant, root = self._store.attributes.variant, self._store.root
        given = sources_of_kinds(variant, load_dataset(variant.dataset), [self._kind])[self._kind]
        listed = list_noise(self._kind, given, lambda name, file: noise_archive(root, name, file))
        return {recording.name: recording for recording in listed.recordings}

    def open(self, name: str, digest: str) -> BinaryIO:
        """A recording that is what it was when the store was built."""
        found = self._recordings.get(name)
        if found is None or found.digest != digest:
            state = "is gone" if found is None else "is another"
            raise DataError(f"the recording {name} {state} since the store was built.")
        return found.open()
