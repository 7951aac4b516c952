"""A record's archives on disk: which are there, which must be fetched, two at a time.

``ROOT/archives/<record>/<name>`` is an archive, ``archives.lock.json`` beside it holds the checksum that each is pinned
to (:mod:`~mimiidg_build.fetch.lock`). The right md5 is the manifest's; where none was published, the one that the
record's API answered at the first fetch, pinned from then on. Sizes are bytes, checksums lower-case md5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from mimiidg_build.errors import FetchError, UsageError
from mimiidg_build.fetch.http import Session
from mimiidg_build.fetch.lock import read_lock, record_dir
from mimiidg_build.fetch.record_api import ask_record
from mimiidg_build.fetch.retry import RetryPolicy
from mimiidg_build.fetch.steps import Action, Job, ensure, found, refuse_missing
from mimiidg_build.progress import OnTransfer
from mimiidg_build.schemas.manifests import Record, RecordFile
from mimiidg_build.storage.places import Place, place

MAX_TRANSFERS = 2  # Zenodo has been seen to block a third download at once


def archive_path(root: str | Place, record_id: str, name: str) -> Place:
    """Where an archive lies, fetched or not.

    Parameters
    ----------
    root : Place
        The data root.
    record_id : str
    name : str
        The archive's file name.

    Returns
    -------
    Place

    Examples
    --------
    >>> archive_path("data", "6529888", "fan.zip").as_posix()
    'data/archives/6529888/fan.zip'
    """
    return record_dir(place(root), record_id) / name


def fetch_record(
    record: Record,
    root: str | Place,
    *,
    names: Collection[str] | None = None,
    again: Collection[str] = (),
    base_url: str = "https://zenodo.org",
    offline: bool = False,
    on_progress: OnTransfer | None = None,
    max_transfers: int = MAX_TRANSFERS,
    retry_policy: RetryPolicy | None = None,
    sleep: Callable[[float], object] | None = None,
) -> dict[str, Place]:
    """Make sure that the archives of a record are on disk and verified.

    Parameters
    ----------
    record : Record
        The record, from a dataset manifest.
    root : Place
        The data root; archives go to ``ROOT/archives/<record id>/``.
    names : collection of str, optional
        Only these files of the record.
    again : collection of str
        Files that are damaged on disk: fetched as if they were not there, and replaced when the new ones are whole.
    base_url : str
        Where the record is.
    offline : bool
        Send no request: use the archives on disk.
    on_progress : OnTransfer, optional
        Called with name, bytes done and total bytes, from worker threads, about once a megabyte; the total is None
        where it is not known.
    max_transfers : int
        Downloads at once, 1 or 2.
    retry_policy : RetryPolicy, optional
        Time-outs and retries.
    sleep : callable, optional
        Called with the seconds to wait between attempts, instead of waiting.

    Returns
    -------
    dict of str to Place
        Path of each archive by name, in the record's order.

    Raises
    ------
    FetchError
        If an archive is missing offline, cannot be had, or is not the published one. Every archive is tried first.
    UsageError
        If ``names`` holds a file that the record does not list, or ``max_transfers`` is not 1 or 2.
    """
    files = _chosen(record, names)
    if not 1 <= max_transfers <= MAX_TRANSFERS:
        raise UsageError(f"max_transfers is {max_transfers}; from 1 to {MAX_TRANSFERS} downloads at once are allowed.")
    session = Session(base_url, retry_policy or RetryPolicy(), sleep)
    try:
        directory = record_dir(place(root), record.id)
        damaged = {name: found(directory / name) for name in again}
        job = Job(record, directory, base_url, offline, on_progress, session, {}, damaged)
        actions = {file.name: job.decide(file) for file in files}
        # before any hashing: one message names all that is missing
        refuse_missing(job, [name for name, action in actions.items() if action == "missing"])
        if not offline and any(_needs_answer(job, file, actions[file.name]) for file in files):
            # filled before the threads start, which only read it
            job.answer.update(ask_record(session, base_url, record.id))
        _ensure_all(job, files, max_transfers)
    finally:
        session.close()
    return {file.name: job.directory / file.name for file in files}


def archive_checksums(record: Record, root: str | Place) -> dict[str, str]:
    """The md5 of each archive of the record that is or was on disk, from the lock file: a build's provenance."""
    entries = read_lock(record_dir(place(root), record.id))
    return {file.name: entries[file.name].md5 for file in record.files if file.name in entries}


def _chosen(record: Record, names: Collection[str] | None) -> list[RecordFile]:
    known = [file.name for file in record.files]
    if unknown := sorted(set(names or ()) - set(known)):
        raise UsageError(f"record {record.id} has no {', '.join(unknown)}. Its files: {', '.join(known)}.")
    return [file for file in record.files if names is None or file.name in names]


def _needs_answer(job: Job, file: RecordFile, action: Action) -> bool:
    """Whether to ask the API: a file on disk with a published or pinned checksum is verified without."""
    entry = read_lock(job.directory).get(file.name)
    is_pinned = file.md5 is not None or (entry is not None and entry.pinned != "as found")
    return action == "download" or (action == "verify" and not is_pinned)


def _ensure_all(job: Job, files: list[RecordFile], max_transfers: int) -> None:
    """Ensure every file, two at a time; one that fails does not keep the others from arriving."""
    errors: list[FetchError] = []
    with ThreadPoolExecutor(max_transfers, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(ensure, job, file) for file in files]
        try:
            for future in futures:
                try:
                    future.result()
                except FetchError as error:
                    errors.append(error)
        except BaseException:
            # leaving the block joins the threads, and Ctrl-C reaches the main thread alone
            job.session.retries.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise FetchError(f"{len(errors)} archives of record {job.record.id} failed:\n" + "\n".join(map(str, errors)))
