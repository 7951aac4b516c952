"""The mix plan: for every clip, which noise at what gain. Tables in, a table out; opens no audio.

Section by section, with a the mean of the clips' powers: SNR = 10 log10(a / b), b the power of the noise that is
added (MIMII DG paper, section 2). A draw depends on (seed, machine type, section, clip name, layer) alone, so it is the
same whatever the order, the workers, the other clips or the SNR. Gains are linear, powers mean square at full scale 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimiidg_build.datasets.rows import records, row_attributes
from mimiidg_build.errors import DataError, UsageError
from schemas.manifests import Section
from schemas.variants import Variant

VERSION = "mix-1"
MAX_LAYERS = 2
FULL_SCALE = 32767 / 32768  # the largest positive 16-bit sample

Float64 = npt.NDArray[np.float64]


def draw(seed: int, machine_type: str, section: str, clip: str, what: str, n: int) -> int:
    """A uniform draw from range(n) that depends on its arguments and nothing else.

    >>> draw(0, "fan", "00", "section_00_source_train_normal_0000_m-n_W", "layer 1 clip", 1000)
    950
    """
    key = f"{seed}/{machine_type}/{section}/{clip}/{what}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") * n >> 64


def snr_db(section: Section, attributes: Mapping[str, str], variant: Variant) -> float:
    """The SNR that the variant wants for a clip: its own for the section or Table 1's, plus its offset.

    Raises
    ------
    UsageError
        Neither the variant nor Table 1 states one.
    """
    if section.id in variant.snr_db:
        return variant.snr_db[section.id] + variant.snr_offset_db
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


def draw_noise(
    section: Section, clips: pd.DataFrame, n_noise_clips: Mapping[str, int], seed: int
) -> list[list[tuple[str, int]]]:
    """The noise of every clip: one (kind, row of its noise bank) a layer.

    Parameters
    ----------
    section : Section
    clips : pd.DataFrame
        The section's rows of the clip table.
    n_noise_clips : mapping of kind to number of noise clips
    seed : int
    """
    drawn = []
    for clip in records(clips):
        key = (seed, section.machine_type, section.section, str(clip["clip"]))
        layers = []
        for number, layer in enumerate(section.noise, start=1):
            if layer.attribute:
                kind = row_attributes(clip).get(layer.attribute, "")
                if kind not in n_noise_clips:
                    raise DataError(
                        f"{section.id}, {clip['clip']}: {layer.attribute} names its noise kind, but is {kind!r}; "
                        f"expected one of {', '.join(section.noise_kinds)}."
                    )
            else:
                allowed = (layer.source if clip["domain"] == "source" else layer.target) or []
                kind = allowed[draw(*key, f"layer {number} kind", len(allowed))]
            layers.append((kind, draw(*key, f"layer {number} clip", n_noise_clips[kind])))
        drawn.append(layers)
    return drawn


def gains(a: float, snr: float, powers: list[float], cross_power: float) -> list[float]:
    """Gain of each layer, so that the power of their sum is a / 10^(snr / 10), layers of equal power.

    The power of a sum is not the sum of the powers: ``cross_power``, mean(n1 n2), is measured. [ours: the paper does
    not say how the two layers of fan section 00 share the SNR]

    >>> gains(a=1.0, snr=0.0, powers=[4.0], cross_power=0.0)
    [0.5]
    >>> [round(g, 4) for g in gains(1.0, 0.0, [1.0, 4.0], cross_power=1.0)]
    [0.5774, 0.2887]
    """
    weights = [power**-0.5 for power in powers]
    combined = float(len(powers))
    if len(powers) == 2:
        combined += 2 * weights[0] * weights[1] * cross_power
    if combined < 1e-6:
        raise ValueError("the layers cancel each other")
    scale = float(np.sqrt(a / (combined * 10 ** (snr / 10))))
    return [scale * weight for weight in weights]


def plan_section(
    section: Section,
    clips: pd.DataFrame,
    levels: pd.DataFrame,
    drawn: list[list[tuple[str, int]]],
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
    drawn : list
        What :func:`draw_noise` drew; empty lists add no noise.
    noise : mapping of kind to NoiseTable
    cross_power : np.ndarray [shape=(n_clips,)]
        mean(n1 n2) of each clip's two layers, 0 where there is one.
    variant : Variant

    Raises
    ------
    DataError
        A silent section, or one beyond full scale under ``full_scale = "error"``.
    """
    a = float(levels["power"].mean())
    if a == 0 and any(drawn):
        raise DataError(f"{section.id}: all its clips are silent, so no SNR can be set. The archive is damaged.")
    tables = {kind: (t["noise_clip"].tolist(), t["power"].tolist(), t["peak"].tolist()) for kind, t in noise.items()}
    rows = []
    bounds = levels["peak"].to_numpy(dtype=np.float64).copy()
    for i, (clip, layers) in enumerate(zip(records(clips), drawn, strict=True)):
        row: dict[str, object] = {key: clip[key] for key in ("machine_type", "section", "clip", "archive", "member")}
        row |= {"added_noise_snr_db": float("nan"), "attenuation": 1.0}
        layer_gains: list[float] = []
        if layers:
            snr = snr_db(section, row_attributes(clip), variant)
            row["added_noise_snr_db"] = snr
            try:
                layer_gains = gains(a, snr, [tables[kind][1][k] for kind, k in layers], float(cross_power[i]))
            except ValueError as error:
                named = " and ".join(tables[kind][0][k] for kind, k in layers)
                raise DataError(f"{section.id}, {clip['clip']}: {error} ({named}).") from None
        for number in range(1, MAX_LAYERS + 1):
            kind, k = layers[number - 1] if number <= len(layers) else ("", -1)
            gain = layer_gains[number - 1] if kind else 0.0
            noise_clip = tables[kind][0][k] if kind else ""
            row |= {f"noise_{number}_kind": kind, f"noise_{number}_clip": noise_clip, f"noise_{number}_gain": gain}
            bounds[i] += gain * tables[kind][2][k] if kind else 0.0
        rows.append(row)
    plan = pd.DataFrame(rows)
    plan["attenuation"] = _attenuation(section, plan, bounds, variant) if any(drawn) else 1.0
    return plan


def _attenuation(section: Section, plan: pd.DataFrame, bounds: Float64, variant: Variant) -> float:
    """The section's common gain: peaks bound the sum before anything is rendered."""
    worst = int(np.argmax(bounds))
    if bounds[worst] <= FULL_SCALE or variant.full_scale == "saturate":
        return 1.0
    if variant.full_scale == "error":
        raise DataError(
            f"{section.id}: {plan['clip'][worst]} could reach {bounds[worst]:.2f} of full scale with its noise. Raise "
            'the SNR, or set full_scale = "attenuate" (the whole section, SNR kept) or "saturate".'
        )
    return float(FULL_SCALE / bounds[worst])
