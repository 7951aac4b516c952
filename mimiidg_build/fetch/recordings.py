"""The archives of a dataset of own recordings: cut once, then used as any fetched archive, never changed silently.

    ROOT/archives/<dataset>/<machine type>.zip      the clips and their table
    ROOT/archives/<dataset>/archives.lock.json      checksums, as of every record
    ROOT/archives/<dataset>/recordings.json         what each archive was cut from: recordings, digests, settings

The clips in an archive stay what they are while stores are built from them. So recordings that changed since are an
error of kind ``changed_recordings`` until somebody has them cut again; allowed, the archives are used as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mimiidg_build.datasets.findings import Finding, findings_frame, raise_on_errors
from mimiidg_build.datasets.recordings.cutting import CutPlan, measure, plan_clips
from mimiidg_build.datasets.recordings.listing import Listing
from mimiidg_build.errors import DataError
from mimiidg_build.fetch.archives import fetch_record
from mimiidg_build.fetch.cut_index import (
    INDEX,
    archive_of,
    change_in_words,
    changed_archive,
    changed_since,
    gone,
    listed,
    own_recordings,
    read_index,
    readings_of,
    settings_of,
)
from mimiidg_build.fetch.cutting import cut_archive, source_of
from mimiidg_build.fetch.lock import guard, record_dir, write_entry, write_json
from mimiidg_build.fetch.transfer import hash_file
from mimiidg_build.progress import OnProgress, Reporter
from mimiidg_build.schemas.fetching import LockEntry
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.recordings import CutArchive, CutIndex, Recordings
from mimiidg_build.storage.locks import locked
from mimiidg_build.storage.places import Place

CHANGED = "changed_recordings"


@dataclass(frozen=True)
class _Cutting:
    """What one call works on."""

    dataset: DatasetManifest
    directory: Place
    allow: Collection[str]
    reporter: Reporter

    @property
    def settings(self) -> Recordings:
        """The dataset's."""
        return own_recordings(self.dataset)

    def write(self, index: CutIndex) -> CutIndex:
        """Note what was cut."""
        write_json(self.directory / INDEX, index.model_dump())
        return index


def have_recordings(
    dataset: DatasetManifest,
    root: Place,
    *,
    names: Collection[str] | None = None,
    damaged: Collection[str] = (),
    again: bool = False,
    allow: Collection[str] = (),
    reporter: Reporter | None = None,
) -> dict[str, Place]:
    """Make sure that a dataset's archives are there, cut from its recordings as they are now.

    Parameters
    ----------
    dataset : DatasetManifest
        With ``recordings``.
    root : Place
    names : collection of str, optional
        Only these archives.
    damaged : collection of str
        Archives to make anew as they were.
    again : bool
        Whether archives whose recordings or settings have changed are replaced.
    allow : collection of str
        Kinds of errors that are warnings: what they are about is left out; with ``changed_recordings`` archives are
        used as they were cut.
    reporter : Reporter, optional

    Returns
    -------
    dict of str to Place
        By archive name.

    Raises
    ------
    DataError
        Names, tables or recordings have errors; recordings have changed; or an archive cannot be written.
    FetchError
        An archive was changed since it was made.
    """
    record = dataset.records[0]
    directory = record_dir(root, record.id)
    work = _Cutting(dataset, directory, allow, reporter or Reporter())
    wanted = [file.name for file in record.files if names is None or file.name in names]
    if not _is_settled(work, wanted, damaged, again):
        waiting = f"another process is cutting the recordings of {dataset.name}; waiting for it"
        with locked(guard(directory, INDEX), waiting):
            if not _is_settled(work, wanted, damaged, again):
                _cut(work, wanted, damaged, again)
    return fetch_record(record, root, names=wanted, offline=True)


def _is_settled(work: _Cutting, wanted: Sequence[str], damaged: Collection[str], again: bool) -> bool:
    """Whether every archive is there and is to be used as it is.

    Raises
    ------
    DataError
        Something has changed, and nobody said what to do about it.
    """
    index = read_index(work.directory)
    is_there = all(name in index.archives and (work.directory / name).is_file() for name in wanted)
    if CHANGED in work.allow and not damaged and not again:
        return is_there
    changes = changed_since(work.dataset, index, wanted)
    if changes and not again:
        raise DataError(
            f"{change_in_words(changes)}. Clips that were cut stay what they are until you have them cut anew: mimiidg "
            f"fetch MANIFEST --again. To go on with those there are: --allow {CHANGED}."
        )
    return is_there and not changes and not damaged


