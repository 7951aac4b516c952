"""The back end for paths on this machine.

A file is written under a temporary name (:mod:`~mimiidg_build.storage.temporary`), flushed and renamed: a reader sees
the old file or the new one, also after a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO, BinaryIO

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.storage.backend import Complaint, Identity, Write, write_errors
from mimiidg_build.storage.holds import Hold
from mimiidg_build.storage.reserve import reserve
from mimiidg_build.storage.temporary import COPY, open_temporary

COPY_BYTES = 4 * 2**20  # at once
WRITTEN_AT_ONCE = 2 * 2**20
FLUSHED_AT_ONCE = 16

log = logging.getLogger(__name__)
_cannot_flush: set[int] = set()  # file systems (st_dev) whose directories cannot be flushed, as was said once


def flush(path: Path) -> None:
    """Make a file's content, or the names in a directory, durable: a rename is only kept once its directory is.

    Some file systems (CIFS, DrvFs, some of FUSE) flush no directories: that is said once, and the work goes on.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        found = os.fstat(descriptor)
        if not stat.S_ISDIR(found.st_mode) or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
        if found.st_dev not in _cannot_flush:
            _cannot_flush.add(found.st_dev)
            log.warning(
                "%s: this file system cannot flush directories (%s). After a power cut the newest files may be gone; "
                "run the same command again then.",
                path,
                error.strerror,
            )
    finally:
        os.close(descriptor)


def _flush_tree(directory: Path) -> None:
    """Flush everything: many at once, which a disk takes together. The 410 names of a store of 60 shards took 2.6 s one
    after the other, each waiting for the disk, while no worker had anything to do; so they take 0.2."""

    def refuse(error: OSError) -> None:
        raise error  # what cannot be listed is not flushed

    below = [path for folder, files in _walk(directory, refuse) for path in (folder, *files)]

    def flush_all(paths: list[Path]) -> None:
        for path in paths:
            flush(path)

    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:  # a list for each thread: handing out names takes longer
        list(pool.map(flush_all, [below[first::FLUSHED_AT_ONCE] for first in range(FLUSHED_AT_ONCE)]))


