"""A bucket behind a server that misbehaves: a build ends with the right bytes, or with one clear error and goes on."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import MimiidgError
from mimiidg_build.storage.places import ObjectPath, file_sizes
from mimiidg_build.store.store import open_store
from tests.conftest import DATASET, content
from tests.faults.summary import Tries

VARIANT = derive_variant(load_variant("demo"), dataset=DATASET, sections=["valve"])
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, but for a share of those to ``where``, on which it does one of the faults."""

    daemon_threads = True

    def __init__(self, url: str, faults: tuple[str, ...], share: float, seed: int, where: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind, self.faults, self.share, self.where = urlsplit(url), faults, share, where
        self.random, self.guard, self.n_faults = random.Random(seed), threading.Lock(), 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, path: str) -> str:
        """What to do to the next request; empty for nothing."""
        with self.guard:
            if self.where not in path or self.random.random() >= self.share:
                return ""
            self.n_faults += 1
            return self.random.choice(self.faults)

    def handle_error(self, request: object, client_address: object) -> None:
        """The client hung up, as it may."""


class Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.server.fault(self.path)
        if fault == "dropped before":
            self.close_connection = True
            return
        if fault in ("503", "403"):
            self.answer(int(fault), {"content-type": "application/xml"}, SLOW_DOWN if fault == "503" else DENIED)
            return
        behind = http.client.HTTPConnection(self.server.behind.netloc, timeout=300)
        with contextlib.closing(behind):
            behind.request(self.command, self.path, body, dict(self.headers))
            found = behind.getresponse()
            content, headers = found.read(), dict(found.getheaders())
        if fault == "dropped after":
            self.close_connection = True
            return
        self.answer(found.status, headers, content, cut=fault == "cut off")

    def answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
        self.send_response(status)
        dropped = ("content-length", "transfer-encoding", "connection", "date", "server")
        for name, value in headers.items():
            if name.lower() not in dropped:
                self.send_header(name, value)
        length = headers.get("Content-Length", headers.get("content-length", "0")) if self.command == "HEAD" else 0
        self.send_header("content-length", str(length or len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def log_message(self, *about: object) -> None: ...


@contextlib.contextmanager
def misbehaving(
    storage: str, monkeypatch: pytest.MonkeyPatch, *how: str, share: float, seed: int, where: str = ""
) -> Iterator[Proxy]:
    """Within the block the bucket is behind a server that misbehaves, where a request's path and query hold a text."""
    proxy = Proxy(storage, how, share, seed, where)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        with monkeypatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL", proxy.url)
            yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 9), marks=pytest.mark.slow)], ids=["1", "9"])
def test_a_server_that_misbehaves(
    remote: ObjectPath, root: Path, storage: str, monkeypatch: pytest.MonkeyPatch, seeds: range, fault: Tries
) -> None:
    fault("a build on object storage that fails at every seventh request", cases=len(seeds))
    expected = content(build_variant(VARIANT, root).store)
    faults = ("503", "dropped before", "dropped after", "cut off")
    for seed in seeds:
        for name in file_sizes(remote / "variants"):
            (remote / "variants" / name).unlink()
        with misbehaving(storage, monkeypatch, *faults, share=0.15, seed=seed) as proxy:
            for attempt in range(20):
                try:
                    store = build_variant(VARIANT, remote).store
                    break
                except (MimiidgError, OSError) as error:
                    assert str(remote.bucket) in str(error), "an error names the place"
                    assert attempt < 19, error
            assert proxy.n_faults > 3
        assert content(open_store(store.path.parent)) == expected
        assert {name.split("/")[1] for name in file_sizes(remote / "variants")} == {"latest", store.path.name}


def test_rights_that_are_withdrawn(
    remote: ObjectPath, storage: str, monkeypatch: pytest.MonkeyPatch, fault: Tries
) -> None:
    fault("a build on object storage that refuses", cases=1)
    with (
        misbehaving(storage, monkeypatch, "403", share=1.0, seed=0),
        pytest.raises((MimiidgError, OSError), match="refused; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ):
        build_variant(VARIANT, remote)
    assert not (remote / "variants").is_dir()
    assert not build_variant(VARIANT, remote).was_finished


def test_a_journal_that_could_not_be_removed(
    remote: ObjectPath, storage: str, monkeypatch: pytest.MonkeyPatch, fault: Tries
) -> None:
    """The store is finished and latest by then: the next build finds it, and removes what is left."""
    fault("a build on object storage that fails at its last request", cases=1)
    with (
        misbehaving(storage, monkeypatch, "403", share=1.0, seed=0, where="?delete"),
        pytest.raises((MimiidgError, OSError), match=r"\.journal"),
    ):
        build_variant(VARIANT, remote)
    built = build_variant(VARIANT, remote)
    assert built.was_finished
    assert {name.split("/")[1] for name in file_sizes(remote / "variants")} == {"latest", built.store.path.name}
