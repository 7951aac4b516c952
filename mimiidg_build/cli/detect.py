"""``mimiidg detect``: a trained run on new recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mimiidg_build.cli import complete
from mimiidg_build.cli.options import backend_option, common, device_option
from mimiidg_build.cli.printing import print_json, print_lines, print_table, shown_progress
from mimiidg_build.cli.values import FilePath
from mimiidg_build.errors import counted

if TYPE_CHECKING:
    from mimiidg_build.benchmark.detection.detector import FilesDetected
    from mimiidg_build.storage.places import Place


@click.command()
@click.argument("run", type=FilePath())
@click.argument("recordings", type=FilePath(), nargs=-1, required=True)
@click.option(
    "--section",
    help="Where all of the recordings are from: fan/00, or fan. [default: what names and folders say, or the only one]",
    shell_complete=complete.sections,
)
@click.option(
    "--output",
    type=FilePath(file_okay=False),
    default=Path("detected"),
    show_default=True,
    help="Folder for score files, table and page; those of an earlier detection are replaced.",
)
@backend_option
@device_option
@common
def detect(
    run: Path,
    recordings: tuple[Path, ...],
    section: str | None,
    output: Path,
    backend: str | None,
    device: str,
    root: Place,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score recordings, files or folders of them, with a run that `mimiidg benchmark` trained.

    Prints score, decision at the run's threshold, and percentile among the scores of the section's training clips.
    Writes them as official score files, which `mimiidg evaluate` reads, as a table, and a page with the loudest
    differences from the training clips by band and time. The run's folder is all that is needed.

    WAV and FLAC files of any sample rate. Of several channels those of the store are taken; of a longer recording the
    first part, as long as the training clips; a shorter one is repeated. Which section a recording is from is read from
    its name and folder as releases have them (fan/test/section_00_....wav), or is --section. What cannot be scored (no
    audio, silent, too short, of no section, without the reference channel that features take) or is clipped is named,
    all others are scored, and the exit code is 1.

    Example: mimiidg detect mimiidg-data/runs/demo/<fingerprint>/autoencoder-cpu-0 my_fan --section fan/00
    """
    from mimiidg_build.benchmark.detection.detector import Detector
    from mimiidg_build.benchmark.detection.recordings import recordings_in
    from mimiidg_build.report.detection.written import check_output, write_detections

    files = recordings_in(list(recordings))
    check_output(output)
    detector = Detector.load(run, device, backend)
    with shown_progress(quiet) as reporter:
        found = detector.score_files(files, section, reporter.step("detect", len(files), "recordings"))
    written = write_detections(detector, found, output)
    if as_json:
        print_json(_content(found) | {"files": [str(path) for path in written]})
    else:
        _print(found)
        print_lines(written)
    if len(found.findings):
        raise click.exceptions.Exit(1)


def _content(found: FilesDetected) -> dict[str, Any]:
    findings = found.findings[["severity", "kind", "table", "message"]].rename(columns={"table": "file"})
    return {"recordings": found.table.to_dict("records"), "findings": findings.to_dict("records")}


def _print(found: FilesDetected) -> None:
    from mimiidg_build.datasets.rows import records

    rows = [
        {
            "recording": row["file"],
            "section": f"{row['machine_type']}/{row['section']}",
            "score": f"{row['score']:.5g}",
            "decision": "anomalous" if row["decision"] else "normal",
            "percentile": f"{row['percentile']:.1f}",
            "note": row["note"],
        }
        for row in records(found.table)
    ]
    n_anomalous = int(found.table["decision"].sum())
    print_table(f"{n_anomalous:,} of {counted(len(rows), 'recording')} anomalous", rows)
    if len(found.findings):
        print_table("findings", records(found.findings[["severity", "kind", "message"]]))
