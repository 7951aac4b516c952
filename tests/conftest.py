"""Fixtures that several test files share: a small synthetic dataset, the folder of real material, packed releases."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import gc
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from _pytest.doctest import DoctestModule
from filelock import FileLock

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.synthetic import GENERATION
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.storage.places import ObjectPath, file_sizes
from mimiidg_build.store.store import Store
from tests.faults.summary import pytest_terminal_summary
from tests.object_storage import make_bucket, s3_server

__all__ = ["pytest_terminal_summary"]  # a hook, here because pytest-xdist's controller reads no deeper conftest

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
DATASET = "synthetic-1pct-seed0"
RECORD = f"{DATASET}-gen{GENERATION}"  # the record that its archives are of

# Two processes of two threads each on two cores mostly wait for each other. Here, so that torch, which comes later, and
# every process that a test starts see it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell has its background jobs ignore Ctrl-C, and nohup hangups: what the tests start would inherit that.
if threading.current_thread() is threading.main_thread():  # only it may set handlers
    for ignorable in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(ignorable) is signal.SIG_IGN:
            signal.signal(ignorable, signal.default_int_handler if ignorable == signal.SIGINT else signal.SIG_DFL)

# Files that take longest, longest first: begun last, each would keep one worker busy while the other is idle.
LONGEST = (
    "flows/test_serve.py",
    "storage/test_object_storage.py",
    "cli/test_interrupt.py",
    "report/test_report.py",  # makes what test_report_page.py reads
    "detection/test_export_model.py",  # makes what the other files in detection/ read
    "build/test_build.py",
    "test_benchmarks.py",
    "test_readme.py",
    "faults/test_crash.py",
    "faults/test_object_storage.py",
    "faults/test_bit_rot.py",
    "faults/test_disk.py",
    "models/test_models.py",
    "models/test_centroids.py",
    "models/test_attention.py",
    "benchmark/test_benchmark.py",
    "benchmark/test_runs.py",
    "benchmark/test_trainers.py",
    "parallel/test_cluster.py",
    "parallel/test_processes.py",
    "synthesis/test_synthesis.py",
    "flows/test_flows.py",
    "test_packaging.py",
    "report/test_report_page.py",
    "report/test_explain.py",
    "benchmark/test_any_dataset.py",
    "cli/test_cli_benchmark.py",
    "faults/test_network.py",
    "faults/test_concurrency.py",
    "training/test_train.py",
    "schemas/test_pandera_builder.py",
)


class DoctestsWhereSomeAre:
    """Doctests are looked for only in files that have some: else every worker imports all modules, Prefect too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """The collectors of a file."""
        collectors = yield
        has_some = file_path.suffix != ".py" or ">>> " in file_path.read_text()
        return [found for found in collectors if has_some or not isinstance(found, DoctestModule)]


def pytest_configure(config: pytest.Config) -> None:
    """A plugin of its own: hooks of this file are not asked about the package's files."""
    config.pluginmanager.register(DoctestsWhereSomeAre())


