"""Data manifests: datasets on Zenodo, and the sections of the MIMII DG paper's Table 1.

One frozen model per table of the TOML files under ``data_manifests/``. Unknown keys are errors.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mimiidg_build.schemas.sections import SectionId

MACHINE_TYPES = ("bearing", "fan", "gearbox", "slider", "valve")
DOMAINS = ("source", "target")
SPLITS = ("train", "test")
CONDITIONS = ("normal", "anomaly")

MAX_NAME_BYTES = 200
OWN_ENDINGS = (".part", ".part.json", ".partial", ".tmp", ".damaged", ".levels.parquet", ".lock.json")

MachineType = Literal["bearing", "fan", "gearbox", "slider", "valve"]
SectionNumber = Annotated[str, Field(pattern=r"^[0-9]{2}$")]


def _file_name(name: str) -> str:
    """A file's name that its pattern lets pass."""
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"longer than {MAX_NAME_BYTES} bytes")
    if not name.isprintable() or name != name.strip():
        raise ValueError("a name of characters that can be seen, without a space at its end, is expected")
    if name.lower().endswith(OWN_ENDINGS):
        raise ValueError(f"fetching makes files of such names itself ({', '.join(OWN_ENDINGS)}); rename it")
    return name


DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=100)]
# A folder's name, so never "..", and as a file's short enough for a file system, with what fetching appends.
RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=200)]
# Spaces, brackets and letters of any language, as people name files; no path, and no file that is hidden.
FileName = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f/\\:. ~][^\x00-\x1f\x7f/\\:]*$", max_length=200), AfterValidator(_file_name)
]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Grid = dict[str, list[str]]


class Strict(BaseModel):
    """Frozen, closed and strict: an undeclared key is an error, and so is a value of another type (true is no 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecordFile(Strict):
    """One archive of a record. ``md5`` and ``size_bytes`` stand only where they were found published."""

    name: FileName
    md5: Md5 | None = None
    size_bytes: Annotated[int, Field(gt=0)] | None = None
    approximate_size_bytes: Annotated[int, Field(gt=0)] | None = None


class Record(Strict):
    """One Zenodo record. File names repeat across records, so an archive's key is (record id, file name)."""

    id: RecordId
    title: str
    license: str
    doi: str | None = None
    files: list[RecordFile] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Record:
        names = [file.name for file in self.files]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"record {self.id} lists {', '.join(twice)} more than once")
        return self


class NoiseSource(Strict):
    """Where the clips of one noise kind come from: a folder of recordings, one recording, or members of an archive.

    ``folder``: a directory, searched with all folders within, or one sound file.
    ``archive``: a zip on disk; ``dataset`` + ``file``: a fetched archive.
    ``members`` is a glob over the names within. ``*.wav`` means every WAV file, written .WAV or not; where there is
    none, every FLAC, OGG, MP3 or other sound file.
    """

    folder: str | None = None
    archive: str | None = None
    dataset: str | None = None
    file: FileName | None = None
    members: str = "*.wav"

    @model_validator(mode="after")
    def _exactly_one_place(self) -> NoiseSource:
        if sum(x is not None for x in (self.folder, self.archive, self.dataset)) != 1:
            raise ValueError("give exactly one of: folder, archive, dataset (with file)")
        if (self.dataset is None) != (self.file is None):
            raise ValueError("dataset and file go together")
        return self


class DatasetManifest(Strict):
    """A dataset: its records, and what is known about its recordings.

    ``recording``: ``"clean"`` recordings give a mix the paper's SNR; ``"mixed"`` ones already hold noise, so noise
    added to them has an added-noise SNR only. ``noise``: the noise kinds that the dataset offers; ``noise_from``: the
    dataset whose kinds stand in where a variant gives none.
    """

    name: DatasetName
    title: str
    recording: Literal["clean", "mixed"]
    layout: Literal["mimii_dg", "other"]
    synthetic: bool = False
    citation: str
    url: str | None = None
    records: list[Record] = Field(min_length=1)
    noise: dict[str, NoiseSource] = Field(default_factory=dict)
    noise_note: str | None = None
    noise_from: str | None = None


