"""The program in processes of its own, to be killed: forked from one that has imported everything, so each starts in
milliseconds. Clips are 1 s and shards 4 clips there, so that a build of a second has many steps to die at.

Run as a module it is that one process: a command a line on standard input, an answer a line on standard output.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from mimiidg_build.datasets.manifest import load_table1
from mimiidg_build.datasets.synthetic import parse_name
from mimiidg_build.synthesis.contents import section_clips
from tests.conftest import pack_release, write_dataset

CHECKOUT = Path(__file__).resolve().parents[2]
N_SAMPLES, SHARD_CLIPS = 16_000, 4
STEPS = ("replace", "rename", "fsync", "mkdir", "link", "unlink", "rmdir")  # what moves a file system on
CRASHED = 9
WARM = (
    "dask.dataframe",  # pandera asks for it
    "distributed",  # dask does
    "mimiidg_build.benchmark.runs",
    "mimiidg_build.build.build",
    "mimiidg_build.cli.data",
    "mimiidg_build.training.clip_dataset",
    "mimiidg_build.upkeep.prune",
    "mimiidg_build.upkeep.repair",
    "rich.table",
    "zarr",
)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal), and what it printed."""

    code: int
    out: str
    err: str


class Processes:
    """Starts and awaits runs of ``mimiidg``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outputs: dict[int, Path] = {}
        self.n_started = 0
        self.parent = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.processes"],
            cwd=CHECKOUT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **command: Any) -> Any:
        assert self.parent.stdin and self.parent.stdout
        print(json.dumps(command), file=self.parent.stdin, flush=True)
        return json.loads(self.parent.stdout.readline())

    def start(self, *arguments: object, action: str = "mimiidg", **faults: Any) -> int:
        """Start the program, with faults (see ``FAULTS``); the process's number."""
        self.n_started += 1
        output = str(self.directory / str(self.n_started))
        for end in (".out", ".err"):
            Path(output + end).touch()
        process = self._ask(action=action, arguments=[str(a) for a in arguments], faults=faults, output=output)
        self.outputs[process] = Path(output)
        return int(process)

    def wait(self, process: int) -> Ended:
        """Wait for a process that was started."""
        code, output = self._ask(wait=process), self.outputs.pop(process)
        return Ended(code, *(output.with_suffix(end).read_text() for end in (".out", ".err")))

    def run(self, *arguments: object, action: str = "mimiidg", **faults: Any) -> Ended:
        """Run the program to its end."""
        return self.wait(self.start(*arguments, action=action, **faults))

    def warm(self, *arguments: object) -> None:
        """Run the program in the parent, so that what it loads and compiles is there for all that follow."""
        self._ask(warm=[str(a) for a in arguments])

    def close(self) -> None:
        """End the parent; whatever it started has been waited for."""
        assert self.parent.stdin and self.parent.stdout
        self.parent.stdin.close()
        self.parent.wait()
        self.parent.stdout.close()


def make_place(directory: Path) -> None:
    """Files to build from: ``root`` with an archive of 1 s clips a machine type, ``noise``, and two variants' files.

    ``one.toml`` is a variant of one section, ``two.toml`` of two.
    """
    archives = [directory / f"root/archives/short/{machine_type}.zip" for machine_type in ("fan", "valve")]
    rng = np.random.default_rng(0)
    for path, number in zip(archives, ("00", "01"), strict=True):
        section = load_table1().section(path.stem, number)
        clips = section_clips(parse_name("synthetic-1pct-seed0"), section)
        samples = {f"{clip.name}.wav": rng.normal(0, 900, N_SAMPLES).astype(np.int16) for clip in clips}
        pack_release(path, samples, path.stem)
    manifest = write_dataset(directory, "short", archives)
    (directory / "noise").mkdir()
    for name in ("hum", "hiss"):
        sf.write(directory / f"noise/{name}.wav", rng.normal(0, 900, 3 * N_SAMPLES).astype(np.int16), 16_000)
    kinds = "".join(f'{kind} = "noise"\n' for kind in "ABCDWXYZ")
    for name, sections in (("one", '"valve/01"'), ("two", '"fan/00", "valve/01"')):
        text = f'name = "{name}"\ndataset = "{manifest}"\nsections = [{sections}]\n[noise]\n{kinds}'
        (directory / f"{name}.toml").write_text(text)


