"""A Prefect server of our own, on this machine, for as long as this program runs: for the demo, and for ``serve``.

Prefect would start one itself where none is configured, but that one dies of the terminal's Ctrl-C before the run that
needs it can end in order, and outlives a program that is killed. This one is in a session of its own, and ends when the
pipe to its parent does. Its files lie in PREFECT_HOME.

Whoever may write to a Prefect server runs code as its user. So it listens on the loopback address alone, refuses who
does not know its secret (:mod:`flows.secret`), lets no page but its own read an answer (CORS), and answers under its
own name only: else a page whose name is made to lead to this machine (DNS rebinding) would count as its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from mimiidg_build import settings
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.flows.secret import have_secret, secret_file

if TYPE_CHECKING:
    import uvicorn

START_WITHIN_S, STOP_WITHIN_S = 180.0, 10.0  # the first start migrates a database: 20 s on two cores
HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]  # under which it answers


class Server:
    """A server that flows imported from now on run on; it ends with this program.

    Its port is taken at once: nobody else can answer there, and be sent the secret.

    Parameters
    ----------
    home : Path
        PREFECT_HOME: where its database and its secret lie.
    port : int, optional
        A free one by default.
    schedules : bool
        Whether it also starts scheduled runs, and serves the web pages that show them.

    Raises
    ------
    UsageError
        The port is taken, or the secret would be none.
    """

    def __init__(self, home: Path, port: int | None = None, *, schedules: bool = False) -> None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        # the file that holds the secret, unless the environment does
        self.secret_file = None if settings.prefect_auth_string() else secret_file(home)
        secret = have_secret(home)
        self._socket, self._log = _listen(port), home / "server.log"
        port = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{port}/api"
        kind = {"PREFECT_SERVER_UI_ENABLED": str(schedules), "PREFECT_UI_API_URL": self.url}
        # As Prefect starts its embedded server: the one app of its process, and without the scheduler and the pages.
        kind["PREFECT__SERVER_FINAL"] = "1"
        if not schedules:
            kind["PREFECT__SERVER_EPHEMERAL"] = "1"
        access = {
            "PREFECT_SERVER_API_AUTH_STRING": secret,
            "PREFECT_API_AUTH_STRING": secret,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}:{port}" for name in NAMES),
        }
        self._environment = settings.child_environment(**kind, **access, PREFECT_HOME=str(home))
        self._process: subprocess.Popen[bytes] | None = None
        settings.configure(environment={"PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": secret})

    def start(self) -> None:
        """Begin to start it; :meth:`wait` waits until it answers."""
        with self._log.open("wb") as log, self._socket:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mimiidg_build.flows.server", str(self._socket.fileno())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
                env=self._environment,
                pass_fds=[self._socket.fileno()],
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        DataError
            It does not start.
        """
        end = time.monotonic() + START_WITHIN_S
        with httpx.Client() as client:  # one: each makes a TLS context, 30 ms of what the server needs to start
            while time.monotonic() < end and self._process is not None and self._process.poll() is None:
                if answers(self.url, client):
                    return
                time.sleep(0.1)
        self.stop()
        said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        raise DataError("\n".join([f"the Prefect server did not start; {self._log} says:", *said]))

    def stop(self) -> None:
        """End it, by a kill only if it does not end by itself."""
        self._socket.close()
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def answers(url: str, client: httpx.Client | None = None) -> bool:
    """Whether a server answers at the address of an API."""
    get = httpx.get if client is None else client.get
    try:
        return get(f"{url}/health", timeout=10).status_code < 500
    except (httpx.TransportError, httpx.InvalidURL):
        return False


def is_refused() -> bool:
    """Whether the configured server refuses this program: it wants another secret, or one where none is configured."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            client.read_flows(limit=1)
    except PrefectHTTPStatusError as error:
        return error.response.status_code in (401, 403)
    return False


def _listen(port: int | None) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that another has just left is free
    try:
        listening.bind((HOST, port or 0))
        listening.listen(2048)  # until the server takes it over, who calls waits
    except OSError as error:
        listening.close()
        raise UsageError(
            f"port {port} of this machine is taken ({error.strerror}). A Prefect server that runs there already? "
            f"Then set PREFECT_API_URL=http://{HOST}:{port}/api; else give another --port."
        ) from None
    return listening


def end_with(process: int) -> None:
    """End this process when the one that started it does, however that ends; 0: it goes on alone."""

    def watch() -> None:
        while os.getppid() == process:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)  # in order: Prefect, and what works for this process, are told
        time.sleep(STOP_WITHIN_S)
        os._exit(1)

    if process:
        threading.Thread(target=watch, daemon=True).start()


# ---- In the server's process -----------------------------------------------------------------------------------------


def _end_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()  # ends when the parent closes the pipe, or dies, by whatever signal
    server.should_exit = True
    time.sleep(STOP_WITHIN_S / 2)
    os._exit(1)  # a request under way must not keep it: well within the time that stop() waits


def _app() -> Any:
    from prefect.server.api.server import create_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return TrustedHostMiddleware(create_app(), allowed_hosts=NAMES)


def _migrate() -> None:
    """Make the database, or bring it up to date, as the app would when it starts.

    There each of some 9,000 statements of the first start passes through all layers of the app, with a database of
    its own event loop: 7.5 processor seconds, here 4.8.
    """
    from prefect.server.database import provide_database_interface
    from prefect.settings import get_current_settings

    if get_current_settings().server.database.migrate_on_start:
        asyncio.run(provide_database_interface().create_db())


def _main(descriptor: int) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends with its parent alone: a run that is stopped, with all processes at once, still has it to report to."""

        def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
            return contextlib.nullcontext()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.set_threshold(50_000)  # what is imported stays: to search it every 700 objects takes 1 s of the start's 6
    atexit.register(gc.freeze)  # and nobody need wait for a last search at its end
    _migrate()
    server = Server(uvicorn.Config(_app, factory=True, log_level="error"))
    threading.Thread(target=_end_with_parent, args=[server], daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _main(int(sys.argv[1]))
