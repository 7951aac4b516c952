"""Where the attention network looks: attention maps of a clip, and their statistics over a whole test set.

Conventions
-----------
Images and maps are (channel, mel, frame); a network's channels are ``logmel``, ``wavegram`` or one of them, and each
has a map of its own. A map's mean and standard deviation are taken over clips and frames, per mel bin: Figure 4 of Neri
and Carli (2024), as a curve. The Wavegram's rows are learned and have no frequency. Figures: :mod:`.attention_figures`.
"""

from __future__ import annotations

import difflib
import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.run_files import summary_path
from mimiidg_build.benchmark.runs import Run, check_config
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.benchmark.train_network import choose_device
from mimiidg_build.errors import UsageError
from mimiidg_build.models import UNCHANGED, Changes, create
from mimiidg_build.parallel.memory import keep_all_freed_memory
from mimiidg_build.progress import Reporter
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store

if TYPE_CHECKING:
    from mimiidg_build.models.attention import Attention

CLIPS_AT_ONCE = 16
EVERY = "all"  # in place of a machine type: the clips of all of them

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClipMaps:
    """What the network makes of one clip.

    Attributes
    ----------
    name : str
        ``fan/section_00_...``
    channels : tuple of str
    images, maps : np.ndarray [shape=(n_channels, n_mels, n_frames)]
        The log-mel in dB; maps in (0, 1).
    """

    name: str
    channels: tuple[str, ...]
    images: Array
    maps: Array


@dataclass(frozen=True)
class MapStatistics:
    """Mean and standard deviation of one map by mel bin [shape=(n_mels,)], over frames and ``n_clips`` test clips."""

    machine_type: str
    condition: str
    channel: str
    n_clips: int
    mean: Array
    standard_deviation: Array


def trained_run(
    store: Store,
    root: Place,
    model: str,
    profile: str,
    seed: int,
    epochs: int | None = None,
    changes: Changes = UNCHANGED,
) -> Run:
    """The finished run of a model on a store.

    Parameters
    ----------
    store : Store
    root : Place
        Its runs are in ROOT/runs.
    model, profile : str
    seed : int
        Of the training.
    epochs : int, optional
        Of the training, where they are not the profile's.
    changes : mapping of str to object, optional
        Settings of the training in place of the profile's.

    Returns
    -------
    Run

    Raises
    ------
    UsageError
        There is none; the message has the command that trains it.
    """
    # planned as a benchmark plans it, so that the folder is the same
    planned = plan_runs(store, root, [model], profile, seed + 1, epochs, changes=changes)
    (run,) = (run for run in planned if run.seed == seed)
    if all(run.is_finished(network) for network in run.networks()):
        check_config(run)
        return run
    command = f"mimiidg benchmark {store.attributes.variant.name} --model {model} --profile {profile}"
    command += "" if epochs is None else f" --epochs {epochs}"
    command += "".join(f" --set {shlex.quote(f'{key}={_as_toml(value)}')}" for key, value in run.changes.items())
    command += f" --seeds {seed + 1}" if seed else ""
    finished = summary_path(run.directory.with_name(f"{model}-*-*"), "all").relative_to(run.directory.parent)
    there = sorted(path.parent.name for path in run.directory.parent.glob(str(finished)))
    found = f"; trained are {', '.join(there)}" if there else ""
    raise UsageError(f"{run.directory} holds no trained network{found}. To train it: {command} --root {root}")


