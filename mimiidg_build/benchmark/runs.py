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
    <score>/                    the same two of every further score of the model (``id``, ``oracle``, ...)
    results.json                every metric, once all parts are finished

A *part* is what one trained network serves: a machine type (``fan``), a section (``fan_00``), or ``all``. Parts depend
on nothing but the store, so they run in any order. The profile's name grows by the epochs where those are not its own,
and by the number of known anomalies (``-k16``).

A run with known anomalies goes on from the weights of the run without. The anomalies that it is told of are drawn from
each section's test clips by the seed, from both domains in turn, those of a smaller number among those of a larger, and
leave the test set. Runs that are compared are all evaluated without the most that any of them was told of.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.evaluate import evaluate
from mimiidg_build.evaluation.results import Evaluation
from mimiidg_build.evaluation.scored_clips import read_with_clip_table
from mimiidg_build.models import create, model_class
from mimiidg_build.progress import Reporter
from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.locks import file_lock
from mimiidg_build.storage.places import Place, local
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    import torch

    from mimiidg_build.models.base import Detector, Settings
    from mimiidg_build.training.clip_dataset import ClipDataset
    from mimiidg_build.training.loss_curve import EpochLoss


@dataclass(frozen=True)
class Part:
    """The sections that one trained network serves: all of the named machine types, or the one section."""

    name: str
    machine_types: tuple[str, ...]
    section: str | None = None


@dataclass(frozen=True)
class Run:
    """A model with a seed on a store.

    ``epochs`` is None where the profile's own hold; ``known_anomalies`` are so many of each section.
    """

    store: Store
    root: Place
    model: str
    profile: str
    seed: int
    epochs: int | None = None
    known_anomalies: int = 0

    @property
    def label(self) -> str:
        """The profile, the epochs where they are not its own, and the known anomalies if there are any."""
        epochs = "" if self.epochs is None else f"-{self.epochs}epochs"
        return f"{self.profile}{epochs}" + (f"-k{self.known_anomalies}" if self.known_anomalies else "")

    @property
    def directory(self) -> Path:
        """Where the run's files lie."""
        variant, name = self.store.attributes.variant.name, self.model.replace(":", ".")
        return local(self.root) / "runs" / variant / self.store.fingerprint / f"{name}-{self.label}-{self.seed}"

    @property
    def settings(self) -> Settings:
        """The profile's settings."""
        return model_class(self.model).profiles[self.profile]

    @property
    def n_epochs(self) -> int:
        """Epochs to train: of tuning, where anomalies are known."""
        if self.known_anomalies:
            return self.settings.tuning_epochs
        return self.settings.epochs if self.epochs is None else self.epochs

    @property
    def base(self) -> Run:
        """The run without known anomalies, from which one with them goes on."""
        return replace(self, known_anomalies=0)

    def told_of(self, sections: Iterable[str] | None = None) -> pd.DataFrame:
        """The known anomalies: rows of the store's clip table; of some sections (``"fan/00"``), by default all."""
        wanted = self.store.sections if sections is None else sections
        return pd.concat([draw_anomalies(self.store, name, self.known_anomalies, self.seed) for name in wanted])

    def config(self) -> dict[str, Any]:
        """What decides the results."""
        return {
            "model": self.model,
            "profile": self.profile,
            "settings": asdict(self.settings) | {"epochs": self.n_epochs},
            "seed": self.seed,
            "variant": self.store.attributes.variant.name,
            "fingerprint": self.store.fingerprint,
        } | ({"known_anomalies": self.known_anomalies} if self.known_anomalies else {})

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

    def summaries(self) -> list[dict[str, Any]]:
        """What was written of each part of a finished run."""
        return [json.loads((self.directory / f"summary_{part.name}.json").read_text()) for part in self.parts()]

    def is_finished(self, part: Part) -> bool:
        """True if the part's scores are there."""
        return (self.directory / f"summary_{part.name}.json").is_file()


