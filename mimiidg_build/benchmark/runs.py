"""Runs: one model, one profile, one seed on one store. Planned as data; each part of one is finished once.

Conventions
-----------
ROOT/runs/<variant>/<fingerprint>/<model>-<profile>-<seed>/
    config.json                 what decides the results
    checkpoint_<part>.pt        state after the last finished epoch, while a part is being trained
    loss_<part>.csv             the loss curve
    weights_<part>.pt           the finished model
    anomaly_score_*, decision_result_*    in the official format
    summary_<part>.json         threshold, device, time; written last: the part is finished
    results.json                every metric, once all parts are finished

A *part* is what one trained network serves: a machine type (``fan``), a section (``fan_00``), or ``all``. Parts depend
on nothing but the store, so they run in any order. The profile's name grows by the epochs where those are not its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluate import Evaluation, evaluate
from mimiidg_build.models import create, model_class
from mimiidg_build.progress import Reporter
from mimiidg_build.shards import write_file
from mimiidg_build.store import Store

if TYPE_CHECKING:
    import torch

    from mimiidg_build.models.base import Detector, Settings


@dataclass(frozen=True)
class Part:
    """The sections that one trained network serves: all of the named machine types, or the one section."""

    name: str
    machine_types: tuple[str, ...]
    section: str | None = None


@dataclass(frozen=True)
class Run:
    """A model with a seed on a store. ``epochs`` is None where the profile's own hold."""

    store: Store
    root: Path
    model: str
    profile: str
    seed: int
    epochs: int | None = None

    @property
    def label(self) -> str:
        """The profile, and the epochs where they are not its own."""
        return self.profile if self.epochs is None else f"{self.profile}-{self.epochs}epochs"

    @property
    def directory(self) -> Path:
        """Where the run's files lie."""
        variant = str(self.store.attributes["variant"]["name"])
        return self.root / "runs" / variant / self.store.fingerprint / f"{self.model}-{self.label}-{self.seed}"

    @property
    def settings(self) -> Settings:
        """The profile's settings."""
        return model_class(self.model).profiles[self.profile]

    @property
    def n_epochs(self) -> int:
        """Epochs to train."""
        return self.settings.epochs if self.epochs is None else self.epochs

    def config(self) -> dict[str, Any]:
        """What decides the results."""
        return {
            "model": self.model,
            "profile": self.profile,
            "settings": asdict(self.settings) | {"epochs": self.n_epochs},
            "seed": self.seed,
            "variant": self.store.attributes["variant"]["name"],
            "fingerprint": self.store.fingerprint,
        }

    def parts(self) -> list[Part]:
        """The networks to train."""
        ids = [tuple(name.split("/")) for name in self.store.sections]
        types = tuple(dict.fromkeys(machine_type for machine_type, _ in ids))
        scope = model_class(self.model).scope
        if scope == "all":
            return [Part("all", types)]
        if scope == "section":
            return [Part(f"{machine_type}_{section}", (machine_type,), section) for machine_type, section in ids]
        return [Part(machine_type, (machine_type,)) for machine_type in types]

    def is_finished(self, part: Part) -> bool:
        """True if the part's scores are there."""
        return (self.directory / f"summary_{part.name}.json").is_file()


def plan_runs(
    store: Store, root: Path, models: Sequence[str], profile: str, seeds: int, epochs: int | None = None
) -> list[Run]:
    """The runs of a benchmark, model by model. A model that trains nothing has no use for a second seed.

    Raises
    ------
    UsageError
        An unknown model or profile, or no seed.
    """
    if seeds < 1 or (epochs is not None and epochs < 1):
        raise UsageError(f"expected at least one seed and one epoch, found {seeds} and {epochs}")
    if not models:
        raise UsageError("expected at least one model")
    runs = []
    for model in dict.fromkeys(models):
        profiles = model_class(model).profiles
        if profile not in profiles:
            raise UsageError(f"{model} has no profile {profile!r}; choose one of {', '.join(profiles)}")
        trains = profiles[profile].epochs > 0
        own = epochs if trains and epochs != profiles[profile].epochs else None
        runs += [Run(store, root, model, profile, seed, own) for seed in range(seeds if trains else 1)]
    return runs