def _walk(directory: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[tuple[Path, list[Path]]]:
    """A directory and all below, each with its files: ``rglob`` asks the system of every name what it is."""
    for folder, _, files in os.walk(directory, onerror=on_error):
        path = Path(folder)
        yield path, [path / name for name in files]


class _Growing:
    """A file that is appended to by calling it with bytes.

    Every :data:`WRITTEN_AT_ONCE` bytes the disk begins to write what has come, so that the flush at the end waits for
    the rest alone: workers waited for the disk for a tenth of a build.
    """

    def __init__(self, file: FileIO, path: Path, *, durable: bool) -> None:
        self._file, self._path = file, path
        self._write_behind = durable and hasattr(os, "posix_fadvise")
        self._begun = self._size = 0

    def __call__(self, data: bytes | memoryview) -> None:
        """Write all of it: one call may write less, at a signal or beyond 2 GiB."""
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(memoryview(data)[written:])
        except OSError:  # then only: a context manager for each write of each clip takes longer than its call
            with write_errors(self._path):
                raise
        self._size += written
        if self._write_behind and self._size - self._begun >= WRITTEN_AT_ONCE:
            self._begin_to_write()

    def _begin_to_write(self) -> None:
        """Linux begins to write what it is told that nobody needs in memory. What is not yet written it keeps there."""
        with contextlib.suppress(OSError):  # advice: a file system may know none
            os.posix_fadvise(self._file.fileno(), self._begun, self._size - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = self._size


class OpenedFile:
    """See :class:`~mimiidg_build.storage.backend.Opened`."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self.size_bytes, self.mtime_ns = found.st_size, found.st_mtime_ns

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """See ``Opened``."""
        assert self._descriptor is not None, "it was closed"
        data = os.pread(self._descriptor, n_bytes, offset)
        while 0 < len(data) < n_bytes:  # a signal, or a read beyond the 2 GiB that one call gives
            more = os.pread(self._descriptor, n_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read_into(self, offset: int, memory: memoryview) -> int:
        """See ``Opened``."""
        assert self._descriptor is not None, "it was closed"
        done = more = os.preadv(self._descriptor, [memory], offset)
        while more and done < len(memory):  # as above
            more = os.preadv(self._descriptor, [memory[done:]], offset + done)
            done += more
        return done

    def file(self) -> BinaryIO:
        """See ``Opened``."""
        assert self._descriptor is not None, "it was closed"
        return os.fdopen(os.dup(self._descriptor), "rb")  # a duplicate, so that closing it leaves this one open

    def close(self) -> None:
        """See ``Opened``."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:  # there is none if the open failed
            self.close()


class Disk:
    """Files and directories; every method does what :class:`~mimiidg_build.storage.backend.Backend` says of it."""

    is_local = True

    # ---- files -------------------------------------------------------------------------------------------------------

    def open_file(self, path: Path) -> OpenedFile:
        """Open a descriptor: whatever takes the file's name later, this one is read."""
        return OpenedFile(path)

    def read_at(self, path: Path, offset: int, n_bytes: int) -> bytes:
        """Open, read, close."""
        with contextlib.closing(OpenedFile(path)) as opened:
            return opened.read_at(offset, n_bytes)

    def digest(self, path: Path) -> tuple[int, str]:
        """Mapped rather than read: a file may be larger than memory."""
        from blake3 import blake3  # late, as in `bucket`

        return path.stat().st_size, blake3().update_mmap(path).hexdigest()

    def identity(self, path: Path) -> Identity | None:
        """Whoever writes can set the time of modification back, but not that of the last change."""
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    @contextlib.contextmanager
    def whole_file(self, path: Path, size_bytes: int | None = None, *, durable: bool = True) -> Iterator[Write]:
        """Write under a temporary name, flush, rename."""
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary, file = open_temporary(path)
        try:
            with file:
                if size_bytes is not None:
                    with write_errors(path):
                        reserve(file.fileno(), 0, size_bytes)
                yield _Growing(file, path, durable=durable)
                with write_errors(path):
                    if durable:
                        os.fsync(file.fileno())
                    # While it is open, thus locked. Its directory is flushed by `publish` and `point`.
                    os.replace(temporary, path)
        except BaseException:  # Ctrl-C, too
            with contextlib.suppress(OSError):  # a failed removal must not hide the error
                temporary.unlink()
            raise

    def deliver(self, source: Path, target: Path, blocks: Iterable[bytes]) -> None:
        """Flush and rename; the bytes stay where they are, and ``blocks`` is not read."""
        flush(source)
        os.replace(source, target)
        flush(target.parent)

    def copy(self, source: Path, target: Path) -> None:
        """Copy in blocks."""
        with source.open("rb") as file:
            self.receive(file, target)

    def receive(self, file: IO[bytes], target: Path) -> None:
        """Write what an open file holds."""
        with self.whole_file(target) as write:
            while block := file.read(COPY_BYTES):
                write(block)

    def link(self, source: Path, target: Path) -> None:
        """A hard link, which costs nothing; a copy where the file system has none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # unlike a rename, a link never replaces a file
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise  # the source is missing; any other error says that it cannot be linked
        except OSError:
            self.copy(source, target)

    def move(self, source: Path, target: Path) -> None:
        """Rename, and flush the directory that the name is in."""
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        flush(target.parent)

    # ---- directories -------------------------------------------------------------------------------------------------

    def sizes(self, directory: Path) -> dict[str, int]:
        """Every file, however deep."""
        found = (file for _, files in _walk(directory) for file in files if file.is_file())
        return {file.relative_to(directory).as_posix(): file.stat().st_size for file in found}

    def prepare(self, directory: Path) -> None:
        """Make it with its parents."""
        with write_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self.remove_partial(directory)

    def remove_partial(self, directory: Path) -> None:
        """Remove what has a temporary name: no other process writes there now."""
        for path in directory.rglob("*.partial"):
            path.unlink(missing_ok=True)

    def remove_tree(self, directory: Path) -> None:
        """Remove it, if it exists."""
        shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def check_access(self, directory: Path) -> Iterator[Complaint]:
        """Make a file for others to look for: another machine's disk may have a directory of the same name."""
        if not directory.is_absolute():
            raise UsageError(
                f"{directory}: a cluster's workers need an absolute path; they start in folders of their own."
            )
        # A random name: a file that an earlier check left on a worker's own disk must not count.
        probe = directory / f".seen-by-workers-{os.urandom(16).hex()}"
        try:
            probe.touch()
        except OSError:
            probe = directory  # read-only here: enough to verify
        try:
            yield partial(_unseen, probe, directory)
        finally:
            if probe != directory:
                probe.unlink(missing_ok=True)

    # ---- stores ------------------------------------------------------------------------------------------------------

    def staging(self, store: Path) -> Path:
        """A name beside the final one, so that the rename stays on one file system."""
        return store.with_name(f"{store.name}.partial")

    def publish(self, staging: Path) -> Path:
        """Flush every file and directory, rename, flush the parent.

        In this order: a name that survives a power cut stands for content that does.
        """
        final = staging.with_suffix("")
        try:
            _flush_tree(staging)
            try:
                os.rename(staging, final)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._publish_copy(staging, final)
            flush(final.parent)
        except OSError as error:
            raise DataError(f"{staging} cannot be finished: {error.strerror}. Run the same command again.") from error
        return final

    def _publish_copy(self, staging: Path, final: Path) -> None:
        """An overlay (a container's image) renames no directory of its lower layers, but a copy is in the upper one."""
        copy = final.with_name(f"{final.name}{COPY}")
        shutil.rmtree(copy, ignore_errors=True)  # an interrupted run's
        shutil.copytree(staging, copy, copy_function=lambda source, target: self.link(Path(source), Path(target)))
        _flush_tree(copy)
        os.rename(copy, final)
        shutil.rmtree(staging, ignore_errors=True)

    def is_published(self, store: Path, marker: str) -> bool:
        """The final name says so; the marker may be damaged or gone since."""
        return store.suffix != ".partial" and store.is_dir()

    def point(self, path: Path, content: bytes) -> bool:
        """Replace it in one step; writers on this machine have a lock."""
        with self.whole_file(path) as write:
            write(content)
        with write_errors(path):
            flush(path.parent)
        return True

    def hold(self, store: Path) -> Hold:
        """A shared lock on its directory."""
        return Hold(store)

    def zarr_source(self, store: Path) -> Path:
        """The path itself."""
        return store


def _unseen(probe: Path, directory: Path) -> str:
    """What a process says that does not see a file; empty if it does."""
    if probe.exists():
        return ""
    return (
        f"do not see what lies in {directory}. Likely cause: no shared file system. Give a --root that every worker "
        "mounts at the same path."
    )
