"""Compiled code: the same bits on every processor, cached for exactly the code that it was compiled from."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.audio.level import level
from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.features import logmel
from mimiidg_build.kernels import compilation
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
    largest = importlib.import_module("largest").largest

    def found_in_cache() -> bool:
        stats = compilation.compiled((compilation.INT16S,))(largest).stats
        assert sum(stats.cache_hits.values()) + sum(stats.cache_misses.values()) == 1
        return bool(stats.cache_hits)

    assert [found_in_cache(), found_in_cache()] == [False, True]
    monkeypatch.setattr(compilation, "SOURCES", "another text")
    assert [found_in_cache(), found_in_cache()] == [False, True]


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
