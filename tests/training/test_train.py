"""The training loop: the same bits however often it was stopped, from training clips alone."""

from __future__ import annotations

import csv
import math
import os
import shutil
import signal
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import MODELS, create, model_class
from mimiidg_build.models.base import Chunks, Detector, Epoch, Labels, Settings
from mimiidg_build.models.batches import in_batches
from mimiidg_build.models.windows import n_windows
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.training.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights, weights_path
from mimiidg_build.training.clip_dataset import ClipDataset
from mimiidg_build.training.loss_curve import EpochLoss, write_loss_curve
from mimiidg_build.training.precision import autocast, check_precision
from mimiidg_build.training.reproducible import epoch_seed
from mimiidg_build.training.scoring import clip_scores
from mimiidg_build.training.train import train, training_windows
from mimiidg_build.training.training_clips import TrainingClips
from tests.command_server import run
from tests.small_store import N_FRAMES, make_store, record_files

pytestmark = pytest.mark.usefixtures("one_thread")

EPOCHS = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("root"))


def training_clips(store: Store, **options: Any) -> ClipDataset:
    return ClipDataset(store, machine_types="fan", split="train", **options)


def trained(
    store: Store,
    directory: Path,
    name: str = "autoencoder",
    seed: int = 0,
    changes: dict[str, object] | None = None,
    **options: Any,
) -> Detector:
    model = create(name, "smoke", n_sections=2, seed=seed, changes=changes or {})
    train(model, training_clips(store), directory, "fan", epochs=EPOCHS, **options)
    return model


def same_weights(one: Detector, other: Detector) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["autoencoder", "mobilenetv2"])
def test_same_seed_same_bits(store: Store, tmp_path: Path, name: str) -> None:
    """Whatever torch's own random state is; and training leaves it as it was."""
    torch.manual_seed(1)
    first = trained(store, tmp_path / "first", name)
    again = create(name, "smoke", n_sections=2, seed=0)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    train(again, training_clips(store), tmp_path / "again", "fan", epochs=EPOCHS)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert same_weights(first, again)
    assert not same_weights(first, create(name, "smoke", 2, 0)), "nothing was trained"
    other = trained(store, tmp_path / "other", name, seed=1)
    assert not same_weights(first, other)
    losses = [(tmp_path / run / "loss_fan.csv").read_bytes() for run in ("first", "again", "other")]
    assert losses[0] == losses[1] != losses[2]


def test_same_bits_as_a_plain_loop(store: Store, tmp_path: Path) -> None:
    """All parameters in one vector, windows gathered: what a plain loop gives, with the same order of windows."""
    model, plain = (create("autoencoder", "smoke", 2, 0) for _ in range(2))
    clips = training_clips(store)
    train(model, clips, tmp_path, "fan", epochs=1)
    optimizer = plain.optimizer()
    hop = plain.settings.train_hop
    windows = clips.read(range(len(clips))).unfold(1, 5, hop).transpose(2, 3).flatten(0, 1)  # (window, frame, mel)
    torch.manual_seed(epoch_seed(0, "fan", 0))
    for numbers in in_batches(torch.randperm(len(windows)), plain.settings.batch_size):
        optimizer.zero_grad()
        torch.autograd.backward(plain.loss(windows[numbers], clips.labels()))
        optimizer.step()
    assert same_weights(model, plain)


class Stop(Exception):
    pass


def stop_after(epoch: int) -> Any:
    def on_epoch(loss: EpochLoss) -> None:
        if loss.epoch == epoch:
            raise Stop

    return on_epoch


@pytest.mark.parametrize("epoch", [1, 2])
def test_goes_on_after_an_epoch(store: Store, tmp_path: Path, epoch: int) -> None:
    """Adam's moments, batch norm's statistics and the order of later epochs are as if nothing had happened."""
    whole = trained(store, tmp_path / "whole")
    with pytest.raises(Stop):
        trained(store, tmp_path / "part", on_epoch=stop_after(epoch))
    seen: list[int] = []
    resumed = trained(store, tmp_path / "part", on_epoch=lambda loss: seen.append(loss.epoch))
    assert seen == list(range(epoch + 1, EPOCHS + 1)), "finished epochs are not run again"
    assert same_weights(whole, resumed)
    assert (tmp_path / "part/loss_fan.csv").read_bytes() == (tmp_path / "whole/loss_fan.csv").read_bytes()


