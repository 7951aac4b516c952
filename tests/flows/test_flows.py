"""The flows, on Prefect's own test harness: the same bytes as the library, artifacts in the API, quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimiidg_build.benchmark.runs import Network, Run
from mimiidg_build.benchmark.stages import benchmark_models
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.progress import Reporter
from mimiidg_build.store.store import open_store
from tests.build.test_layouts_and_truth import CASES, Place
from tests.conftest import DATASET
from tests.small_store import make_store

RUN = """
import json, os, signal, sys, warnings
import httpx
warnings.simplefilter("error", UserWarning)
from pathlib import Path
from mimiidg_build.flows.benchmark import benchmark
from mimiidg_build.flows.hermetic import flow
from mimiidg_build.flows.refresh import refresh
from mimiidg_build.datasets.variant import derive_variant, load_variant
from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
root, before = Path(sys.argv[1]), dict(os.environ)
variant = derive_variant(load_variant("demo"), dataset=sys.argv[2], sections=["fan"]).model_dump(mode="json")
paths = [str(refresh([variant], root)[0]) for _ in range(2)]
hidden = {"truth": [Path(sys.argv[5])], "allow": ["missing_table"]}
told = refresh([sys.argv[3]], sys.argv[4], offline=True, with_report=False, **hidden)
paths += map(str, benchmark([variant], root, ["nearest_neighbour"], "smoke", device="cpu", workers=1))
stopped = flow("stopped", on_completion=[lambda *_: os.kill(os.getpid(), signal.SIGINT)])(lambda: None)
try:
    stopped()
except KeyboardInterrupt:
    paths.append("stopped")
with get_client(sync_client=True) as client:
    artifacts = [(a.key, str(a.data)) for a in client.read_artifacts()]
    runs = [(run.name, run.state.name) for run in client.read_task_runs()]
server = Path(f"/proc/{SubprocessASGIServer().server_process.pid}/environ").read_text().split("\\0")
assert os.environ == before, "calling a flow leaves the environment as it is"
url = SubprocessASGIServer().api_url + "/deployments/filter"
origin = {"Origin": "http://127.0.0.1"}
refused = [httpx.post(url, json={}, headers=origin, auth=auth) for auth in (None, ("mimiidg", "guessed"))]
refused = [[answer.status_code, "access-control-allow-origin" in answer.headers] for answer in refused]
content = {"paths": paths, "told": str(told[0]), "artifacts": artifacts, "runs": runs, "server": server}
print(json.dumps(content | {"refused": refused}))
"""

# Prefect's embedded server may be stopped amid a transaction, of which its database library complains
# (PrefectHQ/prefect#16504). Commands show nothing of it; flows that are called from Python keep Prefect's console.
EMBEDDED_SERVER_STOPPED = re.compile(r"[\d:.]+ \| ERROR +\| sqlalchemy\.pool.*?CancelledError\n", re.DOTALL)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a b", "", "x" * 5000])
def test_names_in_a_flows_parameters(tmp_path: Path, name: str) -> None:
    """A server's form or a schedule is no more trusted than a file."""
    from mimiidg_build.flows import benchmark, build_variant, refresh

    content = {"name": name, "dataset": DATASET}
    for call in (
        lambda: build_variant.build_variant.fn(content, tmp_path / "root"),
        lambda: benchmark.benchmark.fn([content], tmp_path / "root", ["nearest_neighbour"]),
        lambda: refresh._needed([content]),
    ):
        with pytest.raises(UsageError, match="variant: 1 mistake\n  name: "):
            call()
    assert not list(tmp_path.iterdir())


def test_changed_settings_and_back_ends_reach_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimiidg_build.flows import benchmark

    seen: list[dict[str, object]] = []
    monkeypatch.setattr(benchmark, "benchmark_variants", lambda *_, **options: seen.append(options) or [])
    for changes in ({"batch_size": 64, "precision": "bf16"}, None):
        benchmark.benchmark.fn(
            [], tmp_path, ["autoencoder"], changes=changes, backends=["kmeans"] if changes else (), encoders=["a.toml"]
        )
    assert [options["changes"] for options in seen] == [{"batch_size": 64, "precision": "bf16"}, {}]
    assert [options["backends"] for options in seen] == [["kmeans"], ()]
    assert [options["encoders"] for options in seen] == [["a.toml"]] * 2


