"""The documents, taken at their word: every block of sh and Python runs, every link resolves, every file named exists.

The blocks of a document run in their order, from outside, in one folder that all documents share: empty at first, but
for two folders of noise recordings, one of a press and the archives of a small synthetic release. Each document makes
what it needs; what another one has made already takes no time, and ``-k flows/README.md`` runs one alone.

What a block needs is said in a comment right before it, which the page does not show:

<!-- not run: REASON -->    the reason why a block is left out, and the test that covers it instead
<!-- file: NAME -->         the block is the content of a file
<!-- until: TEXT -->        the block runs until it says TEXT, then Ctrl-C ends it
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile as sf
from pydantic import BaseModel

from mimiidg_build.cli import cli
from mimiidg_build.schemas.encoders import EncoderFile
from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.variants import Variant
from tests.command_server import Command, folder_of_mimiidg
from tests.ground_plan import DOCUMENT, with_drawings
from tests.object_storage import make_bucket
from tests.own_recordings import write_folder
from tests.test_architecture import ROOMS

ROOT = Path(__file__).resolve().parents[1]
LONG = ("flows/README.md",)  # a Prefect server and several flows
RUN = (
    "README.md",
    "data_manifests/README.md",
    "mimiidg_build/README.md",
    "mimiidg_build/models/README.md",
    "flows/README.md",
    "tests/README.md",
    ".github/CONTRIBUTING.md",
)
DOCUMENTS = (*RUN, "CHANGELOG.md")
BLOCK = re.compile(r"(?:<!-- (not run|file|until): ([^\n]*?) -->\n)?```(sh|python|toml)\n(.*?)```", re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
TOP = ("data_manifests", "flows", "mimiidg_build", "schemas", "tests", ".github", ".ci")
OURS = re.compile(rf"(?:{'|'.join(map(re.escape, TOP))})(?:/[\w.-]+)*/?|[\w./-]+\.(?:py|md)")
NO_FILES = {"utils.py"}  # named because there is none


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, language and text, and what its comment says of it."""

    document: str
    language: str
    text: str
    how: str
    value: str
    line: int

    def __str__(self) -> str:
        return f"{self.document} line {self.line}"


def read_blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    found = [
        Block(document, match[3], match[4], match[1] or "", match[2] or "", text[: match.start(4)].count("\n"))
        for match in BLOCK.finditer(text)
    ]
    assert len(found) == len(re.findall(r"^```(?:sh|python|toml)$", text, re.MULTILINE)), document
    return found


def prose(document: str) -> str:
    """A document without its fenced blocks."""
    return FENCED.sub("", (ROOT / document).read_text())


BLOCKS = [block for document in RUN for block in read_blocks(document)]


def test_no_document_is_forgotten() -> None:
    found = [*ROOT.glob("*.md"), *(path for name in TOP for path in (ROOT / name).rglob("*.md"))]
    assert {path.relative_to(ROOT).as_posix() for path in found} == set(DOCUMENTS)


# -------------------- what is said


@pytest.mark.parametrize("document", RUN)
def test_what_is_left_out_has_a_reason(document: str) -> None:
    """A reason that names a test names one that is there."""
    for block in read_blocks(document):
        if block.how == "not run":
            assert len(block.value) > 10, str(block)
            named = re.findall(r"(?:tests|\.ci)/[\w./]*\w", block.value)
            assert all((ROOT / name).exists() for name in named), str(block)


def test_the_rest_shows_every_command() -> None:
    run = [block for block in BLOCKS if block.how != "not run" and block.language != "toml"]
    assert commands_in(run) >= {
        "fetch",
        "validate",
        "build",
        "list",
        "verify",
        "export",
        "benchmark",
        "evaluate",
        "report",
        "serve",
    }
    assert commands_in(BLOCKS) >= cli.commands.keys() - {"completion"}, "which README.md shows in a sentence"
    assert sum(block.language == "python" for block in run) >= 6


def commands_in(blocks: Iterable[Block]) -> set[str]:
    return {word for block in blocks for word in re.findall(r"(?:^|&& )mimiidg ([\w-]+)", block.text, re.MULTILINE)}


@pytest.fixture
def my_bucket(document: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's bucket, and the environment that leads to it, where a document names it."""
    if "s3://my-bucket" in (ROOT / document).read_text():
        request.getfixturevalue("bucket")
        make_bucket(request.getfixturevalue("storage"), "my-bucket")
        monkeypatch.delenv("MIMIIDG_WORK")


@pytest.mark.usefixtures("my_bucket")
@pytest.mark.parametrize("document", RUN)
def test_every_command_shown_exists(document: str) -> None:
    """Of the blocks that are not run, too: commands, options, modules, tests are called that."""
    for block in read_blocks(document):
        if block.language != "sh":
            continue
        for line in block.text.splitlines():
            for part in re.split(r"&&|\|", line):
                match shlex.split(part.strip(" &"), comments=True):
                    case ["mimiidg", command, *arguments]:
                        check_command(command, arguments, str(block))
                    case ["python", "-m", module, *_]:
                        assert find_spec(module) is not None, f"{block}: {module}"
                    case ["pytest", *arguments]:
                        paths = [word for word in arguments if "/" in word]
                        assert all((ROOT / path).exists() for path in paths), f"{block}: {paths}"


def check_command(name: str, arguments: list[str], where: str) -> None:
    command = cli.commands[name]
    try:
        command.make_context(name, arguments, resilient_parsing=False)
    except click.BadParameter as error:
        assert "does not exist" in str(error), f"{where}: {error}"  # a file of the reader's own


@pytest.mark.parametrize("document", RUN)
def test_toml_shown_is_valid(document: str) -> None:
    for block in read_blocks(document):
        if block.language == "toml":
            content = tomllib.loads(block.text)
            kinds = {"records": DatasetManifest, "recordings": DatasetManifest, "pooling": EncoderFile}
            kind: type[BaseModel] = next((kinds[key] for key in kinds if key in content), Variant)
            kind.model_validate(content)


@pytest.mark.parametrize("document", RUN)
def test_python_shown_is_the_public_face(document: str) -> None:
    """What stands in `mimiidg_build` itself; a model of one's own derives from ``models.base``."""
    for block in read_blocks(document):
        if block.language == "python":
            modules = {node.module for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.ImportFrom)}
            ours = {module for module in modules if module and module.startswith("mimiidg_build")}
            assert ours <= {"mimiidg_build", "mimiidg_build.models.base"}, str(block)


