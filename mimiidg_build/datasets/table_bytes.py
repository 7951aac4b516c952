"""The bytes of a release's attribute tables: never more than a release can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimiidg_build.audio.archive import Archive
from mimiidg_build.errors import DataError

# All tables of a release are in memory at once, and every line as a row or a finding: 250,000 of them take 0.5 GB.
# MIMII DG has 30 tables of at most 1,200 lines of 100 bytes. Of archives with more files there may be as many more:
# a file costs its entry in the zip's directory, which is read before, so that this is no way to a large table.
MAX_TABLE_BYTES = 16 * 2**20
MAX_TABLES_BYTES = 64 * 2**20
MAX_TABLES_LINES = 250_000
MAX_FILE_BYTES, MAX_FILE_LINES = 256, 2  # of tables, for each file of the archives


@dataclass
class TablesRead:
    """What has been read of a release's attribute tables, and of how many files: never more than it can have."""

    n_bytes: int = 0
    n_lines: int = 0
    n_files: int = 0

    def read(self, archive: Archive, names: Sequence[str]) -> dict[str, bytes]:
        """An archive's tables. What is declared is checked before any of it is inflated, and `Archive.read` inflates
        no more than that."""
        self.n_files += len(archive.members)
        max_bytes = max(MAX_TABLES_BYTES, MAX_FILE_BYTES * self.n_files)
        max_lines = max(MAX_TABLES_LINES, MAX_FILE_LINES * self.n_files)
        for name in names:
            declared = archive.members[name].size_bytes
            self.n_bytes += declared
            if declared > MAX_TABLE_BYTES or self.n_bytes > max_bytes:
                found = f"{declared:,} bytes, all tables up to it {self.n_bytes:,}"
                raise _too_large(archive, name, found, max_bytes, max_lines)
        tables = {}
        for name in names:
            tables[name] = archive.read(name)
            n_lines = _count_lines(tables[name])
            self.n_lines += n_lines
            if self.n_lines > max_lines:
                found = f"{n_lines:,} lines, all tables up to it {self.n_lines:,}"
                raise _too_large(archive, name, found, max_bytes, max_lines)
        return tables


def _too_large(archive: Archive, name: str, found: str, max_bytes: int, max_lines: int) -> DataError:
    return DataError(
        f"{archive.path}: the attribute table {name!r} has {found}. Expected one short line a clip: at most "
        f"{MAX_TABLE_BYTES:,} bytes a table, {max_bytes:,} bytes and {max_lines:,} lines in all of a "
        "release's. Likely it is another file under a table's name."
    )


def _count_lines(data: bytes) -> int:
    """Line ends, either sort: no fewer than lines."""
    return data.count(b"\n") + data.count(b"\r") + 1