def plan_runs(
    store: Store,
    root: Place,
    models: Sequence[str],
    profile: str,
    seeds: int,
    epochs: int | None = None,
    known_anomalies: Sequence[int] = (),
) -> list[Run]:
    """The runs of a benchmark, model by model. A model that trains nothing has no use for a second seed.

    Parameters
    ----------
    known_anomalies : sequence of int
        A run for each number of known anomalies per section; 0 is the run without.

    Raises
    ------
    UsageError
        An unknown model or profile, no seed, or known anomalies for a model that takes none or a store of too few.
    """
    if seeds < 1 or (epochs is not None and epochs < 1):
        raise UsageError(f"expected at least one seed and one epoch, found {seeds} and {epochs}")
    if not models:
        raise UsageError("expected at least one model")
    numbers = sorted(set(known_anomalies)) or [0]
    if numbers[0] < 0:
        raise UsageError(f"expected numbers of known anomalies from 0, found {numbers[0]}")
    for section in store.sections if numbers[-1] else ():
        draw_anomalies(store, section, numbers[-1], 0)  # raises where there are too few
    runs = []
    for model in dict.fromkeys(models):
        profiles = model_class(model).profiles
        if profile not in profiles:
            raise UsageError(f"{model} has no profile {profile!r}; choose one of {', '.join(profiles)}")
        trains = profiles[profile].epochs > 0
        if numbers[-1] and not profiles[profile].tuning_epochs:
            raise UsageError(f"{model} takes no known anomalies in its profile {profile!r}")
        own = epochs if trains and epochs != profiles[profile].epochs else None
        n_seeds = seeds if trains else 1
        runs += [Run(store, root, model, profile, seed, own, k) for k in numbers for seed in range(n_seeds)]
    return runs


def parts_of(runs: Sequence[Run]) -> list[tuple[Run, Part]]:
    """All parts to train; first those of models with few, which take longest, so that no worker ends up waiting."""
    parts = [(run, run.parts()) for run in runs]
    return [(run, part) for run, of in sorted(parts, key=lambda found: len(found[1])) for part in of]


def draw_anomalies(store: Store, section: str, k: int, seed: int) -> pd.DataFrame:
    """The ``k`` anomalies of a section (``"fan/00"``) that a training may be told of: rows of the clip table.

    Drawn by the digest of seed and clip, from each domain in turn. So the first of a larger number are those of a
    smaller, and what is left to test with is as even.

    Raises
    ------
    UsageError
        None of a domain would be left to test with.
    """
    machine_type, number = section.split("/")
    clips = store.clips
    wanted = (clips["machine_type"] == machine_type) & (clips["section"] == number) & (clips["split"] == "test")
    anomalies = clips[wanted & (clips["condition"] == "anomaly")]
    drawn = [hashlib.sha256(f"{seed}/{section}/{clip}".encode()).digest() for clip in anomalies["clip"]]
    anomalies = anomalies.iloc[sorted(range(len(drawn)), key=drawn.__getitem__)]
    in_turn = anomalies.groupby("domain").cumcount().sort_values(kind="stable").index
    known, left = anomalies.loc[in_turn[:k]], anomalies.loc[in_turn[k:]]
    if set(left["domain"]) != set(anomalies["domain"]):
        raise UsageError(
            f"{section} of {store.path} has {len(anomalies)} anomalies: {k} known ones would leave none of a domain "
            "to test with"
        )
    return known


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
    with file_lock(run.directory / f".lock_{part.name}"):  # a run with known anomalies may wait for the one without
        if not run.is_finished(part):
            if run.known_anomalies:
                train_and_score(run.base, part, device, reporter)
            _train_and_score(run, part, device, reporter or Reporter())


def _train_and_score(run: Run, part: Part, device: str, reporter: Reporter) -> None:
    from mimiidg_build.models.base import MAIN
    from mimiidg_build.training import checkpoint, scoring
    from mimiidg_build.training.clip_dataset import ClipDataset

    chosen, begun = choose_device(device), time.monotonic()
    cls = model_class(run.model)
    choice: dict[str, Any] = {"machine_types": part.machine_types, "sections": part.section}
    choice |= {"features": cls.takes, "seed": run.seed}
    training = ClipDataset(run.store, split="train", **choice)
    known = run.told_of(map(str, training.section_ids)) if run.known_anomalies else None
    test = ClipDataset(run.store, split="test", without=known, **choice)
    if training.section_ids != test.section_ids:
        sections = [" ".join(map(str, clips.section_ids)) for clips in (training, test)]
        raise DataError(f"{part.name}: training clips of {sections[0]}, test clips of {sections[1]}")
    pool = training
    if cls.uses_outliers or known is not None:
        pool = ClipDataset.training_pool(run.store, outliers=cls.uses_outliers, known_anomalies=known, **choice)
    model = create(run.model, run.profile, len(training.section_ids), run.seed).to(chosen)
    if run.known_anomalies:
        checkpoint.load_weights(checkpoint.weights_path(run.base.directory, part.name), model)
    losses = _train(run, part, model, pool, reporter)
    scoring.fit(model, training, chosen)
    told = reporter.step(f"{_title(run, part)} scores", len(training) + len(test))
    threshold = scoring.score(model, training, test, chosen, run.directory, told)
    checkpoint.save_weights(checkpoint.weights_path(run.directory, part.name), model)
    summary = {
        "sections": [str(section) for section in training.section_ids],
        "n_training_clips": len(training),
        "n_outlier_clips": len(pool) - len(training) - (0 if known is None else len(known)),
        "known_anomalies": [] if known is None else known["clip"].tolist(),
        "n_test_clips": len(test),
        "n_parameters": model.n_trainable(),
        "epochs": len(losses),
        "last_loss": losses[-1].loss if losses else None,
        "scores": list(threshold),
        "threshold": threshold[MAIN],
        "device": str(chosen),
        "training_s": round(sum(loss.duration_s for loss in losses), 3),
        "duration_s": round(time.monotonic() - begun, 3),
    }
    _write_json(run.directory / f"summary_{part.name}.json", summary)
    checkpoint.checkpoint_path(run.directory, part.name).unlink(missing_ok=True)


def _title(run: Run, part: Part) -> str:
    known = f" k = {run.known_anomalies}" if run.known_anomalies else ""
    return f"{run.model} {part.name} seed {run.seed}{known}"


def _train(run: Run, part: Part, model: Detector, pool: ClipDataset, reporter: Reporter) -> list[EpochLoss]:
    from mimiidg_build.training import train

    if run.n_epochs == 0:
        return []
    title, tuning = _title(run, part), run.known_anomalies > 0
    told = reporter.step(title, train.training_windows(model, pool, run.n_epochs, tuning), "windows")

    def on_epoch(loss: EpochLoss) -> None:
        reporter.note(title, f"epoch {loss.epoch} of {run.n_epochs}, loss {loss.loss:.4g}")

    return train.train(
        model, pool, run.directory, part.name, epochs=run.n_epochs, tuning=tuning, on_progress=told, on_epoch=on_epoch
    )


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
        found, expected = (_flat(of) for of in (there, config))
        differ = [
            f"{name} {found.get(name)!r}, expected {expected.get(name)!r}"
            for name in expected | found
            if found.get(name) != expected.get(name)
        ]
        what = "; ".join(differ) or "a setting that is not there"
        raise UsageError(f"{run.directory} holds a run of other settings: {what}. Move or remove it.")


def _flat(config: Any) -> dict[str, Any]:
    """A configuration's values by name, settings among them.

    >>> _flat({"seed": 0, "settings": {"epochs": 3}})
    {'seed': 0, 'epochs': 3}
    """
    of = dict(config) if isinstance(config, dict) else {"content": config}
    settings = of.pop("settings", None)
    return of | (settings if isinstance(settings, dict) else {})


def evaluate_run(run: Run, left_out: int = 0) -> dict[str, Evaluation]:
    """Evaluate a finished run from its score files, by the scores' names, and write ``results.json``.

    Parameters
    ----------
    run : Run
    left_out : int
        Where runs with more known anomalies are compared with this one: how many. The evaluation that is returned is
        then without those, ``results.json`` is of all clips that the run was tested on.

    Raises
    ------
    DataError
        A part is not finished.
    """
    unfinished = [part.name for part in run.parts() if not run.is_finished(part)]
    if unfinished:
        raise DataError(f"{run.directory}: {', '.join(unfinished)} not finished. Run the same benchmark again.")
    test = run.store.clips[run.store.clips["split"] == "test"]
    test = test.drop(index=run.told_of().index)
    found = {}
    for name in run.summaries()[0]["scores"]:
        scored = read_with_clip_table(run.directory / name, test)
        found[name] = evaluate(scored)
        write_file(run.directory / name / "results.json", [found[name].to_json().encode()])
        if left_out > run.known_anomalies:
            found[name] = evaluate(_without(scored, replace(run, known_anomalies=left_out).told_of()))
    return found


def _without(scored: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Scored clips but for some, which are rows of the clip table."""
    names = zip(clips["machine_type"], clips["section"], clips["clip"] + ".wav", strict=True)
    keys = pd.MultiIndex.from_frame(scored[["machine_type", "section", "file_name"]])
    return scored[~keys.isin(list(names))].reset_index(drop=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_file(path, [json.dumps(content, indent=2).encode() + b"\n"])