def test_a_system_that_fails_fails_the_flow_after_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each training is a task; one that fails stops none of the others where that is asked for."""
    from mimiidg_build.benchmark.failures import FailedSystem
    from mimiidg_build.benchmark.planning import plan_runs, trainings_of
    from mimiidg_build.benchmark.results import Benchmark
    from mimiidg_build.benchmark.trainers import Trainers
    from mimiidg_build.flows import benchmark

    store = make_store(tmp_path, sections=("fan/00", "valve/00"))
    trainings = trainings_of(plan_runs(store, tmp_path, ["nearest_neighbour", "nearest_neighbour_max"], "smoke", 1))
    done: list[str] = []

    def train(run: Run, network: Network) -> None:
        if run.model == "nearest_neighbour":
            raise DataError("no neighbour")
        done.append(network.name)

    monkeypatch.setattr(benchmark, "stage_task", lambda stage, call, *_: call)
    for keep_going in (True, False):
        trainers = Trainers("cpu", 1, 4, Reporter(), keep_going=keep_going)
        monkeypatch.setattr(trainers, "run", train)
        with contextlib.nullcontext() if keep_going else pytest.raises(DataError, match="no neighbour"):
            benchmark.Tasks().train(trainers, trainings)
    assert done == ["fan", "valve"]
    found = Benchmark(store, (), (), (FailedSystem("nearest_neighbour", "smoke", "fan: no neighbour"),))
    monkeypatch.setattr(benchmark, "benchmark_variants", lambda *_, **options: [found])
    with pytest.raises(DataError, match="1 of 1 systems failed. nearest_neighbour .smoke profile. failed: fan: no nei"):
        benchmark.benchmark.fn([], tmp_path, ["nearest_neighbour"], keep_going=True)


@pytest.mark.slow
def test_refresh_builds_what_the_library_builds(root: Path, prefect_home: Path, tmp_path: Path) -> None:
    import json

    from mimiidg_build.flows.artifacts import key

    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment["PREFECT_HOME"] = str(shutil.copytree(prefect_home, tmp_path / "prefect"))
    hidden = Place(tmp_path / "hidden", CASES["dcase2022"])  # clips whose names hide what they are
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, [root, DATASET, hidden.variant, hidden.root, hidden.lists])],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert EMBEDDED_SERVER_STOPPED.sub("", done.stderr) == "", "a run in a terminal is quiet"
    result = json.loads(done.stdout)
    library = build_variant(derive_variant(load_variant("demo"), dataset=DATASET, sections=["fan"]), root)
    assert library.was_finished and result["paths"] == [*[str(library.store.path)] * 3, "stopped"]
    test = open_store(result["told"]).clips.query("split == 'test'")
    assert sorted(test["condition"]) == ["anomaly", "normal"], "a schedule has the truth, too"
    keys = [key for key, _ in result["artifacts"] if not key.endswith(("-v", "-d"))]
    name = library.store.attributes.variant.name
    kinds = ("sections", "noise", "findings", "store", "refresh", "report", "benchmark", "benchmark-means")
    assert {f"archives-{DATASET}", *(key(kind, name) for kind in kinds)} == set(keys)
    refreshes = [data for key_, data in result["artifacts"] if key_ == key("refresh", name)]
    assert sum("nothing new" in data for data in refreshes) == 1 and sum("built" in data for data in refreshes) == 1
    names = [name for name, _ in result["runs"]]
    assert {"render fan/00", "render fan/01", "render fan/02"} <= set(names), "a task a section"
    assert {state for _, state in result["runs"]} == {"Completed"}
    hermetic = {"PREFECT_SERVER_ANALYTICS_ENABLED=False", "PREFECT_SERVER_LOGGING_LEVEL=ERROR", "DO_NOT_TRACK=1"}
    assert hermetic <= set(result["server"]), "the embedded server sends nothing"
    assert result["refused"] == [[401, False], [401, False]], "and answers nobody else"
    made = benchmark_models(library.store, root, ["nearest_neighbour"], profile="smoke", device="cpu")
    training = "train-and-score nearest_neighbour smoke seed 0: fan"
    assert {f"plan {made.variant}", training, f"evaluate {made.variant}"} <= set(names), "a task a stage and network"
    (table,) = [data for key_, data in result["artifacts"] if key_ == key("benchmark-means", name)]
    assert made.models[0].official_score and str(made.models[0].official_score) in table


def test_mistakes_are_not_retried(root: Path) -> None:
    from mimiidg_build.errors import DataError
    from mimiidg_build.flows.tasks import is_worth_a_retry

    class State:
        def __init__(self, error: Exception) -> None:
            self.data = error

    assert not is_worth_a_retry(None, None, State(DataError("bad data")))
    assert is_worth_a_retry(None, None, State(ConnectionError("passing")))


def test_a_configured_server_keeps_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.context import SettingsContext, get_settings_context
    from prefect.logging.configuration import setup_logging
    from prefect.settings import PREFECT_API_URL, Settings, get_current_settings, temporary_settings

    from mimiidg_build.flows.hermetic import hermetic

    def sends() -> bool:
        return bool(get_current_settings().server.analytics_enabled)

    for name in ("PREFECT_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED"):  # set by a command that an earlier test called
        monkeypatch.delenv(name, raising=False)
    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        assert sends(), "Prefect's default"
        with hermetic():
            assert not sends()
        assert sends(), "only in the block"
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), hermetic():
            assert sends()
    setup_logging()


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1/api"])
def test_no_call_waits_for_heartbeats(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect waits for the thread that sends them at the end of each flow; who asks for them has them."""
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    from mimiidg_build.flows.hermetic import hermetic

    monkeypatch.delenv("PREFECT_API_URL", raising=False)  # set by a command that an earlier test called
    with temporary_settings({PREFECT_API_URL: url}):
        with hermetic():
            assert get_current_settings().flows.heartbeat_frequency is None
        with temporary_settings({"flows.heartbeat_frequency": 60}), hermetic():
            assert get_current_settings().flows.heartbeat_frequency == 60