def files(path: Path) -> dict[str, bytes]:
    """Every file under a directory."""
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


class Place:
    """A root to build in, and what undisturbed builds of its variants give."""

    def __init__(self, template: Path, directory: Path, processes: Processes) -> None:
        self.template, self.root, self.processes = template, directory / "root", processes
        shutil.copytree(template / "root", self.root, ignore=shutil.ignore_patterns("variants"))

    def start(self, *arguments: object, **faults: Any) -> int:
        """Start ``mimiidg`` on the root."""
        return self.processes.start(*arguments, "--root", self.root, **faults)

    def start_action(self, action: str, *arguments: object) -> int:
        """Start something else."""
        return self.processes.start(*arguments, action=action)

    def run(self, *arguments: object, **faults: Any) -> Ended:
        """Run ``mimiidg`` on the root."""
        return self.processes.wait(self.start(*arguments, **faults))

    def build(self, variant: str, *options: object, **faults: Any) -> Ended:
        """Build a variant, on one thread so that steps come in one order."""
        return self.run("build", self.template / f"{variant}.toml", "--workers", 1, "--quiet", *options, **faults)

    def directory(self, variant: str) -> Path:
        """Where a variant's stores lie."""
        return self.root / "variants" / variant

    def undisturbed(self, variant: str) -> dict[str, bytes]:
        """What an undisturbed build of a variant leaves."""
        return files(self.template / "root/variants" / variant)


def make_template(directory: Path, processes: Processes) -> Path:
    """What a ``Place`` is a copy of."""
    make_place(directory)
    place = Place.__new__(Place)
    place.template, place.root, place.processes = directory, directory / "root", processes
    for ended in (place.run("fetch", directory / "short.toml", "--offline"), place.build("one"), place.build("two")):
        assert ended.code == 0, ended.err
    processes.warm("validate", directory / "short.toml", "--root", place.root)
    return directory


def count_steps(act: Callable[[int, str, Any], None], *, only: str = "") -> None:
    """Call ``act(number, name, path)`` before every step that changes the file system under a path that has ``only``.

    ``fsync`` has a descriptor, so it always counts.
    """
    count = 0

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if name == "fsync" or only in os.fspath(arguments[0]) or "dir_fd" in options:
                count += 1
                act(count, name, arguments[0])
            return real(*arguments, **options)

        return step

    for name in STEPS:
        setattr(os, name, counted(name, getattr(os, name)))


def crash_at(step: int) -> None:
    """Die before the numbered step that changes what lies under variants/; step 0: never, but print what they are."""
    if step:
        count_steps(lambda number, name, path: os._exit(CRASHED) if number == step else None, only="variants")
    else:
        steps: list[str] = []
        count_steps(lambda number, name, path: steps.append(name), only="variants")
        at_end.append(lambda: print(json.dumps(steps)))


def crash_publishing_at(step: int) -> None:
    """The same, counted from the moment when the last section is rendered."""
    from mimiidg_build.build import stage

    publish = stage.publish

    def counted(*arguments: Any) -> Any:
        crash_at(step)
        return publish(*arguments)

    stage.publish = counted


def no_space_at(step: int) -> None:
    """The disk is full from the numbered step on, until the process ends."""

    def act(number: int, name: str, path: Any) -> None:
        if number >= step and name in ("fsync", "mkdir", "link", "replace", "rename"):
            raise OSError(28, "No space left on device", str(path))

    count_steps(act, only="variants")


