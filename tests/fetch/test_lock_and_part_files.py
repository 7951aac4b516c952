"""The files that fetching writes beside the archives: what stands in them, and what is done where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.lock import read_lock, write_entry
from mimiidg_build.fetch.retry import RetryPolicy
from mimiidg_build.schemas.fetching import LockEntry
from tests.faults.misbehaving import BODY, ID, MD5, Place, drop_at_content, is_content

ENTRY = {"md5": MD5, "size_bytes": 3, "mtime_ns": 5, "pinned": "manifest"}


def lock(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "files": {"fan.zip": ENTRY | changes}}


def test_a_lock_file_that_stands_on_disk_still_opens(tmp_path: Path) -> None:
    text = json.dumps(lock(), indent=2, sort_keys=True) + "\n"
    (tmp_path / "archives.lock.json").write_text(text)
    assert read_lock(tmp_path) == {"fan.zip": LockEntry.model_validate(ENTRY)}
    write_entry(tmp_path, "fan.zip", read_lock(tmp_path)["fan.zip"])
    assert (tmp_path / "archives.lock.json").read_text() == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps({"version": 2}), r"version 2, expected 1"),
        (json.dumps({"version": "1", "files": {}}), r"version 1, expected 1"),
        (json.dumps({"version": 1}), r"files: Field required"),
        (json.dumps({"version": 1, "files": {}, "more": 1}), r"more: unknown key"),
        (json.dumps(lock(md5=MD5[:-1])), r"files\.fan\.zip\.md5: String should match pattern"),
        (json.dumps(lock(size_bytes="3")), r"files\.fan\.zip\.size_bytes: Input should be a valid integer"),
        (json.dumps(lock(pinned="me")), r"files\.fan\.zip\.pinned: Input should be 'manifest', 'first fetch' or"),
        (json.dumps(lock(why="x")), r"files\.fan\.zip\.why: unknown key"),
        (json.dumps([]), r"the file: Input should be an object"),
        ("{", r"the file: Invalid JSON"),
        ("", r"the file: Invalid JSON"),
        ("[" * 100_000, r"the file: Invalid JSON"),
        (b'{"version": 1, "files": {"\xff": 1}}', r"the file: Invalid JSON"),
    ],
)
def test_a_lock_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | bytes, reason: str) -> None:
    (tmp_path / "archives.lock.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FetchError, match=rf"archives\.lock\.json is not a readable lock file \({reason}"):
        read_lock(tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place where a download broke off at byte 1,000,000."""
    made = Place.of(tmp_path)
    with pytest.raises(FetchError, match="gave up after 1 attempts"):
        made.fetch(fault=drop_at_content(1_000_000), retry_policy=RetryPolicy(attempts=1, timeout_s=0.5))
    return made


def about(place: Place) -> Path:
    return place.part.with_name("fan.zip.part.json")


def test_a_part_says_what_it_is_a_part_of(place: Place) -> None:
    content = json.loads(about(place).read_text())
    assert content.pop("url").endswith(f"/api/records/{ID}/files/fan.zip/content")
    assert content == {"md5": MD5, "version": {"etag": f'"{MD5}"'}}


@pytest.mark.parametrize(
    ("content", "is_known"),
    [
        ({"md5": MD5, "version": {}}, True),
        (
            {"md5": MD5, "version": {"last-modified": "Thu, 01 Jan 1970 00:01:00 GMT"}},
            True,
        ),  # another version's: it sends all
        ({"md5": MD5, "version": {"etag": f'"{MD5}"', "more": 1}, "more": 1}, True),
        ({"md5": MD5, "version": {"etag": "a\r\nHost: elsewhere"}}, False),
        ({"md5": MD5, "version": {"etag": "\u00e9"}}, False),
        ({"md5": MD5, "version": {"etag": 1}}, False),
        ({"md5": "0" * 32, "version": {}}, False),
        ({"version": {}}, False),
        ({"md5": MD5}, False),
    ],
)
def test_the_rest_is_asked_for_only_where_it_is_known_what_of(place: Place, content: object, is_known: bool) -> None:
    about(place).write_text(json.dumps(content))
    place.fetch()
    assert place.archive.read_bytes() == BODY
    ranges = [asked.range for asked in place.asked if is_content(asked)]
    assert ranges == (["bytes=1000000-"] if is_known else [None])
