"""The text of a clip table in a fingerprint: what pandas writes as CSV, to the byte, or every store would be new."""

from __future__ import annotations

import pandas as pd
import pytest

from mimiidg_build.build.inputs import table_text

ODD = [
    "",
    "a",
    "a b",
    " ",
    "a,b",
    'a"b',
    '""',
    "a\nb",
    "a\r",
    "\t",
    "NaN",
    "None",
    "1.0",
    "-0",
    "é",
    "a'b",
    "\\",
    "#",
    "a;b",
]


@pytest.mark.parametrize(
    "texts", [ODD, ["a"], ['{"vel":"6"}', "{}", '{"vel":"6"}'], []], ids=["odd", "one", "json", "none"]
)
def test_it_is_what_pandas_writes(texts: list[str]) -> None:
    columns = {"clip": texts, "index": range(len(texts)), "member": texts[::-1]}
    table = pd.DataFrame(columns).astype({"clip": "str", "index": "int64", "member": "str"})
    assert table_text(table) == table.to_csv(index=False)
    assert table_text(table, leave_out="clip") == table.drop(columns="clip").to_csv(index=False)


@pytest.mark.parametrize("text", ODD)
def test_of_every_text(text: str) -> None:
    table = pd.DataFrame({"clip": [text, "b"], "index": [10**9, 0]})
    assert table_text(table) == table.to_csv(index=False)
