"""What detection writes: official score and decision files, a table of everything, and an HTML page.

DIRECTORY/
    anomaly_score_<machine type>_section_<NN>_test.csv    as `mimiidg evaluate` and the organisers' scripts read them
    decision_result_...
    detections.csv                                        a row a recording: path, score, threshold, percentile, note
    report.html
"""

from __future__ import annotations

from pathlib import Path

from mimiidg_build.benchmark.detection.detector import Detector, FilesDetected
from mimiidg_build.benchmark.detection.sections import official_name
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.evaluation.score_files import write_decisions, write_scores
from mimiidg_build.evaluation.scored_clips import by_section
from mimiidg_build.report.detection.page import detection_page
from mimiidg_build.storage.files import write_file

TABLE, PAGE = "detections.csv", "report.html"


def check_output(directory: Path) -> None:
    """Refuse a folder that holds other things than an earlier detection's, before any work.

    Raises
    ------
    UsageError
        It does, or is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; expected a folder to write to")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / TABLE).is_file():
        raise UsageError(f"{directory} holds other files than those of a detection: choose another folder (--output)")


def write_detections(detector: Detector, found: FilesDetected, directory: Path) -> list[Path]:
    """Write what was found; the files of an earlier detection in the folder are replaced.

    Parameters
    ----------
    detector : Detector
    found : FilesDetected
        What its ``score_files`` gave.
    directory : Path
        Created if it does not exist.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UsageError
        The folder holds other files than those of a detection.
    DataError
        A file cannot be written.
    """
    check_output(directory)
    page = detection_page(detector, found)  # first: a recording that has gone meanwhile leaves the folder as it was
    written = [directory / TABLE, directory / PAGE]
    # the table first: it is the sign that the folder is a detection's
    write_file(written[0], [found.table.to_csv(index=False, lineterminator="\n").encode(errors="surrogateescape")])
    write_file(written[1], [page.encode(errors="backslashreplace")])
    for section, rows in by_section(found.table).items():
        names = [official_name(Path(file)) for file in rows["file"]]
        written.append(write_scores(directory, *section, names, rows["score"]))
        written.append(write_decisions(directory, *section, names, rows["decision"] == 1))
    _remove_others(directory, written)
    return written


def _remove_others(directory: Path, written: list[Path]) -> None:
    """Score files of an earlier detection: an evaluation of the folder would take them for this one's."""
    try:
        for pattern in ("anomaly_score_*.csv", "decision_result_*.csv"):
            for path in set(directory.glob(pattern)) - set(written):
                path.unlink()
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be removed ({error.strerror}).") from None
