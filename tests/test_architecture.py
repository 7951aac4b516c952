"""Who may import whom: the arrows of the design, enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"schemas", "mimiidg_build", "flows", "tests"}
TORCH = {"dataset", "models", "train", "scoring"}
MODULES = sorted(path for package in ("schemas", "mimiidg_build", "flows") for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it; ours with their first submodule."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        found |= {".".join(name.split(".")[:2]) if name.split(".")[0] in OURS else name.split(".")[0] for name in names}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    package, module = path.relative_to(ROOT).parts[0], path.relative_to(ROOT / path.relative_to(ROOT).parts[0])
    name, used = module.parts[0].removesuffix(".py"), imports(path)
    assert "tests" not in top(used), "nothing points back to the tests"
    if package == "schemas":
        outside = top(used) - set(sys.stdlib_module_names)
        assert outside <= {"schemas", "pandera", "pydantic", "pandas"}, "schemas are pandera and pydantic models"
    if package != "flows":
        assert "prefect" not in used, "only flows import prefect"
    if package == "mimiidg_build":
        if name != "cli":
            assert "flows" not in top(used), "the library runs without the flows"
        if name not in TORCH:
            assert "torch" not in used or name == "benchmark", "torch stays in the training stage"
        if name != "object_storage":
            assert "obstore" not in used, "object storage stays in one place"
        if name != "run_tasks":
            assert not {"dask", "distributed"} & used, "dask stays in one place"


def test_flows_do_no_arithmetic() -> None:
    """numpy, scipy and zarr have no place where only order, retries and artifacts are decided."""
    for path in (ROOT / "flows").glob("*.py"):
        assert not {"numpy", "scipy", "zarr", "torch", "dask"} & imports(path), path.name


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import mimiidg_build", {"numpy", "pandas", "torch", "zarr", "dask", "prefect", "pydantic"}),
        ("import mimiidg_build.cli", {"numpy", "pandas", "torch", "zarr", "dask", "prefect", "pydantic", "rich"}),
        ("import mimiidg_build.build", {"torch", "prefect", "distributed", "matplotlib"}),
    ],
)
def test_nothing_heavy_at_import(statement: str, heavy: set[str]) -> None:
    code = f"import sys; {statement}; print(*sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_top_level_holds_what_was_agreed() -> None:
    allowed = {"pyproject.toml", "flows", "mimiidg_build", "schemas", "tests", "README.md", "data_manifests"}
    allowed |= {"LICENSE", "CHANGELOG.md", "constraints.txt", "build", "dist"}
    assert {p.name for p in ROOT.iterdir() if p.name[0] not in "._" and not p.name.endswith(".egg-info")} <= allowed