def largest_file(size_bytes: int) -> None:
    """The kernel refuses to write beyond this size, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def slow(seconds: float) -> None:
    """Every shard takes this much longer."""
    from mimiidg_build.build import render

    written = render.write_entry

    def write_entry(*arguments: Any) -> None:
        time.sleep(seconds)
        written(*arguments)

    render.write_entry = write_entry


def list_unflushed_at_rename(_: bool) -> None:
    """Print what had changed since it was last flushed when the partial store got its name."""
    flushed: dict[int, int] = {}
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        flushed[status.st_ino] = max(status.st_mtime_ns, status.st_ctime_ns)

    def checked_rename(source: Any, target: Any) -> None:
        paths = [Path(source), *Path(source).rglob("*")]
        changed = {path: path.stat() for path in paths}
        unflushed = [str(p) for p, s in changed.items() if flushed.get(s.st_ino, 0) < max(s.st_mtime_ns, s.st_ctime_ns)]
        at_end.append(lambda: print(json.dumps({"n_checked": len(paths), "unflushed": unflushed})))
        rename(source, target)

    os.fsync, os.rename = noted_fsync, checked_rename


def slow_epochs(seconds: float) -> None:
    """Every epoch of a training takes this much longer."""
    from mimiidg_build.training import train

    save = train.save_checkpoint

    def save_checkpoint(*arguments: Any) -> None:
        save(*arguments)
        time.sleep(seconds)

    train.save_checkpoint = save_checkpoint


at_end: list[Callable[[], None]] = []
FAULTS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        crash_at,
        crash_publishing_at,
        no_space_at,
        largest_file,
        slow,
        slow_epochs,
        list_unflushed_at_rename,
    )
}


def mimiidg(*arguments: str) -> int:
    """The command line."""
    from mimiidg_build.cli import main

    return main(arguments)


def read_latest(variant: str, until: str) -> int:
    """Open a variant's latest store over and over until a file appears; every time it must be whole, to the last byte.

    A dataset of its clips is kept open all the while: what it reads first it must be able to read again.
    """
    from mimiidg_build.store.store import find_damage, open_store
    from mimiidg_build.training.clip_dataset import ClipDataset

    held = ClipDataset(open_store(variant), memory_budget_bytes=0)
    first = held.read(np.arange(len(held))).numpy()
    seen, n_reads = set(), 0
    while True:
        ends = Path(until).exists()
        store = open_store(variant)
        damage = find_damage(store)
        assert not damage, damage
        assert len(store.clips) == len(store.mix_plan)
        seen.add(store.fingerprint)
        np.testing.assert_array_equal(held.read(np.arange(len(held))).numpy(), first)
        n_reads += 1
        print(n_reads, flush=True)
        if ends:
            print(json.dumps({"n_reads": n_reads, "fingerprints": sorted(seen)}))
            return 0


def hold(statement: str, path: str) -> int:
    """Have something open until killed."""
    from mimiidg_build.store.store import open_store
    from mimiidg_build.training.clip_dataset import ClipDataset

    names = {"path": path, "ClipDataset": ClipDataset, "open_store": open_store, "pickle": pickle}
    exec(statement, names)
    print("held", flush=True)
    signal.pause()
    return 0


def train(store: str, root: str, epochs: str) -> int:
    """Train a small model on a store and score its test clips; prints the epochs that were trained."""
    from mimiidg_build.benchmark.runs import plan_runs, train_and_score
    from mimiidg_build.progress import Reporter
    from mimiidg_build.store.store import open_store

    trained: list[int] = []

    class Epochs(Reporter):
        def note(self, title: str, text: str) -> None:
            trained.append(int(text.split()[1]))

    (run,) = plan_runs(open_store(store), Path(root), ["autoencoder"], "smoke", seeds=1, epochs=int(epochs))
    (part,) = run.parts()
    train_and_score(run, part, "cpu", Epochs())
    print(json.dumps(trained))
    return 0


ACTIONS: dict[str, Callable[..., int]] = {
    function.__name__: function for function in (mimiidg, read_latest, hold, train)
}


def shorten() -> None:
    """Short clips, small shards, in this process."""
    from mimiidg_build.build import inputs, plan_build, render, stage
    from mimiidg_build.datasets.manifest import load_table1
    from mimiidg_build.upkeep import export

    load_table1().__dict__["n_samples"] = N_SAMPLES
    for module in (export, inputs, plan_build, render, stage):
        if hasattr(module, "SHARD_CLIPS"):
            module.SHARD_CLIPS = SHARD_CLIPS


def fork(action: str, arguments: list[str], faults: dict[str, Any], output: str) -> int:
    """Run an action in a process of its own; its number."""
    if process := os.fork():
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        for number, end in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(output + end, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, value in faults.items():
            FAULTS[name](value)
        code = ACTIONS[action](*arguments)
        for function in at_end:
            function()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve(commands: Iterator[str]) -> None:
    """Start and await what is asked for."""
    for module in WARM:
        importlib.import_module(module)
    shorten()
    for line in commands:
        command = json.loads(line)
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        elif "warm" in command:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                answer = mimiidg(*command["warm"])
        else:
            answer = fork(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(iter(sys.stdin.readline, ""))