def test_a_mistake_is_logged_as_its_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from mimiidg_build.errors import DataError
    from mimiidg_build.flows.hermetic import hide_tracebacks

    logged: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(self.format(record))

    log = logging.getLogger("prefect.task_runs")
    monkeypatch.setattr(log, "handlers", [Kept()])  # not Prefect's, which wants a run to log for
    hide_tracebacks()
    for error in (DataError("clip 3 is damaged"), ZeroDivisionError("a mistake of ours")):
        log.error("failed: %s", error, exc_info=error)
    assert logged[0] == "failed: clip 3 is damaged"
    assert "ZeroDivisionError: a mistake of ours" in logged[1]


FLOWS = ("benchmark", "fetch_archives", "build_variant", "refresh")
IMPORT_ALONE = """
import importlib, os, sys, traceback
import httpx, prefect, prefect.main, prefect.artifacts, prefect.tasks  # three processor seconds that they share
import pandas, pandera.pandas, pandera.typing.pandas, scipy.signal, scipy.stats, zarr
assert not [name for name in sys.modules if name.startswith("mimiidg_build")]
for name in sys.argv[1:]:
    sys.stdout.flush()
    if not (child := os.fork()):
        try:
            importlib.import_module(f"mimiidg_build.flows.{name}")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def imported_alone() -> subprocess.CompletedProcess[str]:
    """Each module of flows imported in a process that has no other of ours; warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALONE, *FLOWS]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("module", FLOWS)
def test_flows_import_alone(module: str, imported_alone: subprocess.CompletedProcess[str]) -> None:
    assert f"{module} 0" in imported_alone.stdout.splitlines(), imported_alone.stderr
