"""Noise that a training adds to its clips: noise clips that training clips of the store were mixed with, no others.

The store's mix plan says which those are. So nothing is added that test clips alone hold, also where a variant parts
its recordings between training and test clips (``split = true``). They are read from the store's noise banks and, for
models of log-mels, analysed as the store's clips were; both once a training, of which at most ``NOISE_BYTES`` are held:
where there are more, each section has as many as its share holds, drawn by the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mimiidg_build.audio.level import FULL_SCALE, level
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.features import clip_features
from mimiidg_build.models import model_class
from mimiidg_build.schemas.manifests import MAX_LAYERS
from mimiidg_build.schemas.sections import section_names
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    from mimiidg_build.benchmark.runs import Network, Run
    from mimiidg_build.build.stored_noise import NoiseBank
    from mimiidg_build.models.augmentation import Noise
    from mimiidg_build.training.clip_dataset import ClipDataset

NOISE_BYTES = 256 * 2**20  # 1,600 log-mels of 10 s, or 800 clips of audio

BankRow = tuple["NoiseBank", int]  # a noise clip


def check_noise(runs: Iterable[Run]) -> None:
    """Refuse to add noise that a store does not have, before any work; all runs are on one store.

    Raises
    ------
    UsageError
        The store's clips are as they were recorded, or of several channels, or its log-mels are none of power.
    DataError
        Noise of a section is gone.
    """
    noisy = [run for run in runs if run.settings.noise]
    for model in dict.fromkeys(run.model for run in noisy):
        _check_features(noisy[0].store, model)
    if noisy:
        banks = _Banks(noisy[0].store)
        for section in sections_with(banks.store, "train"):
            banks.noise_of(section)


def _check_features(store: Store, model: str) -> None:
    power = store.attributes.variant.features.power
    if model_class(model).takes == "logmel" and power != 2:
        raise UsageError(
            f"the setting noise adds powers, and the log-mels of {store.path} are of magnitudes (features.power = "
            f"{power}), which do not add up. Build the variant with power = 2, or leave the setting out."
        )
    for name, section in store.sections.items():
        if section.audio.channels is not None:
            raise UsageError(
                f"the setting noise adds noise to clips of one channel, and {name} of {store.path} has "
                f"{section.audio.channels}. Build the variant with one (`channels = 0`), or leave the setting out."
            )


class _Banks:
    """The noise banks of a store, each opened once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._opened: dict[tuple[str, int], NoiseBank] = {}

    def noise_of(self, section: str) -> list[BankRow]:
        """The noise clips that training clips of a section (``"fan/00"``) hold, each once, in a fixed order.

        Raises
        ------
        UsageError
            They hold none.
        DataError
            A bank is gone, or lacks one of them.
        """
        named = training_noise_clips(self.store, section)
        rows = {kind: self._rows(section, kind) for kind in dict.fromkeys(kind for kind, _ in named)}
        for kind, clip in named:
            if clip not in rows[kind][1]:
                raise DataError(
                    f"{self.store.path}: training clips of {section} hold the noise clip {clip} of kind {kind}, which "
                    f"{rows[kind][0].path} does not have. Build the variant again."
                )
        return [(rows[kind][0], rows[kind][1][clip]) for kind, clip in named]

    def _rows(self, section: str, kind: str) -> tuple[NoiseBank, dict[str, int]]:
        # what fetches and mixes is imported where there is noise to find
        from mimiidg_build.build.stored_noise import stored_noise_bank

        audio = self.store.sections[section].audio
        key = kind, audio.n_samples  # all clips of a store have one rate
        if key not in self._opened:
            self._opened[key] = stored_noise_bank(self.store, kind, audio)
        bank = self._opened[key]
        return bank, dict(zip(bank.table["noise_clip"], bank.table["row"].tolist(), strict=True))


def training_noise_clips(store: Store, section: str) -> list[tuple[str, str]]:
    """Kinds and names of the noise clips that training clips of a section (``"fan/00"``) hold, each once, sorted.

    Raises
    ------
    UsageError
        They hold none.
    """
    plan = store.mix_plan.iloc[_training_rows(store, section)]  # row for row with the clip table
    layers = [zip(plan[f"noise_{n}_kind"], plan[f"noise_{n}_clip"], strict=True) for n in range(1, MAX_LAYERS + 1)]
    found = sorted({(kind, clip) for layer in layers for kind, clip in layer if kind})
    if not found:
        raise UsageError(
            f"the setting noise adds noise from a store's own noise banks, and {section} of {store.path} was mixed "
            "with none. Build a variant that adds noise to it, or leave the setting out."
        )
    return found


