"""Commands, and the workers of pytest-xdist, in processes forked from one that has imported what they need.

``Command`` is a ``subprocess.Popen`` whose process is a child of this one like any other: it has arguments,
environment, working directory, standard streams, process group, signals and exit code of its own. What it shares is
what a fresh interpreter would have imported, a processor second or more. So a command is started in earnest where its
environment differs from the server's in a variable that is read before or while modules are imported
(``READ_AT_START``). A command is ``python -m mimiidg_build``, or a Python script.

A test that is about a fresh interpreter (imports, missing packages, ``python -O``, what ``/proc`` says of it) starts
``sys.executable`` itself. Only Linux lets a process adopt the child of another: elsewhere every command is started in
earnest.

Who adopts a process must be an ancestor, so that each worker of the tests needs a server of its own. Both would import
the same, three times each. So a worker is forked from a server of pytest's main process (``worker_program``), and has
its own server forked from itself before it does anything else.

Run as a module it is the server; :mod:`tests.command_front` is what asks it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import inspect
import marshal
import multiprocessing.process
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests import command_front as front
from tests.flushing import without_flushing

CHECKOUT = Path(__file__).resolve().parents[1]
MODULE = "mimiidg_build"
OURS = (sys.executable, "-m", MODULE)

# Read by the interpreter, by the dynamic linker and by libraries when they are loaded: changed later, nothing sees it.
# Prefect reads its own then, too. It is not loaded here: what it reads is what a command has set before it loads it.
# Not KMP_ and TORCH, which scikit-learn and torch set in the process of the tests, where they are imported or used.
READ_AT_START = (
    *("PYTHON", "LD_", "MALLOC_", "LANG", "LC_", "TZ", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "LLVM"),
    *("MPL", "CUDA", "NVIDIA", "ARROW_", "COVERAGE_", "HYPOTHESIS_", "DASK_", "ZARR_"),
)
WARM = (
    "distributed",  # each scheduler and each worker of a cluster
    "librosa",  # the tests, as they do scikit-learn and xarray
    "matplotlib.pyplot",
    "numpy.random",
    "pandas.core.arrays.arrow.extension_types",  # pandas, at the first parquet file
    "pandera.backends.pandas.builtin_checks",  # pandera, at the first table
    "pandera.backends.pandas.register",
    "pandera.strategies.pandas_strategies",  # hypothesis with it, where that is installed
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "rich.live",
    "rich.progress",
    "rich.table",
    "scipy.signal",
    "scipy.stats",
    "sklearn.metrics",
    "torch",
    "torch._dynamo",  # torch, at the first optimiser
    "xarray",
    "zarr",
    "mimiidg_build.cli",
    "mimiidg_build.benchmark.planning",
    "mimiidg_build.benchmark.results",
    "mimiidg_build.benchmark.train_network",
    "mimiidg_build.build.variant",
    "mimiidg_build.kernels.entries",
    "mimiidg_build.parallel.processes",
    "mimiidg_build.report.page",
    "mimiidg_build.store.listing",
    "mimiidg_build.synthesis.archive",
    "mimiidg_build.training.clip_dataset",
    "mimiidg_build.upkeep.export",
    "mimiidg_build.upkeep.prune",
    "mimiidg_build.upkeep.repair",
    "mimiidg_build.upkeep.verify",
)
NOT_FOR_BUILDS = ("jinja2", "markupsafe", "matplotlib", "PIL", "torch")
# But not these: bytecode changes nothing; streams are opened anew; modules are found in this checkout. dask sets the
# last in a process that asks it for processes.
IGNORED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONHASHSEED")
STARTED_WITH = dict(os.environ)  # before any test has changed it
OF_THIS_WORKER: Server | None = None  # the server that was forked from this process, a worker of the tests
ADOPTING = threading.Lock()  # tests may start commands from several threads
PR_SET_CHILD_SUBREAPER = 36  # of prctl(2): orphans among a process's descendants become its children


def take_terminal() -> None:
    """A ``preexec_fn``: in a session of its own, the terminal on standard input is the process's; its Ctrl-C comes."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Command(subprocess.Popen[Any]):
    """A process that runs a command; what is neither ``sys.executable -m mimiidg_build ...`` nor ``sys.executable
    SCRIPT.py ...`` is started as it is."""

    def _execute_child(self, *given: Any) -> None:
        # The one step of Popen that starts the process: its pipes, waiting and communicating stay as they are.
        wanted = SIGNATURE.bind(self, *given).arguments
        environment = dict(os.environ if wanted["env"] is None else wanted["env"])
        words = [] if isinstance(wanted["args"], str | bytes) else [os.fspath(word) for word in wanted["args"]]
        program = program_of(words)
        if program is None or wanted["shell"] or needs_an_interpreter_of_its_own(environment):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        assert wanted["preexec_fn"] in (None, take_terminal) and not wanted["pass_fds"], "a forked command has neither"
        streams = [wanted["p2cread"], wanted["c2pwrite"], wanted["errwrite"]]
        self.pid = server().start(
            words[2 if program else 3 :],
            environment,
            wanted["cwd"] or ".",
            {number: number if stream == -1 else stream for number, stream in enumerate(streams)},
            script=program,
            own_session=wanted["start_new_session"],
            takes_terminal=wanted["preexec_fn"] is take_terminal,
            ignored=[number for number in front.SENT_ON if signal.getsignal(number) is signal.SIG_IGN],
        )
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(wanted[name] for name in pipes))  # type: ignore[attr-defined]


