"""Who may import whom: the arrows of the design, enforced."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The house from the ground up. A room is a package or module of mimiidg_build, ``schemas``, or ``flows``; it may import
# the rooms that it names here, all of which come before it in this list, so there can be no circle.
ROOMS = {
    "errors": "",
    "schemas": "",
    "progress": "",
    "settings": "progress",
    "storage": "errors schemas settings",
    "parallel": "errors storage",
    "kernels": "settings",
    "audio": "errors storage kernels",
    "datasets": "errors schemas storage audio",
    "synthesis": "errors schemas storage parallel datasets",
    "fetch": "errors schemas progress settings storage audio datasets synthesis",
    "features": "schemas kernels",
    "mixing": "errors schemas progress storage parallel kernels audio datasets",
    "store": "errors schemas progress storage",
    "build": "errors schemas progress storage parallel audio datasets fetch features mixing store",
    "upkeep": "errors schemas progress storage parallel audio datasets fetch store build",
    "evaluation": "errors schemas storage datasets",
    "models": "errors features evaluation",
    "training": "errors schemas progress storage parallel store evaluation models",
    "benchmark": "errors schemas progress storage parallel audio datasets "
    "features store build evaluation models training",
    "report": "errors schemas progress storage parallel audio datasets "
    "fetch features store evaluation models training benchmark",
    "flows": "errors schemas settings storage datasets fetch store build benchmark report",
    "cli": "errors schemas progress settings storage parallel datasets fetch "
    "store build upkeep evaluation models benchmark report flows",
}
MAX_ARROWS, MAX_ROOMS = 130, 24

# Libraries that one room keeps to itself.
KEPT = {
    "prefect": {"flows"},
    "obstore": {"storage"},
    "dask": set(),  # what a cluster is asked through is distributed
    "distributed": {"parallel"},
    "torch": {"models", "training", "benchmark"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "click": {"cli"},
}


def sources() -> Iterator[tuple[str, Path]]:
    """(room, file) of every module but the package's own two files, its public face and its entry point."""
    for path in sorted((ROOT / "mimiidg_build").rglob("*.py")):
        room = path.relative_to(ROOT / "mimiidg_build").parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            yield room, path
    for room in ("schemas", "flows"):  # beside the package in the repository, linked into it
        yield from ((room, path) for path in sorted((ROOT / room).rglob("*.py")))


@functools.cache  # nine tests ask, and to parse all modules takes 0.8 s
def imported(path: Path) -> tuple[str, ...]:
    """What a module imports, anywhere in it, inside functions and for type checkers too."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    """The room of an imported name; None for a library's."""
    top, _, rest = name.partition(".")
    if rest.startswith("__"):  # the version
        return None
    return rest.split(".")[0] if top == "mimiidg_build" else top if top == "tests" else None


def arrows() -> dict[tuple[str, str], list[str]]:
    """(room, room that it imports) -> where."""
    found: dict[tuple[str, str], list[str]] = {}
    for room, path in sources():
        for name in imported(path):
            other = room_of(name)
            if other is not None and other != room:
                found.setdefault((room, other), []).append(f"{path.relative_to(ROOT)} imports {name}")
    return found


def test_every_room_is_declared() -> None:
    assert {room for room, _ in sources()} == set(ROOMS)
    assert len(ROOMS) <= MAX_ROOMS


def test_rooms_import_only_rooms_below_them() -> None:
    order = list(ROOMS)
    for room, below in ROOMS.items():
        assert set(below.split()) <= set(order[: order.index(room)]), (
            f"{room} may import only rooms before it in the list"
        )
    wrong = [
        place for (room, other), places in arrows().items() if other not in ROOMS[room].split() for place in places
    ]
    assert wrong == []


def test_no_arrow_is_declared_that_is_not_there() -> None:
    found = arrows()
    unused = [(room, other) for room, below in ROOMS.items() for other in below.split() if (room, other) not in found]
    assert unused == []
    assert len(found) <= MAX_ARROWS


@pytest.mark.parametrize(("library", "rooms"), KEPT.items())
def test_a_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    users = {room for room, path in sources() for name in imported(path) if name.split(".")[0] == library}
    assert users == rooms


def test_the_environment_is_read_and_set_in_one_place() -> None:
    """Of the module ``os``, its ``environ`` and its kin are for the settings alone."""
    words = ("os.environ", "os.getenv", "os.putenv", "os.unsetenv", "from os import")
    users = {path.name for _, path in sources() if any(word in path.read_text() for word in words)}
    assert users == {"settings.py"}


def test_schemas_are_models_only() -> None:
    used = {name.split(".")[0] for room, path in sources() if room == "schemas" for name in imported(path)}
    assert used - set(sys.stdlib_module_names) <= {"mimiidg_build", "pandera", "pydantic", "pandas"}


def test_flows_do_no_arithmetic() -> None:
    """numpy, scipy and zarr have no place where only order, retries and artifacts are decided."""
    used = {name.split(".")[0] for room, path in sources() if room == "flows" for name in imported(path)}
    assert not {"numpy", "pandas", "scipy", "zarr", "torch", "dask"} & used


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / "mimiidg_build" / room).is_dir()])
def test_a_room_says_what_it_is(room: str) -> None:
    """What comes in, what goes out, and which rooms it may import."""
    said = ast.get_docstring(ast.parse((ROOT / "mimiidg_build" / room / "__init__.py").read_text()))
    assert said is not None
    for heading in ("In:", "Out:", "Imports:"):
        assert heading in said, heading


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import mimiidg_build", {"numpy", "pandas", "torch", "zarr", "dask", "prefect", "pydantic"}),
        ("import mimiidg_build.cli", {"numpy", "pandas", "torch", "zarr", "dask", "prefect", "pydantic", "rich"}),
        (
            "import mimiidg_build.build.variant",
            {"torch", "prefect", "distributed", "matplotlib", "httpx", "dask", "zarr"},
        ),
        ("import mimiidg_build.__main__", {"mimiidg_build.cli"}),
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