def _training_rows(store: Store, section: str) -> npt.NDArray[np.intp]:
    rows = store.rows_by_section[section]
    return rows[(store.clips["split"].iloc[rows] == "train").to_numpy()]


def training_noise(run: Run, network: Network, pool: ClipDataset) -> Noise | None:
    """The noise of a training; None where its settings ask for none.

    Parameters
    ----------
    run : Run
    network : Network
    pool : ClipDataset
        The clips that the network is trained on.

    Returns
    -------
    Noise, optional
        On the CPU.

    Raises
    ------
    UsageError or DataError
        As :func:`check_noise`.
    """
    if not run.settings.noise:
        return None
    from mimiidg_build.training.reproducible import epoch_seed

    _check_features(run.store, run.model)
    banks, collected = _Banks(run.store), _Collected(run, pool)
    sections = list(dict.fromkeys(section_names(pool.clips)))  # as Labels.origin numbers them
    for section in sections:
        found = banks.noise_of(section)
        seed = epoch_seed(run.seed, f"{network.name}/noise/{section}", 0)  # the same in every epoch
        order = np.random.default_rng(seed).permutation(len(found))
        kept = sorted(order[: max(1, collected.capacity // len(sections))].tolist())
        collected.add(section, [found[number] for number in kept])
    return collected.noise()


class _Collected:
    """Noise clips as a model takes clips, each once, however many sections have it."""

    def __init__(self, run: Run, pool: ClipDataset) -> None:
        self._store, self._takes, self._length = run.store, model_class(run.model).takes, pool.n_frames
        self._rows: dict[tuple[str, int], int] = {}
        self._clips: list[npt.NDArray[Any]] = []
        self._power: list[float] = []
        self._sections: list[tuple[float, list[int]]] = []  # power of the recordings, rows of the noise clips
        bands = 1 if self._takes == "audio" else run.store.attributes.variant.features.n_mels
        self.capacity = NOISE_BYTES // (self._length * bands * (2 if self._takes == "audio" else 4))

    def add(self, section: str, noise: list[BankRow]) -> None:
        """Take what the next section may get.

        Raises
        ------
        DataError
            Its training clips are silent, so that no noise has an SNR.
        """
        summary = self._store.sections[section]
        rows = [self._row(bank, row, summary.audio.sample_rate) for bank, row in noise]
        # of the training clips alone, where the mix of the store went by all of the section's
        a = float(self._store.clips["power"].iloc[_training_rows(self._store, section)].mean())
        if a == 0:
            raise DataError(
                f"{self._store.path}: all training clips of {section} are silent: no noise has an SNR there."
            )
        self._sections.append((a * summary.attenuation**2, rows))

    def _row(self, bank: NoiseBank, row: int, sample_rate: int) -> int:
        key = bank.fingerprint, row
        if key not in self._rows:
            samples = in_16_bits(bank.read(row))
            self._rows[key] = len(self._clips)
            self._clips.append(self._as_taken(samples, sample_rate))
            self._power.append(level(samples)[0])
        return self._rows[key]

    def _as_taken(self, samples: npt.NDArray[np.int16], sample_rate: int) -> npt.NDArray[Any]:
        """A noise clip as the model takes clips, of the length of those that it is trained on."""
        from mimiidg_build.training.clip_length import fitted, time_axis

        values: npt.NDArray[Any] = samples
        if self._takes != "audio":
            values = clip_features(samples, self._store.attributes.variant.features, sample_rate)["logmel"]
        values = fitted(values[None], self._length, time_axis(self._takes))[0]
        return values

    def noise(self) -> Noise:
        """All of them, as the training takes them."""
        import torch

        from mimiidg_build.models.augmentation import Noise

        counts = [len(rows) for _, rows in self._sections]
        gains_db = [10 * math.log10(a / self._power[row]) for a, rows in self._sections for row in rows]
        return Noise(
            clips=torch.from_numpy(np.stack(self._clips)),
            clip_of=torch.tensor([row for _, rows in self._sections for row in rows]),
            gain_db=torch.tensor(gains_db, dtype=torch.float32),
            first=torch.tensor([sum(counts[:number]) for number in range(len(counts))]),
            count=torch.tensor(counts),
        )


def in_16_bits(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Samples as loud as 16 bits hold them: they are brought to their level when they are added.

    >>> in_16_bits(np.array([0.0, 0.1, -0.2], np.float32)).tolist()
    [0, 16384, -32767]
    """
    scaled: npt.NDArray[np.int16] = np.rint(samples * ((FULL_SCALE - 1) / np.abs(samples).max())).astype(np.int16)
    return scaled
