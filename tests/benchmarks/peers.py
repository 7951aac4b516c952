"""Other programs that turn WAV files into stored log-mels, side by side with a build, each with its start-up.

``python -m tests.benchmarks.peers``. The clips are those of the synthetic release, unpacked to WAV files for the peers;
a build inflates them from their archives, and stores audio, tables and digests besides. Peers that add noise are held
against a build that does, its levels measured anew; the others against one of the recordings as they are. What counts
is clips in a second of processor time, from Python's start to its end, in one process with one thread; rounds are
interleaved, the best of each counts, and one before them that is not measured compiles what Python and numba compile.

Each peer is installed from the package registry into an environment of its own (``--environments`` keeps them; 1.5 GB)
and runs a program of ``peer_programs/``. One that cannot be installed is named with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.store.store import variant_dir
from tests.benchmarks import Ratio, parser, report, working_root
from tests.benchmarks.build import forget_levels
from tests.benchmarks.commands import Took, mimiidg, run

PROGRAMS = Path(__file__).parent / "peer_programs"
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
TORCH = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
OURS = {"recordings as they are": "released", "noise mixed": "paper"}


@dataclass(frozen=True)
class Peer:
    """A program of ``peer_programs/`` and its arguments, and what must be installed for it; ``mixes``: adds noise."""

    program: str
    requires: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    mixes: bool = False


LHOTSE = (TORCH, "lhotse", "lilcom", "urllib3")  # the last two it imports and does not ask for
PEERS = {
    "librosa, file by file (official loader)": Peer("librosa_loop"),
    "torch, in memory (as ASDKit)": Peer("torch_in_memory", (TORCH, "numpy", "soundfile")),
    "lhotse, lossless": Peer("lhotse_features", LHOTSE, ("NumpyFilesWriter",)),
    "lhotse, lossy": Peer("lhotse_features", LHOTSE, ("LilcomChunkyWriter",)),
    "audiomentations": Peer("audiomentations_mix", ("audiomentations",), mixes=True),
    "scaper": Peer("scaper_mix", ("scaper", "librosa", "numpy<2"), mixes=True),  # it has np.Inf
}
ABSENT = {"ASDKit": "is not on PyPI; what it does with clips is `torch, in memory`"}


def unpack(archives: Path, wavs: Path, noise: Path, section: str | None) -> int:
    """Write the release, or a section (``fan/00``) of it, as the files that peers read; how many clips those are."""
    machine_type, _, number = (section or "/").partition("/")
    for path in archives.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            if path.stem == "noise":
                archive.extractall(noise)
            elif machine_type in ("", path.stem):
                archive.extractall(wavs, [name for name in archive.namelist() if f"/section_{number}" in name])
    return sum(1 for _ in wavs.rglob("*.wav"))


def install(requires: Sequence[str], environments: Path) -> str:
    """The interpreter of an environment that has these packages, made if it is not there.

    Raises
    ------
    RuntimeError
        They cannot be installed; the message is the first error that pip names.
    """
    if not requires:
        return sys.executable
    environment = environments / "-".join(re.split("[=<]", name)[0] for name in requires)
    python = str(environment / "bin" / "python")
    if not (environment / "installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requires]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(environment, ignore_errors=True)
            lines = [line.strip() for line in done.stderr.splitlines()]
            errors = [line for line in lines if "fatal error:" in line] or [
                line for line in lines if line.startswith("ERROR")
            ]
            raise RuntimeError(f"pip cannot install {' '.join(requires)}: {(errors or lines or ['?'])[0]}")
        (environment / "installed").touch()
    return python


def one_thread(scratch: Path) -> dict[str, str]:
    """Environment variables by which numeric libraries take one thread, and Python keeps what it compiles."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | threads | {"PYTHONPYCACHEPREFIX": str(scratch / "pycache")}


