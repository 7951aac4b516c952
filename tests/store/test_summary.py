"""Tables for people: an SNR is called the paper's only where the recordings were clean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mimiidg_build.schemas.stores import StoreAttributes
from mimiidg_build.store.listing import Listed
from mimiidg_build.store.store import Store
from mimiidg_build.store.summary import power_db, section_rows, snr_title, span, store_rows
from tests.small_store import SUMMARY, attributes

FAN = SUMMARY | {"n_clips": 3, "a": 0.001, "attenuation": 0.5, "planned_added_noise_snr_db": [-15.0, -9.0, 3.0]}
VALVE = SUMMARY | {"n_clips": 2, "a": 0.02, "attenuation": 1.0, "planned_added_noise_snr_db": [0.0]}


def store(path: Path, recording: str, sections: dict[str, dict[str, Any]], measured: dict[str, list[float]]) -> Store:
    rows = [
        {"machine_type": key.split("/")[0], "section": key.split("/")[1], "measured_added_noise_snr_db": snr}
        for key, values in measured.items()
        for snr in values
    ]
    made = Store(path, StoreAttributes.model_validate(attributes("small", recording=recording, sections=sections)))
    made.__dict__["clips"] = pd.DataFrame(rows)  # as read from its table, of which nothing else matters here
    return made


@pytest.mark.parametrize(
    ("recording", "title"),
    [("clean", "SNR"), ("mixed", "added-noise SNR")],
    ids=["clean recordings have the paper's SNR", "released clips already hold noise"],
)
def test_a_row_per_section(tmp_path: Path, recording: str, title: str) -> None:
    made = store(
        tmp_path,
        recording,
        {"valve/00": VALVE, "fan/02": FAN},
        {"fan/02": [2.9996, -9.001, -15.0004], "valve/00": [-0.0001, 0.0002]},
    )
    assert snr_title(made) == title
    assert section_rows(made) == [
        {
            "section": "valve/00",
            "clips": 2,
            "a [dB]": "-16.99",
            "attenuation [dB]": "0.00",
            f"{title} planned [dB]": "0.0",
            f"{title} measured [dB]": "0.000",
        },
        {
            "section": "fan/02",
            "clips": 3,
            "a [dB]": "-30.00",
            "attenuation [dB]": "-6.02",
            f"{title} planned [dB]": "-15.0 .. 3.0",
            f"{title} measured [dB]": "-15.000 .. 3.000",
        },
    ]


def test_sections_without_noise_say_so(tmp_path: Path) -> None:
    section = SUMMARY | {"n_clips": 2, "a": 0.0}
    (row,) = section_rows(store(tmp_path, "mixed", {"fan/00": section}, {"fan/00": [float("nan")] * 2}))
    assert row["added-noise SNR planned [dB]"] == "no noise added"
    assert row["added-noise SNR measured [dB]"] == ""
    assert row["a [dB]"] == "-inf"  # a silent section


@pytest.mark.parametrize(("power", "expected"), [(1.0, 0.0), (0.1, -10.0), (0.25, -6.0206), (0.0, float("-inf"))])
def test_power_in_db(power: float, expected: float) -> None:
    assert power_db(power) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "digits", "expected", "why"),
    [
        (-6, -6, 1, "-6.0", "one value"),
        (-15, 3, 1, "-15.0 .. 3.0", "a range"),
        (-6.0004, -5.9996, 3, "-6.000", "values that round to the same"),
        (-0.0001, 0.0001, 1, "0.0", "no negative zero"),
        (-0.04, 0.06, 1, "0.0 .. 0.1", "nor in a range"),
    ],
)
def test_spans(low: float, high: float, digits: int, expected: str, why: str) -> None:
    assert span(low, high, digits) == expected, why


def test_a_row_per_store() -> None:
    listed = Listed("paper", "0123456789abcdef" * 2, "latest", 1800, 15, 864_123_456, Path("/x/paper/0.zarr"))
    listed = replace(listed, dataset="mimii_dg", snr_db=(-15.0, 3.0), seed=0, noise={}, built="2026-11-26 04:02+00:00")
    (row,) = store_rows([listed])
    assert row == {
        "variant": "paper",
        "fingerprint": "0123456789ab",
        "state": "latest",
        "dataset": "mimii_dg",
        "SNR [dB]": "-15.0 .. 3.0",
        "seed": "0",
        "noise": "the dataset's",
        "sections": 15,
        "clips": 1800,
        "MB": "864",
        "built": "2026-11-26 04:02",
        "path": "/x/paper/0.zarr",
    }
    (row,) = store_rows([replace(listed, noise={"A": "hall_a", "B": "hall_b.zip"})])
    assert row["noise"] == "A=hall_a B=hall_b.zip"
    (row,) = store_rows([replace(listed, state="partial", dataset="", snr_db=None, seed=None, noise=None, built="")])
    assert [row[name] for name in ("dataset", "SNR [dB]", "seed", "noise", "built")] == [""] * 5
