"""The gallery: a few clips of each section as spectrograms to look at and sounds to listen to, mixed and in parts.

Parts are as they stand in the mixture: y = machine + noise, machine = attenuation x with x from the archive, noise the
difference, so what was added is measured and not assumed. Spectrograms are log-mel as the store's, over one range of
levels a section; sounds are raised by one gain a section. So levels compare within a section. Samples are int16
[shape=(n_samples,)], of clips that keep several channels those of the first, or of the primary one where features
have a reference; that channel is then shown beside it.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Event

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile as sf

from mimiidg_build.audio.archive import Archive, open_archive
from mimiidg_build.audio.level import FULL_SCALE, Float32, Int16, level
from mimiidg_build.audio.wav import ClipFormat
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.datasets.manifest import shift_of
from mimiidg_build.errors import DataError
from mimiidg_build.features import SAMPLE_RATE, logmel, mel_from_hz
from mimiidg_build.fetch.archives import archive_path
from mimiidg_build.parallel.cores import n_cores
from mimiidg_build.progress import OnProgress, no_progress
from mimiidg_build.report.cells import with_minus
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import MAX_LAYERS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, snr_title

CELLS = (("source", "normal"), ("source", "anomaly"), ("target", "normal"), ("target", "anomaly"))
# of releases without domains, and clips whose condition nobody told
OTHER_CELLS = (("", "normal"), ("", "anomaly"), ("source", ""), ("target", ""), ("", ""))
DEPTH_DB = 60.0  # shown below a section's loudest bin
COMPRESSION = 0.9  # of Vorbis, which every current browser plays and which encodes thrice as fast as MP3
SOUND_BYTES_PER_S = 4000  # at that compression, of noise, which takes most: an eighth of its WAV
IMAGE_BYTES = 14_000  # of the page, that a spectrogram takes as text, about
SHORTEST_S = 1.0
MAX_GAIN_DB = 40.0
LOUDEST = 0.9  # of full scale, that the loudest part of a section is raised to
TICKS_KHZ = (0.5, 1, 2, 4)


@dataclass(frozen=True)
class Signal:
    """One spectrogram with its sound, both as data URIs. ``kind``: recording, reference, mixture, machine or noise."""

    kind: str
    title: str
    image: str
    sound: str
    level_db: float


@dataclass(frozen=True)
class Example:
    """One clip: the mixture first, then its parts where they are known."""

    domain: str
    condition: str
    clip: str
    attributes: str
    mixed: str
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class SectionExamples:
    """The examples of a section; ``gain_db`` is what its sounds were raised by."""

    machine_type: str
    section: str
    shift: str
    gain_db: float
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Gallery:
    """All sections; ``duration_s`` of each clip is shown. ``unknown`` says why parts are missing, if they are."""

    sections: tuple[SectionExamples, ...]
    duration_s: float
    unknown: str
    sample_rate: int = SAMPLE_RATE
    depth_db: float = DEPTH_DB

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Frequencies [kHz] and their height in a spectrogram, in %."""
        top, ticks = self.sample_rate / 2, [tick for tick in TICKS_KHZ if 2000 * tick < self.sample_rate]
        return [(f"{tick:g}", round(100 * float(mel_from_hz(1000 * tick) / mel_from_hz(top)), 2)) for tick in ticks]


def shown_duration_s(n_signals: int, room_bytes: int, clip_s: float) -> float:
    """Seconds of each clip that a page has room for, with picture and sound; whole tenths.

    Parameters
    ----------
    n_signals : int
        Pictures, each with its sound.
    room_bytes : int
    clip_s : float
        Duration of a clip: no more than that.

    Returns
    -------
    float
        At least ``SHORTEST_S``.

    Examples
    --------
    >>> shown_duration_s(135, 10_000_000, 10.0), shown_duration_s(270, 10_000_000, 10.0)
    (10.0, 4.3)
    """
    # base64: 4 characters for 3 bytes
    room_s = (room_bytes / max(n_signals, 1) - IMAGE_BYTES) * 3 / 4 / SOUND_BYTES_PER_S
    return max(SHORTEST_S, min(clip_s, math.floor(10 * room_s) / 10))


def prepare(store: Store) -> None:
    """Import and compile what a gallery needs: in the main thread Ctrl-C ends that, in others it is waited for."""
    store.audio(*store.attributes.section_ids[0])
    _image(logmel(np.zeros(SAMPLE_RATE, np.int16)), 0.0)


