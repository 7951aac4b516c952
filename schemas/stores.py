"""What a store says of itself, and what a build notes of each shard.

:class:`StoreAttributes` are the attributes of a store's root group, in ``zarr.json``; their field order is the order in
the file. :class:`RenderedShard` is an entry of the journal of a build that is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from mimiidg_build.schemas.manifests import LayoutName, Protocol
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import Variant

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
SNR_TOLERANCE_DB = 0.05  # how far a clip may be off its planned SNR, for rounding to 16 bits

# Reports and trained runs lie in folders of this name.
Fingerprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=100)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    """Unknown keys are errors: they would be a later version's, which has another format version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What does not apply is left out rather than written as null."""
        return {name: value for name, value in handler(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file of a store: its path within it, size and BLAKE3 digest."""

    path: str
    size_bytes: int
    blake3: str


class ObjectRecord(_Frozen):
    """Size and digest that a file of a store was written with."""

    size_bytes: Size
    blake3: Digest


class SectionAudio(_Frozen):
    """The shape of a section's clips as stored: samples a clip, their rate in Hz, and the channels where they are kept.

    ``channels`` is None where one channel was taken: arrays then have no axis for it.
    """

    n_samples: Annotated[int, Field(gt=0)] = 160_000
    sample_rate: Annotated[int, Field(gt=0)] = 16_000
    channels: Annotated[int, Field(gt=0)] | None = None

    @property
    def seconds(self) -> float:
        """Length of a clip."""
        return self.n_samples / self.sample_rate

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one clip's samples: (samples,) or (channels, samples)."""
        return (self.n_samples,) if self.channels is None else (self.channels, self.n_samples)


class LogmelStatistics(_Frozen):
    """Of each mel band, over all frames of the section's training clips: mean and standard deviation in dB.

    ``n_clips`` are the training clips. Values are of what is stored, rounded to 1e-6 dB; where channels are kept, those
    of one channel stand after those of the one before, ``n_mels`` each. The deviation is the population's.
    """

    n_clips: Annotated[int, Field(gt=0)]
    mean_db: list[float]
    std_db: list[float]


class SectionSummary(_Frozen):
    """What a store says of one section.

    ``a`` is the mean power of its recordings (mean square, full scale 1), ``counts`` its clips per
    ``[<domain>_]<split>_<condition>``, ``attenuation`` the gain common to all of its clips. The two SNR fields are
    absent where no noise was added. ``audio`` is absent in stores of format 1, whose clips had the shape that is its
    default; ``logmel`` there, and where there are no training clips.
    """

    fingerprint: str
    n_clips: Annotated[int, Field(gt=0)]
    audio: SectionAudio = SectionAudio()
    counts: dict[str, int]
    a: float
    attenuation: float
    n_saturated_clips: Annotated[int, Field(ge=0)]
    planned_added_noise_snr_db: list[float] | None = None
    largest_snr_error_db: float | None = None
    logmel: LogmelStatistics | None = None


class NoiseSummary(_Frozen):
    """What a store says of the noise of one kind: where it came from, how much of it, and what it is worth.

    ``files`` recordings gave ``pieces`` noise clips; ``seconds`` is their length together, ``shortest_s`` that of the
    shortest, ``sample_rates`` their rates in Hz. Of the pieces, ``resampled`` were recorded at another rate,
    ``tiled`` are recordings shorter than a clip, repeated, and ``band_limited`` hold nothing in the upper half of the
    band. ``silent`` pieces were left out. ``companions`` counts hidden and system files that were passed over,
    ``other_files`` files that were not used, by suffix.
    """

    sources: list[str]
    files: Annotated[int, Field(gt=0)]
    pieces: Annotated[int, Field(gt=0)]
    seconds: Annotated[float, Field(ge=0)]
    shortest_s: Annotated[float, Field(ge=0)]
    sample_rates: list[int]
    resampled: Size
    tiled: Size
    band_limited: Size
    silent: Size
    companions: Size
    other_files: dict[str, int]


class Source(_Frozen):
    """A dataset, or recordings of somebody's own, that a store was made from, and what must be said of it.

    ``role`` is ``"recordings"`` for what holds the clips, ``"noise"`` for what was added to them. ``license`` is absent
    of recordings that were given as files: what they are under only whoever gave them knows.
    """

    name: str
    title: str
    role: Literal["recordings", "noise"]
    license: str | None = None
    citation: str | None = None
    url: str | None = None


class Provenance(_Frozen):
    """What a store was built from: md5 by archive, digest by noise kind and recording, versions by package."""

    archives: dict[str, str]
    noise: dict[str, dict[str, str]]
    versions: dict[str, str]


class StoreAttributes(_Frozen):
    """Everything that a store says of itself; no times and no host names, so that equal inputs give equal bytes.

    ``sections`` is by section (``"fan/00"``), ``objects`` by path within the store. ``noise`` is by noise kind, absent
    where no noise was added. ``layout``, ``protocol`` and ``recipe`` are the dataset's (``""``: it has no recipe);
    stores of format 1 have the defaults. ``seal`` is the digest of the file that these attributes stand in, written
    last. ``sources`` are the dataset's records, then those of the noise. Seal, ``sources`` and ``noise`` are absent in
    stores of early versions.
    """

    format_version: int
    fingerprint: Fingerprint
    dataset: str
    dataset_title: str
    synthetic: bool
    layout: LayoutName = "dcase2022"
    protocol: Protocol = "2022"
    recipe: str = "table1"
    recording: str
    license: str
    citation: str
    variant: Variant
    provenance: Provenance
    noise: dict[str, NoiseSummary] | None = None
    sources: list[Source] | None = None
    sections: dict[str, SectionSummary]
    objects: dict[str, ObjectRecord]
    seal: Digest | None = None

    @property
    def section_ids(self) -> list[SectionId]:
        """The sections, in the order of the clip table."""
        return [SectionId.parse(name) for name in self.sections]

    @property
    def size_bytes(self) -> int:
        """Bytes of all recorded files."""
        return sum(record.size_bytes for record in self.objects.values())

    @property
    def data_kind(self) -> str:
        """What titles call the data: a synthetic release always says that it is one."""
        return "synthetic data, for trying only" if self.synthetic else self.dataset_title

    @property
    def snr_title(self) -> str:
        """What the SNR may be called: the paper's only where the recordings were clean."""
        return "SNR" if self.recording == "clean" else "added-noise SNR"


class BandSums(BaseModel):
    """Of a shard's training clips: their number, that of all their frames and, by mel band (channel by channel, where
    channels are kept), the sum of the stored log-mel and of its squares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_clips: Annotated[int, Field(ge=0)]
    n_frames: Annotated[int, Field(ge=0)]
    totals: tuple[float, ...]
    squares: tuple[float, ...]


class RenderedShard(BaseModel):
    """A finished shard, as the build's journal notes it: its files, and what was measured of each clip.

    ``section`` is the path of the section's group, ``start`` the shard's first row. ``power`` and ``peak`` are the
    recording's, ``measured_snr_db`` is NaN where no noise was added, ``n_saturated`` counts clipped samples.
    ``bands`` are the log-mel's. ``identities`` are those of the files, by path, when the run that is under way wrote
    them or read them last: true for that run alone, so not noted. ``seal`` is the digest of the entry as it lies in the
    journal, none before it is written.
    """

    # NaN as such: as JSON's null it could not be read again
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    section: str
    start: Annotated[int, Field(ge=0)]
    objects: tuple[StoredObject, ...]
    power: tuple[float, ...]
    peak: tuple[float, ...]
    measured_snr_db: tuple[float, ...]
    n_saturated: tuple[int, ...]
    bands: BandSums
    identities: dict[str, tuple[int, ...]] = Field(default_factory=dict, exclude=True)
    seal: Digest | None = None
