"""Tables that cross a boundary, each with its rules (:mod:`.rules`).

Strings are validated as strings (made categories afterwards, where a caller wants them): coercing inside a model
turns unknown values into missing ones. Absent strings are ``""``, absent numbers NaN. Power is mean square and peak
absolute, both of samples in [-1, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import pandas as pd

from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, SPLITS
from mimiidg_build.schemas.rules import Field, Table, dataframe_check
from mimiidg_build.schemas.sections import MACHINE_TYPE, SECTION

if TYPE_CHECKING:
    from pandera.typing.pandas import Series

SEVERITIES = ("error", "warning")


class AttributeTable(Table):
    """An ``attributes_NN.csv`` as read: every row of the table, short rows completed.

    ``line`` is the line in the file, counted from 1 with the header. A third and a fourth pair are there where the
    table has them. ``full_name`` is the last column of the evaluation sections' tables, ``""`` where it is not there.
    """

    line: Series[int] = Field(ge=2, unique=True)
    file_name: Series[str] = Field(unique=True)
    d1p: Series[str]
    d1v: Series[str]
    d2p: Series[str]
    d2v: Series[str]
    d3p: Optional[Series[str]]  # noqa: UP045 (pandera knows an optional column by this form alone)
    d3v: Optional[Series[str]]  # noqa: UP045
    d4p: Optional[Series[str]]  # noqa: UP045
    d4v: Optional[Series[str]]  # noqa: UP045
    full_name: Series[str]


class Findings(Table):
    """What validation found: which table, line and column, what stood there, what was expected, and how bad it is.

    ``kind`` groups findings of one sort (``short_row``, ``unknown_value``, ...). ``line`` is 0 where no line applies.
    """

    severity: Series[str] = Field(isin=SEVERITIES)
    kind: Series[str]
    table: Series[str]
    line: Series[int] = Field(ge=0)
    column: Series[str]
    value: Series[str]
    expected: Series[str]
    message: Series[str]


class ClipTable(Table):
    """One row per clip. ``clip`` is the file's stem, unique within a machine type; ``member`` its path in ``archive``.

    ``domain`` is ``""`` where the release has no domains, ``condition`` only of a test clip whose truth nobody told.
    ``attributes`` is the JSON text of an object, ``{"vel":"6","loc":"A"}``; ``full_name`` the file name with nothing
    hidden, as the release or a truth list writes it. ``archive`` is ``<record id>/<file name>``, as under
    ROOT/archives.
    """

    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    split: Series[str] = Field(isin=SPLITS)
    domain: Series[str] = Field(isin=(*DOMAINS, ""))
    condition: Series[str] = Field(isin=(*CONDITIONS, ""))
    index: Series[int] = Field(ge=0)
    attributes: Series[str] = Field(str_matches=r"^\{.*\}$")
    full_name: Series[str]
    clip: Series[str]
    archive: Series[str]
    member: Series[str]

    @dataframe_check(name="duplicate_clip")
    def _clips_are_unique(cls, table: pd.DataFrame) -> pd.Series[bool]:
        return ~table.duplicated(["machine_type", "clip"], keep=False)

    @dataframe_check(name="anomaly_in_train")
    def _training_is_normal(cls, table: pd.DataFrame) -> pd.Series[bool]:
        return (table["split"] != "train") | (table["condition"] == "normal")


class Levels(Table):
    """Power and peak of every clip of an archive."""

    member: Series[str] = Field(unique=True)
    power: Series[float] = Field(ge=0, le=1)
    peak: Series[float] = Field(ge=0, le=1)


class NoiseTable(Table):
    """The noise clips of one kind, in the order of the noise bank's rows. ``noise_clip`` is ``<recording>#<piece>``.

    A silent noise clip cannot be brought to any SNR, so power is above 0; floating recordings may pass full scale.
    ``recording`` to ``silent_pieces`` tell of the whole recording that the piece was cut from: its name, length, rate,
    channels, and pieces that were left out.
    """

    kind: Series[str]
    noise_clip: Series[str] = Field(unique=True)
    row: Series[int] = Field(ge=0)
    power: Series[float] = Field(gt=0)
    peak: Series[float] = Field(gt=0)
    band_limited: Series[bool]
    recording: Series[str]
    recording_s: Series[float] = Field(gt=0)
    sample_rate: Series[int] = Field(gt=0)
    channels: Series[int] = Field(gt=0)
    silent_pieces: Series[int] = Field(ge=0)


class MixPlan(Table):
    """One row says everything about one clip: y = attenuation (x + sum of gain times noise clip).

    ``added_noise_snr_db`` is 10 log10(a / power of the added noise), a the section's mean power. Where the recordings
    are clean it is the paper's SNR; where they are not it is what the name says and no more. NaN: no noise is added.
    Layer 2 is empty where the section has one layer.
    """

    machine_type: Series[str] = Field(str_matches=MACHINE_TYPE)
    section: Series[str] = Field(str_matches=SECTION)
    clip: Series[str]
    archive: Series[str]
    member: Series[str]
    added_noise_snr_db: Series[float] = Field(nullable=True)
    attenuation: Series[float] = Field(gt=0, le=1)
    noise_1_kind: Series[str]
    noise_1_clip: Series[str]
    noise_1_gain: Series[float] = Field(ge=0)
    noise_2_kind: Series[str]
    noise_2_clip: Series[str]
    noise_2_gain: Series[float] = Field(ge=0)

    @dataframe_check(name="clip unique within machine type")
    def _clips_are_unique(cls, table: pd.DataFrame) -> pd.Series[bool]:
        return ~table.duplicated(["machine_type", "clip"], keep=False)


class StoredClips(ClipTable):
    """The clip table of a store. Row ``row`` of the section's arrays is this clip.

    ``power`` and ``peak`` are the recording's, before mixing. ``measured_added_noise_snr_db`` is measured from the
    stored samples, NaN where no noise was added.
    """

    row: Series[int] = Field(ge=0)
    power: Series[float] = Field(ge=0, le=1)
    peak: Series[float] = Field(ge=0, le=1)
    measured_added_noise_snr_db: Series[float] = Field(nullable=True)
    n_saturated: Series[int] = Field(ge=0)
