"""The mix plan: for every clip, which noise at what gain. Tables in, a table out; opens no audio.

Section by section, after section 2 of the MIMII DG paper. With a the mean power of a section's clips and b the power of
the noise that is added to a clip, its signal-to-noise ratio is ::

    SNR = 10 log10(a / b)        so        b = a / 10^(SNR / 10)

1. :func:`.draws.draw_noise` draws a clip's noise: for each layer of its section in Table 1, a kind and a noise clip.
2. :func:`snr_db` looks up the SNR.
3. :func:`gains` sets the layers' gains, so that their sum has power b.
4. :func:`plan_section` does all three for a section, and attenuates it as a whole if a clip could exceed full scale.

Gains are linear, powers mean square at full scale 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.datasets.rows import records
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.mixing.draws import NoiseDraw
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import MAX_LAYERS, Section
from mimiidg_build.schemas.variants import Variant

MIX_PLAN_VERSION = "mix-1"  # part of a store's fingerprint: another draw, gain or attenuation is a new version
LARGEST_SAMPLE = 32767 / 32768  # the largest 16-bit sample, at full scale 1: what a mix may reach

Float64 = npt.NDArray[np.float64]


def snr_db(section: Section, attributes: Mapping[str, str], variant: Variant) -> float:
    """The SNR that the variant wants for a clip: its own for the section or Table 1's, plus its offset.

    Parameters
    ----------
    section : Section
    attributes : mapping of str to str
        The clip's: in some sections one of them says the SNR.
    variant : Variant

    Returns
    -------
    float, dB

    Raises
    ------
    DataError
        The clip's attribute is none that Table 1 has an SNR for.
    UsageError
        Neither the variant nor Table 1 states one.
    """
    if (stated := variant.snr_of(section.section_id)) is not None:
        return stated + variant.snr_offset_db
    if section.snr_db is not None:
        return section.snr_db + variant.snr_offset_db
    if section.snr_db_by_value:
        value = attributes.get(section.snr_attribute or "", "")
        if value not in section.snr_db_by_value:
            raise DataError(
                f"{section.id}: a clip's {section.snr_attribute} decides its SNR, but it is {value!r}; expected one of "
                f"{', '.join(section.snr_db_by_value)}."
            )
        return section.snr_db_by_value[value] + variant.snr_offset_db
    raise UsageError(
        f"{section.id}: its SNR is not published, so the variant must state one: under [snr_db], "
        f'"{section.id}" = <dB>; or leave the section out with sections = [...].'
    )


def gains(a: float, snr: float, powers: Sequence[float], cross_power: float) -> list[float]:
    """Gain of each layer, so that the power of their sum is b = a / 10^(SNR / 10), layers of equal power.

    With layers n1 and n2 of powers p1 and p2, and gains g / sqrt(p1) and g / sqrt(p2), the power of their sum is
    g^2 (2 + 2 mean(n1 n2) / sqrt(p1 p2)): not the sum of the powers, since noise clips may be correlated. Equal powers
    are our choice: the paper does not say how the two layers of fan section 00 share the SNR.

    Parameters
    ----------
    a : float
        Mean power of the section's clips.
    snr : float, dB
    powers : sequence of float
        Of the layers' noise clips; one or two.
    cross_power : float
        mean(n1 n2), measured; not used where there is one layer.

    Returns
    -------
    list of float

    Raises
    ------
    ValueError
        The layers cancel each other, so no gain gives their sum a power.

    >>> gains(a=1.0, snr=0.0, powers=[4.0], cross_power=0.0)
    [0.5]
    >>> [round(g, 4) for g in gains(1.0, 0.0, [1.0, 4.0], cross_power=1.0)]
    [0.5774, 0.2887]
    """
    weights = [power**-0.5 for power in powers]
    combined = float(len(powers))
    if len(powers) == 2:
        combined += 2 * weights[0] * weights[1] * cross_power
    # one layer: 1; two: 2 if they are uncorrelated, and 0 if they cancel, where the gains would be infinite
    if combined < 1e-6:
        raise ValueError("the layers cancel each other")
    scale = float(np.sqrt(a / (combined * 10 ** (snr / 10))))
    return [scale * weight for weight in weights]


class _Layer(NamedTuple):
    """One layer of a clip's mix."""

    kind: str = ""
    noise_clip: str = ""
    gain: float = 0.0
    peak: float = 0.0  # of the noise clip, before its gain


