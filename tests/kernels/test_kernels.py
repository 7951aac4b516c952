"""Compiled code: the same bits on every processor, cached for exactly the code that it was compiled from."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mimiidg_build.audio.level import level
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.features import logmel
from mimiidg_build.kernels import cache, compilation, entries, machine_code
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
    assert any((tmp_path / "compiled").rglob("*.code")), "it was compiled for that processor"
    assert content(open_store(Path(ran.stdout.strip()).parent)) == expected


MODULE = "mimiidg_build.kernels.function"
SOURCE = """
def largest(samples, out):
    found = samples[0]
    for i in range(len(samples)):
        found = max(found, samples[i])
    out[0] = found
"""


class Largest:
    """A small function in place of the room's own, found in a cache of one's own or compiled, as a process would."""

    def __init__(self) -> None:
        self.n_compiled = 0

    def __call__(self) -> int:
        """Its result, from code that was loaded anew."""
        out = np.empty(1, np.int64)
        machine_code.MachineCode("function", "largest", [np.int16], [np.int64])(np.array([1, 3, 2], np.int16), out)
        return int(out[0])

    def compiled_now(self) -> bool:
        """Whether this time it was compiled."""
        before = self.n_compiled
        assert self() == 3
        return self.n_compiled > before


COMPILED: dict[tuple[Any, ...], bytes] = {}  # once for all tests


@pytest.fixture
def largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Largest:
    """Its cache lies in ``tmp_path``/compiled, where that can be written, else in ``tmp_path``/temporary."""
    module = ModuleType(MODULE)
    exec(SOURCE, vars(module))
    vars(module)["largest"] = compilation.part(vars(module)["largest"])
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    function, compile_function = Largest(), compilation.compile_function

    def compiled(*arguments: Any) -> bytes:
        function.n_compiled += 1
        if arguments[:2] not in COMPILED:
            COMPILED[arguments[:2]] = compile_function(*arguments)
        return COMPILED[arguments[:2]]

    monkeypatch.setattr(compilation, "compile_function", compiled)
    return function


def test_what_cannot_be_cached_is_compiled_all_the_same(
    tmp_path: Path, largest: Largest, caplog: pytest.LogCaptureFixture
) -> None:
    """Files where the folders should be."""
    (tmp_path / "compiled").touch()
    (tmp_path / "temporary" / f"mimiidg_build-{os.getuid()}").touch()
    assert [largest.compiled_now(), largest.compiled_now()] == [True, True]
    assert "File exists; every process will compile this again. Set NUMBA_CACHE_DIR" in caplog.text


def test_that_a_cache_cannot_be_written_is_found_once(
    tmp_path: Path, largest: Largest, caplog: pytest.LogCaptureFixture
) -> None:
    """The first process keeps the code in a temporary folder, for itself and for those that follow."""
    (tmp_path / "compiled").touch()
    assert [largest.compiled_now(), largest.compiled_now()] == [True, False]
    assert not caplog.text
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert largest.compiled_now(), "anybody may have put code there"


def test_a_later_process_compiles_nothing_and_does_without_numba() -> None:
    entries.load_all()
    code = "import sys; from mimiidg_build.kernels import entries; entries.load_all(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_without_a_cache_folder_of_its_own_code_lies_beside_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    beside, users, _ = cache.folders()
    assert beside == Path(cache.__file__).parent / "__pycache__"
    assert users == Path("/caches/mimiidg_build")


def test_compiled_code_is_cached_for_the_source_text_of_the_whole_room(
    tmp_path: Path, largest: Largest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba would go on using the machine code of a function after a change in another module that it calls."""
    assert [largest.compiled_now(), largest.compiled_now()] == [True, False]
    monkeypatch.setattr(machine_code, "digest_of_sources", lambda: "another text")
    machine_code.room_key.cache_clear()
    assert [largest.compiled_now(), largest.compiled_now()] == [True, False]
    assert len(list(tmp_path.rglob("*.code"))) == 1, "what no version in use would read is removed"
    monkeypatch.undo()
    machine_code.room_key.cache_clear()


@pytest.mark.parametrize(
    ("name", "value"), [("NUMBA_CPU_NAME", "generic"), ("NUMBA_CPU_FEATURES", "")], ids=["name", "features"]
)
def test_compiled_code_is_cached_for_the_processor(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine_code.room_key()
    monkeypatch.setenv(name, value)
    for cached in (machine_code.processor, machine_code.room_key):
        cached.cache_clear()
    assert machine_code.room_key() != before
    monkeypatch.undo()
    for cached in (machine_code.processor, machine_code.room_key):
        cached.cache_clear()


@pytest.mark.parametrize(
    "samples", [np.zeros(10, np.float32), np.zeros(10, np.int32), np.zeros(20, np.int16)[::2]], ids=str
)
def test_other_arrays_never_reach_the_machine_code(samples: np.ndarray) -> None:
    with pytest.raises(TypeError, match="sum_and_peak takes contiguous int16, got "):
        entries.sum_and_peak(samples)


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
    tmp_path: Path, largest: Largest, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    largest()
    (file,) = tmp_path.rglob("*.code")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert largest.compiled_now()
    assert f"{file} is damaged; it is compiled anew." in caplog.text
    caplog.clear()
    assert not largest.compiled_now() and caplog.text == "", "the new one has taken its place"
    assert file.read_bytes() == whole
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_is_passed_over(
    tmp_path: Path, largest: Largest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder where a file should be, a disk that is full when it is written."""
    largest()
    (file,) = tmp_path.rglob("*.code")
    file.unlink()
    file.mkdir()
    assert [largest.compiled_now(), largest.compiled_now()] == [True, False], "in the temporary folder instead"
    file.rmdir()
    shutil.rmtree(tmp_path / "temporary" / f"mimiidg_build-{os.getuid()}")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    caplog.clear()
    assert largest.compiled_now()
    assert "No space left on device; every process will compile this again" in caplog.text
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_a_command_survives_a_damaged_cache(root: Path, tmp_path: Path) -> None:
    """Every file of it damaged, one in each way."""
    command = [sys.executable, "-m", "mimiidg_build", "build", "demo", "--dataset", DATASET, "--section", "fan/00"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    for name in ("first", "second"):
        files = sorted((tmp_path / "compiled").rglob("*.code"))
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