def _cut(work: _Cutting, wanted: Sequence[str], damaged: Collection[str], again: bool) -> None:
    """Cut what is not there, damaged, or changed."""
    index, listing = read_index(work.directory), listed(work.dataset)
    _refuse(listing.findings, work.allow)
    todo = [
        name
        for name in wanted
        if name in damaged
        or name not in index.archives
        or not (work.directory / name).is_file()
        or (again and changed_archive(work.dataset, index, name, listing))
    ]
    plans = {name: _plan(work, listing, name) for name in todo}
    _refuse([finding for plan in plans.values() for finding in plan.findings], work.allow)
    for name in gone(work.dataset, index) if again else ():
        (work.directory / name).unlink(missing_ok=True)
    # gone from the index until they are whole: who is killed in between has them cut by the next run
    kept = index.archives.keys() - set(todo) - set(gone(work.dataset, index) if again else ())
    index = CutIndex(findings=_noted(listing.findings), archives={name: index.archives[name] for name in sorted(kept)})
    work.write(index)
    on_progress = work.reporter.step("cut", sum(len(plan.clips) for plan in plans.values()))
    for name, plan in plans.items():
        archive = _cut_one(work, listing, name, plan, on_progress)
        index = work.write(CutIndex(findings=index.findings, archives={**index.archives, name: archive}))


def _cut_one(work: _Cutting, listing: Listing, name: str, plan: CutPlan, on_progress: OnProgress) -> CutArchive:
    """Make an archive; what it was made of."""
    path, folder = work.directory / name, Path(work.settings.folder)
    sources, limited = cut_archive(work.dataset, work.settings, plan, path, on_progress)
    stat = path.stat()
    entry = LockEntry(md5=hash_file(path), size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, pinned="first fetch")
    write_entry(work.directory, name, entry)
    readings = readings_of(listing, name)
    left_out = {recording: source_of(folder / recording) for recording in readings if recording not in sources}
    return CutArchive(
        settings=settings_of(work.dataset, name),
        sources={**sources, **left_out},
        readings=readings,
        findings=_noted([*plan.findings, *limited]),
    )


def _noted(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as the index has them: what was cut in spite of an error was allowed."""
    return [asdict(replace(finding, severity="warning")) for finding in findings]


def _plan(work: _Cutting, listing: Listing, name: str) -> CutPlan:
    """The clips of an archive, and everything that is wrong with its recordings."""
    own = [recording for recording in listing.recordings if archive_of(recording) == name]
    measured, findings = measure(work.dataset, work.settings, own)
    machine_type = name.removesuffix(".zip")
    plan = plan_clips(work.settings, machine_type, measured)
    if not plan.clips and not any(finding.severity == "error" for finding in findings):
        what = f"none of {len(own)} recordings of {machine_type} is as long as a clip" if own else "no recordings"
        findings.append(Finding("error", "no_clips", name, f"{what}: there is nothing to cut"))
    return replace(plan, findings=[*findings, *plan.findings])


def _refuse(findings: Sequence[Finding], allow: Collection[str]) -> None:
    raise_on_errors(findings_frame(f for f in findings if f.kind not in allow))


def cut_findings(dataset: DatasetManifest, root: Place, names: Collection[str]) -> list[Finding]:
    """What was odd about the recordings when archives were cut from them, and what has changed since: all warnings.

    Parameters
    ----------
    dataset : DatasetManifest
        With ``recordings``.
    root : Place
    names : collection of str
        The archives.

    Returns
    -------
    list of Finding
    """
    index = read_index(record_dir(root, dataset.records[0].id))
    noted = [*index.findings, *(f for name in names if name in index.archives for f in index.archives[name].findings)]
    findings = [Finding(**finding) for finding in noted]
    if changes := changed_since(dataset, index, list(names)):
        message = f"{change_in_words(changes)}; they are used as they were cut"
        findings.append(Finding("warning", CHANGED, dataset.name, message, value=str(len(changes))))
    return findings
