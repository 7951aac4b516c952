"""Variant files: what to build from a dataset. Few keys, every one documented where it stands."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from mimiidg_build.schemas.manifests import NoiseSource, Recipe, Strict
from mimiidg_build.schemas.sections import MACHINE_TYPE, SECTION, SectionId

SECTION_CHOICE = re.compile(f"{MACHINE_TYPE[1:-1]}(/{SECTION[1:-1]})?")
# a folder's name: no slash, and no dot at its start
NAME, MAX_NAME = "[A-Za-z0-9][A-Za-z0-9_.+-]*", 100
ALL = "all"  # in ``snr_db``: every section that nothing else is stated for
VariantName = Annotated[str, Field(pattern=f"^{NAME}$", max_length=MAX_NAME)]
SnrDb = Annotated[float, Field(ge=-60, le=60)]


def is_variant_name(text: str) -> bool:
    """Whether a variant, and so a folder under ROOT/variants, can have this name.

    >>> [is_variant_name(text) for text in ("demo-snr+6dB", "../demo", ".demo", "a b", "demo\\n", "")]
    [True, False, False, False, False, False]
    """
    return len(text) <= MAX_NAME and re.fullmatch(NAME, text) is not None


def _noise_source(entry: object) -> object:
    if not isinstance(entry, str):
        return entry  # validated as a NoiseSource
    return {"archive": entry} if entry.lower().endswith(".zip") else {"folder": entry}


# of a reference channel, by the keys that they stand under; the others are a spectrogram's
OF_REFERENCE = ("reference", "primary_channel", "reference_channel", "over_subtraction", "spectral_floor")
OF_SUBTRACTION = OF_REFERENCE[3:]


class FeatureSettings(Strict):
    """What is computed of each clip, in librosa's convention; as it stands, the log-mel of the benchmark systems.

    n_fft          samples of the FFT, and of the window unless window_length says otherwise
    hop_length     samples from one frame to the next
    window         "hann", "hamming" or "blackman", periodic
    window_length  samples of a window that is shorter than the FFT, with zeros on both sides
    n_mels         mel bands
    f_min_hz, f_max_hz  the range that they cover; f_max_hz is half of the sample rate where it is not given
    power          2: bands of power, 1: of magnitude. Both are stored in dB, 20 / power log10
    mel_scale      "slaney" or "htk"
    mel_norm       "slaney": bands of unit area; "none": of unit peak
    stft           also store the STFT's magnitude, linear, as the array ``stft`` (clip, frame, bin)
    dtype          how features are stored
    reference      a channel far from the machine as a reference of the noise, for recordings of two channels or more:
                   "log_ratio": log-mel of the primary channel less that of the reference; "subtract": log-mel of the
                   primary channel's mel bands less the reference's (spectral subtraction). A clip then has one log-mel
                   without an axis of channels. "none": every channel by itself
    primary_channel, reference_channel  which they are, from 0
    over_subtraction  of "subtract": so many times the reference is taken away
    spectral_floor    of "subtract": what is left of a band at least, as a share of the reference
    """

    n_fft: Annotated[int, Field(ge=2, le=32_768)] = 1024
    hop_length: Annotated[int, Field(ge=1, le=32_768)] = 512
    window: Literal["hann", "hamming", "blackman"] = "hann"
    window_length: Annotated[int, Field(ge=2)] | None = None
    n_mels: Annotated[int, Field(ge=1, le=2048)] = 128
    f_min_hz: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    f_max_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    power: Literal[1, 2] = 2
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    stft: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    reference: Literal["none", "log_ratio", "subtract"] = "none"
    primary_channel: Annotated[int, Field(ge=0)] = 0
    reference_channel: Annotated[int, Field(ge=0)] = 1
    over_subtraction: Annotated[float, Field(gt=0, le=20)] = 1.0
    spectral_floor: Annotated[float, Field(ge=1e-4, le=1)] = 0.1

    @field_validator("window_length")
    @classmethod
    def _the_window_fits(cls, value: int | None, info: ValidationInfo) -> int | None:
        n_fft = info.data.get("n_fft")  # absent where it is a mistake itself
        if value is not None and n_fft is not None and value > n_fft:
            raise ValueError(f"expected at most n_fft = {n_fft}, the samples of the FFT that the window is part of")
        return None if value == n_fft else value

    @field_validator("f_max_hz")
    @classmethod
    def _the_range_is_one(cls, value: float | None, info: ValidationInfo) -> float | None:
        f_min_hz = info.data.get("f_min_hz")
        if value is not None and f_min_hz is not None and value <= f_min_hz:
            raise ValueError(f"expected more than f_min_hz = {f_min_hz:g}")
        return value

    @model_validator(mode="after")
    def _the_reference_is_another_channel(self) -> Self:
        if self.has_reference and self.primary_channel == self.reference_channel:
            raise ValueError(f"primary_channel and reference_channel are both {self.primary_channel}: expected two")
        unused = OF_SUBTRACTION if self.reference == "log_ratio" else () if self.has_reference else OF_REFERENCE[1:]
        for name in unused:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f'{name} decides nothing with reference = "{self.reference}": leave it out')
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """All but ``dtype`` came later, and is left out where it is the default: stores then have their old bytes."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {name: value for name, value in handler(self).items() if name == "dtype" or value != defaults[name]}

    @property
    def values(self) -> dict[str, Any]:
        """All that decides the values of a log-mel spectrogram, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in ("stft", "dtype")}

    @property
    def spectrogram(self) -> dict[str, Any]:
        """What decides them of one channel by itself."""
        return {name: value for name, value in self.values.items() if name not in OF_REFERENCE}

    @property
    def has_reference(self) -> bool:
        """Whether a clip's log-mel is made of two of its channels."""
        return self.reference != "none"

    def keeps_channels(self, array: str) -> bool:
        """Whether an array of features has an axis of channels where the clips have one."""
        return array == "stft" or not self.has_reference

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that hold features."""
        return ("logmel", "stft") if self.stft else ("logmel",)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip, the first centred on its first sample.

        >>> FeatureSettings().n_frames(160_000), FeatureSettings(n_fft=1023).n_frames(1024)
        (313, 2)
        """
        # an odd FFT has half a sample less of padding on both sides
        return 1 + (n_samples - self.n_fft % 2) // self.hop_length

    def clip_shape(self, array: str, n_samples: int) -> tuple[int, int]:
        """Frames, and mel bands or bins, of one channel of a clip.

        >>> FeatureSettings().clip_shape("logmel", 160_000), FeatureSettings().clip_shape("stft", 96_000)
        ((313, 128), (188, 513))
        """
        return self.n_frames(n_samples), self.n_mels if array == "logmel" else 1 + self.n_fft // 2


