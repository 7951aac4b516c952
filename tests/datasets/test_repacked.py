"""Releases as people pack them again: read all the same, or an error that names what is in the way. Never no clips."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build import open_store
from tests.faults.test_input import NAMES, Release

Output = pytest.CaptureFixture[str]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def repack(release: Release, rename: Callable[[str], str] = str, more: Mapping[str, bytes] | None = None) -> None:
    """Pack the release's archive anew, its members under other names, and more of them."""
    with zipfile.ZipFile(release.archive) as archive:
        members = {rename(name): archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(release.archive, "w") as archive:
        for name, data in [*members.items(), *(more or {}).items()]:
            archive.writestr(name, data)
    assert release.run("fetch", release.manifest, "--offline", "--quiet") == 0


def validate(release: Release, output: Output) -> tuple[int, dict[str, Any], dict[str, dict[str, str]]]:
    """(exit code, what was printed, findings of the archive as a whole by kind)."""
    output.readouterr()
    code = release.run("validate", release.manifest, "--json")
    found = json.loads(output.readouterr().out)
    return code, found, {row["kind"]: row for row in found["findings"] if row["table"] == "mine/fan.zip"}


@pytest.mark.parametrize("folder", ["dev_data/", "./", "a/b c/", "fan/", "[1]/Lüfter/", "fan.zip/./"])
def test_one_more_folder_is_seen_through(release: Release, folder: str, capsys: Output) -> None:
    repack(release, lambda name: folder + name, {"README.md": b"not below the folder, and no clip"})
    code, found, findings = validate(release, capsys)
    assert (code, found["clips"], list(findings)) == (0, 4, ["extra_folder"])
    assert repr(folder) in findings["extra_folder"]["message"]
    assert release.run("build", release.variant, "--quiet") == 0
    assert all(open_store(f"{release.root}/variants/v").clips["member"].str.startswith(f"{folder}fan/"))


@pytest.mark.parametrize(
    ("rename", "kind", "named"),
    [
        (
            lambda name: f"{'a' if 'train' in name else 'b'}/{name}",
            "misplaced",
            ["folder 'a' holds 2 clips"],
        ),
        (
            lambda name: f"old/{name}" if "test" in name else name,
            "misplaced",
            ["folder 'old' holds 2 clips, as old/"],
        ),
        (lambda name: "x/" * 9 + name, "misplaced", ["folder 'x' holds 4 clips, as x/x/x/x/x/x/x/x/x/fan/"]),
        (lambda name: name.replace("fan/", "Fan/"), "no_clips", ["'Fan/train'", "'Fan/test'"]),
        (lambda name: name.replace("fan/", "dev_data/ventilator/"), "no_clips", ["'dev_data/ventilator/train'"]),
    ],
    ids=["two folders", "half of it", "too deep", "another case", "another machine type"],
)
@pytest.mark.parametrize("command", ["validate", "build"])
def test_what_is_not_read_is_an_error_that_names_the_folders(
    release: Release, rename: Callable[[str], str], kind: str, named: list[str], command: str, capsys: Output
) -> None:
    repack(release, rename)
    capsys.readouterr()
    assert release.run(command, release.manifest if command == "validate" else release.variant) == 1
    printed = capsys.readouterr()
    shown = (printed.out if command == "validate" else printed.err).replace("\n", " ")
    assert kind in shown and "mine/fan.zip" in shown
    for folder in named:
        assert folder in shown


def test_an_archive_without_files_is_an_error(release: Release, capsys: Output) -> None:
    with zipfile.ZipFile(release.archive, "w") as archive:
        archive.mkdir("fan")
    release.run("fetch", release.manifest, "--offline")
    code, found, findings = validate(release, capsys)
    assert (code, found["clips"]) == (1, 0)
    assert findings["no_clips"]["message"].startswith("the archive holds no files")


def test_tables_without_clips_are_an_error(release: Release, capsys: Output) -> None:
    with zipfile.ZipFile(release.archive, "w") as archive:
        archive.writestr("fan/attributes_00.csv", "file_name,d1p,d1v\n")
    release.run("fetch", release.manifest, "--offline")
    code, found, _ = validate(release, capsys)
    assert (code, found["clips"], [row["kind"] for row in found["findings"]]) == (1, 0, ["no_clips"])


COMPANIONS = {
    f"fan/train/._{NAMES[0]}": b"AppleDouble",
    f"__MACOSX/fan/train/._{NAMES[0]}": b"AppleDouble",
    "__MACOSX/fan/attributes_00.csv": b"no table",
    f".Trash-1000/files/{NAMES[1]}": b"deleted",
    "fan/Thumbs.db": b"",
    "fan/train/.DS_Store": b"",
    "fan/desktop.ini": b"",
}


@pytest.mark.parametrize("folder", ["", "dev_data/"])
def test_what_systems_leave_is_passed_over_and_counted(release: Release, folder: str, capsys: Output) -> None:
    repack(release, lambda name: folder + name, COMPANIONS)
    code, found, findings = validate(release, capsys)
    assert (code, found["clips"]) == (0, 4)
    assert list(findings) == ["extra_folder"] * bool(folder) + ["companion"]
    assert findings["companion"]["severity"] == "warning"
    assert findings["companion"]["message"].startswith("passed over 7 files that operating systems leave")
    assert release.run("build", release.variant, "--quiet") == 0


def test_suffixes_in_capitals_are_read_and_built(release: Release, capsys: Output) -> None:
    repack(release, lambda name: name.replace(".wav", ".WAV"))
    code, found, findings = validate(release, capsys)
    assert (code, found["clips"], findings) == (0, 4, {}), "the table's rows, which say .wav, are found"
    assert release.run("build", release.variant, "--quiet") == 0


def test_a_clip_in_both_spellings_is_there_twice(release: Release, capsys: Output) -> None:
    repack(release, more={f"fan/train/{NAMES[0].replace('.wav', '.WAV')}": b""})
    _, found, _ = validate(release, capsys)
    assert "duplicate_clip" in [row["kind"] for row in found["findings"] if row["severity"] == "error"]


def test_files_of_other_kinds_are_counted(release: Release, capsys: Output) -> None:
    repack(release, more={"fan/train/notes.txt": b"", "fan/train/take.flac": b"", "pumpe/x.wav": b""})
    _, found, _ = validate(release, capsys)
    kinds = [row["kind"] for row in found["findings"]]
    assert kinds.count("unexpected_member") == 2 and kinds.count("other_machine") == 1
