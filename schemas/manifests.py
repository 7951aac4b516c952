"""Data manifests: datasets on Zenodo, and recipes: the sections of the MIMII DG paper's Table 1, or a user's.

One frozen model per table of the TOML files under ``data_manifests/``. Unknown keys are errors.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mimiidg_build.schemas.recordings import Recordings
from mimiidg_build.schemas.sections import MachineType, SectionId, SectionName

DOMAINS = ("source", "target")
SPLITS = ("train", "test")
CONDITIONS = ("normal", "anomaly")

MAX_NAME_BYTES = 200
OWN_ENDINGS = (".part", ".part.json", ".partial", ".tmp", ".damaged", ".levels.parquet", ".lock.json")


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
ClipSeconds = Annotated[float, Field(gt=0, le=3600)]
LayoutName = Literal["mimii", "dcase2020", "dcase2021", "dcase2022", "recordings"]
Protocol = Literal["mimii", "2020", "2021", "2022"]
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
    """One Zenodo record. File names repeat across records, so an archive's key is (record id, file name).

    ``sections``: those that its archives hold clips of, for all machine types or by machine type; empty where nobody
    stated them.
    """

    id: RecordId
    title: str
    license: str
    doi: str | None = None
    sections: list[SectionName] | dict[MachineType, list[SectionName]] = Field(default_factory=list)
    files: list[RecordFile] = Field(min_length=1)

    def sections_of(self, machine_type: str) -> list[str]:
        """The sections of a machine type that its archives hold; empty where nobody stated them."""
        return self.sections.get(machine_type, []) if isinstance(self.sections, dict) else self.sections

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


class AudioFormat(Strict):
    """What the recordings of a dataset are: every file is held to it.

    sample_rate   Hz, which other rates are resampled to
    channels      of a file; ``"any"``: files may differ
    clip_seconds  of a clip; a table gives it by machine type. Absent: as the first clip of each section says
    """

    sample_rate: Annotated[int, Field(ge=1_000, le=1_000_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=1024)] | Literal["any"] = 1
    clip_seconds: ClipSeconds | dict[MachineType, ClipSeconds] | None = None

    def clip_samples(self, machine_type: str, sample_rate: int | None = None) -> int | None:
        """Samples of a machine type's clips at a sample rate, by default the dataset's; None where nobody stated it.

        >>> toys = AudioFormat(clip_seconds={"ToyCar": 11.0})
        >>> toys.clip_samples("ToyCar"), toys.clip_samples("ToyCar", 8000), toys.clip_samples("ToyTrain")
        (176000, 88000, None)
        """
        seconds = self.clip_seconds.get(machine_type) if isinstance(self.clip_seconds, dict) else self.clip_seconds
        return None if seconds is None else round(seconds * (sample_rate or self.sample_rate))


class DatasetManifest(Strict):
    """A dataset: its records, and what is known about its recordings.

    ``recording``: ``"clean"`` recordings give a mix the paper's SNR; ``"mixed"`` ones already hold noise, so noise
    added to them has an added-noise SNR only. ``layout``: how its files are named and placed; ``protocol``: how its
    year is judged. ``machine_types``: those that it has; where the list is empty, archives' names say it. ``recipe``:
    what its sections hold and how they were mixed, where that is published. ``counts`` of clips in a section by
    ``[<domain>_]<split>_<condition>``, where published. ``noise``: the noise kinds that the dataset offers;
    ``noise_from``: the dataset whose kinds stand in where a variant gives none. ``truth``: files of its records that
    say what clips are whose names hide it. ``recordings``: the user's own, which clips are cut from, instead of
    records.
    """

    name: DatasetName
    title: str
    recording: Literal["clean", "mixed"]
    layout: LayoutName
    protocol: Protocol = "2022"
    machine_types: list[MachineType] = Field(default_factory=list)
    audio: AudioFormat = AudioFormat()
    recipe: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    synthetic: bool = False
    citation: str
    url: str | None = None
    records: list[Record] = Field(min_length=1)
    recordings: Recordings | None = None
    noise: dict[str, NoiseSource] = Field(default_factory=dict)
    noise_note: str | None = None
    noise_from: str | None = None
    truth: list[FileName] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, content: Any) -> Any:
        """What manifests of exports left unsaid while every dataset was one of MIMII DG's layout."""
        if isinstance(content, dict) and content.get("layout") == "mimii_dg":
            unsaid = {"recipe": "table1", "audio": {"clip_seconds": 10.0}}
            return {**unsaid, **content, "layout": "dcase2022"}
        return content

    @model_validator(mode="before")
    @classmethod
    def _of_recordings(cls, content: Any) -> Any:
        """What a dataset of own recordings need not say: its archives are made, one for each machine type."""
        if not isinstance(content, dict) or not isinstance(content.get("recordings"), dict):
            return content
        if "records" in content:
            raise ValueError("a dataset has [[records]], or [recordings] of your own: give one")
        name = content.get("name")
        unsaid = {"layout": "recordings", "title": name, "recording": "mixed", "citation": f"{name}, own recordings"}
        license = content["recordings"].get("license", Recordings.model_fields["license"].default)
        record = {"id": name, "title": name, "license": license, "files": [{"name": "clips.zip"}]}
        return {**unsaid, **content, "records": [record]}

    @model_validator(mode="after")
    def _recordings_have_a_length(self) -> DatasetManifest:
        if self.recordings is not None and self.audio.clip_seconds is None:
            raise ValueError("audio.clip_seconds: say how long the clips are to be that recordings are cut into")
        if self.recordings is not None and self.audio.channels != 1:
            raise ValueError("audio.channels: clips have one channel; recordings.channel chooses it")
        if self.recordings is not None and self.layout != "recordings":
            raise ValueError('layout: of own recordings it is "recordings"')
        return self


