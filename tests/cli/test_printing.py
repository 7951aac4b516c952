"""What is printed does nothing to a terminal, whatever the names in it; what a script reads is what it was."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from mimiidg_build.cli import main
from mimiidg_build.cli.printing import print_lines, print_table

HOSTILE = "a\x1b[2J\x9b2J\u202eb\udce9"
ESCAPED = r"a\x1b[2J\x9b2J\u202eb\udce9"


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