class NoiseSettings(Strict):
    """How the recordings of one noise kind are used.

    channel       of a recording with several channels: its number from 0, or ``"mean"`` of all
    split         recordings are parted into two halves, one for training clips and one for test clips
    offset        ``"fixed"``: pieces end to end from a recording's beginning; ``"random"``: as many, at places that the
                  variant's seed draws
    min_level_db  a piece below this level (dB re full scale) is refused as no noise
    max_gain_db   a clip whose noise would need more gain is refused

    The two limits decide what is refused and no byte of what is built.
    """

    channel: Annotated[int, Field(ge=0)] | Literal["mean"] = 0
    split: bool = False
    offset: Literal["fixed", "random"] = "fixed"
    min_level_db: Annotated[float, Field(ge=-200, le=0)] = -70.0
    max_gain_db: Annotated[float, Field(ge=0, le=200)] = 60.0


class Variant(Strict):
    """One variant of a dataset.

    name        directory under ROOT/variants
    title       one line for people
    dataset     a dataset manifest's name, or ``synthetic[-<percent>pct][-seed<k>]``
    mixing      the recipe that says noise and SNR of each section: ``"table1"``, the paper's, another's name, or the
                path of a TOML file; ``"none"``: the recordings as they are
    recipe      a recipe of one's own in place of a named one, which ``mixing`` then only gives a name; the content of
                a recipe's file is put here when the variant is read, so a store holds it
    sections    machine types and sections to build, as ``"fan"`` or ``"fan/00"``; empty: all the dataset holds
    snr_offset_db  added to every clip's SNR of the recipe
    snr_db      SNR instead of the recipe's: one for all, or by machine type (``"fan"``) or section (``"fan/00"``);
                needed where the recipe has none, as for sections 03-05 of Table 1
    channels    of recordings with several: a channel's number from 0, or ``"all"``, which keeps an axis of channels
    sample_rate  Hz, of what is stored; the dataset's own where it is not given
    seed        decides every draw
    full_scale  a section that could exceed full scale is attenuated as a whole, saturated, or an error
    noise       where each noise kind comes from; if any is given, all that the sections use must be
    noise_from  a dataset whose noise stands in for kinds that are not given
    noise_settings  channel, split, offset and limits, by noise kind
    features    settings of the log-mel spectrograms, and what else is stored
    """

    name: VariantName
    title: str = ""
    dataset: str = "mimii_dg"
    mixing: Annotated[str, Field(min_length=1, max_length=1000)] = "table1"
    recipe: Recipe | None = None
    sections: list[str] = Field(default_factory=list)
    snr_offset_db: SnrDb = 0.0
    snr_db: dict[str, SnrDb] = Field(default_factory=dict)
    channels: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    sample_rate: Annotated[int, Field(ge=1_000, le=192_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    full_scale: Literal["attenuate", "saturate", "error"] = "attenuate"
    noise: dict[str, list[NoiseSource]] = Field(default_factory=dict)
    noise_from: str | None = None
    noise_settings: dict[str, NoiseSettings] = Field(default_factory=dict)
    features: FeatureSettings = FeatureSettings()

    @field_validator("noise", mode="before")
    @classmethod
    def _a_path_is_a_source(cls, value: object) -> object:
        """``A = "DIR"`` and ``A = "FILE.zip"`` are short for a folder and an archive; lists mix freely."""

        if not isinstance(value, dict):
            return value
        return {k: [_noise_source(e) for e in (v if isinstance(v, list) else [v])] for k, v in value.items()}

    @model_validator(mode="before")
    @classmethod
    def _own_recipe(cls, content: Any) -> Any:
        """A recipe of one's own is called that where ``mixing`` gives it no name."""
        if isinstance(content, dict) and content.get("recipe") is not None and "mixing" not in content:
            return content | {"mixing": "own"}
        return content

    @field_validator("snr_db", mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        """``snr_db = -6.0`` is short for ``{ all = -6.0 }``."""
        return {ALL: value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("sections")
    @classmethod
    def _sections_are_named_right(cls, value: list[str]) -> list[str]:
        for choice in value:
            if not SECTION_CHOICE.fullmatch(choice):
                raise ValueError(f"{choice!r} is not a section: write a machine type ('fan') or a section ('fan/00')")
        return value

    @field_validator("features")
    @classmethod
    def _a_reference_is_recorded(cls, value: FeatureSettings, info: ValidationInfo) -> FeatureSettings:
        """Two channels are needed, as they were recorded."""
        if not value.has_reference:
            return value
        setting = f'reference = "{value.reference}"'
        if info.data.get("channels", ALL) != ALL:
            raise ValueError(f'{setting} takes two channels of a recording: expected channels = "all" in the variant')
        if info.data.get("mixing", "none") != "none":
            raise ValueError(
                f'{setting}: expected mixing = "none". Noise is added to every channel alike, so the reference would '
                "hold exactly what was added, which no second microphone does"
            )
        return value

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys that came later are left out where they are not used: stores then have the bytes that they had."""
        later = ("noise_from", "noise_settings", "channels", "sample_rate", "recipe")
        content = {name: value for name, value in handler(self).items() if value or name not in later}
        if self.recipe is not None:  # as it was written: a row has a dozen keys, most of them for Table 1
            content["recipe"] = self.recipe.model_dump(exclude_unset=True, exclude_none=True)
        return content

    @property
    def adds_noise(self) -> bool:
        """Whether noise is mixed into the recordings."""
        return self.mixing != "none"

    def snr_of(self, section_id: SectionId) -> float | None:
        """The SNR that the variant states for a section, without its offset; None where the recipe's holds."""
        keys = (str(section_id), section_id.machine_type, ALL)
        return next((self.snr_db[key] for key in keys if key in self.snr_db), None)

    def settings_of(self, kind: str) -> NoiseSettings:
        """How the recordings of a noise kind are used."""
        return self.noise_settings.get(kind, NoiseSettings())

    def wants_machine_type(self, machine_type: str) -> bool:
        """True if the variant builds all or some of the machine type's sections."""
        return not self.sections or machine_type in {choice.split("/")[0] for choice in self.sections}

    def wants(self, machine_type: str, section: str) -> bool:
        """True if the variant builds this section."""
        return not self.sections or machine_type in self.sections or f"{machine_type}/{section}" in self.sections