class NoiseLayer(Strict):
    """One noise layer of a section: drawn among kinds allowed per domain, or named by the clip's own attribute."""

    source: list[str] | None = None
    target: list[str] | None = None
    attribute: str | None = None

    @model_validator(mode="after")
    def _drawn_or_named(self) -> NoiseLayer:
        # kinds for one domain alone would leave the other without noise
        drawn = bool(self.source) and bool(self.target)
        if drawn == (self.attribute is not None) or bool(self.source) != bool(self.target):
            raise ValueError("a layer has either source and target kinds, or an attribute that names the kind")
        return self


class Section(Strict):
    """One row of Table 1: the values each domain takes, the noise and the SNR.

    ``source`` / ``target`` list grids {attribute key: values}; a clip's attributes lie in the product of one grid.
    ``printed_source`` / ``printed_target`` hold what the paper prints where the release differs from it.
    ``snr_db`` is absent where it is not published, ``snr_db_by_value`` gives it per value of ``snr_attribute``.
    """

    machine_type: MachineType
    section: SectionNumber
    shift: str
    parameter: str
    source: list[Grid] = Field(min_length=1)
    target: list[Grid] = Field(min_length=1)
    printed_source: list[Grid] | None = None
    printed_target: list[Grid] | None = None
    in_paper: bool = True
    note: str | None = None
    snr_db: float | None = None
    snr_attribute: str | None = None
    snr_db_by_value: dict[str, float] = Field(default_factory=dict)
    noise: list[NoiseLayer] = Field(min_length=1)

    @property
    def id(self) -> str:
        """``machine_type/section``, as variant files name it."""
        return str(self.section_id)

    @property
    def section_id(self) -> SectionId:
        """Machine type and section number."""
        return SectionId(self.machine_type, self.section)

    @property
    def noise_kinds(self) -> list[str]:
        """Every noise kind that the section may use, sorted."""
        return sorted({kind for layer in self.noise for kind in self._kinds_of(layer)})

    def _kinds_of(self, layer: NoiseLayer) -> set[str]:
        if layer.attribute:
            values = (combo.get(layer.attribute) for domain in DOMAINS for combo in self.values(domain))
            return {value for value in values if value}
        return {*(layer.source or []), *(layer.target or [])}

    def values(self, domain: str, printed: bool = False) -> list[dict[str, str]]:
        """Every combination of attribute values that the domain takes, in manifest order."""
        grids = getattr(self, domain)
        if printed:
            grids = getattr(self, f"printed_{domain}") or grids
        return [dict(zip(grid, combo, strict=True)) for grid in grids for combo in product(*grid.values())]

    @model_validator(mode="after")
    def _snr_is_whole(self) -> Section:
        if self.snr_attribute is None:
            if self.snr_db_by_value:
                raise ValueError("snr_db_by_value needs snr_attribute")
            return self
        seen = {
            v
            for domain in DOMAINS
            for combo in self.values(domain)
            for k, v in combo.items()
            if k == self.snr_attribute
        }
        if self.snr_db_by_value and seen != set(self.snr_db_by_value):
            raise ValueError(f"snr_db_by_value must name exactly the values {sorted(seen)} of {self.snr_attribute}")
        return self


class Recipe(Strict):
    """Values, noise and SNR of every section, as in Table 1 of the paper; ``counts`` of clips in a section by
    ``<domain>_<split>_<condition>``."""

    source: str
    sample_rate: int
    n_samples: int
    counts: dict[str, int]
    sections: list[Section]

    @model_validator(mode="after")
    def _sections_are_unique(self) -> Recipe:
        ids = [section.id for section in self.sections]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"Table 1 lists {', '.join(twice)} more than once")
        return self

    def section(self, machine_type: str, section: str) -> Section | None:
        """The row of (machine type, section number), or None."""
        return next((s for s in self.sections if (s.machine_type, s.section) == (machine_type, section)), None)
