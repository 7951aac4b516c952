"""The records that the local server offers: a directory of files each, described as Zenodo's API describes them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote


class ServedRecords:
    """Directories of files as records. Sizes are bytes.

    Parameters
    ----------
    directories : mapping of str to path
        Directory of each record id. Every regular file in it whose name does not start with "." is in the record.
    titles : mapping of str to str
        Title of a record; "Record <id>" where none is given.
    """

    def __init__(self, directories: Mapping[str, str | Path], titles: Mapping[str, str]) -> None:
        self.directories = {record_id: Path(directory) for record_id, directory in directories.items()}
        self._titles = dict(titles)
        self._md5: dict[tuple[str, int, int], str] = {}
        self._guard = threading.Lock()

    def files(self, record_id: str) -> dict[str, Path]:
        """The record's files by name, sorted; empty if there is no such record."""
        directory = self.directories.get(record_id)
        if directory is None or not directory.is_dir():
            return {}
        return {p.name: p for p in sorted(directory.iterdir()) if p.is_file() and not p.name.startswith(".")}

    def md5(self, path: Path) -> str:
        """The file's md5, computed once for each state of the file (size and modification time)."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        with self._guard:  # held while hashing, so that two requests at once hash a large file once
            if key not in self._md5:
                with path.open("rb") as file:
                    self._md5[key] = hashlib.file_digest(file, "md5").hexdigest()
            return self._md5[key]

    def as_json(self, record_id: str, base_url: str) -> dict[str, object]:
        """The record as the API answers it, with links below ``base_url``."""
        title = self._titles.get(record_id, f"Record {record_id}")
        link = f"{base_url}/api/records/{record_id}"
        files = [
            {
                "key": name,
                "size": path.stat().st_size,
                "checksum": f"md5:{self.md5(path)}",
                "links": {"self": f"{link}/files/{quote(name)}/content"},
            }
            for name, path in self.files(record_id).items()
        ]
        return {
            "id": int(record_id) if record_id.isdecimal() else record_id,
            "title": title,
            "metadata": {"title": title, "access_right": "open"},
            "links": {"self": link},
            "files": files,
        }
