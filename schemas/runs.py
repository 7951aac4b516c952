"""What a run of a benchmark writes beside its scores: ``config.json``, ``summary_<network>.json`` (of the network, and
in the folder of a back end's scores of that), ``detector_<network>.json`` and, where it failed, ``failure_...``.

Their field order is the order in the files. The shape of ``results.json`` is in :mod:`schemas.results`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from mimiidg_build.schemas.manifests import Strict
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.stores import Fingerprint, LogmelStatistics, SectionAudio
from mimiidg_build.schemas.variants import FeatureSettings

Count = Annotated[int, Field(ge=0)]
SectionName = Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[int | float, Field(ge=0)]  # a model that trains nothing took 0, not 0.0: files stay as they were


class RunConfig(Strict):
    """``config.json``: everything that decides a run's results. Two runs of equal configuration are the same run.

    ``settings`` are the profile's, and differ from model to model; ``epochs`` among them are those that are trained.
    The field ``epochs`` is the number that was asked for in place of the profile's own, None where none was; early
    versions did not write it. ``known_anomalies`` are so many of each section, and ``changes`` the settings that were
    asked for in place of the profile's, those that differ from it: both are in the file only if there are any.
    """

    model: str
    profile: str
    settings: dict[str, JsonValue]
    seed: int
    variant: str
    fingerprint: Fingerprint
    epochs: Annotated[int, Field(ge=1)] | None = None
    known_anomalies: Count = 0
    changes: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def says_epochs(self) -> bool:
        """False for a file of an early version."""
        return "epochs" in self.model_fields_set

    @model_serializer(mode="wrap")
    def _without_zero(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run without known anomalies or changes has the configuration that it had before there were any."""
        content: dict[str, Any] = handler(self)
        for name in ("known_anomalies", "changes"):
            if not getattr(self, name):
                del content[name]
        return content


def summary_name(network: str) -> str:
    """The file's name of a network's summary; with ``*`` the pattern of all of a run.

    >>> summary_name("fan_00")
    'summary_fan_00.json'
    """
    return f"summary_{network}.json"


class NetworkSummary(Strict):
    """``summary_<network>.json``: what is to be known of one trained network. Written last: the network is finished.

    ``sections`` are those that it serves (``"fan/00"``). ``n_outlier_clips`` are training clips of other sections,
    ``known_anomalies`` the names of the test clips that the training used, ``epochs`` those of this training,
    ``last_loss`` None where nothing is trained. ``scores`` are the names of all its scores, ``""`` the model's own,
    whose ``threshold`` is by machine type. ``threads`` are those of a CPU; early versions, which trained on as many as
    there were, did not write them. ``training_s`` is the time that the epochs took, over all interruptions;
    ``duration_s`` that of the last process, scoring included; ``scoring_s`` that of scoring the training and the test
    clips, which are read meanwhile. ``device_name`` is the processor's or the graphics card's. Early versions wrote
    neither. All are wall-clock times, with whatever else the machine did.
    """

    sections: Annotated[list[SectionName], Field(min_length=1)]
    n_training_clips: Count
    n_outlier_clips: Count
    known_anomalies: list[str]
    n_test_clips: Count
    n_parameters: Count
    epochs: Count
    last_loss: Finite | None
    scores: list[str]
    threshold: dict[str, Finite]
    device: str
    threads: Annotated[int, Field(ge=1)] | None = None
    training_s: Seconds
    duration_s: Seconds
    scoring_s: Seconds | None = None
    device_name: str | None = None

    @field_validator("scores")
    @classmethod
    def _are_folders(cls, scores: list[str]) -> list[str]:
        if scores[:1] != [""] or len(set(scores)) < len(scores):
            raise ValueError(f'expected "" first, the model\'s own score, and each once, found {scores}')
        if bad := [score for score in scores if "/" in score or score in (".", "..")]:
            raise ValueError(f"a score's files lie in a folder of its name, which {bad[0]!r} cannot be")
        return scores

    @model_validator(mode="after")
    def _has_every_threshold(self) -> NetworkSummary:
        types = {section.machine_type for section in self.section_ids}
        if types != set(self.threshold):
            raise ValueError(f"threshold: expected one of each of {sorted(types)}, found {sorted(self.threshold)}")
        return self

    @property
    def section_ids(self) -> list[SectionId]:
        """The sections that the network serves, in the order of the clip table."""
        return [SectionId.parse(name) for name in self.sections]


class BackendSummary(Strict):
    """``backend_<name>/summary_<network>.json``: what is to be known of a back end on a network's embeddings. Written
    last: its scores are finished.

    ``embedding_size`` is the number of values of an embedding. ``threshold`` is by machine type; ``training_scores`` by
    section (``"fan/00"``), in the order of the network's numbers, those of its training clips, in the order of the clip
    table. ``duration_s`` is the time that fitting and scoring took, embeddings aside; ``embedding_s`` that of the
    embeddings of training and test clips, ``scoring_s`` that of scoring the test clips given theirs. Early versions
    wrote neither.
    """

    backend: str
    embedding_size: Annotated[int, Field(ge=1)]
    threshold: dict[str, Finite]
    training_scores: dict[SectionName, Annotated[list[Finite], Field(min_length=1)]]
    duration_s: Seconds
    embedding_s: Seconds | None = None
    scoring_s: Seconds | None = None

    @property
    def section_ids(self) -> list[SectionId]:
        """The sections of the network."""
        return [SectionId.parse(name) for name in self.training_scores]


class NetworkFailure(Strict):
    """``failure_<network>.json``: why the last training or scoring of a network failed; gone once it is finished.

    ``traceback`` is empty where the message says all: of data and runs that fail, not of mistakes in a program.
    """

    message: str
    traceback: str = ""


class DetectorInputs(Strict):
    """``detector_<network>.json``: what scoring a recording takes beside a network's weights, so that a run needs no
    store to be used on new sounds.

    ``fingerprint`` is that of the store that was trained on, ``data`` what titles call its data, ``networks`` are all
    networks of the run. By section, in the order of the network's numbers: ``audio``, the shape that its clips had;
    ``training_scores``, those of its training clips, in the order of the clip table; ``logmel``, absent where the store
    has no statistics. ``channel`` is which of a recording's channels is taken, ``features`` how log-mel is computed,
    ``length`` how many frames (of audio: samples) of a clip the network takes.
    """

    fingerprint: Fingerprint
    data: str
    networks: Annotated[list[str], Field(min_length=1)]
    audio: Annotated[dict[SectionName, SectionAudio], Field(min_length=1)]
    channel: Annotated[int, Field(ge=0)] | Literal["all"]
    features: FeatureSettings
    length: Annotated[int, Field(gt=0)]
    training_scores: dict[SectionName, Annotated[list[Finite], Field(min_length=1)]]
    logmel: dict[SectionName, LogmelStatistics]

    @model_validator(mode="after")
    def _says_the_same_sections_everywhere(self) -> DetectorInputs:
        if set(self.audio) != set(self.training_scores) or not set(self.logmel) <= set(self.audio):
            raise ValueError(f"training_scores: expected those of {sorted(self.audio)}, no more and no fewer")
        return self
