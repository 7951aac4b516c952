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

from pydantic import ValidationError

from mimiidg_build.datasets.findings import Finding, findings_frame, raise_on_errors
from mimiidg_build.datasets.recordings.cutting import CutPlan, measure, plan_clips
from mimiidg_build.datasets.recordings.fields import OwnRecording
from mimiidg_build.datasets.recordings.listing import Listing, list_recordings
from mimiidg_build.datasets.rows import attributes_text
from mimiidg_build.errors import DataError, first_mistake
from mimiidg_build.fetch.archives import fetch_record
from mimiidg_build.fetch.cutting import cut_archive, source_of
from mimiidg_build.fetch.lock import guard, record_dir, write_entry, write_json
from mimiidg_build.fetch.transfer import hash_file
from mimiidg_build.progress import OnProgress, Reporter
from mimiidg_build.schemas.fetching import LockEntry
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.recordings import CutArchive, CutIndex, CutSource, Recordings
from mimiidg_build.storage.locks import locked
from mimiidg_build.storage.places import Place

INDEX = "recordings.json"
CUT_VERSION = 1  # raised by hand where the same recordings and settings become other clips
CHANGED = "changed_recordings"
MAX_NAMED = 3


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


def own_recordings(dataset: DatasetManifest) -> Recordings:
    """The ``[recordings]`` of a dataset that has them."""
    if dataset.recordings is None:
        raise ValueError(f"{dataset.name} is no dataset of own recordings")
    return dataset.recordings


def listed(dataset: DatasetManifest) -> Listing:
    """The recordings of a dataset, and what is wrong with them: also those of a machine type that it does not list.

    Raises
    ------
    DataError
        As :func:`~mimiidg_build.datasets.recordings.listing.list_recordings`.
    """
    settings, known = own_recordings(dataset), dataset.machine_types
    listing = list_recordings(settings)
    for machine_type in set(listing.machine_types) - set(known):
        message = (
            f"there are recordings of machine type {machine_type}, which the manifest's machine_types "
            f"({', '.join(known)}) leaves out. Add it, or take the key away"
        )
        finding = Finding("error", "unfit", settings.folder, message, 0, "machine_type", machine_type, ", ".join(known))
        listing.findings.append(finding)
    return listing


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
        or (again and _changed_archive(work.dataset, index, name, listing))
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
    readings = _readings(listing, name)
    left_out = {recording: source_of(folder / recording) for recording in readings if recording not in sources}
    return CutArchive(
        settings=_settings(work.dataset, name),
        sources={**sources, **left_out},
        readings=readings,
        findings=_noted([*plan.findings, *limited]),
    )


