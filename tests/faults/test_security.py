"""Nothing that came from outside decides what is run, or where something is written; nobody outside is served."""

from __future__ import annotations

import ast
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.http import is_loopback
from mimiidg_build.flows.server import HOST
from mimiidg_build.store.store import open_store
from mimiidg_build.synthesis.local_zenodo import LocalZenodo
from mimiidg_build.upkeep.export import export_store
from tests.faults.summary import Tries
from tests.small_store import make_store, record_files

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for package in ("schemas", "mimiidg_build", "flows") for path in (ROOT / package).rglob("*.py"))
RUNS_CODE = {
    "pickle",
    "cPickle",
    "shelve",
    "marshal",
    "dill",
    "cloudpickle",
    "joblib",
    "yaml",
    "code",
    "pty",
    "telnetlib",
}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "pandas.read_pickle"}
CALLS |= {"pd.read_pickle", "torch.jit.load", "torch.hub.load", "asyncio.create_subprocess_shell"}


def dotted(node: ast.expr) -> str:
    """``torch.load`` of a call's function; empty for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def dangers(source: str) -> Iterator[str]:
    """What in a module could run code that came as data, or hand a string to a shell."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (f"import {name}" for name in names if name.split(".")[0] in RUNS_CODE)
        if not isinstance(node, ast.Call):
            continue
        name, keywords = dotted(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        values = {key: value.value for key, value in keywords.items() if isinstance(value, ast.Constant)}
        if name in CALLS:
            yield name
        if name == "torch.load" and values.get("weights_only") is not True:
            yield "torch.load without weights_only=True"
        if "allow_pickle" in keywords and values.get("allow_pickle") is not False:
            yield "allow_pickle"
        if "shell" in keywords and values.get("shell") is not False:
            yield "shell"


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from yaml import load", "eval(x)", "import os\nos.system(x)", "torch.load(p)"),
        *("torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "run(x, shell=True)"),
        *("np.load(p, allow_pickle=yes)", "tempfile.mktemp()", "import dill as d"),
    ],
)
def test_dangers_are_seen(source: str) -> None:
    assert list(dangers(source))


def test_harmless_calls_are_no_dangers() -> None:
    assert not list(dangers("model.eval(); torch.load(p, weights_only=True); np.load(p); run([x]); re.compile(y)"))


# The cache of compiled code holds machine code, whatever it is wrapped in; it lies where the program's own code does.
RUNS_CODE_BY_NATURE = {"mimiidg_build/kernels/cache.py": ["import pickle"]}


def test_no_data_is_run(fault: Tries) -> None:
    """No pickle, no shell, no eval; weights are tensors only."""
    fault("code in data: modules without pickle, shell, eval", cases=len(MODULES))
    found = {str(path.relative_to(ROOT)): list(dangers(path.read_text())) for path in MODULES}
    assert {name: dangerous for name, dangerous in found.items() if dangerous} == RUNS_CODE_BY_NATURE


