"""Fetching: what is done about each file, what is asked of the server, and what is written down. Servers that misbehave
are in ``faults/test_network.py``."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from mimiidg_build.errors import FetchError, UsageError
from mimiidg_build.fetch.archives import archive_checksums
from mimiidg_build.fetch.http import USER_AGENT
from mimiidg_build.fetch.lock import read_lock
from mimiidg_build.fetch.record_api import parse_record
from mimiidg_build.fetch.steps import decide
from mimiidg_build.schemas.fetching import LockEntry
from mimiidg_build.schemas.manifests import OWN_ENDINGS, Record, RecordFile
from mimiidg_build.synthesis.zenodo_server import Request, ZenodoHandler
from tests.faults.misbehaving import (
    BODY,
    ID,
    MD5,
    PUBLISHED,
    UNPUBLISHED,
    Place,
    is_content,
    record,
    status,
    times,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path)


def test_fetched_verified_and_written_down(place: Place) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert place.fetch(on_progress=lambda *step: seen.append(step)) == {"fan.zip": place.archive}
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


ENTRY = LockEntry(md5=MD5, size_bytes=10, mtime_ns=5, pinned="first fetch")
FOUND = LockEntry(md5=MD5, size_bytes=10, mtime_ns=5, pinned="as found")
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
    def older(handler: ZenodoHandler, asked: Request) -> bool:
        if not is_content(asked):
            handler.send_json(200, {"files": [{"filename": "fan.zip", "filesize": len(BODY), "checksum": MD5}]})
        return not is_content(asked)

    place.fetch(UNPUBLISHED, older)
    assert archive_checksums(UNPUBLISHED, place.root) == {"fan.zip": MD5}


NAMES = [
    "Lüfter, 6 dB (1) [neu].zip",
    "100% & more #2?.zip",
    "ファン+fan;x=1.zip",
    "it's 'a' name.zip",
    "-6_dB_fan.zip",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_as_people_give_them(place: Place, name: str) -> None:
    """Spaces, brackets, letters of any language: in a record, in what a fetch asks for, and put there by hand."""
    what = record(RecordFile(name=name, md5=MD5, size_bytes=len(BODY)))
    (place.served / "fan.zip").rename(place.served / name)
    (path,) = place.fetch(what).values()
    assert path == place.archive.with_name(name) and path.read_bytes() == BODY
    assert place.contents() == sorted([".locks", "archives.lock.json", name])
    for where in (f"/api/records/{ID}/files/{quote(name)}/content", f"/records/{ID}/files/{quote(name)}"):
        (place.archive.parent / "archives.lock.json").unlink()
        path.unlink()
        at_page = times(1, status(404)) if where.startswith("/records") else None
        place.fetch(what, at_page)
        assert where in {asked.path for asked in place.asked}
    (place.archive.parent / "archives.lock.json").unlink()
    assert place.fetch(what, offline=True) == {name: path}
    path.unlink()
    with pytest.raises(FetchError, match=re.escape(f"/records/{ID}/files/{quote(name)}?download=1")):
        place.fetch(what, offline=True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *((f"fan.zip{ending}", "fetching makes files of such names itself") for ending in OWN_ENDINGS),
        ("archives.lock.json", "fetching makes files of such names itself"),
        ("ü" * 101, "longer than 200 bytes"),
        ("fan.zip ", "without a space at its end"),
        ("fan\u202epiz", "characters that can be seen"),
        ("fan\u0085", "characters that can be seen"),
        *((name, "String should match pattern") for name in (" fan", ".fan", "a/b", "a\\b", "a\x1b", "C:a", "~")),
    ],
)
def test_names_that_no_archive_has(name: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RecordFile(name=name)


@pytest.mark.parametrize(
    ("size", "size_bytes"), [(True, None), (3, 3), (0, None), (-1, None), ("3", None), (3.0, None)]
)
def test_a_size_is_a_number_of_bytes(size: object, size_bytes: int | None) -> None:
    """JSON's `true` is an int to Python; a file of one byte would be refused for being longer."""
    assert parse_record({"files": [{"key": "a.zip", "size": size}]})["a.zip"].size_bytes == size_bytes


@pytest.mark.parametrize("body", [{"files": "many"}, ["?"], {"files": [{"size": 1}]}])
def test_answer_that_is_no_record(place: Place, body: object) -> None:
    def nonsense(handler: ZenodoHandler, asked: Request) -> bool:
        handler.send_json(200, body)
        return True

    with pytest.raises(FetchError, match="did not answer with a record"):
        place.fetch(PUBLISHED, nonsense)


def test_record_without_any_checksum(place: Place) -> None:
    def bare(handler: ZenodoHandler, asked: Request) -> bool:
        handler.send_json(200, {"files": [{"key": "fan.zip"}]})
        return True

    with pytest.raises(FetchError, match="neither the manifest nor record 6529888 gives an md5"):
        place.fetch(UNPUBLISHED, bare)


def test_whole_part_needs_no_request(place: Place) -> None:
    place.put(BODY)
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {}}))
    place.fetch()
    assert not any(is_content(asked) for asked in place.asked)


def test_416_for_a_part_that_is_whole(place: Place) -> None:
    # Without a published size only the server knows that nothing is missing.
    place.put(BODY)
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {}}))

    def sizeless(handler: ZenodoHandler, asked: Request) -> bool:
        if not is_content(asked):
            handler.send_json(200, {"files": [{"key": "fan.zip", "checksum": f"md5:{MD5}"}]})
        return not is_content(asked)

    place.fetch(UNPUBLISHED, sizeless)
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=3000000-"]
    assert place.archive.read_bytes() == BODY


def test_rate_limit_reset_is_honoured(place: Place) -> None:
    place.fetch(fault=times(1, status(429, {"X-RateLimit-Reset": str(int(time.time()) + 45)})))
    assert 40 < place.slept[0] <= 45


def test_proxies_of_the_environment_are_not_used_for_this_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    place.fetch()
    assert place.archive.read_bytes() == BODY


def test_at_most_two_transfers_at_once(place: Place) -> None:
    guard, now, most = threading.Lock(), [0], [0]

    def count(handler: ZenodoHandler, asked: Request) -> bool:
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
        place.fetch(on_progress=interrupt)
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