def make_gallery(
    store: Store,
    root: Place,
    room_bytes: int,
    on_progress: OnProgress = no_progress,
    stopped: Event | None = None,
) -> Gallery:
    """Choose, read, draw and encode the examples of every section.

    Parameters
    ----------
    store : Store
    root : Place
        Where the archives are; without them the parts of a mixture are not known.
    room_bytes : int
        Of the page, for all pictures and sounds: clips are shown as long as there is room for.
    on_progress : callable
        Called with 1 for each section that is done.
    stopped : threading.Event, optional
        Once it is set, from another thread, no further sound is read or encoded.

    Returns
    -------
    Gallery

    Raises
    ------
    DataError
        A recording in an archive is damaged.
    CancelledError
        It was stopped.
    """
    mixing = bool(store.mix_plan["added_noise_snr_db"].notna().any())
    clip_s = max(section.audio.seconds for section in store.attributes.sections.values())
    n_signals = 3 if mixing else 2 if store.attributes.variant.features.has_reference else 1
    shown_s = shown_duration_s(len(store.sections) * len(CELLS) * n_signals, room_bytes, clip_s)
    reader = ClipReader(store, root, shown_s, stopped)
    sections, shown = [], sections_with(store, "test")
    with ThreadPoolExecutor(n_cores()) as pool:  # encoding sound is most of the work, and lets other threads run
        for section in pool.map(lambda name: _section(reader, *SectionId.parse(name)), shown):
            sections.append(section)
            on_progress(1)
    return Gallery(tuple(sections), shown_s, reader.unknown if mixing else "", reader.sample_rate)


class ClipReader:
    """Reads examples: rows of the clip table joined with the mix plan, samples, and what the archives add."""

    def __init__(self, store: Store, root: Place, shown_s: float, stopped: Event | None = None) -> None:
        self.store, self.root = store, root
        # one for all sections: a variant's, or its dataset's
        self.sample_rate = next(iter(store.sections.values())).audio.sample_rate
        self.n_samples = round(shown_s * self.sample_rate)
        self._stopped = stopped or Event()
        columns = [name for name in store.mix_plan.columns if name not in store.clips.columns]
        self.table = pd.concat([store.clips, store.mix_plan[columns]], axis=1)
        self.unknown = ""
        # opened once for all clips; an Archive may be read by several threads
        self._archive: Callable[[Place], Archive] = cache(open_archive)

    def go_on(self) -> None:
        """Nothing, unless the gallery was stopped."""
        if self._stopped.is_set():
            raise CancelledError

    def chosen(self, machine_type: str, section: str) -> Iterator[pd.Series]:
        """One test clip a cell; the anomaly with the same attributes as the normal clip of its domain, if any."""
        own = self.table.iloc[self.store.rows_by_section[f"{machine_type}/{section}"]]
        test = own[own["split"] == "test"]
        first: dict[str, pd.Series] = {}
        for domain, condition in (*CELLS, *OTHER_CELLS):
            cell = test[(test["domain"] == domain) & (test["condition"] == condition)]
            if cell.empty:
                continue
            if domain in first:
                alike = cell["attributes"] == first[domain]["attributes"]
                cell = cell[alike] if alike.any() else cell
            yield first.setdefault(domain, cell.iloc[0]) if domain not in first else cell.iloc[0]

    def samples(self, row: pd.Series) -> dict[str, Int16]:
        """The clip's signals by kind (``Signal.kind``), as long as is shown."""
        self.go_on()
        stored: Int16 = np.asarray(self.store.audio(row["machine_type"], row["section"])[int(row["row"])])
        features = self.store.attributes.variant.features
        mixture = _channel(stored, features.primary_channel)
        if np.isnan(row["added_noise_snr_db"]):
            signals = {"recording": mixture}
            if features.has_reference:
                signals["reference"] = _channel(stored, features.reference_channel)
            return {kind: samples[: self.n_samples] for kind, samples in signals.items()}
        recording = self._recording(row)
        if recording is None:
            return {"mixture": mixture[: self.n_samples]}
        machine = np.rint(recording * row["attenuation"])
        noise = np.clip(mixture - machine, -FULL_SCALE, FULL_SCALE - 1)  # in float64, where nothing wraps
        signals = {"mixture": mixture, "machine": machine.astype(np.int16), "noise": noise.astype(np.int16)}
        return {kind: samples[: self.n_samples] for kind, samples in signals.items()}

    def _recording(self, row: pd.Series) -> Int16 | None:
        """The clip before mixing, if the archive that the store was built from is present."""
        record, _, name = str(row["archive"]).partition("/")
        path = archive_path(self.root, record, name)
        if not path.is_file():
            self.unknown = f"{path} is not there: `mimiidg fetch {self.store.attributes.dataset}` brings it back."
            return None
        member, audio = str(row["member"]), self.store.sections[f"{row['machine_type']}/{row['section']}"].audio
        # channels: what the file has to have is the dataset's to say, and does not stand in a store
        form = ClipFormat(audio.sample_rate, audio.n_samples, self.store.attributes.variant.channels, channels=None)
        samples = form.decode(self._archive(path).read(member), f"{name}: {member}")
        if level(samples)[0] != row["power"]:  # to the last bit: computed as the build did
            self.unknown = f"{path} is not the archive that the store was built from: {member} has another level."
            return None
        return _channel(samples, 0)


