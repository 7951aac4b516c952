"""A server that speaks S3, on this machine, for tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

# moto looks through its folder, two hundred files, at every request: a third of the time that a small one takes.
SERVER = """
import gc, sys
import moto.backends
found = list(moto.backends.list_of_moto_modules())
moto.backends.list_of_moto_modules = lambda: found
from moto.server import main
gc.set_threshold(50_000)
main(sys.argv[1:])
"""


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """moto's server in a process of its own; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-W", "ignore", "-c", SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300  # of a busy machine
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/").close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, "the S3 server does not start"
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


def make_bucket(url: str, name: str) -> None:
    """An empty bucket."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()
