"""The fixture with which a fault test says what it tries; and the program in processes of its own, on a small root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import once
from tests.faults.place import Place, make_template
from tests.faults.processes import Processes
from tests.faults.summary import PROPERTY, Tries, fault_of


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Tries]:
    """``fault("connection dropped at a random byte", cases=40)``: this test tries a fault of that group so often.

    Every test, and every case that it is parametrized with, is a fault of its own; how often it tries it are trials.
    Both add up over the tests of a group; ``tests.faults.summary`` prints them.
    """
    tried: Counter[str] = Counter()

    def tries(name: str, cases: int = 1) -> None:
        tried[name] += cases

    yield tries
    request.node.user_properties.append((PROPERTY, {"fault": fault_of(request.node), "trials": dict(tried)}))


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Starts the program, with faults if asked."""
    started = Processes(tmp_path_factory.mktemp("processes"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def template(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two variants of short clips, built. Not to be changed."""
    made = once(tmp_path_factory, "template", lambda directory: make_template(directory, processes))
    processes.warm("validate", made / "short.toml", "--root", made / "root")
    return made


@pytest.fixture
def place(template: Path, processes: Processes, tmp_path: Path) -> Place:
    """A root of one's own to build the two variants in."""
    return Place(template, tmp_path, processes)