SIGNATURE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]


def run(command: list[str], *, timeout: float | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it said, as text.

    Parameters
    ----------
    command : list of str
    timeout : float, optional
        Seconds after which it is killed.
    **options
        Of ``subprocess.Popen``.

    Raises
    ------
    subprocess.TimeoutExpired
        It has not ended by then.
    """
    with Command(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


# ---- In the process of the tests -------------------------------------------------------------------------------------


def program_of(words: list[str]) -> str | None:
    """The script that a command runs, empty for this program itself; None for what is not forked."""
    if tuple(words[:3]) == OURS:
        return ""
    is_script = words[:1] == [sys.executable] and len(words) > 1 and words[1][0] != "-" and words[1].endswith(".py")
    return words[1] if is_script else None


def needs_an_interpreter_of_its_own(environment: Mapping[str, str]) -> bool:
    """Whether a command would see, in a fresh interpreter, what it cannot see in a forked one."""
    return sys.platform != "linux" or read_at_start(environment) != read_at_start(STARTED_WITH)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter while interpreter and libraries are loaded."""
    found = {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}
    leads_here = str(CHECKOUT) in found.get("PYTHONPATH", str(CHECKOUT)).split(os.pathsep)
    return {
        name: value
        for name, value in found.items()
        if name not in IGNORED and not (name == "PYTHONPATH" and leads_here)
    }


class Server:
    """The process that all commands of this one are forked from.

    With ``of_worker`` it is itself forked from this process; where it ``is_here``, ``serves`` is what ``serve`` needs.
    """

    def __init__(self, *, of_worker: bool = False) -> None:
        self.folder = tempfile.mkdtemp(prefix="mimiidg-tests-")
        self.address = f"{self.folder}/socket"
        program = Path(self.folder, "mimiidg")
        words = [front.__file__, sys.executable, self.address]
        program.write_text(
            f"#!{sys.executable} -ISB\nimport sys\nsys.argv[:1] = {words}\nexec(open(sys.argv[0]).read())\n"
        )
        program.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen(100)
        until, self._closed_at_end = os.pipe()
        with listener, open(until, "rb"):
            self._process = os.fork() if of_worker else started(listener.fileno(), until)
            self.is_here = not self._process
            if self.is_here:
                os.close(self._closed_at_end)
                self.serves = listener.dup(), os.dup(until)
                return
        atexit.register(self.close)

    def start(
        self, words: list[str], environment: dict[str, str], folder: str, streams: dict[int, int], **options: Any
    ) -> int:
        """Start a command; its process, a child of this one."""
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            with ADOPTING, adopting():
                asked = front.ask(self.address, words, environment, opened, streams, **options)
                with contextlib.closing(asked):
                    return front.answer(asked)
        finally:
            os.close(opened)

    def close(self) -> None:
        """End it; commands that run go on."""
        os.close(self._closed_at_end)
        os.waitpid(self._process, 0)
        shutil.rmtree(self.folder)


def started(listener: int, until: int) -> int:
    """Start a server in an interpreter of its own; its process."""
    command, kept = [sys.executable, "-m", "tests.command_server", str(listener), str(until)], (listener, until)
    process = subprocess.Popen(command, cwd=CHECKOUT, env=STARTED_WITH, pass_fds=kept)
    process.returncode = 0  # it is waited for by its number
    return process.pid


@functools.cache
def server() -> Server:
    """The one server of this process."""
    return OF_THIS_WORKER or Server()


def worker_program() -> str:
    """What pytest-xdist is to start in place of Python, as a shell would have it: a worker forked by the server."""
    return shlex.join([sys.executable, "-ISB", front.__file__, sys.executable, server().address])


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """In this block, descendants whose parent ends become children of this process; else they are the system's."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def folder_of_mimiidg() -> str:
    """A folder for ``PATH`` in which ``mimiidg`` is this checkout's, forked by the server."""
    return server().folder


# ---- In the server ---------------------------------------------------------------------------------------------------


def serve(listener: socket.socket, until: int) -> dict[str, Any] | None:
    """Fork a process for each request, until ``until`` is closed (None) or this is one (what it is to run)."""
    while until not in select.select([listener, until], [], [])[0]:
        bury()
        asked, _ = listener.accept()
        with asked:
            request = heard(asked)
            if needs_an_interpreter_of_its_own(request["environment"]):
                say(asked, front.NOT_HERE)
            elif not os.fork():
                with listener:
                    return forked(request, asked)
            for number in request["files"]:
                os.close(number)
    end = time.monotonic() + 0.5
    while not bury() and time.monotonic() < end:  # a worker's, which ends as ``until`` is closed
        time.sleep(0.005)
    return None


def bury() -> bool:
    """Wait for children that have ended, so that their time is counted as this process's; whether none is left."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    return True


def heard(asked: socket.socket) -> dict[str, Any]:
    """A request, with its open files: the working directory, and the standard streams."""
    size, files, _, _ = socket.recv_fds(asked, 4, 4)
    with asked.makefile("rb") as text:
        request: dict[str, Any] = marshal.loads(text.read(int.from_bytes(size, "little")))
    return request | {"files": files}


def say(asked: socket.socket, number: int) -> None:
    """Answer with a number."""
    asked.send(number.to_bytes(4, "little", signed=True))


def forked(request: dict[str, Any], asked: socket.socket) -> dict[str, Any]:
    """In a process forked from the server: fork the one that the command is to run in, and return in that one alone."""
    between, stays = os.getpid(), request.get("stands_for_it", False)
    if process := os.fork():
        if stays:
            stand_for(process, asked)
        os._exit(0)
    while not stays and os.getppid() == between:  # until this is the child of the process that wants it
        time.sleep(0.0005)
    say(asked, os.getpid())
    become(request)
    return request


def stand_for(process: int, asked: socket.socket) -> None:
    """Send signals on to a command that ``tests.command_front`` has asked for, and say how it ended."""
    ended = os.pidfd_open(process)
    while ended not in select.select([ended, asked], [], [])[0]:
        number = asked.recv(1)
        os.kill(process, number[0] if number else signal.SIGKILL)  # who asked for it was killed
        if not number:
            break
    with contextlib.suppress(OSError):
        say(asked, os.waitpid(process, 0)[1])


def become(request: dict[str, Any]) -> None:
    """Turn this process into one that a command is to run in, as its parent would have it."""
    if request.get("own_session") or request.get("stands_for_it"):
        os.setsid()  # before the streams: none of them becomes its terminal
    folder, *opened = request["files"]
    streams = dict(zip(request["streams"], opened, strict=True))
    for number in range(3):
        if number in streams:
            os.dup2(streams[number], number)
        else:
            os.close(number)
    if request.get("takes_terminal"):
        take_terminal()
    os.fchdir(folder)
    with contextlib.suppress(FileNotFoundError):  # it may be gone
        multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # where processes that it starts find its script
    for number in request["files"]:
        os.close(number)
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request.get("ignored", ()):
        signal.signal(number, signal.SIG_IGN)


def open_streams() -> None:
    """``sys.stdin`` and its kin, as an interpreter opens them; None for a closed one."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        old, stream = getattr(sys, name), None
        if front.is_open(number):
            stream = os.fdopen(number, mode, encoding=old.encoding, errors=old.errors, closefd=False)
            if name != "stdin":
                at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
                stream.reconfigure(line_buffering=name == "stderr" or stream.isatty(), write_through=at_once)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class Exit:
    """The end of a forked process, once it has done all that an interpreter does at its end but one thing: to take
    apart every module, 0.3 s here."""

    def __init__(self) -> None:
        self.code: int | None = None
        atexit.register(self.now)  # before anything else is registered: the last to be called

    def run_command(self, script: str) -> None:
        """Run the command as ``python -m`` or ``python SCRIPT`` would."""
        try:
            if script:
                main = sys.modules["__main__"] = types.ModuleType("__main__")
                main.__file__ = str(Path.cwd() / script)
                exec(compile(Path(script).read_bytes(), main.__file__, "exec"), vars(main))
                self.code = 0
            else:
                runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
        except SystemExit as error:
            self.code = error.code if isinstance(error.code, int) else int(error.code is not None)
            raise

    def now(self) -> None:
        """End, unless Python has more to say: of an exception, or of output that cannot be written."""
        with contextlib.suppress(OSError, ValueError):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            if self.code is not None:
                os._exit(self.code)


def load_compiled() -> None:
    """Load all compiled code, which LLVM links in each process.

    What is not in the cache yet is compiled in a process of its own: numba has every process that compiles reset the
    terminal's colours at its end, and so would all that are forked from this one.
    """
    load_all = sys.modules["mimiidg_build.kernels.entries"].load_all
    if not (child := os.fork()):
        load_all()
        os._exit(0)
    os.waitpid(child, 0)
    load_all()


def have_all_imported() -> None:
    """Import what commands need, and the worst of what tests do."""
    for module in WARM:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as missing:  # what only builds has no torch
            if (missing.name or "").partition(".")[0] not in NOT_FOR_BUILDS:
                raise
    load_compiled()
    without_flushing()
    threads = [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
    # a fork copies the locks that threads hold, but no thread; jemalloc, pyarrow's allocator, sees to its own
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1, threads
    gc.freeze()  # a collection would write to all that forked processes share


def work(own: Server, program: str) -> None:
    """Be a worker of the tests, as ``python -c PROGRAM`` would be."""
    global OF_THIS_WORKER
    OF_THIS_WORKER = own
    sys.modules["tests.command_server"] = sys.modules["__main__"]
    main = sys.modules["__main__"] = types.ModuleType("__main__")  # no file, which processes that it starts would run
    sys.argv, sys.path[0] = ["-c"], ""
    exec(program, vars(main))


def main(listener: socket.socket, until: int) -> None:
    """Import, then serve; in a forked process, run its command, or be a worker and in one more process its server."""
    end = Exit()
    have_all_imported()
    while True:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C, at the terminal of the tests, is theirs
        request = serve(listener, until)
        if request is None:
            return
        os.close(until)
        open_streams()
        script, words = request.get("script", ""), request["words"]
        if words[:2] != front.WORKER:
            sys.argv = [script or f"{MODULE}/__main__.py", *words]
            sys.path[0] = str(Path(script).resolve().parent) if script else ""  # the working directory: it may be gone
            return end.run_command(script)
        own = Server(of_worker=True)
        if not own.is_here:
            return work(own, words[2])
        listener, until = own.serves
        for number, stream in ((0, os.open(os.devnull, os.O_RDWR)), (1, 2)):  # pytest-xdist talks to the worker there
            os.dup2(stream, number)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
