"""Fetching, against a local server that misbehaves in every way that has been seen, and some that have not."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from mimiidg_build.errors import FetchError, UsageError
from mimiidg_build.fetch import Patience, archive_checksums, archive_path, decide, fetch_record
from mimiidg_build.fetch.http import USER_AGENT
from mimiidg_build.fetch.lock import LockEntry, read_lock
from mimiidg_build.local_zenodo import Asked, LocalZenodo, ZenodoHandler
from schemas.manifests import Record, RecordFile

ID = "6529888"
BODY = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()
HASTY = Patience(attempts=4, timeout_s=0.5, first_wait_s=0.01, longest_wait_s=0.02)

Fault = Callable[[ZenodoHandler, Asked], bool]


def record(*files: RecordFile) -> Record:
    return Record(id=ID, title="MIMII DG", license="CC-BY-4.0", files=list(files))


PUBLISHED = record(RecordFile(name="fan.zip", md5=MD5, size_bytes=len(BODY)))
UNPUBLISHED = record(RecordFile(name="fan.zip"))


@dataclass
class Place:
    """A served directory, a data root, and fetches between them."""

    served: Path
    root: Path
    slept: list[float] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return archive_path(self.root, ID, "fan.zip")

    @property
    def part(self) -> Path:
        return self.archive.with_name("fan.zip.part")

    def put(self, content: bytes) -> None:
        """Drop the archive in by hand."""
        self.archive.parent.mkdir(parents=True, exist_ok=True)
        self.archive.write_bytes(content)

    def fetch(self, what: Record = PUBLISHED, fault: Fault | None = None, **options: Any) -> dict[str, Path]:
        with LocalZenodo({ID: self.served}, faults=fault) as server:
            self.asked = server.asked
            settings = {"base_url": server.url, "patience": HASTY, "sleep": self.slept.append, **options}
            return fetch_record(what, self.root, **settings)

    def contents(self) -> list[str]:
        return sorted(path.name for path in self.archive.parent.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    served = tmp_path / "served"
    served.mkdir()
    (served / "fan.zip").write_bytes(BODY)
    return Place(served, tmp_path / "root")


def is_content(asked: Asked) -> bool:
    return "/files/" in asked.path


def times(count: int, fault: Fault) -> Fault:
    """The fault for the first ``count`` requests for content, good behaviour after."""
    left = [count]

    def limited(handler: ZenodoHandler, asked: Asked) -> bool:
        if not is_content(asked) or left[0] == 0:
            return False
        left[0] -= 1
        return fault(handler, asked)

    return limited


def drop_at(n_bytes: int, stall_s: float = 0.0) -> Fault:
    """Send that many bytes of what was asked for, then hang up, or say nothing more."""

    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        start = int(asked.range.split("=")[1].rstrip("-")) if asked.range else 0
        rest = BODY[start:]
        headers = {"ETag": f'"{MD5}"', "Content-Length": str(len(rest))}
        if asked.range:
            headers["Content-Range"] = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        handler.send_head(206 if asked.range else 200, headers)
        handler.wfile.write(rest[:n_bytes])
        handler.wfile.flush()
        time.sleep(stall_s)
        handler.close_connection = True
        return True

    return fault


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        handler.send_body(code, body, headers)
        return True

    return fault


def test_fetched_verified_and_written_down(place: Place) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert place.fetch(progress=lambda *step: seen.append(step)) == {"fan.zip": place.archive}
    assert place.archive == place.root / "archives" / ID / "fan.zip"
    assert place.archive.read_bytes() == BODY
    assert place.contents() == [".locks", "archives.lock.json", "fan.zip"]
    lock = json.loads((place.archive.parent / "archives.lock.json").read_text())
    mtime_ns = place.archive.stat().st_mtime_ns
    entry = {"md5": MD5, "size_bytes": len(BODY), "mtime_ns": mtime_ns, "pinned": "manifest"}
    assert lock == {"version": 1, "files": {"fan.zip": entry}}
    assert archive_checksums(PUBLISHED, place.root) == {"fan.zip": MD5}
    assert [name for name, *_ in seen] == ["fan.zip"] * len(seen)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("fan.zip", len(BODY), len(BODY))
    assert {asked.user_agent for asked in place.asked} == {USER_AGENT}
    assert [asked.accept_encoding for asked in place.asked if is_content(asked)] == ["identity"]


def test_second_fetch_sends_no_request_and_hashes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.fetch()
    monkeypatch.setattr("mimiidg_build.fetch.steps.hash_file", lambda *_: pytest.fail("hashed again"))
    assert place.fetch(offline=True) == place.fetch() == {"fan.zip": place.archive}
    assert place.asked == []


def test_read_only_root_is_enough_for_what_is_verified(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.fetch()
    monkeypatch.setattr("mimiidg_build.fetch.steps.guard", lambda *_: pytest.fail("wrote a lock"))
    assert place.fetch() == {"fan.zip": place.archive}


def test_touched_file_is_hashed_again_and_kept(place: Place) -> None:
    place.fetch()
    os.utime(place.archive, ns=(1, 1))
    place.fetch()
    assert place.asked == []
    assert read_lock(place.archive.parent)["fan.zip"].mtime_ns == 1


def test_only_the_named_files(place: Place) -> None:
    (place.served / "bearing.zip").write_bytes(b"bearing")
    both = record(RecordFile(name="bearing.zip"), RecordFile(name="fan.zip"))
    assert list(place.fetch(both, names=["bearing.zip"])) == ["bearing.zip"]
    assert not place.archive.exists()
    with pytest.raises(UsageError, match=r"has no drum\.zip. Its files: bearing\.zip, fan\.zip"):
        place.fetch(both, names=["drum.zip"])


ENTRY = LockEntry(MD5, 10, 5, "first fetch")
FOUND = LockEntry(MD5, 10, 5, "as found")
BARE, OTHER = RecordFile(name="fan.zip"), RecordFile(name="fan.zip", md5="0" * 32)


@pytest.mark.parametrize(
    ("file", "found", "entry", "offline", "action"),
    [
        (BARE, None, None, False, "download"),
        (BARE, None, ENTRY, True, "missing"),
        (BARE, (10, 5), None, True, "verify"),  # dropped in by hand
        (BARE, (10, 5), ENTRY, False, "reuse"),
        (BARE, (10, 6), ENTRY, False, "verify"),  # the right size alone says nothing
        (BARE, (11, 5), ENTRY, False, "verify"),
        (OTHER, (10, 5), ENTRY, True, "verify"),  # the manifest knows better than the pin
        (BARE, (10, 5), FOUND, True, "reuse"),
        (BARE, (10, 5), FOUND, False, "verify"),  # online, the record can vouch for it
    ],
)
def test_decide(
    file: RecordFile, found: tuple[int, int] | None, entry: LockEntry | None, offline: bool, action: str
) -> None:
    assert decide(file, found, entry, offline=offline) == action


@pytest.mark.parametrize("what", [PUBLISHED, UNPUBLISHED])
def test_dropped_in_file_is_accepted(place: Place, what: Record) -> None:
    place.put(BODY)
    place.fetch(what)
    assert not any(is_content(asked) for asked in place.asked)
    # With a published checksum nobody is asked; without one the record is.
    assert bool(place.asked) == (what is UNPUBLISHED)
    assert read_lock(place.archive.parent)["fan.zip"].pinned == ("first fetch" if place.asked else "manifest")


@pytest.mark.parametrize("what", [PUBLISHED, UNPUBLISHED])
@pytest.mark.parametrize("content", [BODY[:-1], BODY[:-1] + b"?"])
def test_dropped_in_file_with_the_wrong_content_is_left_alone(place: Place, what: Record, content: bytes) -> None:
    place.put(content)
    with pytest.raises(
        FetchError, match=r"(?s)fan\.zip is not the published archive: it has .*expected .*left as it is"
    ):
        place.fetch(what)
    assert place.archive.read_bytes() == content
    assert archive_checksums(what, place.root) == {}


def test_verified_file_that_changed_since_is_refused(place: Place) -> None:
    place.fetch(UNPUBLISHED)
    place.archive.write_bytes(BODY[:-1] + b"?")
    with pytest.raises(FetchError, match=rf"expected {MD5} \(first fetch\)"):
        place.fetch(UNPUBLISHED, offline=True)


def test_offline_names_what_is_missing_and_where_to_get_it(place: Place) -> None:
    both = record(RecordFile(name="fan.zip"), RecordFile(name="valve.zip", md5="0" * 32))
    with pytest.raises(FetchError) as failure:
        place.fetch(both, offline=True, base_url="https://zenodo.org")
    for part in (
        "fan.zip, valve.zip",
        f"https://zenodo.org/records/{ID}/files/valve.zip?download=1",
        str(place.archive.parent),
    ):
        assert part in str(failure.value)


def test_offline_without_any_checksum_takes_the_file_as_found(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.put(BODY)
    with caplog.at_level(logging.WARNING, "mimiidg_build.fetch"):
        place.fetch(UNPUBLISHED, offline=True)
    assert f"no checksum is published for it; taken as found, md5 {MD5}" in caplog.text
    assert read_lock(place.archive.parent)["fan.zip"].pinned == "as found"
    place.fetch(UNPUBLISHED)  # online, the record vouches for it
    assert read_lock(place.archive.parent)["fan.zip"].pinned == "first fetch"


def test_taken_as_found_but_not_what_the_record_publishes(place: Place) -> None:
    place.put(b"something else")
    place.fetch(UNPUBLISHED, offline=True)
    with pytest.raises(FetchError, match=rf"is not the published archive: .* expected {MD5}"):
        place.fetch(UNPUBLISHED)


def test_unpublished_checksum_is_pinned_and_enforced(place: Place) -> None:
    place.fetch(UNPUBLISHED)
    assert read_lock(place.archive.parent)["fan.zip"].pinned == "first fetch"
    place.archive.unlink()
    (place.served / "fan.zip").write_bytes(b"replaced on the record")
    with pytest.raises(FetchError, match=rf"now publishes md5 .* but this archive was pinned to {MD5}"):
        place.fetch(UNPUBLISHED)
    assert not any(is_content(asked) for asked in place.asked)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (RecordFile(name="fan.zip", md5="0" * 32), rf"now publishes md5 {MD5}, the manifest says {'0' * 32}"),
        (RecordFile(name="fan.zip", md5=MD5, size_bytes=7), r"now publishes size_bytes 3000000, the manifest says 7"),
    ],
)
def test_manifest_and_record_disagree(place: Place, file: RecordFile, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        place.fetch(record(file))
    assert not any(is_content(asked) for asked in place.asked)


def test_file_that_the_record_does_not_list(place: Place) -> None:
    with pytest.raises(FetchError, match=r"does not list drum\.zip; it lists fan\.zip"):
        place.fetch(record(RecordFile(name="drum.zip")))


def test_record_that_is_not_there(place: Place) -> None:
    with pytest.raises(FetchError, match="record 1 is not there: .*404"):
        place.fetch(Record(id="1", title="", license="", files=[BARE]))


def test_one_failure_does_not_keep_the_others_from_arriving(place: Place) -> None:
    files = [RecordFile(name="a.zip"), RecordFile(name="b.zip"), RecordFile(name="fan.zip", md5=MD5)]
    with pytest.raises(FetchError, match=r"(?s)2 archives of record .* failed:.*a\.zip.*b\.zip"):
        place.fetch(record(*files))
    assert place.archive.read_bytes() == BODY


def test_older_form_of_the_api(place: Place) -> None:
    def older(handler: ZenodoHandler, asked: Asked) -> bool:
        if not is_content(asked):
            handler.send_json(200, {"files": [{"filename": "fan.zip", "filesize": len(BODY), "checksum": MD5}]})
        return not is_content(asked)

    place.fetch(UNPUBLISHED, older)
    assert archive_checksums(UNPUBLISHED, place.root) == {"fan.zip": MD5}


@pytest.mark.parametrize("body", [{"files": "many"}, ["?"], {"files": [{"size": 1}]}])
def test_answer_that_is_no_record(place: Place, body: object) -> None:
    def nonsense(handler: ZenodoHandler, asked: Asked) -> bool:
        handler.send_json(200, body)
        return True

    with pytest.raises(FetchError, match="did not answer with a record"):
        place.fetch(PUBLISHED, nonsense)


def test_record_without_any_checksum(place: Place) -> None:
    def bare(handler: ZenodoHandler, asked: Asked) -> bool:
        handler.send_json(200, {"files": [{"key": "fan.zip"}]})
        return True

    with pytest.raises(FetchError, match="neither the manifest nor record 6529888 gives an md5"):
        place.fetch(UNPUBLISHED, bare)


@pytest.mark.parametrize("seed", range(5))
def test_dropped_connections_are_resumed_where_they_broke(place: Place, seed: int) -> None:
    rng = random.Random(seed)
    drops = [drop_at(rng.randrange(1, len(BODY) // 8)) for _ in range(6)]  # more drops than attempts allowed in a row
    left = iter(drops)

    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        return is_content(asked) and next(left, lambda *_: False)(handler, asked)

    place.fetch(fault=fault)
    assert place.archive.read_bytes() == BODY
    ranges = [asked.range for asked in place.asked if is_content(asked)]
    assert len(ranges) == 7
    assert ranges[0] is None
    starts = [int((header or "").removeprefix("bytes=").rstrip("-")) for header in ranges[1:]]
    assert starts == sorted(set(starts))
    assert {asked.if_range for asked in place.asked if asked.range} == {f'"{MD5}"'}


def test_later_run_goes_on_from_the_part(place: Place) -> None:
    with pytest.raises(FetchError, match="gave up after 1 attempts without progress, 1000000 bytes in"):
        place.fetch(fault=drop_at_content(1_000_000), patience=Patience(attempts=1, timeout_s=0.5))
    assert place.part.read_bytes() == BODY[:1_000_000]
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=1000000-"]
    assert place.archive.read_bytes() == BODY
    assert place.contents() == [".locks", "archives.lock.json", "fan.zip"]


def drop_at_content(n_bytes: int) -> Fault:
    return lambda handler, asked: is_content(asked) and drop_at(n_bytes)(handler, asked)


def test_whole_part_needs_no_request(place: Place) -> None:
    place.put(BODY)
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {}}))
    place.fetch()
    assert not any(is_content(asked) for asked in place.asked)


@pytest.mark.parametrize("about", [None, "{", '{"md5": "00", "version": {}}', "[]"])
def test_part_of_unknown_origin_is_not_appended_to(place: Place, about: str | None) -> None:
    place.put(b"another file's beginning")
    place.archive.rename(place.part)
    if about is not None:
        place.part.with_name("fan.zip.part.json").write_text(about)
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == [None]


def test_corrupted_part_is_found_out_and_fetched_anew(place: Place) -> None:
    place.put(b"?" + BODY[1:1000])
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {"etag": f'"{MD5}"'}}))
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=1000-", None]
    assert place.archive.read_bytes() == BODY


def after_a_drop(then: Fault) -> Fault:
    """Drop the first transfer at 1,000,000 bytes; answer the second with ``then``."""
    steps = iter([drop_at(1_000_000), then])
    return lambda handler, asked: is_content(asked) and next(steps, lambda *_: False)(handler, asked)


def test_server_that_ignores_ranges(place: Place) -> None:
    place.fetch(fault=after_a_drop(status(200, {"ETag": f'"{MD5}"'}, BODY)))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-"]


def test_server_that_ignores_ranges_and_always_drops_is_given_up(place: Place) -> None:
    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        if is_content(asked):
            handler.send_head(200, {"Content-Length": str(len(BODY))})
            handler.wfile.write(BODY[:100_000])
            handler.close_connection = True
        return is_content(asked)

    with pytest.raises(FetchError, match="gave up after 4 attempts without progress, 100000 bytes in"):
        place.fetch(fault=fault)


@pytest.mark.parametrize(
    "content_range", ["bytes 0-2999999/3000000", "bytes 1000000-2999999/9000000", "bytes 1000000-1999999/3000000", ""]
)
def test_wrong_content_range_starts_over(place: Place, content_range: str) -> None:
    headers = {"Content-Range": content_range} if content_range else {}
    place.fetch(fault=after_a_drop(status(206, headers, BODY[1_000_000:])))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]


def test_206_of_another_version_starts_over(place: Place) -> None:
    headers = {"Content-Range": "bytes 1000000-2999999/3000000", "ETag": '"another"'}
    place.fetch(fault=after_a_drop(status(206, headers, b"?" * 2_000_000)))
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]


def test_416_starts_over(place: Place) -> None:
    place.fetch(fault=after_a_drop(status(416, {"Content-Range": "bytes */10"})))
    assert place.archive.read_bytes() == BODY


def test_416_for_a_part_that_is_whole(place: Place) -> None:
    # Without a published size only the server knows that nothing is missing.
    place.put(BODY)
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {}}))

    def sizeless(handler: ZenodoHandler, asked: Asked) -> bool:
        if not is_content(asked):
            handler.send_json(200, {"files": [{"key": "fan.zip", "checksum": f"md5:{MD5}"}]})
        return not is_content(asked)

    place.fetch(UNPUBLISHED, sizeless)
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=3000000-"]
    assert place.archive.read_bytes() == BODY


def test_content_that_changed_between_two_parts(place: Place) -> None:
    def replace(handler: ZenodoHandler, asked: Asked) -> bool:
        (place.served / "fan.zip").write_bytes(BODY[::-1])
        return False

    with pytest.raises(FetchError, match=rf"arrived twice with the wrong content: expected md5 {MD5}"):
        place.fetch(fault=after_a_drop(replace))
    # If-Range made the server send all of the new version: the two were never joined.
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]
    assert place.contents() == [".locks"]


def test_new_version_is_fetched_whole_by_the_next_run(place: Place) -> None:
    with pytest.raises(FetchError, match="gave up"):
        place.fetch(UNPUBLISHED, drop_at_content(1000), patience=Patience(attempts=1, timeout_s=0.5))
    (place.served / "fan.zip").write_bytes(BODY[::-1])
    place.fetch(UNPUBLISHED)
    assert place.archive.read_bytes() == BODY[::-1]


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("headers", "shortest_s", "longest_s"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": formatdate(time.time() + 600, usegmt=True)}, 500, 600),
        ({}, 0.0, 60),
    ],
)
def test_busy_server_is_asked_again_when_it_says(
    place: Place, code: int, headers: dict[str, str], shortest_s: float, longest_s: float
) -> None:
    place.fetch(fault=times(1, status(code, headers)))
    assert place.archive.read_bytes() == BODY
    assert len(place.slept) == 1
    assert shortest_s <= place.slept[0] <= longest_s


def test_rate_limit_reset_is_honoured(place: Place) -> None:
    place.fetch(fault=times(1, status(429, {"X-RateLimit-Reset": str(int(time.time()) + 45)})))
    assert 40 < place.slept[0] <= 45


def test_api_that_is_busy_is_asked_again(place: Place) -> None:
    busy = iter([True, True])

    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        if is_content(asked) or not next(busy, False):
            return False
        return status(503, {"Retry-After": "3"})(handler, asked)

    place.fetch(fault=fault)
    assert place.slept == [3.0, 3.0]


def test_server_that_stays_busy_is_given_up(place: Place) -> None:
    with pytest.raises(
        FetchError, match=r"gave up after 4 attempts without progress, 0 bytes in. Last: .* answered 503"
    ):
        place.fetch(fault=times(99, status(503)))
    assert len(place.slept) == 3
    assert place.slept[0] <= 0.01 < 0.02 >= max(place.slept)


def test_wait_beyond_reason_is_refused(place: Place) -> None:
    with pytest.raises(FetchError, match="asks to come back in 86400 s"):
        place.fetch(fault=times(1, status(429, {"Retry-After": "86400"})))
    assert place.slept == []


def test_forbidden_is_not_tried_again(place: Place) -> None:
    with pytest.raises(FetchError, match="answered 403 Forbidden, which no retry mends"):
        place.fetch(fault=times(9, status(403)))
    assert place.slept == []


def test_links_self_that_answers_404_is_passed_over(place: Place) -> None:
    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        return asked.path.endswith("/content") and status(404)(handler, asked)

    place.fetch(fault=fault)
    assert [asked.path for asked in place.asked][1:] == [
        f"/api/records/{ID}/files/fan.zip/content",
        f"/records/{ID}/files/fan.zip",
    ]


def test_file_that_is_nowhere(place: Place) -> None:
    with pytest.raises(
        FetchError, match=r"fan\.zip is nowhere to be had: .*/content answered 404.*download=1 answered 404"
    ):
        place.fetch(fault=times(9, status(404)))


def test_stalled_body(place: Place) -> None:
    place.fetch(fault=times(1, drop_at(100_000, stall_s=1.0)), patience=Patience(timeout_s=0.2))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=100000-"]


def test_wrong_length_is_refused_before_it_is_fetched(place: Place) -> None:
    with pytest.raises(FetchError, match="announces 10 bytes, expected 3000000"):
        place.fetch(fault=times(9, status(200, {}, b"0123456789")))
    assert place.contents() == [".locks"]


def test_body_without_an_end(place: Place) -> None:
    def endless(handler: ZenodoHandler, asked: Asked) -> bool:
        if is_content(asked):
            handler.send_head(200, {"Connection": "close"})
            for _ in range(200):
                handler.wfile.write(bytes(100_000))
        return is_content(asked)

    with pytest.raises(FetchError, match="arrived twice with the wrong content"):
        place.fetch(fault=endless)


def test_wrong_checksum_is_fetched_once_more(place: Place) -> None:
    place.fetch(fault=times(1, status(200, {}, BODY[::-1])))
    assert place.archive.read_bytes() == BODY


def test_wrong_checksum_twice_is_an_error_and_nothing_is_kept(place: Place) -> None:
    wrong = hashlib.md5(BODY[::-1]).hexdigest()
    with pytest.raises(FetchError, match=rf"expected md5 {MD5} and 3000000 bytes, found md5 {wrong} and 3000000 bytes"):
        place.fetch(fault=times(9, status(200, {}, BODY[::-1])))
    assert place.contents() == [".locks"]


def test_page_in_place_of_an_archive(place: Place) -> None:
    with pytest.raises(FetchError, match="answered with text/html, expected a zip archive"):
        place.fetch(fault=times(9, status(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in</html>")))
    assert place.contents() == [".locks"]


def test_page_in_place_of_a_record(place: Place) -> None:
    page = status(200, {"Content-Type": "text/html"}, b"<html>sign in</html>")
    with pytest.raises(FetchError, match="answered text/html, expected JSON"):
        place.fetch(fault=page)


def test_encoding_that_was_not_allowed(place: Place) -> None:
    with pytest.raises(FetchError, match="answered with gzip encoding though none was allowed"):
        place.fetch(fault=times(9, status(200, {"Content-Encoding": "gzip"}, BODY)))


def test_redirects_keep_the_range(place: Place) -> None:
    def fault(handler: ZenodoHandler, asked: Asked) -> bool:
        if asked.path.startswith("/api") and is_content(asked):
            return status(302, {"Location": f"/records/{ID}/files/fan.zip"})(handler, asked)
        return is_content(asked) and dropped(handler, asked)

    dropped = times(1, drop_at(1_000_000))
    place.fetch(fault=fault)
    assert place.archive.read_bytes() == BODY
    assert place.asked[-1].range == "bytes=1000000-"


def test_redirects_in_a_circle(place: Place) -> None:
    def circle(handler: ZenodoHandler, asked: Asked) -> bool:
        return is_content(asked) and status(302, {"Location": asked.path})(handler, asked)

    with pytest.raises(FetchError, match="cannot be followed"):
        place.fetch(fault=circle)


def test_nobody_listens(place: Place) -> None:
    with LocalZenodo({}) as server:
        gone = server.url
    with pytest.raises(FetchError, match=r"api/records/6529888: gave up after 4 attempts"):
        place.fetch(base_url=gone)


def test_proxies_of_the_environment_are_not_used_for_this_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    place.fetch()
    assert place.archive.read_bytes() == BODY


def test_at_most_two_transfers_at_once(place: Place) -> None:
    guard, now, most = threading.Lock(), [0], [0]

    def count(handler: ZenodoHandler, asked: Asked) -> bool:
        if is_content(asked):
            with guard:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.1)
            with guard:
                now[0] -= 1
        return False

    names = [f"{index}.zip" for index in range(5)]
    for name in names:
        (place.served / name).write_bytes(name.encode())
    assert list(place.fetch(record(*(RecordFile(name=name) for name in names)), count)) == names
    assert most == [2]
    with pytest.raises(UsageError, match="max_transfers is 3; from 1 to 2"):
        place.fetch(max_transfers=3)


def test_interrupt_ends_every_transfer(place: Place) -> None:
    def interrupt(name: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.fetch(progress=interrupt)
    assert not place.archive.exists()
    place.fetch()
    assert place.archive.read_bytes() == BODY


def test_full_disk_is_noticed_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(100))
    with pytest.raises(FetchError, match="3000000 bytes are still to come, .* has room for 100"):
        place.fetch()


@dataclass
class _Usage:
    free: int


def test_broken_lock_file(place: Place) -> None:
    place.put(BODY)
    (place.archive.parent / "archives.lock.json").write_text('{"version": 2}')
    with pytest.raises(FetchError, match=r"archives\.lock\.json is not a readable lock file \(version 2, expected 1\)"):
        place.fetch()


def _fetch_in_process(root: Path, url: str, done: Any) -> None:
    fetch_record(PUBLISHED, root, base_url=url)
    done.put("done")


def test_two_processes_fetch_one_archive_once(place: Place) -> None:
    def slow(handler: ZenodoHandler, asked: Asked) -> bool:
        if is_content(asked):
            time.sleep(0.5)  # so that both have asked the API before the first is done
        return False

    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    with LocalZenodo({ID: place.served}, faults=slow) as server:
        workers = [context.Process(target=_fetch_in_process, args=(place.root, server.url, done)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert sum(is_content(asked) for asked in server.asked) == 1
    assert place.archive.read_bytes() == BODY
