"""What is printed does nothing to a terminal, whatever the names in it; what a script reads is what it was.

Tables on a terminal of 80 columns fit, or become lines; no value is ever broken.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from mimiidg_build.cli import main
from mimiidg_build.cli.printing import print_lines, print_table, table_lines

HOSTILE = "a\x1b[2J\x9b2J\u202eb\udce9"
ESCAPED = r"a\x1b[2J\x9b2J\u202eb\udce9"
PATH = "/data/a folder/mimiidg-data/variants/demo-synthetic-1pct/" + "0123456789abcdef" * 4 + ".zarr"
SECTIONS = [
    {
        "section": f"fan/0{number}",
        "clips": 1200,
        "a [dB]": "-24.31",
        "attenuation [dB]": "-0.25",
        "added-noise SNR planned [dB]": "-15.0 .. 3.0",
        "added-noise SNR measured [dB]": "-15.000 .. 3.000",
    }
    for number in range(3)
]


def test_tables_and_lines_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("t", [{"name": HOSTILE, "n": 1}])
    print_lines([HOSTILE])
    *_, row, _, line = capsys.readouterr().out.splitlines()
    assert row.split() == [ESCAPED, "1"]
    assert line == ESCAPED


def test_errors_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / HOSTILE).mkdir()
    assert main(["evaluate", str(tmp_path / HOSTILE)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/{ESCAPED} holds no score files")


def test_a_root_whose_name_is_not_utf8_is_printed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python's own standard output would fail: a script that reads the path can use it."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "utf-8", "strict", write_through=True))
    root = os.fsencode(tmp_path) + b"/r\xe9"
    assert main(["list", "--root", os.fsdecode(root)]) == 0
    assert root in printed.getvalue()


def test_a_table_that_fits_stays_as_it_is() -> None:
    assert table_lines("counts", [{"what": "a", "n": 1000}, {"what": "longer", "n": 7}], 80) == [
        "counts",
        "",
        " what         n",
        " ──────────────",
        " a        1,000",
        " longer       7",
        "",
    ]


def test_column_titles_are_broken_before_the_table_is() -> None:
    wide, narrow = table_lines("", SECTIONS), table_lines("", SECTIONS, 80)
    assert max(map(cell_len, wide)) > 80 >= max(map(cell_len, narrow))
    assert narrow[-2].split() == ["fan/02", "1,200", "-24.31", "-0.25", "-15.0", "..", "3.0", "-15.000", "..", "3.000"]
    assert narrow[2].split() == ["attenuation", "SNR", "planned", "added-noise", "SNR"]


@pytest.mark.parametrize("width", [20, 80])
def test_a_table_that_cannot_fit_becomes_lines(width: int) -> None:
    lines = table_lines("stores", [{"variant": "demo", "MB": 12, "state": "", "path": PATH}], width)
    assert lines == ["stores", "", "variant: demo", "  MB: 12", f"  path: {PATH}"]


def test_nothing_limits_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal does, a row is one line."""
    print_table(f"under {PATH}", [{"path": PATH, "a longer title than most": "x"}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"under {PATH}"
    assert lines[-2].split("  ")[0].strip() == PATH


def test_the_terminals_width_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    print_table("", SECTIONS)
    assert max(map(cell_len, capsys.readouterr().out.splitlines())) <= 80
    print_table("", [{"path": PATH}])
    assert PATH in capsys.readouterr().out


def test_text_is_no_markup() -> None:
    assert "[bold]:smiley:[/bold]" in table_lines("", [{"name": "[bold]:smiley:[/bold]"}])[-2]
