"""Schedules, with a real Prefect server: what a person does with ``mimiidg serve``, seen through the server's API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import httpx
import numpy as np
import pytest
import soundfile as sf

from mimiidg_build.cli import main
from mimiidg_build.cli.serve import run_command
from mimiidg_build.store.store import open_store
from tests import command_server
from tests.command_server import Command
from tests.conftest import DATASET, link_archives

# A limit of time is there so that a test ends that waits in vain. With a dozen processes a core a request takes the
# server more than the 5 s that httpx waits of its own accord.
PATIENT_S = 300
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
VARIANT = f"""
name = "nightly"
dataset = "{DATASET}"
sections = ["fan/01", "fan/02"]
noise_from = "{DATASET}"
[noise]
C = "hall"  # of fan/01 alone
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Ask a server, whatever its answer is. To read certificates, of which it needs none, takes 30 ms each time."""
    return httpx.request(method, url, timeout=PATIENT_S, verify=False, **options)


def record(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    sf.write(path, np.random.default_rng(seed).normal(0, 0.1, 480_000), 16_000)


class Serving:
    """``mimiidg serve`` with its own server, and what one asks it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "mimiidg-data"
        (directory / "nightly.toml").write_text(VARIANT)
        record(directory / "hall/first.wav", 1)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
        self.environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_API_REQUEST_TIMEOUT": str(PATIENT_S)}
        options = ["--server", "--port", free_port(), "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--json"]
        options += ["--allow", "missing_table"]
        with (directory / "log").open("wb") as log:
            self.process = Command(
                self.command("serve", "--variant", "nightly.toml", *options),
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env=self.environment,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.registered = json.loads(line)
        self.deployment = self.registered["deployments"][0]["id"]
        self.secret_file = self.root / ".prefect/auth-string"
        user, password = self.secret_file.read_text().strip().split(":")
        self.auth = (user, password)

    @staticmethod
    def command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "mimiidg_build", *map(str, arguments)]

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def api(self, path: str, content: object = None) -> Any:
        url = f"{self.registered['server']}/{path}"
        while True:
            answer = request("GET" if content is None else "POST", url, json=content, auth=self.auth)
            if answer.status_code != 503:  # its database is busy; Prefect's own client asks again, too
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json()

    def start_runs(self, n: int = 1, **parameters: Any) -> list[dict[str, Any]]:
        content = {"parameters": parameters}
        return [self.api(f"deployments/{self.deployment}/create_flow_run", content) for _ in range(n)]

    def finished(self, runs: Sequence[dict[str, Any]], within_s: float = 2 * PATIENT_S) -> list[dict[str, Any]]:
        """The runs when they are over, in the order of their ends."""
        end = time.monotonic() + within_s
        while True:
            found = [self.api(f"flow_runs/{run['id']}") for run in runs]
            if all(run["state"]["type"] in FINAL for run in found):
                return sorted(found, key=lambda run: str(run["state"]["timestamp"]))
            assert time.monotonic() < end, (found, self.log)
            time.sleep(0.5)

    def artifacts(self, run: dict[str, Any]) -> dict[str, Any]:
        """What a run and the runs within it have left, by key."""
        query = {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}}
        ids = [run["id"], *(child["id"] for child in self.api("flow_runs/filter", query))]
        found = self.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": ids}}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def logged(self, run: dict[str, Any], within_s: float = PATIENT_S) -> list[str]:
        """A run's messages in the API. Prefect sends them by the batch, later, and loses one on a busy machine."""
        end = time.monotonic() + within_s
        while True:
            found = self.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
            if found or time.monotonic() > end:
                return [log["message"] for log in found]
            time.sleep(0.5)

    def store(self) -> Path:
        return open_store(self.root / "variants/nightly").path

    def stop(self) -> int:
        """Ctrl-C, as a terminal sends it: to every process of the command."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(PATIENT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def serving(
    synthetic_archives: Path, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """Started where a server has been before; it waits until its flow is registered there."""
    directory = tmp_path_factory.mktemp("serve")
    shutil.copytree(prefect_home, link_archives(synthetic_archives, directory / "mimiidg-data") / ".prefect")
    serving = Serving(directory)
    yield serving
    serving.stop()
    if serving.process.stdout is not None:
        serving.process.stdout.close()


def test_its_server_answers(serving: Serving) -> None:
    assert serving.api("health") is True


def test_a_deployment_is_registered(serving: Serving) -> None:
    (found,) = serving.api("deployments/filter", {})
    assert (found["name"], found["paused"]) == ("nightly", False)
    (schedule,) = found["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    assert found["parameters"]["variants"] == [str(serving.directory / "nightly.toml")]
    assert found["parameters"]["root"] == str(serving.root)
    assert (found["parameters"]["truth"], found["parameters"]["allow"]) == ([], ["missing_table"])


def test_a_run_builds_and_its_results_are_seen(serving: Serving) -> None:
    # two at once: the second is turned away while the first runs, instead of doing its work again
    runs = serving.finished(serving.start_runs(2))
    assert sorted(run["state"]["type"] for run in runs) == ["CANCELLED", "COMPLETED"]
    run = next(run for run in runs if run["state"]["type"] == "COMPLETED")
    assert run["name"] == "refresh nightly"
    artifacts = serving.artifacts(run)
    assert [row["section"] for row in json.loads(artifacts["sections-nightly"])] == ["fan/01", "fan/02"]
    assert artifacts["refresh-nightly"] == f"- `{serving.store()}`: built"
    shown = artifacts["report-nightly"]
    assert "](" not in shown, "a link to a file does nothing when it is clicked"
    (page,) = (Path(unquote(urlparse(url).path)) for url in re.findall("`(file:[^`]*)`", shown))
    assert page.parent == serving.root / "reports/nightly" and "<html" in page.read_text() and f"`{page}`" in shown
    assert shown.startswith("**nightly** (synthetic data, for trying only, 24 clips)"), "what it is about"
    assert "| fan/02 | 12 |" in shown
    assert "render: 24 of 24 clips, " in serving.log, "progress is seen"
    assert any("clips" in message or "built" in message for message in serving.logged(run)), serving.logged(run)


def test_the_hint_starts_a_run_and_one_with_nothing_new_does_nothing_and_says_so(
    serving: Serving, tmp_path: Path
) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        kept = [p for p in serving.root.rglob("*") if p.is_file() and ".prefect" not in p.parts and p.suffix != ".lock"]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}

    def by_hand() -> dict[str, dict[str, Any]]:
        query = {"flow_runs": {"deployment_id": {"any_": [serving.deployment]}}}
        return {run["id"]: run for run in serving.api("flow_runs/filter", query) if not run["auto_scheduled"]}

    before, runs = state(), by_hand()
    hint = run_command("refresh/nightly", serving.registered["server"], serving.secret_file)
    bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", hint], capture_output=True, text=True, cwd="/", env=bare)
    assert done.returncode == 0 and "Created flow run" in done.stdout, done.stdout + done.stderr
    (run,) = serving.finished([run for key, run in by_hand().items() if key not in runs])
    assert run["state"]["type"] == "COMPLETED"
    assert serving.artifacts(run)["refresh-nightly"] == f"- `{serving.store()}`: nothing new"
    assert state() == before


def test_new_noise_rebuilds_only_what_it_changes(serving: Serving) -> None:
    old = serving.store()
    record(serving.directory / "hall/second.wav", 2)
    (run,) = serving.finished(serving.start_runs(with_report=False))  # four seconds, and seen in the first run's
    new = serving.store()
    assert run["state"]["type"] == "COMPLETED" and new != old
    assert serving.artifacts(run)["refresh-nightly"] == f"- `{new}`: built"
    shard = "section_{}/logmel/c/0/0/0"
    assert (old / "fan" / shard.format("02")).samefile(new / "fan" / shard.format("02")), "the other section is reused"
    assert not (old / "fan" / shard.format("01")).samefile(new / "fan" / shard.format("01"))
    assert len(open_store(old).clips) == 24, "readers of the one before read on"


def test_a_mistake_in_the_variant_fails_the_run_with_its_message(serving: Serving) -> None:
    path = serving.directory / "nightly.toml"
    path.write_text(VARIANT.replace("fan/02", "fan/09"))
    (run,) = serving.finished(serving.start_runs())
    path.write_text(VARIANT)
    assert run["state"]["type"] == "FAILED"
    assert "'fan/09' is not a section of recipe table1" in run["state"]["message"]


def test_wrong_use_registers_nothing(serving: Serving) -> None:
    environment = serving.environment | {"PREFECT_API_URL": serving.registered["server"]}
    command = serving.command("serve", "--variant", "released")
    done = command_server.run(command, cwd=serving.directory, env=environment)
    assert done.returncode == 2 and "refuses this program. Set PREFECT_API_AUTH_STRING" in done.stderr
    assert [found["name"] for found in serving.api("deployments/filter", {})] == ["nightly"]


# -------------------- who may do what: whoever may write to the server runs code as its user


WRITES = {
    "deployments/": {"name": "theirs", "flow_id": "00000000-0000-0000-0000-000000000000", "entrypoint": "evil.py:run"},
    "deployments/{deployment}/create_flow_run": {},
    "flows/": {"name": "theirs"},
    "flow_runs/filter": {},
    "deployments/filter": {},
    "logs/filter": {},
    "block_documents/filter": {},
}


@pytest.mark.parametrize("auth", [None, ("mimiidg", "guessed"), ("admin", "pass")], ids=str)
def test_who_does_not_know_the_secret_is_refused(serving: Serving, auth: tuple[str, str] | None) -> None:
    server = serving.registered["server"]
    for path, content in WRITES.items():
        url = f"{server}/{path.format(deployment=serving.deployment)}"
        assert request("POST", url, json=content, auth=auth).status_code == 401, url
    patch = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/evil"}}]}
    deployment = f"{server}/deployments/{serving.deployment}"
    assert request("PATCH", deployment, json=patch, auth=auth).status_code == 401
    assert request("DELETE", deployment, auth=auth).status_code == 401
    for path in ("admin/settings", f"deployments/{serving.deployment}", "csrf-token?client=x", "docs", "openapi.json"):
        assert request("GET", f"{server}/{path}", auth=auth).status_code == 401, path
    (found,) = serving.api("deployments/filter", {})
    assert found["name"] == "nightly" and not found["pull_steps"], "nothing was changed"


def test_no_page_of_others_reads_an_answer(serving: Serving) -> None:
    url, port = f"{serving.registered['server']}/deployments/filter", urlparse(serving.registered["server"]).port
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://none.invalid"):
        answers = [
            request("OPTIONS", url, headers=asked | {"Origin": origin}),
            request("POST", url, json={}, headers={"Origin": origin}, auth=serving.auth),
        ]
        for answer in answers:
            assert "access-control-allow-origin" not in answer.headers, origin
        assert answers[0].status_code == 400
    for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):  # its own
        answer = request("OPTIONS", url, headers=asked | {"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_a_name_that_was_made_to_lead_here_is_refused(serving: Serving) -> None:
    server = urlparse(serving.registered["server"])
    for path in ("/", "/api/health", "/ui-settings", "/api/admin/version"):
        url = f"http://127.0.0.1:{server.port}{path}"
        for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example"):
            assert request("GET", url, headers={"Host": host}, auth=serving.auth).status_code == 400, (path, host)
        for host in (server.netloc, f"localhost:{server.port}"):
            assert request("GET", url, headers={"Host": host}, auth=serving.auth).status_code in (200, 307), (
                path,
                host,
            )


def test_only_its_owner_reads_the_secret(serving: Serving) -> None:
    assert serving.secret_file.stat().st_mode & 0o777 == 0o600
    secret = serving.secret_file.read_text().strip()
    assert len(secret) > 40 and secret not in json.dumps(serving.registered) + serving.log
    for process in Path("/proc").glob("[0-9]*/cmdline"):  # which everybody can read
        with contextlib.suppress(OSError):
            assert secret.encode() not in process.read_bytes()


def test_a_server_of_the_users_own_and_the_hint(serving: Serving, tmp_path: Path) -> None:
    """As it is configured; and what is printed works in another shell, in another folder."""
    environment = serving.environment | {
        "PREFECT_API_URL": serving.registered["server"],
        "PREFECT_API_AUTH_STRING": ":".join(serving.auth),
    }
    command = serving.command("serve", "--variant", "released", "--cron", "0 0 1 1 *", "--root", tmp_path / "root")
    with Command(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        said = []
        while not said or " deployment run " not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1] or process.poll() is None, process.stderr.read()
        names = {found["name"] for found in serving.api("deployments/filter", {})}
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=PATIENT_S)
    text = "".join(said)
    assert "nightly" in names and "released" in names
    assert not (tmp_path / "root/.prefect").exists(), "no server and no secret of ours"
    assert re.search(r"0 0 1 1 \* \(UTC\) +\w{3} \d{4}-01-01 00:00 UTC", text), text
    assert "any shell, with PREFECT_API_AUTH_STRING as it is set here:" in text and serving.auth[1] not in text
    assert (process.returncode, rest) == (143, "") and "Traceback" not in errors
    assert errors.splitlines()[-1] == "stopped. What is finished is kept: run the same command again to go on."


def test_ctrl_c_ends_all_of_it(serving: Serving) -> None:
    assert serving.stop() == 130
    assert "Traceback" not in serving.log and serving.log.rstrip().splitlines()[-1].startswith("stopped.")
    with pytest.raises(httpx.ConnectError):
        serving.api("health")


@pytest.mark.parametrize(
    ("arguments", "url", "message"),
    [
        ([], "", "no Prefect server is configured. Let this command run one with --server"),
        ([], "http://127.0.0.1:1/api", "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:1/api"),
        (["--server"], "http://127.0.0.1:1/api", "--server: there is one already"),
        (["--variant", "papre"], "", "no variant is named 'papre'. Did you mean 'paper'"),
        (["--variant", "demo"], "", "two variants are named demo"),
        (["--scheduler", "treads"], "", "no scheduler is named 'treads'"),
        (["--truth", "nowhere"], "", "Path 'nowhere' does not exist"),
        (["--allow", "missing_tables"], "", "no error of a validation is of kind 'missing_tables'. Did you mean"),
        (["--server", "--cron", "0 2 * *"], "", "'0 2 * *' is not a cron expression: write minute, hour"),
        (["--server", "--cron", "* * * * * *"], "", "'* * * * * *' is not a cron expression: write minute, hour"),
        (["--server", "--cron", "@daily"], "", "'@daily' is not a cron expression: write minute, hour"),
        (["--server", "--cron", "R 2 * * *"], "", "'R 2 * * *' is not a cron expression: write minute, hour"),
        (["--server", "--cron", "0 25 * * *"], "", "'0 25 * * *' is not a cron expression: write minute, hour"),
        (["--server", "--cron", "0 0 30 2 *"], "", "'0 0 30 2 *' is a date that never comes"),
        (["--server", "--cron", "0 0 31 4,6,9,11 *"], "", "'0 0 31 4,6,9,11 *' is a date that never comes"),
        (["--server", "--cron", "0 2 * * *", "--timezone", "Mars"], "", "'Mars' is not a time zone"),
    ],
)
def test_wrong_use(
    arguments: list[str],
    url: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        monkeypatch.setenv(name, "INFO")  # it sets them itself: here, not for the tests after this one
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr("mimiidg_build.flows.server.Server.start", None)  # nothing is started
    if "--server" in arguments:
        arguments = [*arguments, "--port", str(free_port())]
    assert main(["serve", "--variant", "demo", *arguments, "--root", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert message in output.err and output.out == ""


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    from mimiidg_build.errors import UsageError
    from mimiidg_build.flows.server import Server

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of this machine is taken .*give another --port"):
            Server(tmp_path, port)


def test_a_free_port_is_taken_before_the_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another user's program could answer there, and would be sent the secret."""
    from mimiidg_build.flows.server import Server

    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")
    server = Server(tmp_path)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", urlparse(server.url).port))
    server.stop()


def test_next_run_in_its_time_zone() -> None:
    from mimiidg_build.flows.schedule import cron_schedule, next_run

    leap = next_run(cron_schedule("30 2 29 2 *", "Europe/Berlin"))
    assert (leap.month, leap.day, leap.hour, leap.minute, leap.utcoffset()) == (2, 29, 2, 30, timedelta(hours=1))
    assert leap > datetime.now(UTC)
