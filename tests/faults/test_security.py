"""Nothing that came from outside decides what is run, or where something is written; nobody outside is served."""

from __future__ import annotations

import ast
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.fetch.http import is_loopback
from mimiidg_build.fetch.retry import Retrier
from mimiidg_build.flows.server import HOST
from mimiidg_build.store.store import open_store, variant_dir
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
CALLS |= {"pd.read_pickle", "torch.jit.load", "torch.export.load", "torch.hub.load", "asyncio.create_subprocess_shell"}


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
RUNS_CODE_BY_NATURE = {
    "mimiidg_build/kernels/compilation.py": ["exec"],  # of a call that is written there
    "mimiidg_build/cli/__init__.py": ["exec"],  # of an empty text
    # a user's own encoder, which --encoder asks for by name and documents call a program (as that of torch.export is)
    "mimiidg_build/benchmark/encoders/loaded.py": ["torch.export.load", "torch.jit.load"],
}


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


# Every value of a command line that becomes a path or part of one: the command, with the value in place of {}, and the
# exit codes that a bad one may end with. A place that is there and is no store is bad data, 1; all else is wrong use.
COMMANDS = {
    "build demo --dataset synthetic-1pct --section fan/00 --name {}": {2},
    "build demo --section fan/00 --dataset {}": {2},
    "build demo --dataset synthetic-1pct --section {}": {2},
    "build {}": {1, 2},
    "build demo --dataset synthetic-1pct --section fan/00 --scheduler {}": {2},
    "build demo --dataset synthetic-1pct --section fan/00 --allow {}": {2},
    "benchmark {} --model nearest_neighbour --profile smoke": {1, 2},
    "benchmark small --profile smoke --model {}": {2},
    "benchmark small --profile smoke --model {}:Mine": {2},
    "benchmark small --profile smoke --model my_models:{}": {2},
    "benchmark small --model nearest_neighbour --profile {}": {2},
    "benchmark small --model nearest_neighbour --device {}": {2},
    "explain {} --clip fan/some": {1, 2},
    "explain small --clip fan/some --model {}": {2},
    "export {} out": {1, 2},
    "fetch {}": {2},
    "fetch synthetic-1pct --file {}": {2},
    "new-variant {}": {2},
    "new-variant mine --dataset {}": {2},
    "prune {}": {2},
    "report {}": {1, 2},
    "serve --variant {}": {2},
    "validate {}": {2},
    "validate synthetic-1pct --machine-type {}": {2},
    "validate synthetic-1pct --allow {}": {2},
    "verify {}": {1, 2},
}
HOSTILE = {
    "a way up": "../outside",
    "a long way up": "../../../outside/variants",
    "the root's own parent": "..",
    "the folder itself": ".",
    "an absolute path": "/OUTSIDE/new",
    "a blank within": "a b",
    "a control character": "a\x1b[31mb",
    "two lines": "a\nb",
    "a zero byte": "a\x00b",
    "a hidden name": ".hid",
    "nothing": "",
    "a name longer than a disk takes": "x" * 5000,
}


def make_outside(directory: Path, archives: Path) -> Path:
    """A root in which every command finds what it needs, in a folder where others lie that it must leave alone."""
    make_store(directory / "a/root")
    (directory / "a/root/archives").symlink_to(archives / "archives")
    for name in ("outside", "a/outside", "a/work"):
        (directory / name).mkdir()
    return directory


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, synthetic_archives: Path) -> Path:
    """For those that change nothing."""
    return make_outside(tmp_path_factory.mktemp("names"), synthetic_archives)


def listed(directory: Path) -> list[Path]:
    """What there is, but for locks, which readers take."""
    return sorted(path for path in directory.rglob("*") if not path.name.endswith(".lock"))


# Every command with every value; by default with three, which go round, so that every value is tried, too.
PAIRS = [
    pytest.param(command, HOSTILE[kind], id=f"{command}-{kind}", marks=[pytest.mark.slow] * ((n + k) % 4 != 0))
    for n, command in enumerate(COMMANDS)
    for k, kind in enumerate(HOSTILE)
]


