"""Levels: power and peak of every clip of an archive, and the cross-power of noise layers that are added together.

Measured once per archive and cached beside it, ROOT/archives/<record>/<file>.levels.parquet, under the archive's
checksum: every variant of a dataset reads the same levels. Those of another channel than the first, of all channels
together, or at another rate than the files' are cached apart, in <file>.<what>.levels.parquet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, NamedTuple

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
BLOCK = 12  # noise clips of 1.3 MB at hand, and as many that they are multiplied with
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
    inflated, forms = inflated or InflatedMembers(), {n: form._replace(n_samples=n) for n in set(lengths.values())}
    return [
        (member, *level(forms[n].decode(inflated.read_first(archive, member), f"{archive.name}: {member}")))
        for member, n in lengths.items()
    ]


class ArchiveClips(NamedTuple):
    """An archive, its checksum (levels of another content are not used), and its clips, each with the number of samples
    that it is expected to have."""

    path: Place
    checksum: str
    lengths: Mapping[str, int]


def load_levels(
    archives: Sequence[ArchiveClips],
    run: Runner,
    on_progress: OnProgress = no_progress,
    form: ClipFormat = FIRST_CHANNEL,
    inflated: InflatedMembers | None = None,
) -> list[pd.DataFrame]:
    """Levels of archives' clips: from the cache, or measured and cached.

    Parameters
    ----------
    archives : sequence of ArchiveClips
        The levels of each are cached beside it.
    run : Runner
        Where the tasks run: those of all archives at once, so that no worker waits at an archive's end.
    on_progress : callable
        Called with how many more clips are done.
    form : ClipFormat
        What else the clips are held to, and which channel of them is measured.
    inflated : InflatedMembers, optional
        Keeps those that it expects to be read again, if they are measured.

    Returns
    -------
    list of pd.DataFrame
        For each archive a Levels table, indexed by member.

    Raises
    ------
    DataError
        A clip cannot be read, or is not what the release says; what was not measured whole is not cached then.
    """
    tables: dict[int, pd.DataFrame] = {}
    for number, archive in enumerate(archives):
        table = read_cached(_cached(archive.path, form), _identity(archive, form))
        if table is not None:
            tables[number] = table
            on_progress(len(archive.lengths))
    missing = {number: archive for number, archive in enumerate(archives) if number not in tables}
    if missing:
        tables |= _measure(missing, form, run, on_progress, inflated)
    return [tables[number].set_index("member", drop=False) for number in range(len(archives))]


def _cached(archive: Place, form: ClipFormat) -> Place:
    return archive.with_name(f"{archive.name}{_named(form)}.levels.parquet")


def _identity(archive: ArchiveClips, form: ClipFormat) -> str:
    """What the levels of an archive depend on."""
    # sorted: levels are looked up by member, so the order of the clips does not matter
    content: list[object] = [LEVELS_VERSION, archive.checksum, sorted(archive.lengths.items())]
    apart, usual = ([f.sample_rate, f.channel, f.channels] for f in (form, FIRST_CHANNEL))
    if apart != usual:
        content.append(apart)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _named(form: ClipFormat) -> str:
    """What tells the levels of some channels and rate apart from others, in a file's name.

    >>> _named(FIRST_CHANNEL), _named(ClipFormat(sample_rate=8000, channel="all"))
    ('', '.channel-all.8000Hz')
    """
    channel = "" if form.channel == FIRST_CHANNEL.channel else f".channel-{form.channel}"
    return channel + ("" if form.sample_rate == FIRST_CHANNEL.sample_rate else f".{form.sample_rate}Hz")


Measured = list[tuple[str, float, float]]


def _measure(
    archives: Mapping[int, ArchiveClips],
    form: ClipFormat,
    run: Runner,
    on_progress: OnProgress,
    inflated: InflatedMembers | None,
) -> dict[int, pd.DataFrame]:
    """Levels tables of archives, by their numbers, the clips in their order; each is cached when its last clip is
    measured, so that a run that is stopped begins again with the others."""
    tables: dict[int, pd.DataFrame] = {}
    batches: dict[int, list[Measured | None]] = {}

    def note(result: tuple[int, int, Measured]) -> None:
        number, batch, rows = result
        batches[number][batch] = rows
        on_progress(len(rows))
        if None not in batches[number]:
            measured = [row for rows in batches.pop(number) for row in rows or ()]
            frame = pd.DataFrame(measured, columns=["member", "power", "peak"])
            tables[number] = Levels.validate(frame, lazy=True)
            write_cached(_cached(archives[number].path, form), tables[number], _identity(archives[number], form))

    with ExitStack() as opened:
        tasks: list[tuple[Any, ...]] = []
        for number, (path, _, lengths) in archives.items():
            archive, clips = opened.enter_context(open_archive(path)), list(lengths.items())
            parts = [dict(clips[i : i + TASK_CLIPS]) for i in range(0, max(1, len(clips)), TASK_CLIPS)]
            batches[number] = [None] * len(parts)
            tasks += [(number, batch, archive, part, form, inflated) for batch, part in enumerate(parts)]
        run(_measure_batch, tasks, note)
    return tables


def _measure_batch(number: int, batch: int, *arguments: Any) -> tuple[int, int, Measured]:
    """See :func:`measure_members`; with which archive and which part of it this is."""
    return number, batch, measure_members(*arguments)


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

    @lru_cache(maxsize=2 * BLOCK)
    def read(drawn: NoiseDraw) -> npt.NDArray[np.float64]:
        return banks[drawn.kind].read(drawn.row).astype(np.float64)

    # sections draw from few noise clips: most pairs come up several times
    powers: dict[tuple[NoiseDraw, ...], float] = {
        # not np.dot, for the reasons given in audio.level
        (first, second): float(np.einsum("i,i->", read(first), read(second))) / banks[first.kind].n_samples
        for first, second in _in_blocks({(layers[0], layers[1]) for layers in drawn if len(layers) == 2})
    }
    return np.array([powers.get(tuple(layers), 0.0) for layers in drawn])


def _in_blocks(pairs: Set[tuple[NoiseDraw, NoiseDraw]]) -> list[tuple[NoiseDraw, NoiseDraw]]:
    """Pairs in an order that reads each second clip once for a block of first ones.

    As they are drawn, with 64 clips at hand, planning 18,000 clips took 320 MB and 1.5 s; so it takes 267 MB and 1.2 s.

    >>> a, b, c, d = (NoiseDraw("A", row) for row in range(4))
    >>> [(x.row, y.row) for x, y in _in_blocks({(a, d), (b, c), (b, d), (a, c)})]
    [(0, 2), (1, 2), (0, 3), (1, 3)]
    """
    blocks = {first: rank // BLOCK for rank, first in enumerate(sorted({first for first, _ in pairs}))}
    return sorted(pairs, key=lambda pair: (blocks[pair[0]], pair[1], pair[0]))
