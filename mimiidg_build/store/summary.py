"""Rows of the tables that a user sees at the end of a command, in a report, or as an artifact of a flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mimiidg_build.errors import counted
from mimiidg_build.schemas.stores import SectionAudio
from mimiidg_build.store.listing import Listed
from mimiidg_build.store.store import Store


def snr_title(store: Store) -> str:
    """What a store's SNR may be called: the paper's only where the recordings were clean."""
    return store.attributes.snr_title


def section_rows(store: Store) -> list[dict[str, Any]]:
    """One row per section: clips, a, attenuation, planned and measured SNR; what clips are, where that is not usual."""
    usual = all(section.audio == SectionAudio() for section in store.sections.values())
    clips, title = store.clips, snr_title(store)
    measured = clips.groupby(["machine_type", "section"])["measured_added_noise_snr_db"]
    spans = {
        "/".join(key): (low, high)
        for key, low, high in zip(measured.min().index, measured.min(), measured.max(), strict=True)
    }
    rows = []
    for section_id, section in store.sections.items():
        planned = section.planned_added_noise_snr_db
        low, high = spans[section_id]
        rows.append(
            {
                "section": section_id,
                "clips": section.n_clips,
                **({} if usual else {"of": clip_in_words(section.audio)}),
                "a [dB]": f"{power_db(section.a):.2f}",
                # twice, as it is a factor of amplitudes
                "attenuation [dB]": f"{2 * power_db(section.attenuation):.2f}",
                f"{title} planned [dB]": span(planned[0], planned[-1], 1) if planned else "no noise added",
                f"{title} measured [dB]": span(low, high, 3) if planned else "",
            }
        )
    return rows


def clip_in_words(audio: SectionAudio) -> str:
    """Length, rate and channels of a section's clips.

    >>> clip_in_words(SectionAudio()), clip_in_words(SectionAudio(n_samples=176_400, sample_rate=44_100, channels=8))
    ('10 s, 16 kHz', '4 s, 44.1 kHz, 8 channels')
    """
    channels = "" if audio.channels is None else f", {counted(audio.channels, 'channel')}"
    return f"{audio.seconds:.4g} s, {audio.sample_rate / 1000:g} kHz{channels}"


def power_db(power: float) -> float:
    """Power in dB of full scale.

    >>> power_db(0.001)
    -30.0
    """
    return round(10 * math.log10(power), 6) if power > 0 else float("-inf")


def span(low: float, high: float, digits: int) -> str:
    """A value, or a range of values.

    Parameters
    ----------
    low, high : float
    digits : int
        Behind the decimal point.

    Returns
    -------
    str

    >>> span(-6, -6, 1), span(-15, 3, 1)
    ('-6.0', '-15.0 .. 3.0')
    """
    first, last = (f"{round(value, digits) + 0.0:.{digits}f}" for value in (low, high))  # + 0.0: no negative zero
    return first if first == last else f"{first} .. {last}"


def store_rows(listed: Sequence[Listed]) -> list[dict[str, Any]]:
    """One row per store: what it is, what it was built from, its size and when it was finished."""
    return [
        {
            "variant": store.variant,
            "fingerprint": store.fingerprint[:12],
            "state": store.state,
            "dataset": store.dataset,
            "SNR [dB]": span(*store.snr_db, 1) if store.snr_db else "",
            "seed": "" if store.seed is None else str(store.seed),
            "noise": _noise(store),
            "sections": store.n_sections,
            "clips": store.n_clips,
            "MB": f"{store.size_bytes / 1e6:,.0f}",
            "built": store.built[:16],
            "path": str(store.path),
        }
        for store in listed
    ]


def noise_rows(store: Store) -> list[dict[str, Any]]:
    """A row for each noise kind: where it came from and how much of it; none in stores of early versions."""
    return [
        {
            "noise": kind,
            "source": ", ".join(noise.sources),
            "files": noise.files,
            "pieces": noise.pieces,
            "seconds": f"{noise.seconds:.1f}",
        }
        for kind, noise in (store.attributes.noise or {}).items()
    ]


def _noise(store: Listed) -> str:
    """Where the noise comes from: folders and archives of the variant, by kind, else what the dataset brings."""
    given = " ".join(f"{kind}={source}" for kind, source in (store.noise or {}).items())
    return given or ("the dataset's" if store.snr_db else "")


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a table in Markdown; empty without any.

    >>> print(markdown_table([{"archive": "fan.zip", "md5": "0123"}]))
    | archive | md5 |
    |---|---|
    | fan.zip | 0123 |
    """
    if not rows:
        return ""
    lines = [list(rows[0]), *([str(value).replace("|", r"\|") for value in row.values()] for row in rows)]
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])
