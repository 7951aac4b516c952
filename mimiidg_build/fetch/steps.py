"""One archive: decide what must be done about it, then do it.

``decide`` is pure; ``ensure`` acts, under a lock that only one process and thread holds for an archive at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from filelock import BaseFileLock, Timeout

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.download import download
from mimiidg_build.fetch.http import Session
from mimiidg_build.fetch.lock import LOCK_NAME, guard, read_lock, write_entry
from mimiidg_build.fetch.record_api import RemoteFile, check_unchanged, content_urls, page_url
from mimiidg_build.fetch.retry import log
from mimiidg_build.fetch.transfer import Wanted, hash_file
from mimiidg_build.progress import OnTransfer
from mimiidg_build.schemas.fetching import LockEntry, Pinned
from mimiidg_build.schemas.manifests import Record, RecordFile
from mimiidg_build.storage.places import Place

Action = Literal["reuse", "verify", "download", "missing"]


def decide(
    file: RecordFile, found: tuple[int, int] | None, entry: LockEntry | None, *, offline: bool = False
) -> Action:
    """What must be done about one archive.

    Parameters
    ----------
    file : RecordFile
        The archive in the manifest.
    found : tuple[int, int] or None
        Size in bytes and modification time in ns of the file on disk; None if there is none.
    entry : LockEntry or None
        The archive's entry in the lock file.
    offline : bool
        Whether nothing may be fetched.

    Returns
    -------
    {"reuse", "verify", "download", "missing"}

    Examples
    --------
    >>> file = RecordFile(name="fan.zip")
    >>> entry = LockEntry(md5="0" * 32, size_bytes=10, mtime_ns=5, pinned="first fetch")
    >>> decide(file, (10, 5), entry), decide(file, (10, 6), entry), decide(file, (10, 5), None)
    ('reuse', 'verify', 'verify')
    >>> decide(file, None, entry), decide(file, None, entry, offline=True)
    ('download', 'missing')
    """
    if found is None:
        return "missing" if offline else "download"
    if entry is None or found != (entry.size_bytes, entry.mtime_ns):
        return "verify"
    if file.md5 not in (None, entry.md5):
        return "verify"  # another checksum was written into the manifest since
    if entry.pinned == "as found" and not offline:
        return "verify"  # taken without a checksum while offline; now the record can be asked for it
    return "reuse"


@dataclass(frozen=True)
class Job:
    """What the steps of one ``fetch_record`` share. ``answer`` is the API's, empty where it need not be asked;
    ``damaged`` the size and time of files on disk that count as missing."""

    record: Record
    directory: Place
    base_url: str
    offline: bool
    on_progress: OnTransfer | None
    session: Session
    answer: dict[str, RemoteFile]
    damaged: dict[str, tuple[int, int] | None] = field(default_factory=dict)

    def decide(self, file: RecordFile) -> Action:
        """What must be done about a file, by what lies there now."""
        there = found(self.directory / file.name)
        if there == self.damaged.get(file.name):
            there = None  # else another process has replaced it
        return decide(file, there, read_lock(self.directory).get(file.name), offline=self.offline)


def found(path: Place) -> tuple[int, int] | None:
    """Size and time of change of a file; None if there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:  # no exists() first: the file may come or go in between
        return None
    return stat.st_size, stat.st_mtime_ns


def refuse_missing(job: Job, names: list[str]) -> None:
    """Name the archives that an offline fetch lacks, with where to get them and where to put them."""
    if names:
        where = "\n".join(f"  {page_url(job.base_url, job.record.id, name)}" for name in names)
        raise FetchError(
            f"offline, and {len(names)} of record {job.record.id}'s archives are not in {job.directory}: "
            f"{', '.join(names)}. Get them by hand from\n{where}\nand put them in {job.directory}"
        )


def ensure(job: Job, file: RecordFile) -> None:
    """Decide and act for one file, under its lock.

    Raises
    ------
    FetchError
        The archive cannot be had, is not the published one, or cannot be read or written.
    Interrupted
        The job's session was stopped.
    """
    path = job.directory / file.name
    if job.decide(file) == "reuse":  # without a lock: a read-only root is enough to work from
        _report(job, path)
        return
    lock = guard(job.directory, file.name)
    _acquire(lock, path, job.session)
    try:
        _act(job, file, path)
    except OSError as error:
        raise FetchError(
            f"{path} cannot be read or written: {error.strerror or error}. Likely cause: a full disk, or missing "
            "permissions. What has arrived is kept: free some space or correct the permissions, then run the same "
            "command again."
        ) from error
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, path: Place, session: Session) -> None:
    """Wait for the lock in short steps: a worker thread gets no Ctrl-C, only the stop that is checked here."""
    wait_s = 0.0
    while not lock.is_locked:
        session.retries.check_stop()
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            if not wait_s:
                log.warning("%s: another process is fetching or verifying it; waiting for it", path)
            wait_s = 1.0


