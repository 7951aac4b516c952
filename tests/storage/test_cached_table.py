"""Kept tables: believed only if they are what was written, of the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import DataError
from mimiidg_build.storage.cached_table import read_kept, write_kept

TABLE = pd.DataFrame({"member": ["a.wav", "b.wav"], "power": [0.25, np.nextafter(0.5, 1)], "row": [0, 1]})


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    write_kept(tmp_path / "kept.parquet", TABLE, "archive 1")
    kept = read_kept(tmp_path / "kept.parquet", "archive 1")
    assert kept is not None
    pd.testing.assert_frame_equal(kept, TABLE, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.parquet"]


def test_of_something_else_it_counts_as_not_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    assert read_kept(path, "archive 1") is None
    write_kept(path, TABLE, "archive 1")
    assert read_kept(path, "archive 2") is None
    TABLE.to_parquet(path)
    assert read_kept(path, "archive 1") is None, "nobody says what it is of"
    path.write_bytes(b"")
    assert read_kept(path, "archive 1") is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_one_is_never_believed(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bit flips: the table comes back as it was, or not at all."""
    path = tmp_path / "kept.parquet"
    write_kept(path, TABLE, "archive 1")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    kept = read_kept(path, "archive 1")
    assert kept is None or kept.equals(TABLE)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/kept.parquet cannot be written"):
        write_kept(tmp_path / "file/kept.parquet", TABLE, "archive 1")