MAX_LAYERS = 2  # of noise on a clip: a mix plan has columns for so many


class NoiseLayer(Strict):
    """One noise layer of a section: drawn among kinds, for any or each domain, or named by the clip's attribute.

    Beside an attribute, ``kinds`` are the values that it may have; where they are not stated, those that clips have.
    """

    kinds: list[str] | None = None
    source: list[str] | None = None
    target: list[str] | None = None
    attribute: str | None = None

    def drawn_for(self, domain: str) -> list[str]:
        """The kinds that a clip of the domain draws from; none where an attribute names the kind."""
        by_domain = {"source": self.source, "target": self.target}
        return self.kinds or by_domain.get(domain) or []

    @model_validator(mode="after")
    def _drawn_or_named(self) -> NoiseLayer:
        # kinds for one domain alone would leave the other without noise
        by_domain, by_attribute = bool(self.source) and bool(self.target), self.attribute is not None
        ways = (bool(self.kinds) and not by_attribute, by_domain, by_attribute)
        if ways.count(True) != 1 or bool(self.source) != bool(self.target):
            raise ValueError(
                "a layer has either kinds, or source and target kinds, or an attribute that names the kind"
            )
        return self


class MixRule(Strict):
    """How sections are mixed: layers of noise and the SNR.

    ``snr_db`` is absent where it is not published, ``snr_db_by_value`` gives it per value of ``snr_attribute``.
    """

    snr_db: float | None = None
    snr_attribute: str | None = None
    snr_db_by_value: dict[str, float] = Field(default_factory=dict)
    noise: list[NoiseLayer] = Field(default_factory=list, max_length=MAX_LAYERS)

    @model_validator(mode="after")
    def _snr_is_said_once(self) -> MixRule:
        if self.snr_db_by_value and self.snr_attribute is None:
            raise ValueError("snr_db_by_value needs snr_attribute")
        if self.snr_db is not None and self.snr_attribute is not None:
            raise ValueError("snr_db and snr_attribute exclude each other")
        return self


class Section(MixRule):
    """A section's row of a recipe: its noise and SNR, and where that is known the values that each domain takes.

    ``source`` / ``target`` list grids {attribute key: values}; a clip's attributes lie in the product of one grid.
    ``printed_source`` / ``printed_target`` hold what the paper prints where the release differs from it. ``in_paper``
    is false for sections that the paper does not list.
    """

    machine_type: MachineType
    section: SectionName
    shift: str = ""
    parameter: str = ""
    source: list[Grid] = Field(default_factory=list)
    target: list[Grid] = Field(default_factory=list)
    printed_source: list[Grid] | None = None
    printed_target: list[Grid] | None = None
    in_paper: bool = True
    note: str | None = None

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

    @property
    def open_attributes(self) -> list[str]:
        """Attributes that name a layer's noise kind, of which only the clips say what kinds those are."""
        return [layer.attribute for layer in self.noise if layer.attribute and not self._kinds_of(layer)]

    def _kinds_of(self, layer: NoiseLayer) -> set[str]:
        if layer.attribute and not layer.kinds:
            values = (combo.get(layer.attribute) for domain in DOMAINS for combo in self.values(domain))
            return {value for value in values if value}
        return {kind for domain in (*DOMAINS, "") for kind in layer.drawn_for(domain)}

    def values(self, domain: str, printed: bool = False) -> list[dict[str, str]]:
        """Every combination of attribute values that the domain takes, in manifest order."""
        grids = getattr(self, domain)
        if printed:
            grids = getattr(self, f"printed_{domain}") or grids
        return [dict(zip(grid, combo, strict=True)) for grid in grids for combo in product(*grid.values())]

    @model_validator(mode="after")
    def _snr_is_whole(self) -> Section:
        seen = {
            value
            for domain in DOMAINS
            for combo in self.values(domain)
            for key, value in combo.items()
            if key == self.snr_attribute
        }
        if seen and self.snr_db_by_value and seen != set(self.snr_db_by_value):
            raise ValueError(f"snr_db_by_value must name exactly the values {sorted(seen)} of {self.snr_attribute}")
        if bool(self.source) != bool(self.target):
            raise ValueError("values are given for both domains or for none")
        return self


class Recipe(Strict):
    """Noise and SNR of every section, as in Table 1 of the MIMII DG paper; ``default`` is the rule of all sections that
    are not listed. ``source`` says in words where it is from."""

    source: str = ""
    default: MixRule | None = None
    sections: list[Section] = Field(default_factory=list)

    @model_validator(mode="after")
    def _sections_are_unique(self) -> Recipe:
        ids = [section.id for section in self.sections]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"it lists {', '.join(twice)} more than once")
        return self

    def row(self, section_id: SectionId) -> Section | None:
        """The section's own row, or the default as a row of that section; None where neither is there."""
        for section in self.sections:
            if section.section_id == section_id:
                return section
        if self.default is None:
            return None
        rule = self.default.model_dump(exclude_unset=True)
        return Section(machine_type=section_id.machine_type, section=section_id.section, **rule)
