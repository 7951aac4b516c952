"""The secret of a Prefect server: made once, for its owner alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimiidg_build.errors import UsageError
from mimiidg_build.flows import secret
from mimiidg_build.flows.secret import have_secret, secret_file


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")


def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    previous = os.umask(0)  # whatever the user's umask is
    try:
        made = have_secret(tmp_path)
    finally:
        os.umask(previous)
    assert secret_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert have_secret(tmp_path) == made and len(made) > 40
    assert have_secret(tmp_path / "other") != made, "each root has its own"


def test_programs_that_start_at_once_have_one(tmp_path: Path) -> None:
    code = "from pathlib import Path; from mimiidg_build.flows.secret import have_secret; print(have_secret(Path()))"
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) for _ in range(3)]
    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.parametrize("name", ["PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"])
def test_a_configured_one_is_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "me:mine")
    assert have_secret(tmp_path) == "me:mine" and not secret_file(tmp_path).exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602])
def test_one_that_others_can_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    have_secret(tmp_path)
    secret_file(tmp_path).chmod(mode)
    with pytest.raises(UsageError, match=rf"auth-string.*can be read by others \(mode {mode:o}\)\. Remove it"):
        have_secret(tmp_path)


def test_one_that_another_user_has_put_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_secret(tmp_path)
    monkeypatch.setattr(secret.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="is another user's, who would know the secret of your Prefect server"):
        have_secret(tmp_path)