def _noted(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as the index has them: what was cut in spite of an error was allowed."""
    return [asdict(replace(finding, severity="warning")) for finding in findings]


def _plan(work: _Cutting, listing: Listing, name: str) -> CutPlan:
    """The clips of an archive, and everything that is wrong with its recordings."""
    own = [recording for recording in listing.recordings if _archive(recording) == name]
    measured, findings = measure(work.dataset, work.settings, own)
    machine_type = name.removesuffix(".zip")
    plan = plan_clips(work.settings, machine_type, measured)
    if not plan.clips and not any(finding.severity == "error" for finding in findings):
        what = f"none of {len(own)} recordings of {machine_type} is as long as a clip" if own else "no recordings"
        findings.append(Finding("error", "no_clips", name, f"{what}: there is nothing to cut"))
    return replace(plan, findings=[*findings, *plan.findings])


def _archive(recording: OwnRecording) -> str:
    return f"{recording.section_id.machine_type}.zip"


def _readings(listing: Listing, name: str) -> dict[str, str]:
    """What is said of each recording of an archive, by path."""
    return {one.path: reading_text(one) for one in listing.recordings if _archive(one) == name}


def _refuse(findings: Sequence[Finding], allow: Collection[str]) -> None:
    raise_on_errors(findings_frame(f for f in findings if f.kind not in allow))


# ---- The index -------------------------------------------------------------------------------------------------------


def read_index(directory: Place) -> CutIndex:
    """What was cut; empty where nothing was.

    Raises
    ------
    DataError
        The file is none that this version wrote.
    """
    path = directory / INDEX
    try:
        return CutIndex.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return CutIndex()
    except ValidationError as error:
        raise DataError(
            f"{path} cannot be read ({first_mistake(error)}). It says which recordings the clips beside it were cut "
            "from: restore it, or delete it to have them cut anew."
        ) from None


def reading_text(recording: OwnRecording) -> str:
    """What names and tables say of a recording, as the index notes it."""
    words = (str(recording.section_id), recording.domain, recording.split, recording.condition)
    return " ".join([*filter(None, words), attributes_text(recording.attributes)])


def _settings(dataset: DatasetManifest, archive: str) -> dict[str, Any]:
    """All that decides an archive's bytes beside its recordings and what is said of them."""
    settings = own_recordings(dataset)
    seconds = (dataset.audio.clip_samples(archive.removesuffix(".zip")) or 0) / dataset.audio.sample_rate
    named = {"sample_rate": dataset.audio.sample_rate, "clip_seconds": seconds, "version": CUT_VERSION}
    return {**named, **settings.model_dump(include={"channel", "hold_out", "share", "seed"})}


# ---- What has changed ------------------------------------------------------------------------------------------------


def changed_since(dataset: DatasetManifest, index: CutIndex, names: Sequence[str]) -> list[str]:
    """What differs from when archives were cut: one line for each setting, recording and new error.

    Parameters
    ----------
    dataset : DatasetManifest
    index : CutIndex
    names : sequence of str
        Archives; those that are not in it are passed over.

    Returns
    -------
    list of str
        Empty where nothing does.
    """
    known = [name for name in names if name in index.archives]
    if not index.archives:
        return []
    try:
        listing = listed(dataset)
    except DataError as error:
        return [str(error).rstrip(".")]
    said = {finding["message"] for finding in index.findings}
    changes = [f.message for f in listing.findings if f.severity == "error" and f.message not in said]
    changes += [f"no recording of {name.removesuffix('.zip')} is there any more" for name in gone(dataset, index)]
    for name in known:
        changes += _changed_archive(dataset, index, name, listing)
    return [*dict.fromkeys(changes)]


def gone(dataset: DatasetManifest, index: CutIndex) -> list[str]:
    """Archives that were cut, of machine types that the dataset no longer has."""
    listed_files = {file.name for file in dataset.records[0].files}
    return [name for name in index.archives if name not in listed_files]


def _changed_archive(dataset: DatasetManifest, index: CutIndex, name: str, listing: Listing) -> list[str]:
    """What differs from when one archive was cut."""
    cut, settings, now = index.archives[name], _settings(dataset, name), _readings(listing, name)
    folder = Path(own_recordings(dataset).folder)
    changes = [
        f"{key} was {cut.settings.get(key)}, is {settings[key]}"
        for key in settings
        if cut.settings.get(key) != settings[key]
    ]
    for path in sorted(cut.sources.keys() | now.keys()):
        if path not in cut.sources:
            changes.append(f"{path} is new")
        elif path not in now:
            changes.append(f"{path} is gone, or no longer read as a recording")
        elif now[path] != cut.readings[path]:
            changes.append(f"{path} was read as {cut.readings[path]}, is read as {now[path]}")
        elif _has_changed(folder / path, cut.sources[path]):
            changes.append(f"{path} has other content")
    return changes


def _has_changed(path: Path, known: CutSource) -> bool:
    try:
        return source_of(path, known).blake3 != known.blake3
    except DataError:
        return True


def change_in_words(changes: Sequence[str]) -> str:
    """The first changes, and how many there are.

    >>> change_in_words(["a.wav is new"])
    'the recordings changed since clips were cut from them (1 change): a.wav is new'
    """
    more = f"; and {len(changes) - MAX_NAMED} more" if len(changes) > MAX_NAMED else ""
    count = f"{len(changes)} change{'s' * (len(changes) != 1)}"
    return f"the recordings changed since clips were cut from them ({count}): {'; '.join(changes[:MAX_NAMED])}{more}"


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