def run_peer(peer: Peer, python: str, folders: tuple[Path, Path], n_clips: int, environment: Mapping[str, str]) -> Took:
    """One run of a peer, its output deleted.

    Raises
    ------
    RuntimeError
        It failed, or did not do all clips.
    """
    with tempfile.TemporaryDirectory(prefix="mimiidg-peer-") as out:
        program = str(PROGRAMS / f"{peer.program}.py")
        took = run(program, *map(str, folders), out, *peer.arguments, python=python, environment=environment)
        stored = [path for path in Path(out).rglob("*") if path.is_file()]
    if took.output.split()[-1:] != [str(n_clips)] or not stored:
        raise RuntimeError(f"{peer.program} did not store the log-mels of {n_clips} clips:\n{took.output}{took.errors}")
    return took


def run_ours(variant: str, choice: Sequence[str], root: Path, environment: Mapping[str, str]) -> Took:
    """One build by ``mimiidg`` of a choice of clips, levels measured anew, the store deleted again."""
    name = "benchmark-peers"
    shutil.rmtree(variant_dir(root, name), ignore_errors=True)
    forget_levels(root)
    options = ("--name", name, "--workers", "1", "--root", str(root), "--quiet")
    took = mimiidg("build", variant, *choice, *options, environment=environment)
    shutil.rmtree(variant_dir(root, name))
    return took


def installed(names: Sequence[str], environments: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The interpreters of those peers that can be had, and why the others cannot."""
    pythons, reasons = {}, dict(ABSENT)
    for name in names:
        try:
            pythons[name] = install(PEERS[name].requires, environments)
        except RuntimeError as error:
            reasons[name] = str(error)
    return pythons, reasons


def compare(ways: Mapping[str, Callable[[], Took]], rounds: int) -> tuple[dict[str, float], dict[str, str]]:
    """Processor seconds of each way, the best of several rounds after one that only warms up; and why others failed."""
    reasons = {}
    for name, way in ways.items():
        try:
            way()
        except RuntimeError as error:
            reasons[name] = str(error).splitlines()[-1]
    able = {name: way for name, way in ways.items() if name not in reasons}
    found = [{name: way().cpu_s for name, way in able.items()} for _ in range(rounds)]
    return {name: min(taken[name] for taken in found) for name in able}, reasons


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    options.add_argument("--environments", type=Path, help="where the peers are kept; a temporary folder by default")
    options.add_argument("--percent", type=float, default=1, help="size of the release; 1 is 180 clips")
    options.add_argument("--section", help="this section alone, as fan/00")
    options.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args(arguments)
    spec = SyntheticSpec(given.percent, 0)
    with working_root(given.root) as root, tempfile.TemporaryDirectory(prefix="mimiidg-peers-") as directory:
        scratch = Path(directory)
        pythons, reasons = installed(given.peers, given.environments or scratch / "environments")
        fetch_dataset(spec.name, root)
        folders = scratch / "wavs", scratch / "noise"
        n_clips = unpack(root / "archives" / spec.record_id, *folders, given.section)
        environment = one_thread(scratch)
        choice = ["--dataset", spec.name, *(["--section", given.section] if given.section else [])]
        ways: dict[str, Callable[[], Took]] = {
            f"mimiidg build, {what}": partial(run_ours, variant, choice, root, environment)
            for what, variant in OURS.items()
        }
        for name, python in pythons.items():
            ways[name] = partial(run_peer, PEERS[name], python, folders, n_clips, environment)
        taken, failed = compare(ways, given.rounds)
    rows = [
        {"what": name, "processor s": f"{seconds:.2f}", "clips a processor second": f"{n_clips / seconds:.0f}"}
        for name, seconds in taken.items()
    ] + [{"what": name, "processor s": "", "clips a processor second": why} for name, why in (reasons | failed).items()]
    ratios = []
    for name in [name for name in PEERS if name in taken]:
        ours = taken[f"mimiidg build, {'noise mixed' if PEERS[name].mixes else 'recordings as they are'}"]
        ratios.append(Ratio(f"clips a processor second, ours / {name}", taken[name] / ours, 1))
    report("peers", f"{n_clips} clips to stored log-mels, start-up included, one thread", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
