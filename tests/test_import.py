"""Importing changes nothing in the process: a notebook's environment, warnings, logging and pandera stay its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What libraries do when they are imported is theirs, so they come first; ours must then change nothing more.
STATE = """
import importlib, json, logging, os, sys, warnings

def state():
    loggers = {name: log for name, log in logging.Logger.manager.loggerDict.items() if isinstance(log, logging.Logger)}
    loggers["root"] = logging.root
    return {
        "environment": dict(os.environ),
        "warnings": [repr(entry) for entry in warnings.filters] + [repr(warnings.showwarning)],
        "logging": {
            name: (log.level, log.disabled, log.propagate, repr(log.handlers), repr(log.filters))
            for name, log in loggers.items()
            # a logger that is made, and left as it is, changes nothing
            if (log.level, log.disabled, log.propagate, log.handlers, log.filters) != (0, False, True, [], [])
        },
        "libraries": {
            f"{module}.{name}": id(value)
            for module in list(sys.modules)
            if module.split(".")[0] in LIBRARIES
            for name, value in list(vars(sys.modules[module]).items())
            if callable(value)
        }
        | {
            f"{module}.{cls.__name__}.{name}": id(value)
            for module in list(sys.modules)
            if module.split(".")[0] in LIBRARIES
            for cls in list(vars(sys.modules[module]).values())
            if isinstance(cls, type) and cls.__module__ == module
            for name, value in list(vars(cls).items())
            if callable(value)
        },
        "excepthook": [repr(sys.excepthook), repr(sys.displayhook)],
    }
"""
RUN = """
LIBRARIES = {"pandera", "pydantic", "prefect", "click", "pandas"}
libraries, ours = sys.argv[1].split(), sys.argv[2].split()
for name in libraries:
    importlib.import_module(name)
before = state()
for name in ours:
    importlib.import_module(name)
after = state()
changed = {}
for what, old in before.items():
    new = after[what]
    if what == "libraries":  # what was imported only now is not changed
        new = {name: value for name, value in new.items() if name in old}
    if what == "logging":  # nor are loggers that Prefect makes for every flow
        new = {name: value for name, value in new.items() if name in old or not name.startswith("prefect.")}
    if old != new:
        pairs = old.keys() | new.keys() if isinstance(old, dict) else ()
        changed[what] = sorted(key for key in pairs if old.get(key) != new.get(key)) or [str(old), str(new)]
print(json.dumps(changed))
"""


def changes(libraries: str, ours: str) -> dict[str, list[str]]:
    """What importing our modules changes, once the libraries are there."""
    # other tests may have imported the flows into this process
    environment = {k: v for k, v in os.environ.items() if k != "DO_NOT_TRACK" and not k.startswith("PREFECT")}
    command = [sys.executable, "-c", STATE + RUN, libraries, ours]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("libraries", "ours"),
    [
        ("", "mimiidg_build"),
        ("click", "mimiidg_build.cli"),
        (
            "pandas pydantic pandera.pandas pandera.typing.pandas",
            " ".join(f"mimiidg_build.schemas.{name}" for name in ("manifests", "scores", "tables", "variants")),
        ),
    ],
)
def test_importing_changes_nothing(libraries: str, ours: str) -> None:
    assert changes(libraries, ours) == {}


def test_importing_the_flows_sets_what_prefect_looks_for_when_it_is_imported() -> None:
    """And nothing else, not even Prefect's own settings: those are of a flow's call."""
    libraries = "pandera.pandas pandera.typing.pandas scipy.signal scipy.stats httpx prefect.main prefect.artifacts"
    ours = " ".join(f"mimiidg_build.flows.{name}" for name in ("fetch_archives", "build_variant", "refresh"))
    assert changes(libraries, ours) == {"environment": ["DO_NOT_TRACK"]}
