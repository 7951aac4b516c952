"""How many cores there are, in a container, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dask.system import cpu_count

from mimiidg_build.parallel import cores


def test_they_are_as_many_as_dask_counts() -> None:
    assert cores.n_cores() == cpu_count()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"jobs/7/cpu.max": "10000 100000\n", "cgroup": "0::/jobs/7\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 3),
        ({"cpuacct,cpu/cpu.cfs_quota_us": "-1", "cpuacct,cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
    ids=["no container", "no limit", "a core and a half", "a tenth, of a group", "more than there are", "old", "none"],
)
def test_a_container_may_have_fewer(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in ({"cgroup": "0::/\n"} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5})
    assert cores.n_cores() == expected