# -------------------- what is named


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: str) -> Iterator[tuple[Path, str]]:
    """(file, anchor) of every link within the repository."""
    for target in LINK.findall(prose(document)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (ROOT / document).parent / path if path else ROOT / document, anchor


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_resolves(document: str) -> None:
    found = list(links(document))
    assert [str(path) for path, _ in found if not path.exists()] == []
    assert [(str(path), anchor) for path, anchor in found if anchor and anchor not in anchors(path)] == []


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_every_file_named_exists(document: str) -> None:
    """From the root, from the document's folder, or in the package; a changelog also names what was."""
    bases = (ROOT, (ROOT / document).parent, ROOT / "mimiidg_build")
    named = {text for text in CODE.findall(prose(document)) if OURS.fullmatch(text)} - NO_FILES
    assert [name for name in sorted(named) if not any((base / name).exists() for base in bases)] == []


def test_the_front_door_leads_to_every_document() -> None:
    assert {path.resolve() for path, _ in links("README.md")} >= {ROOT / name for name in DOCUMENTS[1:]}


def test_the_pipeline_shown_is_made_of_rooms_and_commands() -> None:
    (drawn,) = re.findall(r"```\n(package .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    steps = re.findall(r"^([a-z]+) ", drawn, re.MULTILINE)[1:]
    assert len(steps) >= 8 and set(steps) <= set(ROOMS)
    assert set(re.findall(r"mimiidg (\w+)", drawn)) <= cli.commands.keys()


def test_the_ground_plan_is_what_the_imports_are_held_to() -> None:
    text = DOCUMENT.read_text()
    assert text == with_drawings(text, ROOMS), "run `python -m tests.ground_plan`"
    rooms = re.findall(
        r"^\| `(\w+)` \|", text[text.index("| room |") : text.index("## Adding a dataset")], re.MULTILINE
    )
    assert rooms == list(ROOMS)


def test_the_front_door_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


# -------------------- what is shown runs


@pytest.fixture(scope="module")
def place(synthetic_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, but for what the reader has: recordings of noise and of a press, and archives fetched once for
    all tests."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "mimiidg-data/archives").mkdir(parents=True)
    for record in (synthetic_archives / "archives").iterdir():
        (folder / "mimiidg-data/archives" / record.name).symlink_to(record)
    write_folder(folder / "press_hall", n=8)
    for name, seed in (("hall_a", 1), ("hall_b", 2)):
        (folder / name).mkdir()
        noise = np.random.default_rng(seed).normal(0, 0.1, 1_000_000)
        sf.write(folder / name / "recording.wav", noise, 44_100)
    return folder


@pytest.mark.usefixtures("my_bucket")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in RUN
        if any(block.how != "not run" for block in read_blocks(name))
    ],
)
def test_what_is_shown_works_as_written(document: str, place: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MIMIIDG", "PYTHON"))}
    environment |= {
        "PATH": f"{folder_of_mimiidg()}:{Path(sys.executable).parent}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    for block in read_blocks(document):
        if block.how == "file":
            (place / block.value).write_text(block.text)
        elif block.how != "not run" and block.language != "toml":
            run_block(block, place, environment)


def run_block(block: Block, place: Path, environment: dict[str, str]) -> None:
    if block.language == "sh":
        command = ["bash", "-e", "-c", block.text]
    else:
        (place / "script.py").write_text(block.text)
        command = [sys.executable, "script.py"]
    with tempfile.TemporaryFile("w+") as output:
        process = Command(command, cwd=place, env=environment, stdout=output, stderr=output, start_new_session=True)
        end, goes_on = time.monotonic() + 600, block.how == "until"
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
            if goes_on and block.value in read(output.fileno()):
                os.killpg(process.pid, signal.SIGINT)
                goes_on, end = False, time.monotonic() + 300
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = read(output.fileno())
    expected = (130, -signal.SIGINT) if block.how == "until" else (0,)
    assert process.returncode in expected, f"{block}:\n{block.text}\n{text}"
    assert "Warning" not in text and "Traceback" not in text, f"{block}:\n{block.text}\n{text}"


def read(descriptor: int) -> str:
    """What a process has written so far, without moving where it goes on writing."""
    return os.pread(descriptor, 1_000_000, 0).decode(errors="replace")
