"""Cached tables: believed only if they are what was written, of the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import DataError
from mimiidg_build.storage.cached_table import KEY, read_cached, write_cached

TABLE = pd.DataFrame({"member": ["a.wav", "b.wav"], "power": [0.25, np.nextafter(0.5, 1)], "row": [0, 1]})


def test_what_is_cached_comes_back(tmp_path: Path) -> None:
    write_cached(tmp_path / "cached.parquet", TABLE, "archive 1")
    found = read_cached(tmp_path / "cached.parquet", "archive 1")
    assert found is not None
    pd.testing.assert_frame_equal(found, TABLE, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cached.parquet"]


def test_of_something_else_it_counts_as_not_there(tmp_path: Path) -> None:
    path = tmp_path / "cached.parquet"
    assert read_cached(path, "archive 1") is None
    write_cached(path, TABLE, "archive 1")
    assert read_cached(path, "archive 2") is None
    TABLE.to_parquet(path)
    assert read_cached(path, "archive 1") is None, "nobody says what it is of"
    path.write_bytes(b"")
    assert read_cached(path, "archive 1") is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_one_is_never_believed(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bit flips: the table comes back as it was, or not at all."""
    path = tmp_path / "cached.parquet"
    write_cached(path, TABLE, "archive 1")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = read_cached(path, "archive 1")
    assert found is None or found.equals(TABLE)


def test_damaged_text_that_only_hashing_notices(tmp_path: Path) -> None:
    """A flipped bit makes a name that is no UTF-8: the file is read, and the name is looked at later."""
    path = tmp_path / "cached.parquet"
    write_cached(path, TABLE, "archive 1")
    content = path.read_bytes()
    damaged = content.replace(b"a.wav", b"\xe1.wav", 1)
    assert damaged != content
    path.write_bytes(damaged)
    assert read_cached(path, "archive 1") is None


@pytest.mark.parametrize("notes", [b"[]", b"3", b"null", b'{"columns": 3}', b'{"columns": ["x"]}', b"\xff"])
def test_damaged_notes_of_pandas(tmp_path: Path, notes: bytes) -> None:
    table = pa.Table.from_pandas(TABLE, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"pandas": notes, KEY: b"0"}), tmp_path / "cached.parquet")
    assert read_cached(tmp_path / "cached.parquet", "archive 1") is None


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/cached.parquet cannot be written"):
        write_cached(tmp_path / "file/cached.parquet", TABLE, "archive 1")