def choose_device(name: str = "auto") -> torch.device:
    """A device by its name; ``auto`` is a GPU if there is one.

    Raises
    ------
    UsageError
        There is no such device.
    """
    import torch

    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"no device {name!r}: {str(error).splitlines()[0]}") from None
    return device


def train_and_score(run: Run, part: Part, device: str = "auto", reporter: Reporter | None = None) -> None:
    """Train one part of a run and score its test clips; finished already: nothing to do.

    Raises
    ------
    UsageError
        The directory holds a run of other settings.
    DataError
        Training or scoring failed; see there.
    """
    check_config(run)
    if run.is_finished(part):
        return
    from mimiidg_build import scoring
    from mimiidg_build.dataset import ClipDataset
    from mimiidg_build.train import checkpoint

    chosen, begun = choose_device(device), time.monotonic()
    choice: dict[str, Any] = {"machine_types": part.machine_types, "sections": part.section, "seed": run.seed}
    training = ClipDataset(run.store, split="train", **choice)
    test = ClipDataset(run.store, split="test", **choice)
    if training.section_ids != test.section_ids:
        raise DataError(f"{part.name}: training clips of {training.section_ids}, test clips of {test.section_ids}")
    model = create(run.model, run.profile, len(training.section_ids), run.seed).to(chosen)
    losses = _train(run, part, model, training, reporter or Reporter())
    scoring.fit(model, training, chosen)
    told = (reporter or Reporter()).step(f"{_title(run, part)} scores", len(training) + len(test))
    threshold = scoring.thresholds(training, scoring.clip_scores(model, training, chosen, told))
    scoring.write(run.directory, test, scoring.clip_scores(model, test, chosen, told), threshold)
    checkpoint.save(run.directory / f"weights_{part.name}.pt", model.state_dict())
    summary = {
        "sections": training.section_ids,
        "n_training_clips": len(training),
        "n_test_clips": len(test),
        "n_parameters": model.n_trainable(),
        "epochs": len(losses),
        "last_loss": losses[-1].loss if losses else None,
        "threshold": threshold,
        "device": str(chosen),
        "duration_s": round(time.monotonic() - begun, 3),
    }
    _write_json(run.directory / f"summary_{part.name}.json", summary)
    checkpoint.checkpoint_path(run.directory, part.name).unlink(missing_ok=True)


def _title(run: Run, part: Part) -> str:
    return f"{run.model} {part.name} seed {run.seed}"


def _train(run: Run, part: Part, model: Detector, training: Any, reporter: Reporter) -> list[Any]:
    from mimiidg_build import train
    from mimiidg_build.train.checkpoint import EpochLoss

    if run.n_epochs == 0:
        return []
    title, n_windows = _title(run, part), train.training_windows(model, training)
    told = reporter.step(title, run.n_epochs * n_windows, "windows")

    def on_epoch(loss: EpochLoss) -> None:
        reporter.note(title, f"epoch {loss.epoch} of {run.n_epochs}, loss {loss.loss:.4g}")

    return train.train(model, training, run.directory, part.name, epochs=run.n_epochs, told=told, on_epoch=on_epoch)


def check_config(run: Run) -> None:
    """Write the run's configuration, or hold it against the one that is there.

    Raises
    ------
    UsageError
        They differ.
    """
    path, config = run.directory / "config.json", json.loads(json.dumps(run.config()))
    if not path.is_file():
        _write_json(path, config)
        return
    try:
        there = json.loads(path.read_text())
    except ValueError:
        raise DataError(f"{path} cannot be read. Remove {run.directory} to train anew.") from None
    if there != config:
        raise UsageError(
            f"{run.directory} holds a run of other settings: {there}, expected {config}. Move or remove it."
        )


def evaluate_run(run: Run) -> Evaluation:
    """Evaluate a finished run from its score files, and write ``results.json``.

    Raises
    ------
    DataError
        A part is not finished.
    """
    from mimiidg_build.scoring import read_scored

    unfinished = [part.name for part in run.parts() if not run.is_finished(part)]
    if unfinished:
        raise DataError(f"{run.directory}: {', '.join(unfinished)} not finished. Run the same benchmark again.")
    evaluation = evaluate(read_scored(run.directory, run.store))
    write_file(run.directory / "results.json", [evaluation.to_json().encode()])
    return evaluation


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_file(path, [json.dumps(content, indent=2).encode() + b"\n"])
