"""The recordings of a dataset of the user's, as a folder or a table lists them, in an order of their own.

Names alone are read here, no audio. Whatever does not fit is a finding: a file that no pattern fits is no clip of the
dataset, and nobody would miss it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimiidg_build.audio.sound_folders import ANY_FILE, SortedFiles, files_below, in_words, sort_files
from mimiidg_build.audio.zip_directory import name_problem
from mimiidg_build.datasets.findings import Finding
from mimiidg_build.datasets.recordings.fields import Origin, OwnRecording, read_recording
from mimiidg_build.datasets.recordings.patterns import PathPattern
from mimiidg_build.datasets.rows import read_rows
from mimiidg_build.errors import DataError, did_you_mean, shown
from mimiidg_build.schemas.recordings import KNOWN_FIELDS, Recordings


@dataclass
class Listing:
    """Recordings sorted by path, and what is wrong with names and rows."""

    recordings: list[OwnRecording] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def machine_types(self) -> list[str]:
        """Those that recordings are of, by name."""
        return sorted({recording.section_id.machine_type for recording in self.recordings})


def list_recordings(recordings: Recordings) -> Listing:
    """Read the names of a folder, or a table.

    Parameters
    ----------
    recordings : Recordings
        ``folder`` and ``table`` are paths as they can be opened from here.

    Returns
    -------
    Listing

    Raises
    ------
    DataError
        The folder or the table is not there or cannot be read.
    """
    folder = Path(recordings.folder)
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder} with recordings. Say under [recordings] where they are now: folder = PATH, "
            "relative to the manifest."
        )
    files = sort_files(files_below(folder), ANY_FILE)
    ignored = {name for name in files.recordings if any(fnmatch.fnmatchcase(name, glob) for glob in recordings.ignore)}
    paths = [name for name in files.recordings if name not in ignored]
    listing = Listing(findings=_passed_over(folder, files, recordings))
    if recordings.table is not None:
        _list_table(recordings, Path(recordings.table), paths, listing)
    else:
        _list_folder(recordings, paths, listing)
    if not listing.recordings and not any(f.severity == "error" for f in listing.findings):
        found = f"{len(paths)} sound files" if paths else "no sound files"
        message = f"{folder} holds {found}, and none is a recording of this dataset"
        listing.findings.append(Finding("error", "no_clips", recordings.folder, message))
    listing.recordings.sort(key=lambda recording: recording.path.split("/"))
    return listing


def _passed_over(folder: Path, files: SortedFiles, recordings: Recordings) -> list[Finding]:
    findings = []
    others = files.others.copy()
    if recordings.table is not None and Path(recordings.table).resolve().is_relative_to(folder.resolve()):
        others[".csv"] -= 1  # the table itself
    if others := +others:
        message = f"passed over {others.total()} files that are no sound: {in_words(others)}"
        findings.append(Finding("warning", "other_files", recordings.folder, message, value=str(others.total())))
    if files.companions:
        message = f"passed over {files.companions} files that operating systems leave or hide"
        findings.append(Finding("warning", "companion", recordings.folder, message, value=str(files.companions)))
    return findings


# ---- A folder --------------------------------------------------------------------------------------------------------


def _list_folder(recordings: Recordings, paths: Sequence[str], listing: Listing) -> None:
    patterns = [PathPattern.of(text, recordings.words) for text in recordings.patterns]
    unfit = []
    for path in paths:
        origin = Origin(recordings.folder, path)
        if problem := _path_problem(path):
            listing.findings.append(origin.error("bad_name", f"{path!a} {problem}: rename it", value=ascii(path)))
            continue
        fits = [pattern for pattern in patterns if pattern.read(path) is not None]
        if not fits:
            unfit.append(path)
            continue
        listing.findings += _several_readings(origin, fits)
        recording, faults = read_recording(recordings, origin, fits[0].read(path) or {})
        listing.findings += faults
        if recording is not None:
            listing.recordings.append(recording)
    if unfit:
        listing.findings.append(_unfit(recordings, paths, unfit))


def _path_problem(path: str) -> str | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    problem = name_problem(path)
    return f"has {problem}" if problem else None


def _several_readings(origin: Origin, fits: Sequence[PathPattern]) -> Iterator[Finding]:
    path = origin.path
    readings = {pattern.text: pattern.read(path) for pattern in fits}
    if any(reading != readings[fits[0].text] for reading in readings.values()):
        message = f"{path} fits {' and '.join(readings)}, which read it differently; expected one pattern a file"
        yield origin.error("two_patterns", message)
    elif (other := fits[0].other_reading(path)) is not None:
        read, instead = (
            ", ".join(f"{k} {v}" for k, v in fields.items()) for fields in (fits[0].read(path) or {}, other)
        )
        message = f"{path} is read as {read}; its name could also mean {instead}"
        yield Finding("warning", "ambiguous_name", origin.table, message, 0, "path", path)


def _unfit(recordings: Recordings, paths: Sequence[str], unfit: Sequence[str]) -> Finding:
    patterns, n_unfit = " or ".join(recordings.patterns), len(unfit)
    if n_unfit == len(paths):
        message = f"not one of {n_unfit} sound files fits {patterns}; the first is {unfit[0]}"
    else:
        message = (
            f"{n_unfit} of {len(paths)} sound files do not fit {patterns}; the first is {unfit[0]}. Add a pattern for "
            f"them (pattern may be a list), or leave them out: ignore = [{shown(_glob(unfit))}]"
        )
    return Finding("error", "unfit", recordings.folder, message, 0, "path", unfit[0], patterns)


def _glob(paths: Sequence[str]) -> str:
    """A glob that fits paths where they share a folder, else the first of them.

    >>> _glob(["notes/a.wav", "notes/b.wav"]), _glob(["a.wav", "b/c.wav"])
    ('notes/*', 'a.wav')
    """
    folders = {path.rpartition("/")[0] for path in paths}
    (folder, *others) = folders
    return f"{folder}/*" if folder and not others else paths[0]


# ---- A table ---------------------------------------------------------------------------------------------------------


def table_columns(recordings: Recordings) -> list[str]:
    """The columns of the table, without its rows.

    Raises
    ------
    DataError
        It is not there, or no CSV text.
    """
    return _read_table(Path(recordings.table or ""))[0]


def _read_table(table: Path) -> tuple[list[str], int, list[tuple[int, list[str]]]]:
    """Columns, their line, and the rows with their lines."""
    if not table.is_file():
        raise DataError(f"there is no table {table}. Say where it is: table = PATH under [recordings].")
    (line, names), *rows = read_rows(table) or [(1, [])]
    return [name.strip() for name in names], line, rows


def _list_table(recordings: Recordings, table: Path, paths: Sequence[str], listing: Listing) -> None:
    columns, line, rows = _read_table(table)
    known, first = set(paths), dict[str, int]()
    if (fault := _bad_header(recordings, str(table), line, columns)) is not None:
        listing.findings.append(fault)
        return
    for line, cells in rows:
        if len(cells) != len(columns):
            message = f"{len(cells)} cells where the header has {len(columns)}"
            listing.findings.append(Finding("error", "ragged_row", str(table), message, line))
            continue
        values = dict(zip(columns, cells, strict=True))
        origin = Origin(str(table), values.pop("path").strip().replace("\\", "/"), line)
        if origin.path in first:
            message = f"{origin.path} also stands in line {first[origin.path]}; expected each recording once"
            listing.findings.append(origin.error("duplicate_row", message))
        elif origin.path not in known:
            message = f"{origin.path} is no sound file below {recordings.folder}"
            near = did_you_mean(origin.path, paths)
            listing.findings.append(origin.error("no_audio", f"{message}.{near}", expected="a sound file"))
        else:
            recording, faults = read_recording(recordings, origin, values)
            listing.findings += faults
            listing.recordings += [] if recording is None else [recording]
        first.setdefault(origin.path, line)
    if unlisted := sorted(known - first.keys()):
        message = f"{len(unlisted)} sound files stand in no row, the first is {unlisted[0]}"
        listing.findings.append(Finding("warning", "unlisted", str(table), message, 0, "path", unlisted[0]))


def _bad_header(recordings: Recordings, table: str, line: int, columns: list[str]) -> Finding | None:
    by_session = ["session"] if recordings.hold_out == "session" else []
    needed = [name for name in ("path", "machine_type", "condition", *by_session) if name not in recordings.fixed]
    missing = [name for name in needed if name not in columns]
    twice = sorted({name for name in columns if columns.count(name) > 1} | recordings.fixed.keys() & set(columns))
    if not missing and not twice:
        return None
    found = ", ".join(columns) or "nothing"
    what = f"no column {', '.join(missing)}" if missing else f"{twice[0]} is given twice"
    message = (
        f"{what}; the header has {found}. Expected path, machine_type and condition, unless what is the same for all "
        f"stands under [recordings], and any of {', '.join(KNOWN_FIELDS)}; other columns are attributes"
    )
    return Finding("error", "bad_header", table, message, line, "header", found, ", ".join(needed))
