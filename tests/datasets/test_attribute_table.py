"""Attribute tables: what is read, what is put right, what is left out, and that no line goes missing."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.datasets.layouts.dcase2022.attribute_table import read_attribute_table
from tests.conftest import REAL

REAL_TABLES = REAL / "attributes"
LAST = "file_name_with_full_attributes"
TWO = f"file_name,d1p,d1v,d2p,d2v,{LAST}"


def read(*lines: str | bytes, end: bytes = b"\n"):
    data = b"".join((line if isinstance(line, bytes) else line.encode()) + end for line in lines)
    table, findings = read_attribute_table(data, "t.csv")
    return table, list(findings[["severity", "kind", "line"]].itertuples(index=False, name=None)), findings


@pytest.mark.parametrize(
    ("lines", "rows", "reason"),
    [
        (["file_name,d1p,d1v", "a.wav,vel,6"], [(2, "a.wav", "vel", "6", "", "", "")], "one attribute, no last column"),
        ([f"file_name,d1p,d1v,{LAST}", "a.wav,m-n,W,b.wav"], [(2, "a.wav", "m-n", "W", "", "", "b.wav")], "full name"),
        (
            ["file_name,d1p,d1v,file_name_with_attributes", "a.wav,m-n,W,b.wav"],
            [(2, "a.wav", "m-n", "W", "", "", "b.wav")],
            "the other name of the last column",
        ),
        (
            ["file_name,d1p,d1v,d2p,d2v", "a.wav,vel,6,loc,A"],
            [(2, "a.wav", "vel", "6", "loc", "A", "")],
            "two attributes",
        ),
        ([TWO, "a.wav,v1pat,04,,,b.wav"], [(2, "a.wav", "v1pat", "04", "", "", "b.wav")], "second one left empty"),
        (["file_name,d1p,d1v", '"a.wav",vel,"6"'], [(2, "a.wav", "vel", "6", "", "", "")], "quoted cells"),
        (["file_name,d1p,d1v", "a.wav,ac,0.10"], [(2, "a.wav", "ac", "0.10", "", "", "")], "values stay strings"),
        (["file_name,d1p,d1v"], [], "a header alone is a table"),
    ],
)
def test_good_tables(lines, rows, reason):
    table, kinds, _ = read(*lines)
    assert list(table.itertuples(index=False, name=None)) == rows, reason
    assert kinds == [], reason


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends(mark, end):
    table, kinds, _ = read(mark + b"file_name,d1p,d1v", "a.wav,vel,6", "b.wav,vel,8", end=end)
    assert table.file_name.tolist() == ["a.wav", "b.wav"]
    assert table.line.tolist() == [2, 3] and kinds == []


def test_separators_of_text_that_are_no_line_ends():
    table, kinds, _ = read("file_name,d1p,d1v", "a\u2028b\x0bc\x1c.wav,vel,6")
    assert table.file_name.tolist() == ["a\u2028b\x0bc\x1c.wav"] and kinds == []


def test_the_known_short_row_is_put_right_and_reported():
    table, kinds, findings = read(TWO, "a.wav,v1pat,05,v2pat,05,x.wav", "b.wav,v1pat,05,y.wav")
    assert table.iloc[1].tolist() == [3, "b.wav", "v1pat", "05", "", "", "y.wav"]
    assert kinds == [("warning", "short_row", 3)]
    assert findings.message[0] == "4 cells under a header of 6: d2p and d2v are left out, read as one attribute"


def test_a_short_row_without_last_column():
    table, kinds, _ = read("file_name,d1p,d1v,d2p,d2v", "a.wav,v1pat,05")
    assert table.iloc[0].tolist() == [2, "a.wav", "v1pat", "05", "", "", ""]
    assert kinds == [("warning", "short_row", 2)]


def test_blank_rows_are_counted():
    table, kinds, _ = read("", "file_name,d1p,d1v", "", "a.wav,vel,6", ",,", "  ")
    assert table.line.tolist() == [4]
    assert kinds == [("warning", "blank_row", line) for line in (1, 3, 5, 6)]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("a.wav,vel", "ragged_row", "2 cells under a header of 6"),
        ("a.wav,v1pat,05,v2pat", "ragged_row", "4 cells under a header of 6: 'a.wav,v1pat,05,v2pat'"),
        ("a.wav,v1pat,05,v2pat,05", "ragged_row", "5 cells under a header of 6"),
        ("a.wav,v1pat,05,v2pat,05,x.wav,more", "ragged_row", "7 cells under a header of 6"),
        (b"a.wav,v1pat,\xff,v2pat,05,x.wav", "not_utf8", "byte 13 of the line, 0xff, is not UTF-8"),
        ('a.wav,"v1pat,05,v2pat,05,x.wav', "bad_quoting", "is a quote left open?"),
        ('a.wav,"v1"pat,05,v2pat,05,x.wav', "bad_quoting", "cannot be split into cells"),
        (",v1pat,05,v2pat,05,x.wav", "empty_cell", "file_name is empty"),
        ("a.wav,v1pat,,v2pat,05,x.wav", "empty_cell", "d1v is empty"),
        ("a.wav,v1pat,05,v2pat,,x.wav", "empty_cell", "d2v is empty"),
        ("a.wav,v1pat,05,,05,x.wav", "empty_cell", "d2p is empty"),
        ("a.wav,v1pat,05,v2pat,05,", "empty_cell", f"{LAST} is empty"),
        (
            "first.wav,v1pat,05,v2pat,05,x.wav",
            "duplicate_row",
            "'first.wav' stands in lines 2 and 3; expected each clip once, line 3 left out",
        ),
    ],
)
def test_a_bad_line_costs_itself_alone(line, kind, message):
    good = "v1pat,05,v2pat,05,x.wav"
    table, kinds, findings = read(TWO, f"first.wav,{good}", line, f"last.wav,{good}")
    assert table.file_name.tolist() == ["first.wav", "last.wav"]
    assert kinds == [("error", kind, 3)]
    assert message in findings.message[0] and findings.table[0] == "t.csv"


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", "empty_table", "no header and no rows"),
        (b"\n\n", "empty_table", "no header and no rows"),
        (b"a.wav,vel,6\nb.wav,vel,8\n", "bad_header", "expected file_name,d1p,d1v[,d2p,d2v]"),
        (b"file_name;d1p;d1v\n", "bad_header", "header 'file_name;d1p;d1v'"),
        (b"file_name,d1p,d1v,d2p\na.wav,vel,6,loc\n", "bad_header", "the 1 lines below it were not read"),
        ("file_name,d1p,d1v\n".encode("utf-16"), "not_utf8", "save the table as UTF-8"),
    ],
)
def test_without_a_header_nothing_is_read(data, kind, message):
    table, findings = read_attribute_table(data, "t.csv")
    errors = findings[findings.severity == "error"]
    assert table.empty and errors.kind.tolist() == [kind]
    assert message in errors.message.iloc[0]


CELLS = st.text(alphabet=st.sampled_from('ab".wav,é\x00\u2028 '), max_size=8)
HEADERS = st.sampled_from(["file_name,d1p,d1v", f"file_name,d1p,d1v,{LAST}", "file_name,d1p,d1v,d2p,d2v", TWO])
LINES = st.lists(st.lists(CELLS, max_size=7).map(lambda cells: ",".join(cells).encode()) | st.binary(max_size=30))


@settings(max_examples=60, deadline=None)
@given(HEADERS, LINES, st.sampled_from([b"\n", b"\r\n"]))
def test_every_line_is_accounted_for(header, lines, end):
    data = end.join([header.encode(), *lines])
    table, findings = read_attribute_table(data, "t.csv")
    bad = findings[findings.severity == "error"].line.tolist()
    blank = findings[findings.kind == "blank_row"].line.tolist()
    accounted = [1, *table.line.tolist(), *bad, *blank]
    assert sorted(accounted) == list(range(1, len(data.splitlines()) + 1))
    assert set(findings[findings.kind == "short_row"].line) <= set(table.line)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_crash_the_reader(data):
    table, findings = read_attribute_table(data, "t.csv")
    assert len(table) + len(findings) > 0


ROWS = st.lists(
    st.builds(
        lambda n, key, value: (f"fan/test/{n}.wav", key, value),
        st.integers(0, 10**9),
        st.sampled_from(["m-n", "vel"]),
        st.text(alphabet='a,"\u00e9', min_size=1, max_size=5),
    ),
    unique_by=lambda row: row[0],
)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_what_a_csv_writer_wrote_is_read_back(rows):
    data = pd.DataFrame(rows, columns=["file_name", "d1p", "d1v"], dtype="str").to_csv(index=False).encode()
    table, findings = read_attribute_table(data, "t.csv")
    assert findings.empty
    assert list(table[["file_name", "d1p", "d1v"]].itertuples(index=False, name=None)) == rows


@pytest.mark.skipif(not REAL_TABLES.is_dir(), reason=f"real attribute tables are not at {REAL_TABLES}")
@pytest.mark.parametrize(
    ("path", "short_rows"),
    [("valve/attributes_05.csv", 100), ("bearing/attributes_04.csv", 0), ("fan/attributes_03.csv", 0)],
)
def test_real_tables_lose_no_row(path, short_rows):
    table, findings = read_attribute_table((REAL_TABLES / path).read_bytes(), path)
    assert len(table) == 200 and table.line.tolist() == list(range(2, 202))
    assert findings.kind.tolist() == ["short_row"] * short_rows and (findings.severity == "warning").all()
    assert table.full_name.str.endswith(".wav").all()


def test_attributes_of_a_row():
    table, _, _ = read(TWO, "a.wav,v1pat,05,v2pat,05,x.wav", "b.wav,v1pat,05,y.wav")
    columns = ["d1p", "d1v", "d2p", "d2v"]
    assert table[columns].values.tolist() == [["v1pat", "05", "v2pat", "05"], ["v1pat", "05", "", ""]]