@pytest.mark.parametrize(("command", "value"), PAIRS)
def test_names_on_the_command_line(
    shared: Path,
    command: str,
    value: str,
    fault: Tries,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bad name is said before any work: nothing is made, within the root or without."""
    fault("a path out of the root on the command line")
    monkeypatch.chdir(shared / "a/work")
    before = listed(shared)
    given = [word.replace("{}", value.replace("/OUTSIDE", str(shared / "outside"))) for word in command.split()]
    assert main([*given, "--root", str(shared / "a/root")]) in COMMANDS[command]
    said = capsys.readouterr().err
    assert "Traceback" not in said and "\x1b" not in said and "Missing" not in said and len(said) < 12_000
    assert listed(shared) == before


def test_the_same_commands_with_good_names_work(
    tmp_path: Path, synthetic_archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would pass with commands that never come as far as a name."""
    outside = make_outside(tmp_path, synthetic_archives)
    monkeypatch.chdir(outside / "a/work")
    root = outside / "a/root"
    command = next(iter(COMMANDS)).replace("{}", "good").split()
    assert main([*command, "--quiet", "--root", str(root)]) == 0
    benchmark = "benchmark small --model nearest_neighbour --device cpu --workers 1"
    assert main([*benchmark.split(), "--root", str(root)]) == 0
    for command in ("export good out", "verify good", "prune good", "new-variant mine"):
        assert main([*command.split(), "--root", str(root)]) == 0, command
    made = {path.relative_to(outside).parts[:3] for path in listed(outside)}
    assert ("a", "root", "variants") in made and ("a", "root", "runs") in made
    assert {path.name for path in (root / "variants").iterdir()} == {"small", "good"}
    assert not list((outside / "outside").iterdir()) + list((outside / "a/outside").iterdir())


@pytest.mark.parametrize("value", ["../outside", "/tmp/outside", "a b", "a\nb", "..", "", "x" * 5000])
def test_names_in_python(shared: Path, value: str, fault: Tries) -> None:
    """``derive_variant`` refuses the name; what was made in another way is refused by the build."""
    fault("a path out of the root in Python")
    root, variant, before = shared / "a/root", load_variant("demo"), listed(shared)
    with pytest.raises(UsageError, match="command line: 1 mistake\n  name: "):
        derive_variant(variant, name=value)
    small = derive_variant(variant, dataset="synthetic-1pct", sections=["fan/00"])
    with pytest.raises(UsageError, match="1 mistake\n  name: "):
        build_variant(small.model_copy(update={"name": value}), root)
    with pytest.raises(UsageError, match="is not a variant's name"):
        variant_dir(root, value)
    assert listed(shared) == before


# Wherever an address may stand that holds a password.
ADDRESSES = {
    "a root": (["list", "--root", "s3://me:hunter2@bucket/data"], {}),
    "the variable": (["list"], {"MIMIIDG_ROOT": "s3://me:hunter2@bucket/data"}),
    "another scheme": (["list", "--root", "gs://me:hunter2@bucket"], {}),
    "a store": (["verify", "s3://me:hunter2@bucket/variants/demo"], {}),
    "noise": (["build", "demo", "--noise", "A=s3://me:hunter2@bucket/hall"], {}),
    "a dataset": (["build", "demo", "--dataset", "s3://me:hunter2@bucket/mine.toml"], {}),
    "the storage": (["list", "--root", "s3://b/d"], {"AWS_ENDPOINT_URL": "http://me:hunter2@127.0.0.1:1"}),
    "the record API": (["fetch", "mimii_dg"], {"MIMIIDG_ZENODO_URL": "http://me:hunter2@127.0.0.1:1"}),
    "the Prefect server": (["build", "demo", "--prefect"], {"PREFECT_API_URL": "http://me:hunter2@127.0.0.1:1/api"}),
    "the cluster": (["build", "demo", "--scheduler", "tcp://me:hunter2@127.0.0.1:1"], {}),
}


@pytest.mark.parametrize("where", ADDRESSES)
def test_a_password_is_never_printed(
    tmp_path: Path,
    where: str,
    fault: Tries,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither in messages nor in logs, nor in any file."""
    fault("a password in an address")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mimiidg_build.storage.object_client.RETRIES", 0)
    monkeypatch.setattr("mimiidg_build.parallel.cluster.CONNECT_WITHIN_S", 0.5)
    as_it_is = Retrier.__init__
    monkeypatch.setattr(
        Retrier, "__init__", lambda self, policy, sleep=None: as_it_is(self, policy, lambda wait_s: None)
    )
    arguments, variables = ADDRESSES[where]
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **variables}.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) in (1, 2)
    printed = capfd.readouterr()
    assert "error: " in printed.err and "hunter2" not in printed.out + printed.err + caplog.text, printed.err
    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("member", "../../evil.wav"),
        ("member", "/tmp/evil.wav"),
        ("machine_type", "../evil"),
        ("machine_type", ".partial"),
        ("machine_type", "README.md"),
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
    with pytest.raises(DataError, match=r"has (a '\.\.' in its path|an absolute path)|as files of the export itself"):
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