def _act(job: Job, file: RecordFile, path: Place) -> None:
    # Decided again: the process that held the lock has probably done the work.
    match job.decide(file):
        case "reuse":
            _report(job, path)
        case "verify":
            _verify(job, file, path)
        case "download":
            _download(job, file, path)
        case "missing":  # it was there a moment ago
            refuse_missing(job, [file.name])


def _report(job: Job, path: Place) -> None:
    if job.on_progress is not None:
        size_bytes = path.stat().st_size
        job.on_progress(path.name, size_bytes, size_bytes)


def _expected(job: Job, file: RecordFile) -> tuple[str, Pinned] | None:
    """The md5 that the archive must have, and its source; None if there is none."""
    entry, remote = read_lock(job.directory).get(file.name), job.answer.get(file.name)
    if remote is not None:
        check_unchanged(job.record.id, file, remote)
    if file.md5 is not None:
        return file.md5, "manifest"
    if entry is not None and entry.pinned != "as found":
        if remote is not None and remote.md5 not in (None, entry.md5):
            raise FetchError(
                f"{file.name}: record {job.record.id} now publishes md5 {remote.md5}, but this archive was pinned to "
                f"{entry.md5} when it was first fetched. Likely cause: the file was replaced on the record. To take "
                f"the new one, delete the archive and its entry in {job.directory / LOCK_NAME}"
            )
        return entry.md5, "first fetch"
    if remote is not None and remote.md5 is not None:
        return remote.md5, "first fetch"
    return (entry.md5, "as found") if entry is not None else None


def _pin(job: Job, path: Place, md5: str, pinned: Pinned) -> None:
    stat = path.stat()
    entry = LockEntry(md5=md5, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, pinned=pinned)
    write_entry(job.directory, path.name, entry)


def _verify(job: Job, file: RecordFile, path: Place) -> None:
    """Hash a file that is there, and accept it or leave it alone."""
    expected = _expected(job, file)
    before = found(path)
    # compared first, which costs nothing: hashing reads the whole file
    if file.size_bytes is not None and path.stat().st_size != file.size_bytes:
        raise _not_published(path, f"{path.stat().st_size} bytes, expected {file.size_bytes}")
    md5 = hash_file(path, job.on_progress, job.session.retries)
    if before != found(path):
        raise FetchError(f"{path} changed while it was verified. Likely it is still being copied: wait and retry.")
    if expected is None:
        log.warning("%s: no checksum is published for it; taken as found, md5 %s", path, md5)
        _pin(job, path, md5, "as found")
    elif md5 == expected[0]:
        _pin(job, path, *expected)
    else:
        raise _not_published(path, f"md5 {md5}, expected {expected[0]} ({expected[1]})")


def _not_published(path: Place, what: str) -> FetchError:
    return FetchError(
        f"{path} is not the published archive: it has {what}. It was left as it is. Likely cause: an incomplete "
        "download, another version, or a change since it was fetched; move it away to have it fetched."
    )


def _download(job: Job, file: RecordFile, path: Place) -> None:
    """Fetch a file that is not there."""
    remote = job.answer.get(file.name)
    if remote is None:
        listed = ", ".join(job.answer) or "no files"
        raise FetchError(f"record {job.record.id} does not list {file.name}; it lists {listed}. Likely it was renamed.")
    expected = _expected(job, file)
    if expected is None:  # nothing is downloaded that could not be verified
        raise FetchError(
            f"{file.name}: neither the manifest nor record {job.record.id} gives an md5 to verify it with."
        )
    size_bytes = file.size_bytes if file.size_bytes is not None else remote.size_bytes
    wanted = Wanted(file.name, content_urls(job.base_url, job.record.id, remote), expected[0], size_bytes)
    download(job.session, path, wanted, job.on_progress)
    # after the file has its name: if this is interrupted in between, the next run hashes the file and pins it then
    _pin(job, path, *expected)