def _as_toml(value: object) -> str:
    """A setting's value as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def find_clip(store: Store, name: str, machine_type: str | None = None) -> pd.Series[Any]:
    """A clip's row of the clip table, by its name.

    Parameters
    ----------
    store : Store
    name : str
        With or without its machine type (``fan/section_00_...``), and with or without ``.wav``.
    machine_type : str, optional
        Where the name does not say it.

    Returns
    -------
    pd.Series
        A row of ``schemas.tables.StoredClips``.

    Raises
    ------
    UsageError
        No clip has that name, or clips of several machine types have.
    """
    typed, _, bare = name.removesuffix(".wav").rpartition("/")
    if typed and machine_type and typed != machine_type:
        raise UsageError(f"--clip {name} is of {typed}, --machine-type says {machine_type}")
    clips = store.clips
    wanted = clips["clip"] == bare
    if typed or machine_type:
        wanted &= clips["machine_type"] == (typed or machine_type)
    found = clips[wanted]
    if len(found) == 1:
        return found.iloc[0]
    if len(found):
        names = ", ".join(found["machine_type"] + "/" + found["clip"])
        raise UsageError(f"{len(found)} clips are called {bare}: {names}. Say which, or give --machine-type.")
    full = (clips["machine_type"] + "/" + clips["clip"]).tolist()
    near = difflib.get_close_matches(f"{typed or machine_type or clips['machine_type'].iloc[0]}/{bare}", full, 3, 0.5)
    raise UsageError(f"{store.path} has no clip {name!r}. Did you mean {', '.join(near or full[:3])}?")


class Explainer:
    """A trained attention network and its store.

    Raises
    ------
    UsageError
        The model has no attention map.
    """

    def __init__(self, run: Run, device: str = "auto") -> None:
        from mimiidg_build.training import checkpoint
        from mimiidg_build.training.clip_length import shortest

        (network,) = run.networks()
        keep_all_freed_memory()
        self.run, self._device = run, choose_device(device)
        own = [SectionId.parse(name) for name in sections_with(run.store, "train")]
        # as when it was trained: its classes and its clips
        self._length = shortest(run.store, own, "audio")
        created: Any = create(run.model, run.profile, len(own), run.seed, self._length, run.changes)
        if getattr(created, "attention", None) is None:
            raise UsageError(f"{run.model} has no attention map to show")
        checkpoint.load_weights(checkpoint.weights_path(run.directory, network.name), created)
        self._model: Attention = created.to(self._device)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """What the maps are of."""
        return tuple(self._model.channels)

    def clip(self, row: pd.Series[Any]) -> ClipMaps:
        """Images and maps of one clip, a row of the store's clip table."""
        from mimiidg_build.training.clip_dataset import ClipDataset

        section = str(SectionId(row["machine_type"], row["section"]))
        # no budget: the default would read the whole section for one clip
        clips = ClipDataset(
            self.run.store, sections=section, features="audio", memory_budget_bytes=0, length=self._length
        )
        numbers = np.flatnonzero(clips.clips["row"] == row["row"])
        images, maps = self._model.maps(clips.read(numbers).to(self._device))
        found = [batch[0].double().cpu().numpy() for batch in (images, maps)]
        return ClipMaps(f"{row['machine_type']}/{row['clip']}", self.channels, found[0], found[1])

    def statistics(self, reporter: Reporter | None = None) -> list[MapStatistics]:
        """Mean and standard deviation of the maps over the test set, by machine type (and of all) and condition."""
        from mimiidg_build.training.clip_dataset import ClipDataset

        test = ClipDataset(self.run.store, split="test", features="audio", memory_budget_bytes=0, length=self._length)
        on_progress = (reporter or Reporter()).step(f"{self.run.model} maps", len(test))
        # the mean square beside the mean, clip by clip: the maps of a whole test set would not fit in memory
        means, squares = [], []
        for numbers in np.split(np.arange(len(test)), range(CLIPS_AT_ONCE, len(test), CLIPS_AT_ONCE)):
            maps = self._model.maps(test.read(numbers).to(self._device))[1].double()
            means.append(maps.mean(dim=3).cpu().numpy())
            squares.append(maps.square().mean(dim=3).cpu().numpy())
            on_progress(len(numbers))
        mean, square = np.concatenate(means), np.concatenate(squares)
        types = [EVERY, *test.clips["machine_type"].unique()]
        return [
            _statistics(mean[rows, number], square[rows, number], machine_type, condition, channel)
            for machine_type in types
            for condition in ("normal", "anomaly")
            for number, channel in enumerate(self.channels)
            if (rows := _rows(test.clips, machine_type, condition)).any()
        ]


def _rows(clips: pd.DataFrame, machine_type: str, condition: str) -> npt.NDArray[np.bool_]:
    is_type = (clips["machine_type"] == machine_type) | (machine_type == EVERY)
    return (is_type & (clips["condition"] == condition)).to_numpy()


def _statistics(mean: Array, square: Array, machine_type: str, condition: str, channel: str) -> MapStatistics:
    """From each clip's mean and mean square [shape=(n_clips, n_mels)]."""
    whole = mean.mean(axis=0)
    variance = np.maximum(square.mean(axis=0) - whole**2, 0)  # rounding may take it below 0
    return MapStatistics(machine_type, condition, channel, len(mean), whole, np.sqrt(variance))


def mel_hz() -> Array:
    """Centre frequencies of the mel bins [shape=(n_mels,)]."""
    from mimiidg_build.models.attention.inputs import mel_edges_hz

    return mel_edges_hz()[1:-1]