def _channel(samples: Int16, number: int) -> Int16:
    """One of samples [shape=(n_samples,) or (n_channels, n_samples)]."""
    return samples if samples.ndim == 1 else samples[number]


def _section(reader: ClipReader, machine_type: str, section: str) -> SectionExamples:
    rows = list(reader.chosen(machine_type, section))
    sounds = [reader.samples(row) for row in rows]
    if not rows:
        raise DataError(f"{reader.store.path} has no test clips of {machine_type}/{section} to show.")
    features = [{kind: logmel(samples, reader.sample_rate) for kind, samples in signals.items()} for signals in sounds]
    # one range of levels and one gain for the section, so that its clips compare
    top_db = max(float(drawn.max()) for signals in features for drawn in signals.values())
    peak = max(level(samples)[1] for signals in sounds for samples in signals.values())
    gain_db = min(MAX_GAIN_DB, 20 * math.log10(LOUDEST / peak)) if peak else 0.0
    examples = []
    for row, samples, drawn in zip(rows, sounds, features, strict=True):
        signals = tuple(_signal(kind, reader, samples[kind], drawn[kind], top_db, gain_db) for kind in samples)
        examples.append(
            Example(row["domain"], row["condition"], row["clip"], _attributes(row), _mixed(row, reader.store), signals)
        )
    shift = shift_of(SectionId(machine_type, section))
    return SectionExamples(machine_type, section, shift, gain_db, tuple(examples))


def _signal(kind: str, reader: ClipReader, samples: Int16, drawn: Float32, top_db: float, gain_db: float) -> Signal:
    reader.go_on()
    image, sound = _image(drawn, top_db), encode_sound(samples, gain_db, reader.sample_rate)
    return Signal(kind, _title(kind, reader.store), image, sound, power_db(level(samples)[0]))


def _title(kind: str, store: Store) -> str:
    """What a part may be called: a recording that is not clean has noise of its own."""
    clean = store.attributes.recording == "clean"
    return {
        "recording": "recording",
        "reference": "reference channel",
        "mixture": "mixture",
        "machine": "machine, clean" if clean else "recording as released",
        "noise": "noise" if clean else "added noise",
    }[kind]


def _attributes(row: pd.Series) -> str:
    return ", ".join(f"{name} = {value}" for name, value in row_attributes(row).items())


def _mixed(row: pd.Series, store: Store) -> str:
    """How the clip was mixed."""
    if np.isnan(row["added_noise_snr_db"]):
        return ""
    kinds = " + ".join(str(row[f"noise_{n}_kind"]) for n in range(1, MAX_LAYERS + 1) if row[f"noise_{n}_kind"])
    snr = with_minus(f"{row['added_noise_snr_db'] + 0.0:.1f}")
    return f"noise {kinds} at {snr} dB {snr_title(store)}"


def _image(logmel_db: Float32, top_db: float) -> str:
    """A spectrogram, low frequencies at the bottom, as WebP."""
    return encode_image((logmel_db - (top_db - DEPTH_DB)) / DEPTH_DB, "magma")


def encode_image(values: npt.NDArray[np.floating], colours: str) -> str:
    """Values in [0, 1] by time and band, beyond which they are cut off, in one of matplotlib's scales of colours.

    Parameters
    ----------
    values : np.ndarray [shape=(n_frames, n_bands)]
        The first band is drawn at the bottom.
    colours : str

    Returns
    -------
    str
        A data URI, WebP.
    """
    from matplotlib import colormaps
    from PIL import Image

    pixels = (255 * colormaps[colours](np.clip(values, 0, 1).T[::-1])[:, :, :3]).astype(np.uint8)
    drawn = io.BytesIO()
    Image.fromarray(pixels).save(drawn, "WEBP", quality=75, method=4)
    return _data_uri("image/webp", drawn.getvalue())


def encode_sound(samples: Int16, gain_db: float, sample_rate: int = SAMPLE_RATE) -> str:
    """A sound as Ogg Vorbis."""
    raised = samples.astype(np.float32) * np.float32(10 ** (gain_db / 20) / FULL_SCALE)
    encoded = io.BytesIO()
    sf.write(encoded, raised, sample_rate, format="OGG", subtype="VORBIS", compression_level=COMPRESSION)
    return _data_uri("audio/ogg", encoded.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