def pytest_collection_finish() -> None:
    """What is there now stays: a million objects that Python need not search for garbage again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first; within a file nothing moves. ``--no-loadscope-reorder`` has pytest-xdist keep to it."""
    place = {f"tests/{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))


@pytest.fixture(autouse=True)
def same_ctrl_c() -> Iterator[None]:
    """A command that was stopped leaves Ctrl-C to the system, which would end the process of the tests."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip whose reason matches the pattern ``MIMIIDG_FORBID_SKIPS`` is a failure: CI has what those tests need."""
    report = yield
    forbidden = os.environ.get("MIMIIDG_FORBID_SKIPS")
    if forbidden and report.skipped and not hasattr(report, "wasxfail") and re.search(forbidden, str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"it may not be skipped (MIMIIDG_FORBID_SKIPS={forbidden!r}): {report.longrepr}"
    return report


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that is made once in a test run, by whichever worker wants it first. Not to be changed."""
    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with FileLock(f"{directory}.lock"):
        if not (directory / "whole").exists():
            shutil.rmtree(directory, ignore_errors=True)
            make(directory / "content")
            (directory / "whole").touch()
    return directory / "content"


@pytest.fixture(scope="session")
def real() -> Path:
    """Real clips, tables and scores; third-party data, so it lies outside the project."""
    if not REAL.is_dir():
        pytest.skip(f"the real material is not at {REAL}")
    return REAL


@pytest.fixture(scope="session")
def synthetic_archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the archives of a 1 % synthetic release and nothing else. Not to be changed."""
    return once(tmp_path_factory, "synthetic", lambda root: fetch_dataset(load_dataset(DATASET), root))


def link_archives(root: Path, target: Path) -> Path:
    """Another root with the archives of a root, which are linked, not copied: to be replaced, never written into.

    A copy is 60 MB, which the next flush of whatever file would have to wait for.
    """
    shutil.copytree(root / "archives", target / "archives", copy_function=link_archive)
    return target


def link_archive(source: str, target: str) -> None:
    """Link an archive; copy any other file, such as a lock."""
    (os.link if source.endswith(".zip") else shutil.copy2)(source, target)


@pytest.fixture
def root(synthetic_archives: Path, tmp_path: Path) -> Iterator[Path]:
    """A root of one's own with the 1 % synthetic release fetched into it; its archives are links."""

    def state() -> dict[Path, tuple[int, int]]:
        archives = synthetic_archives.glob("archives/*/*.zip")
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in archives}

    before = state()
    yield link_archives(synthetic_archives, tmp_path / "root")
    assert state() == before, "an archive is shared by many tests: replace it, do not write into it"


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PREFECT_HOME whose database is made: two processor seconds of each first start. To be copied."""

    def migrate(home: Path) -> None:
        code = "from prefect.server.database import provide_database_interface as interface\n"
        code += "from mimiidg_build.flows.first_database import make_first_database as make; make(interface())"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
        environment |= {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
        home.mkdir(parents=True, mode=0o700)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        assert (home / "prefect.db").is_file()

    return once(tmp_path_factory, "prefect", migrate)


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """The URL of a server that speaks S3."""
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """An empty bucket of one's own, and an environment that leads to it."""
    name = f"bucket-{uuid.uuid4().hex}"
    make_bucket(storage, name)
    for variable, value in {
        "AWS_ENDPOINT_URL": storage,
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_REGION": "us-east-1",
        "MIMIIDG_WORK": str(tmp_path / "work"),
    }.items():
        monkeypatch.setenv(variable, value)
    return ObjectPath("/", name)


@pytest.fixture
def remote(bucket: ObjectPath, synthetic_archives: Path) -> ObjectPath:
    """A root on object storage that holds the 1 % synthetic release, put there by hand."""
    for name in file_sizes(synthetic_archives):
        if ".locks" not in name:
            (bucket / "data" / name).write((synthetic_archives / name).read_bytes())
    return bucket / "data"


def content(store: Store) -> dict[str, bytes]:
    """Every file of a store."""
    return {name: (store.path / name).read_bytes() for name in file_sizes(store.path)}


@pytest.fixture(scope="module", autouse=True)
def freed_memory() -> Iterator[None]:
    """Give back what training keeps (``mimiidg_build.parallel.memory``): a worker of the tests came to hold 5 GB."""
    yield
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Train on one thread: two, on a busy machine, mostly wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def pack_release(path: Path, clips: Mapping[str, np.ndarray], machine_type: str, *, tables: bool = True) -> Path:
    """An archive of one machine type in the released layout, from {file name: samples}."""
    rows: dict[str, list[list[str]]] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, samples in clips.items():
            parts = name.removesuffix(".wav").split("_")
            member = f"{machine_type}/{parts[3]}/{name}"
            archive.writestr(member, encode_wav(samples))
            rows.setdefault(parts[1], []).append([member, *parts[6:]])
        for section, content in rows.items() if tables else ():
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            width = max(len(row) for row in content)
            writer.writerow(["file_name", "d1p", "d1v", "d2p", "d2v"][:width])
            writer.writerows(row + [""] * (width - len(row)) for row in content)
            archive.writestr(f"{machine_type}/attributes_{section}.csv", text.getvalue())
    return path


def write_dataset(
    directory: Path, name: str, archives: list[Path], *, recording: str = "clean", clip_seconds: float = 10.0
) -> Path:
    """A dataset manifest without checksums, for archives that are dropped into the root by hand."""
    lines = [f'name = "{name}"', f'title = "{name}"', f'recording = "{recording}"', 'layout = "dcase2022"']
    lines += ['recipe = "table1"', f"audio = {{ clip_seconds = {clip_seconds!r} }}"]
    lines += ['citation = "test"', "[[records]]", f'id = "{name}"', f'title = "{name}"', 'license = "test"']
    for path in archives:
        lines += ["[[records.files]]", f'name = "{path.name}"']
    manifest = directory / f"{name}.toml"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest
