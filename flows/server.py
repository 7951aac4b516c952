"""A Prefect server of our own, on this machine, for as long as this program runs: for the demo, and for ``serve``.

Prefect would start one itself where none is configured, but that one dies of the terminal's Ctrl-C before the run that
needs it can end in order, and outlives a program that is killed. This one is in a session of its own, and ends when the
pipe to its parent does. It listens on the loopback address only; its files lie in PREFECT_HOME.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from mimiidg_build import settings
from mimiidg_build.errors import DataError, UsageError

START_WITHIN_S, STOP_WITHIN_S = 180.0, 10.0  # the first start migrates a database: 20 s on two cores
HOST = "127.0.0.1"


class Server:
    """A server that starts now, and that flows imported from now on run on; it ends with this program.

    Parameters
    ----------
    home : Path
        PREFECT_HOME: where its database lies.
    port : int, optional
        A free one by default.
    schedules : bool
        Whether it also starts scheduled runs, and serves the web pages that show them.

    Raises
    ------
    UsageError
        The port is taken.
    """

    def __init__(self, home: Path, port: int | None = None, *, schedules: bool = False) -> None:
        home.mkdir(parents=True, exist_ok=True)
        port, self._log = _free_port(port), home / "server.log"
        self.url = f"http://{HOST}:{port}/api"
        kind = {"PREFECT_SERVER_UI_ENABLED": str(schedules), "PREFECT_UI_API_URL": self.url}
        # As Prefect starts its embedded server: the one app of its process, and without the scheduler and the pages.
        kind["PREFECT__SERVER_FINAL"] = "1"
        if not schedules:
            kind["PREFECT__SERVER_EPHEMERAL"] = "1"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mimiidg_build.flows.server", str(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
                env=settings.child_environment(**kind, PREFECT_HOME=str(home)),
            )
        atexit.register(self.stop)
        settings.configure(environment={"PREFECT_API_URL": self.url})

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        DataError
            It does not start.
        """
        end = time.monotonic() + START_WITHIN_S
        with httpx.Client() as client:  # one: each makes a TLS context, 30 ms of what the server needs to start
            while time.monotonic() < end and self._process.poll() is None:
                if answers(self.url, client):
                    return
                time.sleep(0.1)
        self.stop()
        said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        raise DataError("\n".join([f"the Prefect server did not start; {self._log} says:", *said]))

    def stop(self) -> None:
        """End it, by a kill only if it does not end by itself."""
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


def _free_port(port: int | None) -> int:
    with socket.socket() as trial:
        # as the server will bind it: a port that another has just left is free
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port or 0))
        except OSError as error:
            raise UsageError(
                f"port {port} of this machine is taken ({error.strerror}). A Prefect server that runs there already? "
                f"Then set PREFECT_API_URL=http://{HOST}:{port}/api; else give another --port."
            ) from None
        return int(trial.getsockname()[1])  # if another program takes it before the server does, wait() reports that


# ---- In the server's process -----------------------------------------------------------------------------------------


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when the parent closes the pipe, or dies, by whatever signal
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_WITHIN_S / 2)
    os._exit(1)  # a request under way must not keep it: well within the time that stop() waits


def _main(port: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run("prefect.server.api.server:create_app", factory=True, host=HOST, port=port, log_level="error")


if __name__ == "__main__":
    _main(int(sys.argv[1]))
