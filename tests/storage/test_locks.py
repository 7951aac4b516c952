"""A variant's lock: what a build that fails leaves, and what one that waits for it finds."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mimiidg_build.errors import DataError
from mimiidg_build.storage.locks import locked_variant


def test_a_failure_leaves_no_empty_folder_and_the_next_in_line_works(tmp_path: Path) -> None:
    directory = tmp_path / "variants/mine"

    def next_in_line() -> None:
        with locked_variant(directory, "waiting"):
            (directory / "made").touch()

    waiting = threading.Thread(target=next_in_line)
    with pytest.raises(DataError, match="failed"), locked_variant(directory, "waiting"):
        waiting.start()
        time.sleep(0.2)  # by then it waits for the lock
        assert not (directory / "made").exists()
        raise DataError("failed")
    waiting.join(120)
    assert (directory / "made").is_file()
    with pytest.raises(DataError, match="failed"), locked_variant(directory, "waiting"):
        raise DataError("failed")
    assert (directory / "made").is_file(), "what there is stays"
    with pytest.raises(DataError, match="failed"), locked_variant(tmp_path / "variants/other", "waiting"):
        raise DataError("failed")
    assert [path.name for path in (tmp_path / "variants").iterdir()] == ["mine"]
