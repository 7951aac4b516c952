"""The back end for paths on object storage.

A put is whole and lasting, or it is not at all: there are no temporary names, and nothing to flush. Nothing can be
renamed or locked either: a store is built under its own name, and is one from the moment its metadata is there.

What takes time to import is imported where it is used: the command line imports this module at every start.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from mimiidg_build.storage.backend import Complaint, Write, write_errors
from mimiidg_build.storage.object_path import ABSENT, ObjectPath

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 64 * 2**20  # of an object until it is put; two shards of 64 clips take 31 MB


class OpenedObject:
    """See :class:`~mimiidg_build.storage.backend.Opened`; each read is one request."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self.size_bytes, self.mtime_ns = path.stat()

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """See ``Opened``."""
        return self._path.read_at(offset, n_bytes)

    def read_into(self, offset: int, memory: memoryview) -> int:
        """See ``Opened``."""
        data = self.read_at(offset, len(memory))
        memory[: len(data)] = data
        return len(data)

    def file(self) -> BinaryIO:
        """See ``Opened``."""
        return self._path.open("rb")

    def close(self) -> None:
        """Nothing is open between two requests."""


class Bucket:
    """Objects; every method does what :class:`~mimiidg_build.storage.backend.Backend` says of it."""

    is_local = False

    # ---- files -------------------------------------------------------------------------------------------------------

    def open_file(self, path: ObjectPath) -> OpenedObject:
        """Ask for its size; there is nothing to open."""
        return OpenedObject(path)

    def read_at(self, path: ObjectPath, offset: int, n_bytes: int) -> bytes:
        """One request."""
        return path.read_at(offset, n_bytes)

    def digest(self, path: ObjectPath) -> tuple[int, str]:
        """Block by block as it comes."""
        from blake3 import blake3

        digest, size_bytes = blake3(), 0
        for block in path.blocks():
            digest.update(block)
            size_bytes += len(block)
        return size_bytes, digest.hexdigest()

    def identity(self, path: ObjectPath) -> None:
        """Asking would be a request; a put's digest was checked when it came."""

    @contextlib.contextmanager
    def whole_file(self, path: ObjectPath, size_bytes: int | None = None, *, durable: bool = True) -> Iterator[Write]:
        """Collect it in memory, if it is large in a temporary file, and put it when it is whole.

        Sent as it comes, a block that raises would leave an upload under way, and its parts to be paid for.
        """
        import tempfile

        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as spooled:

            def write(data: bytes | memoryview) -> None:
                spooled.write(data)

            yield write  # what the block raises is raised here, so the put below is not reached
            spooled.seek(0)
            with write_errors(path):
                path.write(spooled)

    def deliver(self, source: Path, target: ObjectPath, blocks: Iterable[bytes]) -> None:
        """Send its bytes, then remove the file on this machine."""
        target.write(iter(blocks))
        source.unlink()  # not before the put has succeeded: after a failed one the file is the only copy

    def copy(self, source: ObjectPath, target: ObjectPath) -> None:
        """Within a bucket the bytes stay there."""
        if source.bucket == target.bucket:
            source.copy_within(target)
        else:
            with source.open("rb") as file:
                self.receive(file, target)

    def receive(self, file: IO[bytes], target: ObjectPath) -> None:
        """Put what an open file holds."""
        target.write(file)

    def link(self, source: ObjectPath, target: ObjectPath) -> None:
        """There are no links: a copy."""
        self.copy(source, target)

    def move(self, source: ObjectPath, target: ObjectPath) -> None:
        """There are no renames: a copy, then the old object is removed."""
        self.copy(source, target)
        source.unlink()

    # ---- directories -------------------------------------------------------------------------------------------------

    def sizes(self, directory: ObjectPath) -> dict[str, int]:
        """One listing."""
        return directory.sizes()

    def prepare(self, directory: ObjectPath) -> None:
        """There are no directories to make."""

    def remove_partial(self, directory: ObjectPath) -> None:
        """An interrupted put leaves nothing."""

    def remove_tree(self, directory: ObjectPath) -> None:
        """Remove every object below, if there are any."""
        directory.remove_below()

    @contextlib.contextmanager
    def check_access(self, directory: ObjectPath) -> Iterator[Complaint]:
        """Others list it, each with its own credentials."""
        yield partial(_refused, directory)

    # ---- stores ------------------------------------------------------------------------------------------------------

    def staging(self, store: ObjectPath) -> ObjectPath:
        """The store's own name."""
        return store

    def publish(self, staging: ObjectPath) -> ObjectPath:
        """It has its name, and every put was lasting."""
        return staging

    def is_published(self, store: ObjectPath, marker: str) -> bool:
        """What was written last is there."""
        return (store / marker).is_file()

    def point(self, path: ObjectPath, content: bytes) -> bool:
        """Put it on condition that it is still the version that was read: of two machines, one sees the other's."""
        with write_errors(path):
            try:
                version = path.read_version()[1] if path.is_file() else ABSENT
                path.write(content, replaces=version)
            except FileExistsError:
                log.warning("%s was moved by another machine just now; looking again", path)
                return False
        return True

    def hold(self, store: ObjectPath) -> None:
        """There are no locks; nothing is removed by this program either."""

    def zarr_source(self, store: ObjectPath) -> Any:
        """zarr's own store of objects."""
        return store.zarr_store


def _refused(directory: ObjectPath) -> str:
    """What a process says that cannot list a path on object storage; empty if it can."""
    try:
        directory.is_dir()
    except OSError as error:
        return (
            f"cannot read {directory}: {error.strerror}. Start them with the same AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL as this program has."
        )
    return ""