def test_goes_on_after_a_kill(store: Store, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second epoch."""
    code = f"""
        import os, signal, torch
        from pathlib import Path
        from mimiidg_build.models import create
        from mimiidg_build.store.store import open_store
        from mimiidg_build.training.clip_dataset import ClipDataset
        from mimiidg_build.training.train import train, training_windows
        torch.set_num_threads({torch.get_num_threads()})
        model = create("autoencoder", "smoke", 2, 0)
        clips = ClipDataset(open_store({str(store.path)!r}), machine_types="fan", split="train")
        left = int(1.5 * training_windows(model, clips, 1))
        def on_progress(n):
            global left
            left -= n
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        train(model, clips, Path({str(tmp_path / "part")!r}), "fan", epochs={EPOCHS}, on_progress=on_progress)
    """
    (script := tmp_path / "killed.py").write_text(textwrap.dedent(code))
    killed = run([sys.executable, str(script)])
    assert killed.returncode == -signal.SIGKILL
    assert len(rows_of(tmp_path / "part/loss_fan.csv")) == 1
    assert same_weights(trained(store, tmp_path / "part"), trained(store, tmp_path / "whole"))


def test_a_kill_between_checkpoint_and_loss_curve_loses_no_epoch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, losses: list[EpochLoss]) -> None:
        if len(losses) == EPOCHS:
            raise Stop
        write_loss_curve(path, losses)

    with monkeypatch.context() as patch:
        patch.setattr("mimiidg_build.training.train.write_loss_curve", killed)
        with pytest.raises(Stop):
            trained(store, tmp_path)
    assert len(rows_of(tmp_path / "loss_fan.csv")) == EPOCHS - 1
    trained(store, tmp_path)  # every epoch is finished: nothing is trained
    assert [row["epoch"] for row in rows_of(tmp_path / "loss_fan.csv")] == ["1", "2", "3"]


def test_finished_training_is_not_repeated(store: Store, tmp_path: Path) -> None:
    first = trained(store, tmp_path)
    done: list[int] = []
    again = trained(store, tmp_path, on_epoch=stop_after(EPOCHS), on_progress=done.append)
    assert same_weights(first, again)
    assert sum(done) == training_windows(again, training_clips(store), EPOCHS), "progress counts what was done before"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_loss_curve(store: Store, tmp_path: Path) -> None:
    model = trained(store, tmp_path)
    rows = rows_of(tmp_path / "loss_fan.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    losses = [float(row["loss"]) for row in rows]
    assert losses[0] > losses[1] > losses[2] > 0
    assert [row["held_out_loss"] for row in rows] == [""] * 3
    assert model.settings.held_out == 0


def test_held_out_clips_are_not_trained_on(store: Store, tmp_path: Path) -> None:
    """The last clips in order: whatever they hold, the weights are the same, and their loss tells."""
    clips = training_clips(store)
    assert clips.resident is not None
    found = []
    for offset_db in (0.0, 200.0):
        model = create("autoencoder", "smoke", 2, 0)
        model.settings = replace(model.settings, held_out=0.1)  # 2 of 18 clips
        clips.resident[-2:] += offset_db
        losses = train(model, clips, tmp_path / str(offset_db), "fan", epochs=2)
        found.append((model, losses))
        assert training_windows(model, clips, 1) == 16 * n_windows(N_FRAMES, 5, model.settings.train_hop)
    assert same_weights(found[0][0], found[1][0])
    plain, moved = (losses[-1] for _, losses in found)
    assert plain.loss == moved.loss
    assert 0 < plain.held_out_loss < moved.held_out_loss


def test_reads_no_test_clip(store: Store, tmp_path: Path) -> None:
    """Training on a store whose test clips are not numbers gives the same weights."""
    shutil.copytree(store.path, tmp_path / "small.zarr")
    poisoned = open_store(tmp_path / "small.zarr")
    for row in poisoned.clips[poisoned.clips["split"] == "test"].to_dict("records"):
        number, inner = divmod(row["row"], 4)
        file = poisoned.path / f"{row['machine_type']}/section_{row['section']}/logmel/c/{number}/0/0"
        with file.open("r+b") as shard:
            shard.seek(inner * N_FRAMES * 128 * 4)
            shard.write(np.full((N_FRAMES, 128), np.nan, np.float32).tobytes())
    record_files(poisoned.path)
    poisoned = open_store(poisoned.path)
    assert np.isnan(poisoned.logmel("fan", "00")[:]).any()
    assert same_weights(trained(store, tmp_path / "clean"), trained(poisoned, tmp_path / "poisoned"))


@pytest.mark.parametrize("split", ["test", None])
def test_refuses_other_clips(store: Store, tmp_path: Path, split: str | None) -> None:
    model = create("autoencoder", "smoke", 2, 0)
    with pytest.raises(ValueError, match=rf"training clips only; expected split='train', found {split!r}"):
        train(model, ClipDataset(store, split=split), tmp_path, "fan")


def test_streams_what_does_not_fit(store: Store, tmp_path: Path) -> None:
    """Shard by shard: every window once an epoch, the same bits again, and about the same loss."""
    held = trained(store, tmp_path / "held")
    found = []
    for attempt in ("first", "again"):
        model = create("autoencoder", "smoke", 2, 0)
        done: list[int] = []
        clips = training_clips(store, memory_budget_bytes=0)
        train(model, clips, tmp_path / attempt, "fan", epochs=EPOCHS, on_progress=done.append)
        assert sum(done) == training_windows(model, clips, EPOCHS)
        found.append(model)
    assert same_weights(*found)
    assert not same_weights(found[0], held), "another order"
    losses = [float(rows_of(tmp_path / run / "loss_fan.csv")[-1]["loss"]) for run in ("held", "first")]
    assert math.isclose(*losses, rel_tol=0.1)


def test_model_randomness_is_the_epochs(store: Store, tmp_path: Path) -> None:
    """A model may draw from torch's own generator (mixup): a resumed run draws what it would have drawn."""
    drawn: list[float] = []

    class Drawing(type(create("autoencoder", "smoke", 2, 0))):  # type: ignore[misc]
        def loss(self, batch: torch.Tensor, labels: Labels) -> torch.Tensor:
            drawn.append(float(torch.rand(())))
            return super().loss(batch, labels)

    def run(directory: Path, **options: Any) -> list[float]:
        drawn.clear()
        model = Drawing(Drawing.profiles["smoke"], 2, 0)
        train(model, training_clips(store), directory, "fan", epochs=2, **options)
        return list(drawn)

    whole = run(tmp_path / "whole")
    assert len(set(whole)) == len(whole)
    with pytest.raises(Stop):
        run(tmp_path / "part", on_epoch=stop_after(1))
    assert run(tmp_path / "part") == whole[len(whole) // 2 :]


@pytest.mark.parametrize(
    ("order", "size", "expected"),
    [
        (6, 3, [3, 3]),
        (7, 3, [3, 4]),  # batch norm cannot do with one
        (8, 3, [3, 3, 2]),
        (2, 3, [2]),
        (1, 3, [1]),  # nothing to join
        (0, 3, []),
    ],
)
def test_batches(order: int, size: int, expected: list[int]) -> None:
    cut = in_batches(torch.arange(order), size)
    assert [len(batch) for batch in cut if len(batch)] == expected
    assert torch.cat([*cut, torch.empty(0, dtype=torch.int64)]).tolist() == list(range(order))


def test_diverged_loss_is_an_error(store: Store, tmp_path: Path) -> None:
    clips = training_clips(store)
    assert clips.resident is not None
    with pytest.raises(Stop):
        train(create("autoencoder", "smoke", 2, 0), clips, tmp_path, "fan", on_epoch=stop_after(1))
    before = (tmp_path / "checkpoint_fan.pt").read_bytes()
    clips.resident[3, 2, 1] = math.nan
    with pytest.raises(DataError, match="fan: the mean loss of epoch 2 is nan"):
        train(create("autoencoder", "smoke", 2, 0), clips, tmp_path, "fan")
    assert (tmp_path / "checkpoint_fan.pt").read_bytes() == before


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch run",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"no checkpoint"), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: torch.save(Evil(), path), "cannot be read"),
        (lambda path: torch.save({"model": {}}, path), "of another model or version"),
        (lambda path: torch.save([1, 2], path), "of another model or version"),
    ],
)
def test_bad_checkpoints(store: Store, tmp_path: Path, write: Any, message: str) -> None:
    write(tmp_path / "checkpoint_fan.pt")
    with pytest.raises(DataError, match=f"checkpoint_fan.pt.*{message}"):
        trained(store, tmp_path)
    assert not Path("run").exists(), "a checkpoint ran code"


