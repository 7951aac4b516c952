"""Loss curves: the same bytes for the same losses, read back to the last bit, damage named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import DataError
from mimiidg_build.training.loss_curve import (
    EpochLoss,
    loss_curve_path,
    read_loss_curve,
    read_loss_curves,
    write_loss_curve,
)

LOSSES = [EpochLoss(1, 0.5, math.nan, 3.0), EpochLoss(2, 1e-17, math.nan, 4.0)]


def test_the_bytes_hold_no_times(tmp_path: Path) -> None:
    write_loss_curve(loss_curve_path(tmp_path, "fan"), LOSSES)
    expected = "epoch,loss,held_out_loss\n1,0.5,\n2,1e-17,\n"
    assert (tmp_path / "loss_fan.csv").read_text() == expected


@settings(deadline=None)  # it writes and flushes a file
@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=5))
def test_losses_read_back_as_the_same_float64(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    path = tmp_path_factory.mktemp("losses") / "loss_fan.csv"
    losses = [EpochLoss(number, *pair, 0.0) for number, pair in enumerate(values, 1)]
    write_loss_curve(path, losses)
    table = read_loss_curve(path)
    assert table["epoch"].tolist() == list(range(1, len(values) + 1))
    assert list(zip(table["loss"], table["held_out_loss"], strict=True)) == values


def test_every_network_of_a_run(tmp_path: Path) -> None:
    for name in ("valve", "fan_00"):
        write_loss_curve(loss_curve_path(tmp_path, name), LOSSES)
    found = read_loss_curves(tmp_path)
    assert list(found) == ["fan_00", "valve"]
    assert found["valve"]["held_out_loss"].isna().all()
    assert read_loss_curves(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "cannot be read, or is empty"),
        ("epoch,loss\n1,0.5\n", "expected the columns epoch, loss, held_out_loss, found .'epoch', 'loss'."),
        ("epoch,loss,held_out_loss,time\n1,0.5,,3\n", "expected the columns"),
        ("epoch,loss,held_out_loss\n1,high,\n", "line 2: expected epoch 1 and losses, found .'1', 'high', ''."),
        ("epoch,loss,held_out_loss\n0,0.5,\n", "line 2: expected epoch 1"),
        ("epoch,loss,held_out_loss\n1,0.5,\n1,0.4,\n", "line 3: expected epoch 2"),
        ("epoch,loss,held_out_loss\n1,0.5\n", "line 2: expected epoch 1"),
        ("epoch,loss,held_out_loss\n1,0.5,,3\n", "line 2: expected epoch 1"),
        ("epoch,loss,held_out_loss\n", "expected a line for each epoch, found none"),
        ("epoch,loss,held_out_loss\n1,,\n", "line 2: expected epoch 1 and losses"),
        ("epoch,loss,held_out_loss\n1,nan,\n", "line 2: expected epoch 1 and losses"),
        ("epoch,loss,held_out_loss\n1,0.5,inf\n", "line 2: expected epoch 1 and losses"),
        ("epoch,loss,held_out_loss\n1,0.5,\n\n", "line 3: expected epoch 2"),
        ("epoch,loss,held_out_loss\n1,0.5,\n2,\x000.4,\n", "line"),
        ("epoch,loss,held_out_loss\n1," + "9" * 200_000 + ",\n", "field larger than field limit"),
        ("x" * 100_000, "found .'x{78}[.]{3}. Remove"),
    ],
)
def test_another_file_is_not_taken_for_a_loss_curve(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "loss_fan.csv").write_text(text)
    with pytest.raises(DataError, match=f"loss_fan.csv is not a loss curve: .*{found}"):
        read_loss_curve(tmp_path / "loss_fan.csv")


def test_what_is_no_text_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "loss_fan.csv"
    path.write_bytes(b"epoch,loss,held_out_loss\n1,\xff,\n")
    with pytest.raises(DataError, match="loss_fan.csv is not a loss curve: it cannot be read.*Remove the run's folder"):
        read_loss_curve(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="loss_fan.csv is not a loss curve: it cannot be read"):
        read_loss_curves(tmp_path)
