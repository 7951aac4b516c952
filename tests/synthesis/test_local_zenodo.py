"""The local server behaves as Zenodo and RFC 9110 say, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.synthesis.zenodo_server import Request, ZenodoHandler

BODY = bytes(range(256)) * 40
NAME = "fan.zip"
CONTENT = f"/api/records/7/files/{NAME}/content"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalZenodo]:
    (tmp_path / NAME).write_bytes(BODY)
    (tmp_path / "-6_dB fan.zip").write_bytes(b"minus")
    (tmp_path / ".hidden").write_bytes(b"not in the record")
    (tmp_path / "empty.zip").touch()
    with LocalZenodo({"7": tmp_path}, titles={"7": "A record"}) as running:
        yield running


@pytest.fixture
def client(server: LocalZenodo) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as client:
        yield client


def test_bound_to_this_machine_only(server: LocalZenodo) -> None:
    assert server.url.startswith("http://127.0.0.1:")


def test_record_json_has_zenodos_shape(server: LocalZenodo, client: httpx.Client) -> None:
    answer = client.get("/api/records/7").json()
    assert (answer["id"], answer["title"], answer["metadata"]["title"]) == (7, "A record", "A record")
    files = {file["key"]: file for file in answer["files"]}
    assert set(files) == {NAME, "-6_dB fan.zip", "empty.zip"}
    assert files[NAME]["size"] == len(BODY)
    assert files[NAME]["checksum"] == f"md5:{hashlib.md5(BODY).hexdigest()}"
    assert client.get(files["-6_dB fan.zip"]["links"]["self"]).content == b"minus"


@pytest.mark.parametrize("url", [CONTENT, f"/records/7/files/{NAME}?download=1", f"/record/7/files/{NAME}"])
def test_content_urls(client: httpx.Client, url: str) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["accept-ranges"] == "bytes"
    assert "x-ratelimit-reset" in answer.headers


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-", 0, 10239), ("bytes=10-19", 10, 19), ("bytes=-4", 10236, 10239), ("bytes=10239-99999", 10239, 10239)],
)
def test_range_is_answered_with_exactly_that_part(client: httpx.Client, asked: str, first: int, last: int) -> None:
    answer = client.get(CONTENT, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, BODY[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(BODY)}"


def test_range_beyond_the_end_is_416(client: httpx.Client) -> None:
    answer = client.get(CONTENT, headers={"Range": f"bytes={len(BODY)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(BODY)}")


def test_if_range_with_another_etag_gets_the_whole_file(client: httpx.Client) -> None:
    etag = client.head(CONTENT).headers["etag"]
    headers = {"Range": "bytes=5-"}
    assert client.get(CONTENT, headers={**headers, "If-Range": etag}).status_code == 206
    assert client.get(CONTENT, headers={**headers, "If-Range": '"other"'}).content == BODY


def test_etag_and_checksum_follow_the_content(client: httpx.Client, tmp_path: Path) -> None:
    before = client.head(CONTENT).headers["etag"]
    (tmp_path / NAME).write_bytes(b"replaced")
    assert client.head(CONTENT).headers["etag"] != before
    assert client.get(CONTENT).content == b"replaced"


def test_empty_file(client: httpx.Client) -> None:
    answer = client.get("/records/7/files/empty.zip")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "url",
    [
        "/api/records/8",
        "/api/records/7/files/no.zip/content",
        "/",
        "/records/7/files/..%2F..%2Fetc%2Fpasswd",
        "/records/7/files/.hidden",
    ],
)
def test_what_is_not_listed_is_404_json(client: httpx.Client, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


def test_faults_answer_instead(tmp_path: Path) -> None:
    def teapot(handler: ZenodoHandler, asked: Request) -> bool:
        if asked.path == "/tea":
            handler.send_json(418, {"message": "short and stout"})
        return asked.path == "/tea"

    with LocalZenodo({"7": tmp_path}, faults=teapot) as server, httpx.Client(trust_env=False, verify=False) as client:
        assert client.get(f"{server.url}/tea").status_code == 418
        assert client.get(f"{server.url}/api/records/7").status_code == 200
        assert [asked.path for asked in server.requests] == ["/tea", "/api/records/7"]


def test_nothing_is_printed(client: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    json.loads(client.get("/api/records/7").content)
    assert capfd.readouterr() == ("", "")