DATASET = """name = "mine"
title = "t"
recording = "clean"
layout = "mimii_dg"
citation = "c"
[[records]]
id = "mine"
title = "t"
license = "l"
[[records.files]]
name = "fan.zip"
"""
OUTSIDE = [
    "../evil",
    "/tmp/evil",
    "a/../../evil",
    "..",
    ".",
    "",
    "a/b",
    "a\\\\b",
    "C:evil",
    "~",
    "a\\u0000b",
    "a\\nb",
    ".hid",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("key", ["dataset", "record", "archive", "variant", "noise file"])
def test_names_that_leave_the_root(tmp_path: Path, key: str, name: str, fault: Tries) -> None:
    fault("a path out of the root in a manifest or variant")
    changes = {
        "dataset": DATASET.replace('name = "mine"', f'name = "{name}"'),
        "record": DATASET.replace('id = "mine"', f'id = "{name}"'),
        "archive": DATASET.replace('name = "fan.zip"', f'name = "{name}"'),
        "variant": f'name = "{name}"',
        "noise file": f'name = "v"\n[noise]\nA = [{{ dataset = "mimii_due", file = "{name}" }}]',
    }
    path = tmp_path / "file.toml"
    path.write_text(changes[key])
    load: Callable[[str], object] = load_dataset if key in ("dataset", "record", "archive") else load_variant
    with pytest.raises(UsageError, match=r"file\.toml: 1 mistake"):
        load(str(path))


def test_long_names(tmp_path: Path, fault: Tries, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no file system takes is a mistake in the manifest, not a failure of the disk."""
    fault("a path out of the root in a manifest or variant", cases=2)
    for old in ('id = "mine"', 'name = "fan.zip"'):
        (tmp_path / "m.toml").write_text(DATASET.replace(old, f'{old.split()[0]} = "{"x" * 250}"'))
        assert main(["fetch", str(tmp_path / "m.toml"), "--root", str(tmp_path / "root")]) == 2
        assert "at most 200 characters" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["verify", "../.."], ["verify", "../../outside"], ["report", "../../outside"], ["prune", "../outside"]),
        *(["export", "../../outside", "out"], ["build", "../../outside"], ["fetch", "../../outside"]),
        *(["benchmark", "../../outside"], ["validate", "../outside"], ["prune", ".."], ["prune", "/"]),
    ],
    ids=" ".join,
)
def test_names_on_the_command_line(
    tmp_path: Path,
    arguments: list[str],
    fault: Tries,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault("a path out of the root on the command line")
    root = tmp_path / "a" / "root"
    make_store(root)
    (tmp_path / "outside").mkdir()
    (tmp_path / "a" / "outside").mkdir()
    monkeypatch.chdir(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*") if not path.name.endswith(".lock"))
    assert main([*arguments, "--root", str(root)]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(path for path in tmp_path.rglob("*") if not path.name.endswith(".lock")) == before


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("member", "../../evil.wav"),
        ("member", "/tmp/evil.wav"),
        ("machine_type", "../evil"),
        ("section", "/../../evil"),
    ],
)
def test_a_store_that_would_be_exported_elsewhere(
    tmp_path: Path, column: str, name: str, as_zip: bool, fault: Tries
) -> None:
    fault("a path out of the root in a store's table")
    store = make_store(tmp_path / "root", sections=["fan/00"])
    clips = store.clips
    clips.loc[3, column] = name
    clips.to_parquet(store.path / "clips.parquet")
    record_files(store.path)  # what a digest cannot tell: it is as recorded
    with pytest.raises(DataError, match=r"has (a '\.\.' in its path|an absolute path); nothing is written outside"):
        export_store(open_store(store.path), tmp_path / "out", as_zip=as_zip)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "latest", ["../../../outside/small", "/tmp/small", "..", "small.zarr/../../../outside", "small\x00"]
)
def test_latest_that_names_another_place(tmp_path: Path, latest: str, fault: Tries) -> None:
    fault("a path out of the root in `latest`")
    store = make_store(tmp_path / "root")
    make_store(tmp_path / "elsewhere").path.parent.rename(tmp_path / "outside")
    (store.path.parent / "latest").write_text(latest)
    with pytest.raises(DataError, match="latest is damaged: it names no store"):
        open_store(store.path.parent)


@pytest.mark.parametrize(
    ("key", "name"),
    [("variant", "../../evil"), ("variant", "/tmp/evil"), ("fingerprint", "../evil"), ("fingerprint", "/tmp/evil")],
)
def test_a_store_whose_runs_and_reports_would_lie_elsewhere(tmp_path: Path, key: str, name: str, fault: Tries) -> None:
    fault("a path out of the root in a store's attributes")
    store = make_store(tmp_path / "root")
    metadata = json.loads((store.path / "zarr.json").read_text())
    metadata["attributes"][key] = {"name": name} if key == "variant" else name
    (store.path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(DataError, match=rf"small\.zarr: .*{key}"):
        open_store(store.path)


def test_servers_are_for_this_machine_only(tmp_path: Path, fault: Tries) -> None:
    fault("a server that others can reach", cases=2)
    assert is_loopback(f"http://{HOST}")
    with LocalZenodo({"1": tmp_path}) as server:
        assert server._server.socket.getsockname()[0] == "127.0.0.1"
        port = server._server.server_address[1]
        for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
            if not address.startswith("127."):
                with pytest.raises(OSError, match="refused|unreachable|timed out"):
                    socket.create_connection((address, port), timeout=2)
    for path in MODULES:
        assert '"0.0.0.0"' not in path.read_text() and '"::"' not in path.read_text(), path