def test_weights_read_back_and_name_what_they_are_not(store: Store, tmp_path: Path) -> None:
    model, path = trained(store, tmp_path), weights_path(tmp_path, "fan")
    save_weights(path, model)
    again = create("autoencoder", "smoke", n_sections=2, seed=1)
    assert not same_weights(model, again)
    load_weights(path, again)
    assert same_weights(model, again)
    with pytest.raises(DataError, match="weights_fan.pt is of another model or version"):
        load_weights(path, create("mobilenetv2", "smoke", n_sections=2, seed=0))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="weights_fan.pt cannot be read"):
        load_weights(path, again)


def test_no_half_written_checkpoint(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rename fails, the checkpoint before it is what is left."""
    with pytest.raises(Stop):
        trained(store, tmp_path, on_epoch=stop_after(1))
    before = (tmp_path / "checkpoint_fan.pt").read_bytes()

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(DataError, match="No space left on device"):
        trained(store, tmp_path)
    assert (tmp_path / "checkpoint_fan.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_fan.pt", "loss_fan.csv"]


def test_mixed_precision_changes_weights_a_little(store: Store, tmp_path: Path) -> None:
    full = trained(store, tmp_path / "full")
    mixed = trained(store, tmp_path / "mixed", changes={"precision": "bf16"})
    assert not same_weights(full, mixed), "it was not on"
    losses = [float(rows_of(tmp_path / run / "loss_fan.csv")[-1]["loss"]) for run in ("full", "mixed")]
    assert math.isclose(*losses, rel_tol=0.02)
    assert {value.dtype for value in mixed.state_dict().values()} <= {torch.float32, torch.int64}


def test_single_precision_is_the_default_on_every_device(store: Store, tmp_path: Path) -> None:
    """In every profile of every model; and a forward pass of a training computes in it."""
    every = [model_class(name).profiles.values() for name in MODELS]
    assert {settings.precision for profiles in every for settings in profiles} == {"fp32"}
    for device in ("cpu", "cuda"):
        assert not autocast("fp32", torch.device(device))._enabled
    seen = []
    for changes in ({}, {"precision": "bf16"}):
        model = create("autoencoder", "smoke", 2, 0, changes=changes)
        model.network[0].register_forward_hook(lambda module, given, found: seen.append(found.dtype))
        train(model, training_clips(store), tmp_path / str(changes), "fan", epochs=1)
    assert seen[0] == torch.float32 and seen[-1] == torch.bfloat16
    assert set(seen) == {torch.float32, torch.bfloat16}


def test_scores_after_a_training_in_mixed_precision_are_close(store: Store, tmp_path: Path) -> None:
    """Scored in single precision, both; at the paper's learning rate, whose steps do not amplify what is rounded."""
    clips, scores = training_clips(store), []
    for precision in ("fp32", "bf16"):
        changes = {"precision": precision, "learning_rate": 1e-4}
        model = trained(store, tmp_path / precision, changes=changes)
        scores.append(clip_scores(model, clips, torch.device("cpu"))[""])
    full, mixed = scores
    assert not np.array_equal(full, mixed)
    np.testing.assert_allclose(mixed, full, rtol=0.005)


def test_what_a_device_cannot_train_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("fp32", "bf16"):
        check_precision(precision, torch.device("cpu"))
    with pytest.raises(UsageError, match="a CPU trains in fp32 or bf16; fp16 is for GPUs"):
        check_precision("fp16", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "An older GPU")
    check_precision("fp16", torch.device("cuda"))
    with pytest.raises(UsageError, match="An older GPU has no bfloat16"):
        check_precision("bf16", torch.device("cuda"))


def test_a_training_in_half_precision_resumes_with_its_scale(store: Store, tmp_path: Path) -> None:
    """The factor of the losses is part of the state: without it a resumed training would begin with another."""
    model = create("autoencoder", "smoke", 2, 0)
    optimizer, scaler = model.optimizer(), torch.amp.GradScaler("cpu", init_scale=512.0)
    scaler.scale(torch.zeros(()))  # its scale exists from its first use on
    save_checkpoint(tmp_path / "half.pt", model, optimizer, [], scaler)
    fresh = torch.amp.GradScaler("cpu")
    load_checkpoint(tmp_path / "half.pt", model, optimizer, fresh)
    assert fresh.get_scale() == 512.0
    save_checkpoint(tmp_path / "full.pt", model, optimizer, [], torch.amp.GradScaler("cpu", enabled=False))
    assert "scaler" not in torch.load(tmp_path / "full.pt", weights_only=True)
    with pytest.raises(DataError, match="of another model or version"):
        load_checkpoint(tmp_path / "full.pt", model, optimizer, torch.amp.GradScaler("cpu"))


def test_half_precision_trains_and_goes_on(store: Store, tmp_path: Path) -> None:
    """Slow on a CPU, where the command refuses it, but all that it does there is what a GPU does."""
    changes = {"precision": "fp16", "learning_rate": 1e-4}
    whole = trained(store, tmp_path / "whole", changes=changes)
    with pytest.raises(Stop):
        trained(store, tmp_path / "part", changes=changes, on_epoch=stop_after(1))
    assert "scaler" in torch.load(tmp_path / "part/checkpoint_fan.pt", weights_only=True)
    assert same_weights(whole, trained(store, tmp_path / "part", changes=changes))
    full = trained(store, tmp_path / "full", changes=changes | {"precision": "fp32"})
    assert not same_weights(whole, full)
    clips, device = training_clips(store), torch.device("cpu")
    scores = [clip_scores(model, clips, device)[""] for model in (whole, full)]
    np.testing.assert_allclose(*scores, rtol=0.005)


@pytest.mark.parametrize("memory_budget_bytes", [1e9, 0], ids=["in memory", "shard by shard"])
def test_clips_held_out_may_be_drawn(store: Store, memory_budget_bytes: int) -> None:
    """By the seed, from anywhere among the clips; no batch holds one."""
    clips, drawn = training_clips(store, memory_budget_bytes=memory_budget_bytes), []
    for seed in (0, 1):
        changes = {"held_out": 0.1, "held_out_from": "anywhere"}
        model = create("autoencoder", "smoke", 2, seed, changes=changes)
        source = TrainingClips(model, clips, torch.device("cpu"))
        batches = [set(labels.training_row.tolist()) for _, labels in source.batches(Epoch(0, 1))]
        held_out = [row for _, labels in source.held_out() for row in labels.training_row.tolist()]
        in_order = [row for _, labels in source for row in labels.training_row.tolist()]
        assert len(held_out) == 2 and set.union(*batches) == set(in_order) == set(range(18)) - set(held_out)
        assert in_order == sorted(in_order)
        assert training_windows(model, clips, 1) == 16 * n_windows(N_FRAMES, 5, model.settings.train_hop)
        drawn.append(held_out)
    assert drawn[0] != drawn[1] and [16, 17] not in drawn, "a draw of each seed's own, not the end"


def test_nothing_to_train(store: Store, tmp_path: Path) -> None:
    assert train(create("nearest_neighbour", "paper", 2, 0), training_clips(store), tmp_path, "fan") == []
    assert list(tmp_path.iterdir()) == []


class Whole(Detector):
    """A model of whole clips: batches of its own making, two rates of learning, statistics of every epoch."""

    profiles = {"smoke": Settings(epochs=3, learning_rate=0.5, batch_size=4, tuning_epochs=1)}
    width = None
    uses_outliers = True

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__(self.profiles["smoke"], 2, 0)
        self.slow, self.fast = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros(()))
        self.epochs: list[Epoch] = []
        self.sections: list[list[int]] = []

    def parameter_groups(self) -> list[tuple[list[torch.nn.Parameter], float]]:
        return [([self.slow], 0.5), ([self.fast], 2.0)]

    def learning_rate_factor(self, epoch: Epoch) -> float:
        return 0.5**epoch.number

    def optimizer(self, groups: Any = None) -> torch.optim.Optimizer:
        given = self.parameter_groups() if groups is None else groups
        return torch.optim.SGD([{"params": parameters, "lr": rate} for parameters, rate in given])

    def begin_epoch(self, epoch: Epoch, chunks: Chunks) -> None:
        self.epochs.append(epoch)
        first, again = (sum(len(labels) for _, labels in chunks) for _ in range(2))
        assert first == again, "chunks can be gone through again"
        self.seen.fill_(float(self.seen) + sum(float(logmel.sum()) for logmel, _ in chunks))

    def batches(self, labels: Labels, epoch: Epoch) -> list[torch.Tensor]:
        own, others = (torch.nonzero(chosen)[:, 0] for chosen in (labels.section >= 0, labels.section < 0))
        half = len(own) // 2
        return [torch.cat([own[torch.randperm(len(own))][:half], others[:2]]) for _ in range(epoch.number + 1)]

    def loss(self, batch: torch.Tensor, labels: Labels) -> torch.Tensor:
        self.sections.append(labels.section.tolist())
        return -(self.slow + self.fast).sum() + 0 * batch.sum()

    def _score(self, features: torch.Tensor, labels: Labels) -> torch.Tensor:
        return features.mean(dim=(1, 2))


