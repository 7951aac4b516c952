"""Compiled code: the same bits on every processor, cached for exactly the code that it was compiled from."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from mimiidg_build.audio.level import level
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.features import logmel
from mimiidg_build.kernels import cache, compilation
from mimiidg_build.mixing.mix import mix
from mimiidg_build.store.store import open_store
from tests.conftest import DATASET, content

VARIANT = derive_variant(load_variant("demo"), dataset=DATASET, sections=["fan", "valve/00"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the settings are of x86-64 processors")
@pytest.mark.slow  # compiles everything anew
def test_the_oldest_processor_gives_the_same_store(root: Path, tmp_path: Path) -> None:
    expected = content(build_variant(VARIANT, root).store)
    other = tmp_path / "other"
    other.mkdir()
    (root / "archives").rename(other / "archives")
    for path in (other / "archives").rglob("*.levels.parquet"):
        path.unlink()
    build = (
        "from mimiidg_build.build.variant import build_variant; "
        "from mimiidg_build.datasets.variant import derive_variant, load_variant; "
        f"derived = derive_variant(load_variant('demo'), dataset={DATASET!r}, sections={VARIANT.sections!r}); "
        f"from pathlib import Path; print(build_variant(derived, Path({str(other)!r})).store.path)"
    )
    # what compilers and numpy may use of this processor: nothing that the first x86-64 ones did not have
    oldest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    oldest["NPY_DISABLE_CPU_FEATURES"] = "X86_V3 X86_V4"
    command = [sys.executable, "-c", build]
    ran = subprocess.run(command, env=os.environ | oldest, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert any((tmp_path / "compiled").rglob("*.nbc")), "it was compiled for that processor"
    assert content(open_store(Path(ran.stdout.strip()).parent)) == expected


def test_what_cannot_be_cached_is_compiled_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """A function without a file stands for a program whose folder and home cannot be written."""
    namespace: dict[str, object] = {}
    exec("def largest(samples):\n    return samples.max()", namespace)
    largest = compilation.compiled((compilation.INT16S,))(namespace["largest"])
    assert largest(np.array([1, 3, 2], np.int16)) == 3
    assert "every process will compile this again. Set NUMBA_CACHE_DIR" in caplog.text


def test_compiled_code_is_cached_for_the_source_text_of_the_whole_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba would go on using the machine code of a function after a change in another module that it calls."""
    (tmp_path / "largest.py").write_text("def largest(samples):\n    return samples.max()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))  # whatever NUMBA_CACHE_DIR says
    largest = importlib.import_module("largest").largest

    def found_in_cache() -> bool:
        stats = compilation.compiled((compilation.INT16S,))(largest).stats
        assert sum(stats.cache_hits.values()) + sum(stats.cache_misses.values()) == 1
        return bool(stats.cache_hits)

    assert [found_in_cache(), found_in_cache()] == [False, True]
    monkeypatch.setattr(cache, "SOURCES", "another text")
    assert [found_in_cache(), found_in_cache()] == [False, True]
    assert len(list(tmp_path.rglob("*.nb?"))) == 1, "what no version in use would read is removed"


@pytest.fixture
def largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Compile a small function, or take it from its cache beside ``tmp_path``/function.py."""
    (tmp_path / "function.py").write_text("def largest(samples):\n    return samples.max()\n")
    spec = importlib.util.spec_from_file_location("function", tmp_path / "function.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "compiled"))
    return lambda: compilation.compiled((compilation.INT16S,))(module.largest)


def flip(content: bytes, place: float) -> bytes:
    """One bit of it is another."""
    changed = bytearray(content)
    changed[int(place * (len(content) - 1))] ^= 1
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but one byte": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    **{f"bit at {place}": partial(flip, place=place) for place in (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_compiled_code_is_compiled_anew(
    tmp_path: Path, largest: Callable[[], Any], damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    largest()
    (file,) = tmp_path.rglob("*.nb?")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    again = largest()
    assert again(np.array([1, 3, 2], np.int16)) == 3 and again.stats.cache_misses
    assert f"{file} is damaged; it is compiled anew." in caplog.text
    caplog.clear()
    assert largest().stats.cache_hits and caplog.text == "", "the new one has taken its place"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_is_passed_over(
    tmp_path: Path, largest: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file where the folder should be, a folder where a file should be, a disk that is full when it is written."""
    (tmp_path / "compiled").touch()
    assert largest()(np.array([1, 3, 2], np.int16)) == 3
    (file,) = tmp_path.rglob("*.nb?")
    assert file.parent.name == "__pycache__", "beside the source instead"
    file.unlink()
    file.mkdir()
    assert largest()(np.array([1, 3, 2], np.int16)) == 3
    assert "every process will compile this again" in caplog.text
    file.rmdir()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    caplog.clear()
    assert largest()(np.array([1, 3, 2], np.int16)) == 3
    assert "No space left on device; every process will compile this again" in caplog.text
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_a_command_survives_a_damaged_cache(root: Path, tmp_path: Path) -> None:
    """Every file of it damaged, one in each way."""
    command = [sys.executable, "-m", "mimiidg_build", "build", "demo", "--dataset", DATASET, "--section", "fan/00"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    for name in ("first", "second"):
        files = sorted((tmp_path / "compiled").rglob("*.nb?"))
        assert len(files) > 2 or name == "first"
        for file, damage in zip(files, cycle([DAMAGE["empty"], DAMAGE["half"], DAMAGE["bit at 0.5"]]), strict=False):
            file.write_bytes(damage(file.read_bytes()))
        arguments = ["--root", str(root), "--quiet", "--name", name]
        ran = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and "stopped" not in ran.stderr, ran.stderr
        found = ran.stderr.count("is damaged; it is compiled anew")
        assert found >= len(files) - 1, "levels were measured by the first"
        assert name == "first" or found


def test_samples_need_not_lie_side_by_side_nor_be_ours_to_change() -> None:
    both = np.random.default_rng(0).integers(-20_000, 20_000, (2, 20_000)).astype(np.int16)
    strided = np.asfortranarray(both)[0]
    assert not strided.flags.c_contiguous
    fixed = both[0].copy()
    fixed.flags.writeable = False
    for samples in (strided, fixed):
        np.testing.assert_array_equal(logmel(samples), logmel(both[0]))
        assert level(samples) == level(both[0])
        mixed, expected = mix(samples, [(samples, 0.5)], 0.5), mix(both[0], [(both[0], 0.5)], 0.5)
        np.testing.assert_array_equal(mixed.samples, expected.samples)
        assert mixed[1:] == expected[1:]


@pytest.mark.parametrize("lengths", [[10, 9], [11], [10, 10, 10]], ids=["shorter", "longer", "three layers"])
def test_other_layers_are_refused(lengths: list[int]) -> None:
    layers = [(np.zeros(length, np.int16), 1.0) for length in lengths]
    with pytest.raises(ValueError, match=r"at most two layers of noise of shape \(10,\), as the clip is, got \(1"):
        mix(np.zeros(10, np.int16), layers)
