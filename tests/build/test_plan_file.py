"""A mix plan that cannot be read is one message, whatever pyarrow and pandas make of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimiidg_build.build.inputs import read_plan
from mimiidg_build.errors import UsageError


@pytest.mark.parametrize("notes", [b"[]", b"3", b'{"columns": ["x"]}'])
def test_damaged_notes_of_pandas(tmp_path: Path, notes: bytes) -> None:
    table = pa.Table.from_pandas(pd.DataFrame({"clip": ["a"]}), preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"pandas": notes}), tmp_path / "plan.parquet")
    with pytest.raises(UsageError, match="plan.parquet: cannot be read as a mix plan"):
        read_plan(tmp_path / "plan.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(99) + b"PAR1"])
def test_no_parquet_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.parquet").write_bytes(content)
    with pytest.raises(UsageError, match="plan.parquet: cannot be read as a mix plan"):
        read_plan(tmp_path / "plan.parquet")
