"""Levels: power and peak of every clip of an archive, and the cross-power of noise layers that are added together.

Measured once per archive and cached beside it, ROOT/archives/<record>/<file>.levels.parquet, under the archive's
checksum: every variant of a dataset reads the same levels. Those of another channel than the first, of all channels
together, or at another rate than the files' are cached apart, in <file>.<what>.levels.parquet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.inflated import InflatedMembers
from mimiidg_build.audio.level import level
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.mixing.draws import NoiseDraw
from mimiidg_build.mixing.noise_bank import NoiseBank
from mimiidg_build.parallel.memory import keep_freed_memory
from mimiidg_build.parallel.runner import Runner
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.schemas.tables import Levels
from mimiidg_build.storage.cached_table import read_cached, write_cached
from mimiidg_build.storage.places import Place

LEVELS_VERSION = "levels-1"  # levels that another version measured are measured again
FIRST_CHANNEL = ClipFormat()
TASK_CLIPS = 64  # 0.1 s of work: long beside what handing out a task takes, short enough to spread evenly


def measure_members(
    archive: Archive,
    lengths: Mapping[str, int],
    form: ClipFormat = FIRST_CHANNEL,
    inflated: InflatedMembers | None = None,
) -> list[tuple[str, float, float]]:
    """Measure some clips of an archive.

    Parameters
    ----------
    archive : Archive
        Open: its directory is read once, however many tasks there are.
    lengths : mapping of str to int
        The clips, each with the number of samples that it is expected to have.
    form : ClipFormat
        What else they are held to, and which channel of them is measured.
    inflated : InflatedMembers, optional
        Keeps those that it expects to be read again.

    Returns
    -------
    list of (member, power, peak)
        Mean square and largest absolute value over what is kept of a clip, at full scale 1.

    Raises
    ------
    DataError
        A clip cannot be read, or is not what the release says.
    """
    keep_freed_memory()
    inflated, name = inflated or InflatedMembers(), archive.path.name
    return [
        (member, *level(form._replace(n_samples=n).decode(inflated.read_first(archive, member), f"{name}: {member}")))
        for member, n in lengths.items()
    ]


def load_levels(
    path: Place,
    checksum: str,
    lengths: Mapping[str, int],
    run: Runner,
    on_progress: OnProgress = no_progress,
    form: ClipFormat = FIRST_CHANNEL,
    inflated: InflatedMembers | None = None,
) -> pd.DataFrame:
    """Levels of an archive's clips: from the cache, or measured and cached.

    Parameters
    ----------
    path : Place
        The archive; its levels are cached beside it.
    checksum : str
        Of the archive: levels of another content are not used.
    lengths : mapping of str to int
        The clips, each with the number of samples that it is expected to have.
    run : Runner
        Where the tasks run.
    on_progress : callable
        Called with how many more clips are done.
    form : ClipFormat
        What else the clips are held to, and which channel of them is measured.
    inflated : InflatedMembers, optional
        Keeps those that it expects to be read again, if they are measured.

    Returns
    -------
    pd.DataFrame
        A Levels table, indexed by member.

    Raises
    ------
    DataError
        A clip cannot be read, or is not what the release says; then nothing is cached.
    """
    cached = path.with_name(f"{path.name}{_named(form)}.levels.parquet")
    # sorted: levels are looked up by member, so the order of the clips does not matter
    content: list[object] = [LEVELS_VERSION, checksum, sorted(lengths.items())]
    apart, usual = ([f.sample_rate, f.channel, f.channels] for f in (form, FIRST_CHANNEL))
    if apart != usual:
        content.append(apart)
    identity = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    table = read_cached(cached, identity)
    if table is None:
        table = _measure(path, lengths, form, run, on_progress, inflated)
        write_cached(cached, table, identity)
    else:
        on_progress(len(lengths))
    return table.set_index("member", drop=False)


def _named(form: ClipFormat) -> str:
    """What tells the levels of some channels and rate apart from others, in a file's name.

    >>> _named(FIRST_CHANNEL), _named(ClipFormat(sample_rate=8000, channel="all"))
    ('', '.channel-all.8000Hz')
    """
    channel = "" if form.channel == FIRST_CHANNEL.channel else f".channel-{form.channel}"
    return channel + ("" if form.sample_rate == FIRST_CHANNEL.sample_rate else f".{form.sample_rate}Hz")


def _measure(
    path: Place,
    lengths: Mapping[str, int],
    form: ClipFormat,
    run: Runner,
    on_progress: OnProgress,
    inflated: InflatedMembers | None,
) -> pd.DataFrame:
    """A Levels table of the clips, in their order, measured in tasks."""
    clips = list(lengths.items())
    with open_archive(path) as archive:
        tasks = [(archive, dict(clips[i : i + TASK_CLIPS]), form, inflated) for i in range(0, len(clips), TASK_CLIPS)]
        measured = run(measure_members, tasks, lambda rows: on_progress(len(rows)))
    rows = [row for batch in measured for row in batch]
    return Levels.validate(pd.DataFrame(rows, columns=["member", "power", "peak"]), lazy=True)


def cross_powers(drawn: Sequence[Sequence[NoiseDraw]], banks: Mapping[str, NoiseBank]) -> npt.NDArray[np.float64]:
    """The cross-power of every clip's two noise layers, mean(n1 n2), or 0 where it has fewer.

    Parameters
    ----------
    drawn : sequence of sequence of NoiseDraw
        A clip's layers, for every clip.
    banks : mapping of kind to NoiseBank

    Returns
    -------
    np.ndarray [shape=(n_clips,)], float64
        At full scale 1.
    """

    @lru_cache(maxsize=64)  # of 1.3 MB each
    def read(drawn: NoiseDraw) -> npt.NDArray[np.float64]:
        return banks[drawn.kind].read(drawn.row).astype(np.float64)

    @cache  # sections draw from few noise clips: most pairs come up several times
    def cross_power(first: NoiseDraw, second: NoiseDraw) -> float:
        # not np.dot, for the reasons given in audio.level
        return float(np.einsum("i,i->", read(first), read(second))) / banks[first.kind].n_samples

    return np.array([cross_power(*layers) if len(layers) == 2 else 0.0 for layers in drawn])
