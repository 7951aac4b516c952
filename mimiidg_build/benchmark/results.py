"""What a benchmark found on one store: the results of all models, as plain data for programs (tables: :mod:`.rows`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mimiidg_build.benchmark.cross_table import cross_records
from mimiidg_build.benchmark.failures import FailedSystem, raise_failed
from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.benchmark.suitability import cut_clips
from mimiidg_build.benchmark.tested import not_evaluated
from mimiidg_build.errors import counted
from mimiidg_build.store.store import Store


@dataclass(frozen=True)
class Benchmark:
    """All models on one store; none where nothing could be evaluated. ``said`` are notes of the benchmark's own,
    ``failed`` the systems that are not among the models because they failed."""

    store: Store
    models: tuple[ModelResult, ...]
    said: tuple[str, ...] = ()
    failed: tuple[FailedSystem, ...] = ()

    def __repr__(self) -> str:
        """A line; ``print(benchmark.to_dict())`` prints all numbers."""
        systems = ", ".join(model.name for model in self.models)
        return f"<Benchmark {self.title}: {systems or 'none'}>"

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.store.attributes.variant.name

    @property
    def known_anomalies(self) -> int:
        """The largest number of anomalies of each section that a training knew: no model is tested on them."""
        return max((model.known_anomalies for model in self.models), default=0)

    @property
    def base_variant(self) -> str:
        """The variant's name without what an SNR sweep adds to it."""
        # the suffix that derive_variant gives
        return self.variant.removesuffix(f"-snr{self.snr_offset_db:+g}dB")

    @property
    def snr_offset_db(self) -> float:
        """What the variant adds to every SNR of Table 1."""
        return self.store.attributes.variant.snr_offset_db

    @property
    def notes(self) -> list[str]:
        """What a reader should know: settings that a model lacks, clips that are cut, sections and clips that are not
        evaluated, where clips are few, what the papers' numbers stand for."""
        published = dict.fromkeys(note for model in self.models for note in model.papers_notes)
        cut = cut_clips(self.store, [model.model for model in self.models])
        failed = map(str, self.failed)
        return [*failed, *self.said, *cut, *not_evaluated(self.store), *self.few_clips_notes, *published]

    @property
    def few_clips_notes(self) -> list[str]:
        """What the mark beside means and official scores means, where there is one."""
        return list(dict.fromkeys(note for model in self.models for note in model.few_clips_notes))

    @property
    def title(self) -> str:
        """What was run on what; a synthetic release says so."""
        if not self.models:
            return f"{self.variant} ({self.store.attributes.data_kind}): no results"
        seeds = max(len(model.runs) for model in self.models)
        what = f"{self._label} profile, {counted(seeds, 'seed')}, AUC in %"
        known = self.known_anomalies
        without = f", tested without the {known} anomalies of each section that a training may know" if known else ""
        return f"{self.variant} ({self.store.attributes.data_kind}): {what}{without}"

    @property
    def _label(self) -> str:
        """The profile; of models that have a changed setting and models that lack it, that of one that has it."""
        return max((model.label for model in self.models), key=len)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, numbers at full precision."""
        return {
            "variant": self.variant,
            "fingerprint": self.store.fingerprint,
            "path": str(self.store.path),
            "dataset": self.store.attributes.dataset,
            "synthetic": self.store.attributes.synthetic,
            "snr_offset_db": self.snr_offset_db,
            "known_anomalies": self.known_anomalies,
            "notes": self.notes,
            "models": [model.to_dict() for model in self.models],
            **({"failed": [asdict(one) for one in self.failed]} if self.failed else {}),
            **({"cross_table": crossed} if (crossed := cross_records(self.models)) else {}),
        }


def raise_any_failed(benchmarks: Sequence[Benchmark]) -> None:
    """End with an error where a system failed, once everything else is done and shown.

    Raises
    ------
    SystemsFailed
        One did; the message names all of them, and why they failed.
    """
    failed = [one for benchmark in benchmarks for one in benchmark.failed]
    raise_failed(failed, len(failed) + sum(model.is_rival for each in benchmarks for model in each.models))
