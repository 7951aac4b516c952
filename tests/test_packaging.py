"""What is installed: all of it by default; the group ``build`` is enough for stores, without torch and Prefect."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DATASET

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WITHOUT = ("torch", "prefect", "fastapi", "sqlalchemy", "uvicorn", "matplotlib", "PIL", "jinja2", "markupsafe")

# Nothing that a process has loaded already may hide an import, and nothing that is installed may help.
BLOCKED = f"""
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from mimiidg_build.cli import main
for words in json.loads(sys.argv[1]):
    print(f"{{words[0]}}: {{main(words)}}", file=sys.stderr)
"""


def pinned() -> dict[str, str]:
    """The version of every package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = dict(line.split("==") for line in lines if not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in found.items()}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in requirements}


def test_the_group_is_a_part_of_the_dependencies() -> None:
    group, whole = PROJECT["dependency-groups"]["build"], PROJECT["project"]["dependencies"]
    assert set(group) <= set(whole), "with the same bounds"
    assert {"torch", "prefect", "matplotlib", "jinja2"} <= names(whole) - names(group)


def test_every_dependency_has_a_lower_bound_and_a_pin() -> None:
    """A bound that nothing resolves to is found by .ci/run, which installs the lowest versions."""
    for requirement in PROJECT["project"]["dependencies"]:
        assert ">=" in requirement, requirement
    extras: dict[str, Any] = PROJECT["project"]["optional-dependencies"]
    wanted = names([*PROJECT["project"]["dependencies"], *extras["test"], *extras["dev"]]) - {"mimiidg_build"}
    assert {name.lower() for name in wanted} <= pinned().keys()


def run(*commands: list[object]) -> str:
    """What commands say without those packages, each with its exit code: an interpreter takes a second to import."""
    words = json.dumps([[*map(str, command)] for command in commands])
    done = subprocess.run([sys.executable, "-c", BLOCKED, words], capture_output=True, text=True)
    return done.stderr


def test_stores_are_built_without_torch_and_prefect(root: Path, tmp_path: Path) -> None:
    commands = (
        ["build", "demo", "--dataset", DATASET, "--section", "fan/00", "--name", "built"],
        ["verify", "built", "--deep"],
        ["export", "built", tmp_path / "exported"],
    )
    said = run(*([*command, "--root", root, "--quiet"] for command in commands))
    assert said == "build: 0\nverify: 0\nexport: 0\n"
    assert len(list((tmp_path / "exported").rglob("*.wav"))) == 12


def test_a_command_that_needs_more_says_what(tmp_path: Path) -> None:
    said = run(["demo", "--root", tmp_path])
    assert said.startswith("error: this command needs the package prefect, which is not installed.")
    assert said.endswith("\ndemo: 1\n") and "Traceback" not in said
    assert not list(tmp_path.iterdir()), "no server was started"


def test_a_folder_with_modules_of_our_names(tmp_path: Path) -> None:
    """With ``-m`` the working directory comes first on the path; what is found there must not be taken for ours."""
    for name in ("schemas", "flows", "data_manifests", "tests"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError(__file__)")
    code = "import mimiidg_build.schemas.tables, mimiidg_build.datasets.manifest as m; m.load_dataset('mimii_dg')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_installed_is_one_package() -> None:
    """What pyproject.toml has hatchling put into the wheel; .ci/run runs the demo from it beside such modules."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["mimiidg_build"]
    for source, target in wheel["force-include"].items():
        assert target == f"mimiidg_build/{source}" and (ROOT / target).resolve() == ROOT / source


def test_every_test_is_collected(pytestconfig: pytest.Config) -> None:
    """pytest leaves out folders by their names; its own list has ``build`` in it, which is a room of ours."""
    folders = {path.parent for room in ("tests", "mimiidg_build") for path in (ROOT / room).rglob("*.py")}
    skipped = pytestconfig.getini("norecursedirs")
    assert [folder for folder in folders if any(fnmatch(folder.name, pattern) for pattern in skipped)] == []