@pytest.mark.parametrize("budget_bytes", [0, 2**30])
def test_whole_clips_in_batches_of_the_models_own(store: Store, tmp_path: Path, budget_bytes: int) -> None:
    pool = ClipDataset.training_pool(store, machine_types="fan", outliers=True, memory_budget_bytes=budget_bytes)
    model = Whole()
    done: list[int] = []
    losses = train(model, pool, tmp_path, "fan", on_progress=done.append)
    assert model.epochs == [Epoch(0, 3), Epoch(1, 3), Epoch(2, 3)]
    assert [len(batch) for batch in model.sections] == [9 + 2] * (1 + 2 + 3)
    assert all(batch[-2:] == [-1, -1] and min(batch[:-2]) == 0 for batch in model.sections)
    assert sum(done) == training_windows(model, pool, 3) == 11 * 6
    # One step of 1 a batch at its own rate, which halves each epoch: 1 + 2 / 2 + 3 / 4 times the rate.
    assert (model.slow.item(), model.fast.item()) == pytest.approx((0.5 * 2.75, 2.0 * 2.75))
    assert len(losses) == 3 and all(loss.duration_s > 0 for loss in losses)
    assert float(model.seen) == pytest.approx(3 * float(pool.read(range(len(pool))).sum()), rel=1e-4)


def test_whole_clips_go_on_where_they_stopped(store: Store, tmp_path: Path) -> None:
    """Statistics that the model keeps in buffers, and the batches, are as if nothing had happened."""
    pool = ClipDataset.training_pool(store, machine_types="fan", outliers=True)
    whole, first, resumed = Whole(), Whole(), Whole()
    train(whole, pool, tmp_path / "whole", "fan")
    with pytest.raises(Stop):
        train(first, pool, tmp_path / "part", "fan", on_epoch=stop_after(1))
    train(resumed, pool, tmp_path / "part", "fan")
    assert resumed.epochs == [Epoch(1, 3), Epoch(2, 3)]
    assert same_weights(whole, resumed)


def test_tuning_has_its_own_epochs(store: Store, tmp_path: Path) -> None:
    model = Whole()
    assert len(train(model, training_clips(store), tmp_path, "fan", tuning=True)) == 1
    assert model.epochs == [Epoch(0, 1, tuning=True)]
