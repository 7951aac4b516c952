"""``explain``: which clip, which network, maps and their statistics, figures; from end to end with smoke weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mimiidg_build.benchmark.planning import plan_runs
from mimiidg_build.benchmark.train_network import train_and_score
from mimiidg_build.cli.explain import FAMILY, explain
from mimiidg_build.errors import UsageError
from mimiidg_build.models import ABLATIONS
from mimiidg_build.report.attention_maps import Explainer, find_clip, trained_run
from mimiidg_build.store.store import Store, open_store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")
CLIP = "section_00_source_test_normal_0000_m-n_W"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a small store and a network trained on it."""
    root = tmp_path_factory.mktemp("root")
    store = make_store(root, sections=("fan/00", "valve/00"), n_frames=129, n_samples=65_600)  # 4.1 s
    (run,) = plan_runs(store, root, ["attention"], "smoke", 1)
    train_and_score(run, run.networks()[0], "cpu")
    return root


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    return open_store(root / "variants/small")


@pytest.mark.parametrize("name", [f"fan/{CLIP}", f"fan/{CLIP}.wav"])
def test_a_clip_by_its_full_name(store: Store, name: str) -> None:
    row = find_clip(store, name)
    assert (row["machine_type"], row["clip"]) == ("fan", CLIP)
    assert find_clip(store, CLIP, "valve")["machine_type"] == "valve"


@pytest.mark.parametrize(
    ("name", "machine_type", "match"),
    [
        (CLIP, None, f"2 clips are called {CLIP}: fan/{CLIP}, valve/{CLIP}. Say which, or give --machine-type"),
        (CLIP.replace("0000", "0009"), "fan", f"no clip .*Did you mean .*fan/{CLIP}"),
        ("nonsense", None, "no clip 'nonsense'. Did you mean fan/section_00"),
        (f"fan/{CLIP}", "valve", "is of fan, --machine-type says valve"),
        (f"fun/{CLIP}", None, f"no clip 'fun/{CLIP}'. Did you mean .*fan/{CLIP}"),
    ],
)
def test_a_clip_that_is_not_clear(store: Store, name: str, machine_type: str | None, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        find_clip(store, name, machine_type)


def test_a_network_that_was_not_trained(store: Store, root: Path) -> None:
    command = "mimiidg benchmark small --model attention --profile cpu --epochs 3 --seeds 2 --root"
    with pytest.raises(UsageError, match=f"holds no trained network; trained are attention-smoke-0. .*: {command}"):
        trained_run(store, root, "attention", "cpu", 1, epochs=3)


def test_a_network_of_other_settings(store: Store, root: Path) -> None:
    """Is another one; the command that trains it says them."""
    with pytest.raises(UsageError, match=r"trained are .*--profile smoke --set margin=0.5 --set wavegram=dense --root"):
        trained_run(store, root, "attention", "smoke", 0, changes={"wavegram": "dense", "margin": 0.5})
    (run,) = plan_runs(store, root, ["attention"], "smoke", 1, changes={"mixing": 0.2})
    assert run.directory == trained_run(store, root, "attention", "smoke", 0).directory, "the profile's own"
    found = ["fan/" + CLIP, "--profile", "smoke", "--set", "embedding=64", "--root", root, "--quiet"]
    with pytest.raises(UsageError, match="attention-smoke-embedding=64-0 holds no trained network"):
        CliRunner().invoke(explain, ["small", "--clip", *map(str, found)], catch_exceptions=False)


def test_a_network_without_attention(store: Store, root: Path) -> None:
    (run,) = plan_runs(store, root, ["attention_no_attention"], "smoke", 1)
    with pytest.raises(UsageError, match="attention_no_attention has no attention map to show"):
        Explainer(run, "cpu")


def test_maps_are_the_models_and_statistics_are_over_clips_and_frames(store: Store, root: Path) -> None:
    explainer = Explainer(trained_run(store, root, "attention", "smoke", 0), "cpu")
    rows = store.clips[(store.clips["split"] == "test") & (store.clips["condition"] == "anomaly")]
    fans = [explainer.clip(row) for _, row in rows[rows["machine_type"] == "fan"].iterrows()]
    audio = torch.from_numpy(np.asarray(store.audio("fan", "00")[int(rows.iloc[0]["row"])])[None])
    np.testing.assert_allclose(fans[0].maps, explainer._model.maps(audio)[1][0].double(), atol=1e-6)
    every = np.stack([clip.maps for clip in fans])  # (clip, channel, mel, frame)
    assert every.std() > 0
    statistics = {(of.machine_type, of.condition, of.channel): of for of in explainer.statistics()}
    assert len(statistics) == 3 * 2 * 2
    for number, channel in enumerate(explainer.channels):
        found = statistics["fan", "anomaly", channel]
        assert found.n_clips == len(fans) == 6
        np.testing.assert_allclose(found.mean, every[:, number].mean(axis=(0, 2)), atol=1e-6)
        np.testing.assert_allclose(found.standard_deviation, every[:, number].std(axis=(0, 2)), atol=1e-5)
        assert statistics["all", "anomaly", channel].n_clips == 12


def test_the_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["small", "--clip", f"valve/{CLIP}", "--profile", "smoke", "--root", str(root), "--quiet"]
    done = CliRunner().invoke(explain, [*arguments, "--json"], catch_exceptions=False)
    content = json.loads(done.stdout)
    assert content["clip"] == f"valve/{CLIP}"
    assert [of["channel"] for of in content["maps"]] == ["logmel", "wavegram"]
    assert all(len(of["mean"]) == 128 and min(of["mean"]) >= 0.5 for of in content["maps"] + content["test_set"])
    assert content["mel_hz"][0] == pytest.approx(13.8, abs=0.1)
    assert len(content["figures"]) == 3
    assert all(Path(path).parent == root / "reports" for path in content["figures"])
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in content["figures"])
    for name in ("plot_clip", "plot_statistics"):  # they were drawn: two seconds
        monkeypatch.setattr(f"mimiidg_build.report.attention_figures.{name}", lambda *given: given[-1])
    table = CliRunner().invoke(explain, arguments, catch_exceptions=False).stdout
    for text in ("attention maps over the test set", "valve", "Wavegram", *content["figures"]):
        assert text in table


def test_the_command_takes_the_whole_family() -> None:
    assert set(FAMILY) == {"attention", *ABLATIONS}
