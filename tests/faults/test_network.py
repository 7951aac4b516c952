"""Fetching from a server that misbehaves: a verified file or one clear error, never a corrupt file under its name."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import multiprocessing
import random
import tempfile
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.archives import fetch_record
from mimiidg_build.fetch.retry import RetryPolicy
from mimiidg_build.schemas.manifests import RecordFile
from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.synthesis.zenodo_server import Request, ZenodoHandler
from tests.faults.misbehaving import (
    BODY,
    ID,
    MD5,
    PUBLISHED,
    UNPUBLISHED,
    Fault,
    Place,
    after_a_drop,
    drop_at,
    drop_at_content,
    is_content,
    record,
    status,
    times,
)
from tests.faults.summary import Tries


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_dropped_connections_are_resumed_where_they_broke(place: Place, seed: int, fault: Tries) -> None:
    fault("connection dropped at a random byte", cases=6)
    rng = random.Random(seed)
    drops = [drop_at(rng.randrange(1, len(BODY) // 8)) for _ in range(6)]  # more drops than attempts allowed in a row
    left = iter(drops)

    def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
        return is_content(asked) and next(left, lambda *_: False)(handler, asked)

    place.fetch(fault=misbehave)
    assert place.archive.read_bytes() == BODY
    ranges = [asked.range for asked in place.asked if is_content(asked)]
    assert len(ranges) == 7
    assert ranges[0] is None
    starts = [int((header or "").removeprefix("bytes=").rstrip("-")) for header in ranges[1:]]
    assert starts == sorted(set(starts))
    assert {asked.if_range for asked in place.asked if asked.range} == {f'"{MD5}"'}


def test_later_run_goes_on_from_the_part(place: Place, fault: Tries) -> None:
    fault("connection dropped at a random byte")
    with pytest.raises(FetchError, match="gave up after 1 attempts without progress, 1000000 bytes in"):
        place.fetch(fault=drop_at_content(1_000_000), retry_policy=RetryPolicy(attempts=1, timeout_s=0.5))
    assert place.part.read_bytes() == BODY[:1_000_000]
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=1000000-"]
    assert place.archive.read_bytes() == BODY
    assert place.contents() == [".locks", "archives.lock.json", "fan.zip"]


@pytest.mark.parametrize("about", [None, "{", '{"md5": "00", "version": {}}', "[]"])
def test_part_of_unknown_origin_is_not_appended_to(place: Place, about: str | None, fault: Tries) -> None:
    fault("a part or lock file damaged")
    place.put(b"another file's beginning")
    place.archive.rename(place.part)
    if about is not None:
        place.part.with_name("fan.zip.part.json").write_text(about)
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == [None]


def test_corrupted_part_is_found_out_and_fetched_anew(place: Place, fault: Tries) -> None:
    fault("a part or lock file damaged")
    place.put(b"?" + BODY[1:1000])
    place.archive.rename(place.part)
    place.part.with_name("fan.zip.part.json").write_text(json.dumps({"md5": MD5, "version": {"etag": f'"{MD5}"'}}))
    place.fetch()
    assert [asked.range for asked in place.asked if is_content(asked)] == ["bytes=1000-", None]
    assert place.archive.read_bytes() == BODY


def test_server_that_ignores_ranges(place: Place, fault: Tries) -> None:
    fault("Range ignored")
    place.fetch(fault=after_a_drop(status(200, {"ETag": f'"{MD5}"'}, BODY)))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-"]


def test_server_that_ignores_ranges_and_always_drops_is_given_up(place: Place, fault: Tries) -> None:
    fault("Range ignored")

    def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
        if is_content(asked):
            handler.send_head(200, {"Content-Length": str(len(BODY))})
            handler.wfile.write(BODY[:100_000])
            handler.close_connection = True
        return is_content(asked)

    with pytest.raises(FetchError, match="gave up after 4 attempts without progress, 100000 bytes in"):
        place.fetch(fault=misbehave)


@pytest.mark.parametrize(
    "content_range", ["bytes 0-2999999/3000000", "bytes 1000000-2999999/9000000", "bytes 1000000-1999999/3000000", ""]
)
def test_wrong_content_range_starts_over(place: Place, content_range: str, fault: Tries) -> None:
    fault("Range answered wrongly")
    headers = {"Content-Range": content_range} if content_range else {}
    place.fetch(fault=after_a_drop(status(206, headers, BODY[1_000_000:])))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]


def test_206_of_another_version_starts_over(place: Place, fault: Tries) -> None:
    fault("Range answered wrongly")
    headers = {"Content-Range": "bytes 1000000-2999999/3000000", "ETag": '"another"'}
    place.fetch(fault=after_a_drop(status(206, headers, b"?" * 2_000_000)))
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]


def test_416_starts_over(place: Place, fault: Tries) -> None:
    fault("Range answered wrongly")
    place.fetch(fault=after_a_drop(status(416, {"Content-Range": "bytes */10"})))
    assert place.archive.read_bytes() == BODY


@pytest.mark.parametrize("etag", ['"\u00e9"', '"a\tb"'])
def test_version_that_cannot_be_sent_back_is_not_asked_for(place: Place, etag: str, fault: Tries) -> None:
    fault("nonsense in an answer's head or body")

    def first_half(handler: ZenodoHandler, asked: Request) -> bool:
        handler.send_head(200, {"ETag": etag, "Content-Length": str(len(BODY))})
        handler.wfile.write(BODY[:1_000_000])
        handler.close_connection = True
        return True

    place.fetch(fault=times(1, first_half))
    assert place.archive.read_bytes() == BODY
    assert [(asked.range, asked.if_range) for asked in place.asked if is_content(asked)][1:] == [
        ("bytes=1000000-", None)
    ]


def test_a_weak_version_is_not_asked_for(place: Place, fault: Tries) -> None:
    """It says nothing about bytes: the rest is asked for without it, and not joined to what names another version."""
    fault("content changed between two parts")

    def first_part(handler: ZenodoHandler, asked: Request) -> bool:
        handler.send_head(200, {"ETag": f'W/"{MD5}"', "Content-Length": str(len(BODY))})
        handler.wfile.write(BODY[:1_000_000])
        handler.close_connection = True
        return True

    place.fetch(fault=times(1, first_part))
    assert place.archive.read_bytes() == BODY
    requests = [(asked.range, asked.if_range) for asked in place.asked if is_content(asked)]
    assert requests == [(None, None), ("bytes=1000000-", None), (None, None)]


def test_content_that_changed_between_two_parts(place: Place, fault: Tries) -> None:
    fault("content changed between two parts")

    def replace(handler: ZenodoHandler, asked: Request) -> bool:
        (place.served / "fan.zip").write_bytes(BODY[::-1])
        return False

    with pytest.raises(FetchError, match=rf"arrived twice with the wrong content: expected md5 {MD5}"):
        place.fetch(fault=after_a_drop(replace))
    # If-Range made the server send all of the new version: the two were never joined.
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=1000000-", None]
    assert place.contents() == [".locks"]


def test_new_version_is_fetched_whole_by_the_next_run(place: Place, fault: Tries) -> None:
    fault("content changed between two parts")
    with pytest.raises(FetchError, match="gave up"):
        place.fetch(UNPUBLISHED, drop_at_content(1000), retry_policy=RetryPolicy(attempts=1, timeout_s=0.5))
    (place.served / "fan.zip").write_bytes(BODY[::-1])
    place.fetch(UNPUBLISHED)
    assert place.archive.read_bytes() == BODY[::-1]


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("headers", "shortest_s", "longest_s"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "in ten minutes, as a date"}, 500, 600),
        ({}, 0.0, 60),
    ],
)
def test_busy_server_is_asked_again_when_it_says(
    place: Place, code: int, headers: dict[str, str], shortest_s: float, longest_s: float, fault: Tries
) -> None:
    fault("429 or 503, with and without Retry-After")
    if longest_s == 600:
        headers = {"Retry-After": formatdate(time.time() + 600, usegmt=True)}
    place.fetch(fault=times(1, status(code, headers)))
    assert place.archive.read_bytes() == BODY
    assert len(place.slept) == 1
    assert shortest_s <= place.slept[0] <= longest_s


def test_api_that_is_busy_is_asked_again(place: Place, fault: Tries) -> None:
    fault("429 or 503, with and without Retry-After")
    busy = iter([True, True])

    def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
        if is_content(asked) or not next(busy, False):
            return False
        return status(503, {"Retry-After": "3"})(handler, asked)

    place.fetch(fault=misbehave)
    assert place.slept == [3.0, 3.0]


def test_server_that_stays_busy_is_given_up(place: Place, fault: Tries) -> None:
    fault("429 or 503, with and without Retry-After")
    with pytest.raises(
        FetchError, match=r"gave up after 4 attempts without progress, 0 bytes in. Last: .* answered 503"
    ):
        place.fetch(fault=times(99, status(503)))
    assert len(place.slept) == 3
    assert place.slept[0] <= 0.01 < 0.02 >= max(place.slept)


def test_wait_beyond_reason_is_refused(place: Place, fault: Tries) -> None:
    fault("429 or 503, with and without Retry-After")
    with pytest.raises(FetchError, match="asks to come back in 86400 s"):
        place.fetch(fault=times(1, status(429, {"Retry-After": "86400"})))
    assert place.slept == []


def test_forbidden_is_not_tried_again(place: Place, fault: Tries) -> None:
    fault("403 or 404")
    with pytest.raises(FetchError, match="answered 403 Forbidden; trying again would not help"):
        place.fetch(fault=times(9, status(403)))
    assert place.slept == []


def test_links_self_that_answers_404_is_passed_over(place: Place, fault: Tries) -> None:
    fault("403 or 404")

    def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
        return asked.path.endswith("/content") and status(404)(handler, asked)

    place.fetch(fault=misbehave)
    assert [asked.path for asked in place.asked][1:] == [
        f"/api/records/{ID}/files/fan.zip/content",
        f"/records/{ID}/files/fan.zip",
    ]


def test_file_that_is_nowhere(place: Place, fault: Tries) -> None:
    fault("403 or 404")
    with pytest.raises(
        FetchError, match=r"fan\.zip is at none of its addresses: .*/content answered 404.*download=1 answered 404"
    ):
        place.fetch(fault=times(9, status(404)))


def test_stalled_body(place: Place, fault: Tries) -> None:
    fault("stalled or endless body")
    place.fetch(fault=times(1, drop_at(100_000, stall_s=1.0)), retry_policy=RetryPolicy(timeout_s=0.2))
    assert place.archive.read_bytes() == BODY
    assert [asked.range for asked in place.asked if is_content(asked)] == [None, "bytes=100000-"]


def test_wrong_length_is_refused_before_it_is_fetched(place: Place, fault: Tries) -> None:
    fault("wrong length or checksum")
    with pytest.raises(FetchError, match="announces 10 bytes, expected 3000000"):
        place.fetch(fault=times(9, status(200, {}, b"0123456789")))
    assert place.contents() == [".locks"]


def test_body_without_an_end(place: Place, fault: Tries) -> None:
    """It hangs up when more has come than the file is long, instead of filling the disk."""
    fault("stalled or endless body")
    sent: list[int] = []

    def endless(handler: ZenodoHandler, asked: Request) -> bool:
        if is_content(asked):
            handler.send_head(200, {"Connection": "close"})
            sent.append(0)
            with contextlib.suppress(OSError):
                while sent[-1] < 100 * len(BODY):
                    sent[-1] += handler.wfile.write(bytes(100_000))
        return is_content(asked)

    with pytest.raises(FetchError, match="arrived twice with the wrong content"):
        place.fetch(fault=endless)
    assert len(sent) == 2 and max(sent) < 10 * len(BODY), "but for what is on its way"


def test_wrong_checksum_is_fetched_once_more(place: Place, fault: Tries) -> None:
    fault("wrong length or checksum")
    place.fetch(fault=times(1, status(200, {}, BODY[::-1])))
    assert place.archive.read_bytes() == BODY


def test_wrong_checksum_twice_is_an_error_and_nothing_is_kept(place: Place, fault: Tries) -> None:
    fault("wrong length or checksum")
    wrong = hashlib.md5(BODY[::-1]).hexdigest()
    with pytest.raises(FetchError, match=rf"expected md5 {MD5} and 3000000 bytes, found md5 {wrong} and 3000000 bytes"):
        place.fetch(fault=times(9, status(200, {}, BODY[::-1])))
    assert place.contents() == [".locks"]


def test_page_in_place_of_an_archive(place: Place, fault: Tries) -> None:
    fault("a page in place of an archive or a record")
    with pytest.raises(FetchError, match="answered with text/html, expected a zip archive"):
        place.fetch(fault=times(9, status(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in</html>")))
    assert place.contents() == [".locks"]


def test_page_in_place_of_a_record(place: Place, fault: Tries) -> None:
    fault("a page in place of an archive or a record")
    page = status(200, {"Content-Type": "text/html"}, b"<html>sign in</html>")
    with pytest.raises(FetchError, match="answered text/html, expected JSON"):
        place.fetch(fault=page)


def test_encoding_that_was_not_allowed(place: Place, fault: Tries) -> None:
    fault("a page in place of an archive or a record")
    with pytest.raises(FetchError, match="answered with gzip encoding though none was allowed"):
        place.fetch(fault=times(9, status(200, {"Content-Encoding": "gzip"}, BODY)))


def test_redirects_keep_the_range(place: Place, fault: Tries) -> None:
    fault("redirects")

    def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
        if asked.path.startswith("/api") and is_content(asked):
            return status(302, {"Location": f"/records/{ID}/files/fan.zip"})(handler, asked)
        return is_content(asked) and dropped(handler, asked)

    dropped = times(1, drop_at(1_000_000))
    place.fetch(fault=misbehave)
    assert place.archive.read_bytes() == BODY
    assert place.asked[-1].range == "bytes=1000000-"


def test_redirects_in_a_circle(place: Place, fault: Tries) -> None:
    fault("redirects")

    def circle(handler: ZenodoHandler, asked: Request) -> bool:
        return is_content(asked) and status(302, {"Location": asked.path})(handler, asked)

    with pytest.raises(FetchError, match="cannot be followed"):
        place.fetch(fault=circle)


def test_nobody_listens(place: Place, fault: Tries) -> None:
    fault("nobody listens")
    with LocalZenodo({}) as server:
        gone = server.url
    with pytest.raises(FetchError, match=r"api/records/6529888: gave up after 4 attempts"):
        place.fetch(base_url=gone)


def _fetch_in_process(root: Path, url: str, done: Any) -> None:
    fetch_record(PUBLISHED, root, base_url=url)
    done.put("done")


def test_two_processes_fetch_one_archive_once(place: Place, fault: Tries) -> None:
    fault("two fetches of one archive at once", cases=2)

    def slow(handler: ZenodoHandler, asked: Request) -> bool:
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
            worker.join(300)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert sum(is_content(asked) for asked in server.requests) == 1
    assert place.archive.read_bytes() == BODY


def test_two_processes_one_of_them_killed(place: Place, fault: Tries) -> None:
    """The lock of a process that dies is free: the one that waited takes up the part that it left."""
    fault("a fetch killed while another waits for it")

    killed = threading.Event()

    def trickle(handler: ZenodoHandler, asked: Request) -> bool:
        if not is_content(asked) or asked.range:
            return False
        handler.send_head(200, {"ETag": f'"{MD5}"', "Content-Length": str(len(BODY))})
        handler.wfile.write(BODY[:1_000_000])
        handler.wfile.flush()
        killed.wait(300)
        return True

    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    with LocalZenodo({ID: place.served}, faults=trickle) as server:
        workers = [context.Process(target=_fetch_in_process, args=(place.root, server.url, done)) for _ in range(2)]
        workers[0].start()
        deadline = time.monotonic() + 300
        while not (place.part.is_file() and place.part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        workers[1].start()
        while sum(not is_content(asked) for asked in server.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        workers[0].kill()
        killed.set()
        for worker in workers:
            worker.join(300)
        assert workers[1].exitcode == 0
        ranges = [asked.range for asked in server.requests if is_content(asked)]
    assert len(ranges) == 2 and (ranges[1] or "").startswith("bytes=")
    assert place.archive.read_bytes() == BODY


def any_fault(rng: random.Random) -> Fault:
    """One way to misbehave, drawn."""
    cut, wrong = rng.randrange(len(BODY)), rng.randrange(len(BODY))
    return rng.choice(
        [
            drop_at(cut),
            drop_at(0),
            status(rng.choice([408, 429, 500, 502, 503, 504]), rng.choice([{}, {"Retry-After": "1"}])),
            status(rng.choice([401, 403, 404, 410, 416, 418])),
            status(200, {}, BODY),
            status(200, {}, BODY[:cut] + b"?" + BODY[cut + 1 :]),
            status(200, {}, BODY[:cut]),
            status(200, {"Content-Length": str(len(BODY))}, BODY[:cut]),
            status(206, {"Content-Range": f"bytes {wrong}-{len(BODY) - 1}/{len(BODY)}"}, BODY[wrong:]),
            status(206, {}, BODY[cut:]),
            status(206, {"Content-Range": f"bytes {'9' * 5000}-/*"}, b""),
            status(302, {"Location": f"/records/{ID}/files/fan.zip"}),
            status(302, {"Location": "http://[::"}),
            status(200, {"Content-Type": "text/html"}, b"<html>"),
            lambda handler, asked: False,
        ]
    )


@pytest.mark.parametrize(
    "seeds", [range(12), pytest.param(range(12, 72), marks=pytest.mark.slow)], ids=["12", "60 more"]
)
def test_any_faults_in_a_row(tmp_path: Path, seeds: range, fault: Tries) -> None:
    """Whatever happens, run after run: the archive has its name only with every byte right, and a good run ends it."""
    n_refused = 0
    for seed in seeds:
        fault("several network faults in a row, at random")
        (tmp_path / str(seed)).mkdir()
        place, rng = Place.of(tmp_path / str(seed)), random.Random(seed)
        what = rng.choice([PUBLISHED, UNPUBLISHED])
        for _ in range(rng.randrange(1, 4)):
            faults = [any_fault(rng) for _ in range(rng.randrange(1, 9))]
            left = iter(faults)

            def misbehave(handler: ZenodoHandler, asked: Request, left: Any = left) -> bool:
                return is_content(asked) and next(left, lambda *_: False)(handler, asked)

            try:
                place.fetch(what, misbehave)
            except FetchError as error:
                n_refused += 1
                assert "fan.zip" in str(error)
                assert not place.archive.exists()
            else:
                assert place.archive.read_bytes() == BODY
        place.fetch(what)
        assert place.archive.read_bytes() == BODY
        assert place.contents() == [".locks", "archives.lock.json", "fan.zip"]
        assert not list(place.served.glob("*.part"))
    assert n_refused > 0, "the faults are felt"


@pytest.mark.parametrize("file", ["fan.zip.part", "fan.zip.part.json", "archives.lock.json"])
def test_what_an_earlier_run_left_is_damaged(tmp_path: Path, file: str, fault: Tries) -> None:
    """A part is taken up only if it ends as the right file; a lock file that cannot be read is named."""
    (tmp_path / "place").mkdir()
    place = Place.of(tmp_path / "place")
    (place.served / "bearing.zip").write_bytes(b"bearing")
    with pytest.raises(FetchError, match="gave up"):
        place.fetch(fault=drop_at_content(100_000), retry_policy=RetryPolicy(attempts=1, timeout_s=0.5))
    place.fetch(record(RecordFile(name="bearing.zip")))
    directory = place.archive.parent
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    for seed in range(8):
        fault("a part or lock file damaged")
        rng, data = random.Random(seed), bytearray(before[file])
        for _ in range(rng.choice([1, 1, 5])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for name, content in before.items():
            (directory / name).write_bytes(data if name == file else content)
        try:
            place.fetch()
        except FetchError as error:
            assert file == "archives.lock.json" and file in str(error)
            assert not place.archive.exists()
        else:
            assert place.archive.read_bytes() == BODY
            place.archive.unlink()
            place.part.unlink(missing_ok=True)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "key": st.just("fan.zip") | ANYTHING,
        "size": st.just(len(BODY)) | ANYTHING,
        "checksum": st.just(f"md5:{MD5}") | ANYTHING,
        "links": st.fixed_dictionaries({"self": st.sampled_from(["http://[", "file:///etc/passwd", "x:", "\x00"])})
        | ANYTHING,
    },
)
ANSWERS = st.fixed_dictionaries({"files": st.lists(FILES, max_size=3) | ANYTHING}) | ANYTHING


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=ANSWERS)
def test_whatever_the_api_answers(tmp_path: Path, answer: object, fault: Tries) -> None:
    fault("any JSON in place of a record")
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        place = Place.of(Path(directory))

        def misbehave(handler: ZenodoHandler, asked: Request) -> bool:
            if not is_content(asked):
                handler.send_json(200, answer)
            return not is_content(asked)

        try:
            place.fetch(UNPUBLISHED, misbehave)
        except FetchError:
            assert not place.archive.exists()
        else:
            assert place.archive.read_bytes() == BODY


@pytest.mark.parametrize(
    ("code", "headers", "body", "message"),
    [
        (200, {"Content-Encoding": "gzip"}, b"not gzip", "expected JSON"),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"files": 1}'), "did not answer with a record"),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(20_000_000)), "answered more than 16777216 bytes"),
        (200, {}, b"[" * 100_000, "expected JSON"),
        (200, {}, b'{"files": [{"key": "fan.zip", "size": ' + b"9" * 5000 + b"}]}", "expected JSON"),
        (200, {}, b"\xff\xfe\xfd", "expected JSON"),
        (429, {"Retry-After": "9" * 400}, b"", "asks to come back in inf s"),
        (429, {"X-RateLimit-Reset": "9" * 5000}, b"", "asks to come back in inf s"),
        (429, {"Retry-After": "Mon, 01 Jan 0001 00:00:00 GMT"}, b"", "gave up after 4 attempts"),
        (503, {"Retry-After": "-1"}, b"", "gave up after 4 attempts"),
        (503, {"Retry-After": "\u00b2"}, b"", "gave up after 4 attempts"),
        (302, {"Location": "http://[::"}, b"", "gave up after 4 attempts|cannot be followed"),
        (302, {"Location": "file:///etc/passwd"}, b"", "cannot be followed"),
        (302, {}, b"", "answered 302|cannot be followed"),
    ],
    ids=[
        *("not gzip", "no list of files", "a gzip bomb", "nested too deep", "a number too long", "not UTF-8"),
        *("wait for ever", "reset at no time", "a date before clocks", "a negative wait", "a wait that is no digit"),
        *("no address", "a file", "nowhere"),
    ],
)
def test_answers_that_are_nonsense(
    place: Place, code: int, headers: dict[str, str], body: bytes, message: str, fault: Tries
) -> None:
    fault("nonsense in an answer's head or body")
    with pytest.raises(FetchError, match=message):
        place.fetch(fault=status(code, headers, body))
    assert not place.archive.exists()