def plan_section(
    section: Section,
    clips: pd.DataFrame,
    levels: pd.DataFrame,
    drawn: Sequence[Sequence[NoiseDraw]],
    noise: Mapping[str, pd.DataFrame],
    cross_power: Float64,
    variant: Variant,
) -> pd.DataFrame:
    """The section's rows of the mix plan (``schemas.tables.MixPlan``), in the clip table's order.

    Parameters
    ----------
    section : Section
    clips : pd.DataFrame
        The section's rows of the clip table.
    levels : pd.DataFrame
        ``power`` and ``peak`` of the same clips in the same order.
    drawn : sequence of sequence of NoiseDraw
        What :func:`.draws.draw_noise` drew; a clip of no layers gets no noise.
    noise : mapping of kind to NoiseTable
    cross_power : np.ndarray [shape=(n_clips,)]
        mean(n1 n2) of each clip's two layers, 0 where there is one.
    variant : Variant

    Returns
    -------
    pd.DataFrame [n_clips rows]

    Raises
    ------
    DataError
        A silent section, layers that cancel each other, a gain beyond the variant's limit, or a section that could
        exceed full scale under ``full_scale = "error"``.
    UsageError
        No SNR is stated for the section.
    """
    a = float(levels["power"].mean())
    if a == 0 and any(drawn):
        raise DataError(f"{section.id}: all its clips are silent, so no SNR can be set. The archive is damaged.")
    # as dicts of rows: pandas would take most of the time to look up one value at a time
    kinds = {kind for draws in drawn for kind, _ in draws}
    tables = {kind: records(noise[kind], "noise_clip", "power", "peak") for kind in sorted(kinds)}
    planned, bounds = [], []
    named = records(clips, "clip", "attributes")
    for clip, peak, draws, cross in zip(named, levels["peak"].tolist(), drawn, cross_power.tolist(), strict=True):
        snr = snr_db(section, row_attributes(clip), variant) if draws else float("nan")
        layers = _layers(section, clip, draws, tables, a, snr, cross)
        _refuse_gain(section, clip, layers, variant)
        planned.append((snr, layers))
        bounds.append(_bound(peak, layers))
    # a section without noise holds the released samples, and its peaks may not have been measured (NaN)
    attenuation = _attenuation(section, clips, bounds, variant) if any(drawn) else 1.0
    return _table(clips, planned, attenuation)


def _layers(
    section: Section,
    clip: Mapping[str, Any],
    draws: Sequence[NoiseDraw],
    tables: Mapping[str, list[dict[str, Any]]],
    a: float,
    snr: float,
    cross_power: float,
) -> list[_Layer]:
    """A clip's layers of noise with their gains."""
    if not draws:
        return []
    noise_clips = [tables[kind][row] for kind, row in draws]
    try:
        found = gains(a, snr, [noise_clip["power"] for noise_clip in noise_clips], cross_power)
    except ValueError as error:
        named = " and ".join(noise_clip["noise_clip"] for noise_clip in noise_clips)
        raise DataError(f"{section.id}, {clip['clip']}: {error} ({named}).") from None
    return [
        _Layer(kind, noise_clip["noise_clip"], gain, noise_clip["peak"])
        for (kind, _), noise_clip, gain in zip(draws, noise_clips, found, strict=True)
    ]


def _refuse_gain(section: Section, clip: Mapping[str, Any], layers: Sequence[_Layer], variant: Variant) -> None:
    """Refuse noise that must be amplified so much that the mix would hold the recorder's noise rather than it."""
    for layer in layers:
        limit = variant.settings_of(layer.kind).max_gain_db
        if (gain_db := 20 * math.log10(layer.gain)) > limit:
            raise DataError(
                f"{section.id}, {clip['clip']}: noise clip {layer.noise_clip} of kind {layer.kind} would need a gain "
                f"of {gain_db:.1f} dB (x {layer.gain:.0f}), more than the limit of {limit:g} dB: it is too quiet for "
                "this SNR. Likely a silent channel, or a recording of next to nothing. Replace it, raise the SNR, or "
                f"set max_gain_db under [noise_settings.{layer.kind}]."
            )


def _table(clips: pd.DataFrame, planned: Sequence[tuple[float, list[_Layer]]], attenuation: float) -> pd.DataFrame:
    """The plan of clips with (SNR, layers), column by column: a dict a row takes three times as long."""
    # arrays rather than Series, whose rows pandas would align
    taken = ("machine_type", "section", "clip", "archive", "member")
    columns: dict[str, Any] = {key: clips[key].array for key in taken}
    columns |= {"added_noise_snr_db": [snr for snr, _ in planned], "attenuation": attenuation}
    for number in range(MAX_LAYERS):
        own = [layers[number] if number < len(layers) else _Layer() for _, layers in planned]
        columns[f"noise_{number + 1}_kind"] = [layer.kind for layer in own]
        columns[f"noise_{number + 1}_clip"] = [layer.noise_clip for layer in own]
        columns[f"noise_{number + 1}_gain"] = [layer.gain for layer in own]
    return pd.DataFrame(columns)


def _bound(peak: float, layers: Sequence[_Layer]) -> float:
    """What the clip's peak and its noise's could add up to.

    A loop rather than sum(), which rounds differently from Python 3.12 on: attenuations must be the same on all.
    """
    for layer in layers:
        peak += layer.gain * layer.peak
    return peak


def _attenuation(section: Section, clips: pd.DataFrame, bounds: Sequence[float], variant: Variant) -> float:
    """The section's common gain: peaks bound the sum before anything is rendered.

    One for the section: with one for each clip, the level of a clip against the others', which tells normal from
    anomalous, would depend on its noise.
    """
    worst = int(np.argmax(bounds))
    if bounds[worst] <= LARGEST_SAMPLE or variant.full_scale == "saturate":
        return 1.0
    if variant.full_scale == "error":
        raise DataError(
            f"{section.id}: {clips['clip'].iloc[worst]} could reach {bounds[worst]:.2f} of full scale with its noise. "
            'Raise the SNR, or set full_scale = "attenuate" (the whole section, SNR kept) or "saturate".'
        )
    # the plan's gains stay as they are: the mix applies this to clip and noise alike, so the SNR holds
    return float(LARGEST_SAMPLE / bounds[worst])
