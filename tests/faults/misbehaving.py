"""A served record, a data root, and the ways in which the server between them misbehaves."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimiidg_build.fetch.archives import archive_path, fetch_record
from mimiidg_build.fetch.retry import RetryPolicy
from mimiidg_build.schemas.manifests import Record, RecordFile
from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.synthesis.zenodo_server import Request, ZenodoHandler

ID = "6529888"
BODY = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()
HASTY = RetryPolicy(attempts=4, timeout_s=0.5, first_wait_s=0.01, longest_wait_s=0.02)

Fault = Callable[[ZenodoHandler, Request], bool]


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
    asked: list[Request] = field(default_factory=list)

    @classmethod
    def of(cls, directory: Path) -> Place:
        """A new place with one archive served."""
        served = directory / "served"
        served.mkdir()
        (served / "fan.zip").write_bytes(BODY)
        return cls(served, directory / "root")

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
            self.asked = server.requests
            settings = {"base_url": server.url, "retry_policy": HASTY, "sleep": self.slept.append, **options}
            return fetch_record(what, self.root, **settings)

    def contents(self) -> list[str]:
        return sorted(path.name for path in self.archive.parent.iterdir())


def is_content(asked: Request) -> bool:
    return "/files/" in asked.path


def times(count: int, fault: Fault) -> Fault:
    """The fault for the first ``count`` requests for content, good behaviour after."""
    left = [count]

    def limited(handler: ZenodoHandler, asked: Request) -> bool:
        if not is_content(asked) or left[0] == 0:
            return False
        left[0] -= 1
        return fault(handler, asked)

    return limited


def drop_at(n_bytes: int, stall_s: float = 0.0) -> Fault:
    """Send that many bytes of what was asked for, then hang up, or say nothing more."""

    def fault(handler: ZenodoHandler, asked: Request) -> bool:
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
    def fault(handler: ZenodoHandler, asked: Request) -> bool:
        handler.send_body(code, body, headers)
        return True

    return fault


def drop_at_content(n_bytes: int) -> Fault:
    return lambda handler, asked: is_content(asked) and drop_at(n_bytes)(handler, asked)


def after_a_drop(then: Fault) -> Fault:
    """Drop the first transfer at 1,000,000 bytes; answer the second with ``then``."""
    steps = iter([drop_at(1_000_000), then])
    return lambda handler, asked: is_content(asked) and next(steps, lambda *_: False)(handler, asked)
