"""Models: exact sizes, windows, values by hand, and that what learns does learn."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import MODELS, PROFILES, create, model_class
from mimiidg_build.models.autoencoder import MahalanobisAutoencoder
from mimiidg_build.models.base import MAIN, Detector, Epoch, Labels, Settings
from mimiidg_build.models.held_out import trained_rows
from mimiidg_build.models.mobilenetv2 import InvertedResidual, negative_log_odds
from mimiidg_build.models.windows import Windows, n_windows


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(n_clips: int, n_frames: int = 80, seed: int = 0) -> torch.Tensor:
    """Log-mel of made-up clips: a sloping spectrum in dB and its random scatter."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_clips, n_frames, 128, generator=generator) * 3 - torch.linspace(20, 60, 128)


def labels(n_clips: int, n_sections: int = 3, n_target: int = 1, training: bool = True) -> Labels:
    targets = [index >= n_clips - n_target for index in range(n_clips)]
    return Labels.of([index % n_sections for index in range(n_clips)], targets, training)


def train(model: Detector, logmel: torch.Tensor, known: Labels, n_batches: int, batch_size: int = 64) -> list[float]:
    """The training loop in small: knows no particular model."""
    windows, optimizer, losses = model.windows(logmel), model.optimizer(), []
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(n_batches):
        numbers = torch.randint(len(windows), (batch_size,), generator=generator)
        loss = model.loss(windows.batch(numbers), known.take(windows.clips_of(numbers)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# ---- The list of models ----------------------------------------------------------------------------------------------


def clips_for(name: str, n_clips: int, seed: int = 0) -> torch.Tensor:
    """Whole clips as the model takes them: log-mel of 313 frames, or the samples of 10 s."""
    if model_class(name).takes == "logmel":
        return noise(n_clips, 313, seed)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3000, 3000, (n_clips, 160_000), generator=generator, dtype=torch.int16)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_every_profile_and_keeps_the_protocol(name):
    cls = model_class(name)
    assert issubclass(cls, Detector)
    assert {"paper", "cpu", "smoke"} <= set(cls.profiles) <= set(PROFILES)
    n_sections = 1 if cls.scope == "section" else 3
    model = create(name, "smoke", n_sections, seed=0)
    clips, known = clips_for(name, 6), labels(6, n_sections)
    chunks = [(clips[:4], known.take(slice(0, 4))), (clips[4:], known.take(slice(4, 6)))]
    if model.settings.epochs:
        model.begin_epoch(Epoch(0, 1), chunks)
        assert train(model, clips, known, n_batches=2, batch_size=2)
    model.fit_after(chunks)
    test, strange = labels(3, n_sections, training=False), clips_for(name, 3, seed=1)
    scores = model.scores(strange, test)
    alone = model.scores(strange[1:2], test.take(slice(1, 2)))
    assert MAIN in scores
    for key, values in scores.items():
        assert values.shape == (3,)
        assert values.isfinite().all()
        assert not values.requires_grad
        torch.testing.assert_close(alone[key], values[1:2], rtol=1e-4, atol=1e-5)


EMBEDDING_SIZES = {
    **{"autoencoder": 8, "autoencoder_mahalanobis": 8, "mobilenetv2": 1280, "conformer": 64},
    **{"nearest_neighbour": 128, "nearest_neighbour_max": 128},
    **{"two_branch": 256, "two_branch_multiresolution": 512},
}


@pytest.mark.parametrize("name", [name for name in MODELS if name != "attention"])
def test_every_model_embeds_clips(name):
    """A vector a clip, whatever the mode and the clips beside it; of the paper's size where that is not too large."""
    n_sections = 1 if model_class(name).scope == "section" else 3
    model = create(name, "smoke", n_sections, seed=0)
    clips, known = clips_for(name, 5), labels(5, n_sections)
    assert model_class(name).embeds()
    model.train()
    found = model.embed(clips, known)
    size = 8 * model.settings.base_width if n_sections == 1 else EMBEDDING_SIZES[name]
    assert found.shape == (5, size) and found.dtype == torch.float64 and found.isfinite().all()
    assert model.training and not found.requires_grad
    alone = model.embed(clips[1:2], known.take(slice(1, 2)))
    torch.testing.assert_close(alone, found[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.equal(found[0], found[1]), "different clips"


def test_embeddings_are_of_the_layer_before_the_output():
    """Each by hand, from another side of the network."""
    clips, known = noise(3, 313), labels(3)
    autoencoder = create("autoencoder", "paper", 3, 0).eval()
    vectors = torch.stack([clips[1, first : first + 5].flatten() for first in range(309)])
    decoded = autoencoder.network[15:](autoencoder.network[:15](vectors))
    torch.testing.assert_close(decoded, autoencoder(vectors), msg="the first 15 layers are the encoder")
    bottleneck = autoencoder.network[:15](vectors).mean(dim=0)
    torch.testing.assert_close(autoencoder.embed(clips, known)[1].float(), bottleneck, rtol=1e-4, atol=1e-5)
    mobilenet = create("mobilenetv2", "paper", 3, 0).eval()
    windows = torch.stack([clips[1, 16 * number : 16 * number + 64] for number in range(16)])
    logits = mobilenet.classifier(mobilenet.embed(clips, known)[1].float())
    torch.testing.assert_close(logits, mobilenet(windows).mean(dim=0), rtol=1e-4, atol=1e-4)
    nearest = create("nearest_neighbour", "paper", 3, 0)
    torch.testing.assert_close(nearest.embed(clips, known), clips.double().mean(dim=1))
    conformer = create("conformer", "smoke", 3, 0).eval()
    torch.testing.assert_close(conformer.embed(clips, known).float(), conformer(clips))
    bce = create("bce", "smoke", 1, 0).eval()
    of_one = Labels.of([0] * 3, [False] * 3, training=False)
    middle = torch.stack([clips[:, first : first + 256] for first in (0, 28, 57)], dim=1).flatten(0, 1)
    z = bce._embed(middle, torch.zeros(9)).view(3, 3, -1).mean(dim=1)
    torch.testing.assert_close(bce.embed(clips, of_one).float(), z, rtol=1e-4, atol=1e-5)


def test_attention_embeds_what_arcface_classifies():
    model = create("attention", "smoke", 3, seed=0).eval()
    audio, known = clips_for("attention", 2), labels(2)
    found = model.embed(audio, known)
    assert found.shape == (2, 128)
    cosine = F.normalize(found.float()) @ F.normalize(model.classes).T
    torch.testing.assert_close(cosine, model(audio.float() / 32768), rtol=1e-4, atol=1e-5)


def test_a_model_of_ones_own_need_not_embed():
    class Silent(Detector):
        width = 1

        def loss(self, batch, labels):
            return batch.mean()

        def _score(self, logmel, labels):
            return logmel.mean(dim=(1, 2))

    assert not Silent.embeds()
    with pytest.raises(UsageError, match="Silent gives no embeddings: it defines no _embed_clips"):
        Silent(Settings(epochs=0), 1, 0).embed(noise(1), labels(1))


def test_naming_the_models_does_not_import_torch():
    code = "import sys, mimiidg_build.models as m; print(len(m.MODELS), 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(len(MODELS)), "False"]


def test_unknown_models_and_profiles_are_wrong_use():
    with pytest.raises(UsageError, match="there is no model 'vgg'; choose one of autoencoder, "):
        create("vgg", "paper", 3, 0)
    with pytest.raises(
        UsageError, match="autoencoder has no profile 'fast'; choose one of paper, released, cpu, smoke"
    ):
        create("autoencoder", "fast", 3, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere:Quiet",
            "no model 'nowhere:Quiet': ModuleNotFoundError: No module named 'nowhere'. Expected module:Class",
        ),
        ("own_model:Loud", "no model 'own_model:Loud': AttributeError"),
        ("own_model:N", "own_model:N is 3; expected a class derived from"),
        ("own_broken:Quiet", "no model 'own_broken:Quiet': ZeroDivisionError: division by zero"),
    ],
)
def test_models_of_ones_own(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "own_broken.py").write_text("1 / 0")
    (tmp_path / "own_model.py").write_text(
        "from mimiidg_build.models.nearest_neighbour import NearestNeighbour as Base\nN = 3\nclass Quiet(Base): pass\n"
    )
    assert model_class("own_model:Quiet").__name__ == "Quiet"
    with pytest.raises(UsageError, match=message):
        model_class(name)


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_from_the_seed_alone(name):
    n_sections = 1 if model_class(name).scope == "section" else 3
    first = create(name, "smoke", n_sections, seed=1).state_dict()
    torch.manual_seed(99)  # whatever was drawn before
    again, other = (create(name, "smoke", n_sections, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(first[key], again[key]) or first[key].isnan().all() for key in first)
    if create(name, "smoke", n_sections, 0).n_trainable():
        assert any(not torch.equal(first[key], other[key]) for key in first if key.endswith("weight"))


@pytest.mark.parametrize(
    ("name", "profile", "expected"),
    [
        ("autoencoder", "paper", Settings(epochs=100, learning_rate=1e-4, batch_size=128)),
        ("autoencoder", "released", Settings(epochs=100, learning_rate=1e-3, batch_size=512, held_out=0.1)),
        (
            "mobilenetv2",
            "paper",
            Settings(20, learning_rate=1e-4, batch_size=128, train_hop=16, score_hop=16, batch_norm_momentum=1e-3),
        ),
        ("mobilenetv2", "released", Settings(20, 1e-5, 32, 8, 1, held_out=0.1, batch_norm_momentum=1e-3)),
        ("nearest_neighbour", "paper", Settings(epochs=0)),
    ],
)
def test_profiles_are_the_published_ones(name, profile, expected):
    assert model_class(name).profiles[profile] == expected


@pytest.mark.parametrize(
    ("name", "n_sections", "trainable", "running"),
    [
        ("autoencoder", 3, 267_928, 2_064),  # together 269,992, the literature's 269K
        ("autoencoder_mahalanobis", 3, 267_928, 2_064),
        ("mobilenetv2", 3, 691_523, 18_544),  # Keras without its top: 687,680 + 18,544 = 706,224
        ("mobilenetv2", 6, 691_523 + 3 * 1281, None),
        ("nearest_neighbour", 3, 0, 0),
    ],
)
def test_parameter_counts_are_exact(name, n_sections, trainable, running):
    model = create(name, "paper", n_sections, seed=0)
    assert model.n_trainable() == trainable
    if running is not None:
        found = sum(b.numel() for key, b in model.named_buffers() if key.endswith(("running_mean", "running_var")))
        assert found == running


def test_layers_are_kerass():
    for name, momentum in (("autoencoder", 0.01), ("mobilenetv2", 0.001)):
        model = create(name, "paper", 3, seed=0)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, momentum)}
        (group,) = model.optimizer().param_groups
        assert (group["eps"], group["lr"], group["betas"]) == (1e-7, 1e-4, (0.9, 0.999))
    linear = create("autoencoder", "paper", 3, seed=0).network[0]
    bound = (6 / (640 + 128)) ** 0.5  # Glorot-uniform
    assert 0.99 * bound < linear.weight.abs().max() <= bound
    assert not linear.bias.any()


# ---- Windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_frames", "width", "hop", "expected"),
    [
        (313, 5, 1, 309),
        (313, 64, 16, 16),
        (313, 64, 8, 32),
        (313, 64, 1, 250),
        (5, 5, 1, 1),
        (9, 5, 4, 2),
        (8, 5, 4, 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_windows_are_the_frames_they_should_be(n_frames, width, hop, expected, dtype):
    logmel = torch.arange(3 * n_frames * 2, dtype=torch.float64).reshape(3, n_frames, 2).remainder(1009).to(dtype)
    windows = Windows(logmel, width, hop)
    assert windows.per_clip == n_windows(n_frames, width, hop) == expected
    assert len(windows) == 3 * expected
    numbers = torch.arange(len(windows))
    plain = [logmel[i // expected, (i % expected) * hop : (i % expected) * hop + width] for i in range(len(windows))]
    torch.testing.assert_close(windows.batch(numbers), torch.stack(plain).float(), rtol=0, atol=0)
    assert windows.clips_of(numbers).tolist() == [i // expected for i in range(len(windows))]
    turned = numbers.flip(0)
    torch.testing.assert_close(windows.batch(turned), windows.batch(numbers).flip(0), rtol=0, atol=0)
    by_clip = torch.cat(list(windows.by_clip(limit=2 * expected)))
    assert by_clip.shape == (3, expected, width, 2)
    torch.testing.assert_close(by_clip.flatten(0, 1), windows.batch(numbers), rtol=0, atol=0)


def test_windows_by_clip_are_views_of_the_clips():
    """In single precision nothing is copied to be scored."""
    logmel = noise(4)
    parts = list(Windows(logmel, 5, 1).by_clip(1))
    assert [part.data_ptr() for part in parts] == [clip.data_ptr() for clip in logmel]


def test_autoencoder_scores_as_its_layers_one_by_one():
    """Batch norm is within the weights of the layer before; what a derived class reconstructs counts, too."""
    model = create("autoencoder", "paper", 1, seed=0)
    model.train()(torch.randn(64, 640) * 20 - 40)  # running statistics that are not those it begins with
    logmel = noise(3)
    windows = logmel.unfold(1, 5, 1).transpose(2, 3).flatten(2)
    with torch.no_grad():
        expected = (model.eval()(windows.flatten(0, 1)).view_as(windows) - windows).square().mean(dim=(1, 2))
    torch.testing.assert_close(model.score(logmel, labels(3)), expected, rtol=1e-5, atol=0)

    class Silent(type(model)):
        def forward(self, vectors: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(vectors)

    silent = Silent(model.settings, 1, 0)
    torch.testing.assert_close(silent.score(logmel, labels(3)), windows.square().mean(dim=(1, 2)))


def test_windows_share_the_memory_of_the_clips():
    logmel = noise(4)
    windows = Windows(logmel, 5, 1)
    before = windows.batch(torch.tensor([76 + 3]))
    logmel[1, 3:8] += 1
    torch.testing.assert_close(windows.batch(torch.tensor([76 + 3])), before + 1)


def test_windows_of_a_part_of_a_tensor_and_of_a_transposed_one():
    logmel = noise(4)
    assert torch.equal(Windows(logmel[2:], 5, 1).batch(torch.tensor([0]))[0], logmel[2, :5])
    turned = logmel.transpose(1, 2)
    assert torch.equal(Windows(turned, 5, 1).batch(torch.tensor([1]))[0], turned[0, 1:6])


def test_no_clips_no_windows():
    windows = Windows(torch.zeros(0, 80, 128), 5, 1)
    assert len(windows) == 0
    assert list(windows.by_clip(10)) == []


@pytest.mark.parametrize(
    ("logmel", "match"),
    [
        (torch.zeros(2, 4, 128), "a window of 5 frames does not fit into a clip of 4"),
        (torch.zeros(313, 128), r"expected float log-mel \(clip, frame, mel\), found torch.float32 \(313, 128\)"),
        (torch.zeros(2, 313, 128, dtype=torch.int16), "found torch.int16"),
    ],
)
def test_windows_refuse_what_they_cannot_cut(logmel, match):
    with pytest.raises(ValueError, match=match):
        Windows(logmel, 5, 1)


def test_labels_know_training_clips_from_others():
    assert labels(3).training_row.tolist() == [0, 1, 2]
    assert labels(3, training=False).training_row.tolist() == [-1, -1, -1]
    taken = labels(4).take(torch.tensor([3, 0]))
    assert (taken.section.tolist(), taken.is_target.tolist(), taken.training_row.tolist()) == (
        [0, 0],
        [True, False],
        [3, 0],
    )


# ---- Autoencoder -----------------------------------------------------------------------------------------------------


def test_autoencoder_is_the_published_chain_of_layers():
    network = create("autoencoder", "paper", 3, seed=0).network
    sizes = [(layer.in_features, layer.out_features) for layer in network if isinstance(layer, nn.Linear)]
    chain = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    assert sizes == list(zip(chain[:-1], chain[1:], strict=True))
    kinds = [type(layer) for layer in network]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 9 + [nn.Linear], "the last layer is linear"


def test_autoencoder_score_is_the_mean_square_error_over_309_windows():
    model = create("autoencoder", "paper", 3, seed=0)
    logmel = noise(2, n_frames=313)
    scores = model.score(logmel, labels(2, training=False))
    model.eval()
    for clip, score in zip(logmel, scores, strict=True):
        vectors = torch.stack([clip[first : first + 5].flatten() for first in range(309)])
        assert score.item() == pytest.approx((vectors - model(vectors)).square().mean().item(), rel=1e-5)


def test_autoencoder_learns_and_scores_the_strange_higher():
    model = create("autoencoder", "smoke", 3, seed=0)
    logmel = noise(12)
    losses = train(model, logmel, labels(12), n_batches=600, batch_size=16)
    assert losses[-1] < 0.05 * losses[0]
    normal, strange = noise(4, seed=1), noise(4, seed=2)
    strange[:, :, 40:60] += 15.0  # a whine that training never heard
    test = labels(4, training=False)
    assert model.score(strange, test).min() > model.score(normal, test).max()


@pytest.mark.parametrize("name", ["autoencoder", "mobilenetv2"])
def test_scores_need_no_eval_mode_and_leave_the_mode_alone(name):
    model = create(name, "smoke", 3, seed=0)
    logmel, test = noise(3), labels(3, training=False)
    expected = model.eval().score(logmel, test)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.testing.assert_close(model.score(logmel, test), expected, rtol=0, atol=0)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()), "nothing was updated"


def test_float16_features_score_as_their_values_do():
    model = create("autoencoder", "smoke", 3, seed=0)
    half, test = noise(2).half(), labels(2, training=False)
    torch.testing.assert_close(model.score(half, test), model.score(half.float(), test))


# ---- Mahalanobis -----------------------------------------------------------------------------------------------------


def test_mahalanobis_is_the_smaller_domains_mean_squared_distance():
    model = create("autoencoder_mahalanobis", "smoke", 3, seed=0)
    logmel, known = noise(6, n_frames=40), labels(6, n_target=2)
    logmel[4:] *= 1.5
    model.fit_after([(logmel[:3], known.take(slice(0, 3))), (logmel[3:], known.take(slice(3, 6)))])
    test = noise(2, n_frames=40, seed=1)
    found = model.score(test, labels(2, training=False))

    def residual_rows(clips: torch.Tensor) -> np.ndarray:
        vectors = torch.stack([clip[first : first + 5].flatten() for clip in clips for first in range(36)])
        return (vectors - model.eval()(vectors)).detach().double().reshape(-1, 128).numpy()

    inverses = [np.linalg.inv(np.cov(residual_rows(clips), rowvar=False)) for clips in (logmel[:4], logmel[4:])]
    for clip, score in zip(test, found, strict=True):
        rows = residual_rows(clip[None])
        distances = [np.einsum("ri,ij,rj->r", rows, inverse, rows).mean() for inverse in inverses]
        assert score.item() == pytest.approx(min(distances), rel=1e-3)
        assert abs(distances[0] - distances[1]) > 0.1 * min(distances), "the domains differ, so the minimum matters"


class Nothing(nn.Module):
    """In place of the network: reconstructs zeros, so that a residual is the frame itself."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(vectors)


def mahalanobis(profile: str, **changes: object) -> MahalanobisAutoencoder:
    model = create("autoencoder_mahalanobis", profile, 1, seed=0, changes=changes)
    assert isinstance(model, MahalanobisAutoencoder)
    model.network = nn.Sequential(Nothing())
    return model


def test_mahalanobis_profiles_say_which_they_are():
    """The code's of 2023, and the distance of the text; what is quick follows the text."""
    profiles = model_class("autoencoder_mahalanobis").profiles
    found = {name: (settings.distance, settings.covariance) for name, settings in profiles.items()}
    text = ("frames", "frames")
    assert found == {"paper": text, "cpu": text, "smoke": text, "released": ("mean_residual", "released")}
    released = profiles["released"]
    assert (released.learning_rate, released.batch_size, released.epochs) == (1e-3, 256, 100)
    assert (released.held_out, released.held_out_from) == (0.1, "anywhere")


@pytest.mark.parametrize(("profile", "expected"), [("released", 7.285), ("paper", 31.571)])
def test_mahalanobis_by_hand_of_one_clip(profile, expected):
    """Residuals m + f and m - f by turns in one band, unit covariance: the mean's distance is m^2 = 7.285, the mean
    distance m^2 + f^2 = 7.285 + 24.286. Those are the figures of an official fan model and one clip of section 00, to
    which the released code gives 7.28500. Under the target's covariance, four times as large, both are a quarter."""
    model = mahalanobis(profile)
    model.whitener.copy_(torch.stack([torch.eye(128), torch.eye(128)]))
    logmel = torch.zeros(1, 6, 128)  # two windows, frames 0 to 4 and 1 to 5: three of each kind minus two, twice
    logmel[0, :, 3] = 7.285**0.5 + 24.286**0.5 * torch.tensor([1.0, -1, 1, -1, 1, -1])
    assert model.score(logmel, labels(1, 1)).item() == pytest.approx(expected, rel=1e-6)
    model.whitener[1] /= 2
    assert model.score(logmel, labels(1, 1)).item() == pytest.approx(expected / 4, rel=1e-6)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [("released", 2 * 3.0**2), ("paper", 2 * 3.0**2 * 644 / 128)],
)
def test_mahalanobis_covariance_by_hand(profile, expected):
    """129 clips of one window each: s in band j, j = 0 to 127, and silence. About their mean, with J a matrix of ones,
    the scatter of the 645 residuals is 5 s^2 (I - J / 129), whose inverse is (I + J) / (5 s^2). With s^2 = 128 / 5 the
    released code, which divides by 129 windows less one, has the inverse covariance I + J; divided by 645 frames less
    one it is 644 / 128 of that. So a clip of 3 in one band scores 2 * 9, or 644 / 128 of it."""
    logmel = torch.cat([torch.diag(torch.full((128,), (128 / 5) ** 0.5)), torch.zeros(1, 128)])
    clips = logmel[:, None].expand(-1, 5, -1).repeat(2, 1, 1)  # the same of source and of target
    known = Labels.of([0] * 258, [False] * 129 + [True] * 129, training=True)
    model = mahalanobis(profile, held_out=0.0, batch_size=1000)  # one batch
    model.fit_after([(clips[:100], known.take(slice(0, 100))), (clips[100:], known.take(slice(100, 258)))])
    test = torch.zeros(1, 5, 128)
    test[..., 7] = 3.0
    assert model.score(test, labels(1, 1)).item() == pytest.approx(expected, rel=1e-5)


def test_mahalanobis_of_the_released_code_centres_batch_by_batch():
    """As its own lines do it: windows of the clips not held out, shuffled, in batches; each domain's residuals less
    their mean in the batch; all over the number of windows less one."""
    model = mahalanobis("released", batch_size=16, held_out=0.25)
    clips, known = noise(16, n_frames=60), labels(16, 1, n_target=6)
    model.fit_after([(clips[:7], known.take(slice(0, 7))), (clips[7:], known.take(slice(7, 16)))])
    rows = trained_rows(model.settings, 0, 16).tolist()
    assert len(rows) == 12 and rows != list(range(12))
    windows = np.stack([clips[row, first : first + 5].double().numpy() for row in rows for first in range(56)])
    is_target = np.repeat([row >= 10 for row in rows], 56)
    batch_of = torch.randperm(12 * 56, generator=torch.Generator().manual_seed(0)).numpy() // 16
    for domain, target in enumerate((False, True)):
        scatter, n_windows = np.zeros((128, 128)), 0
        for batch in range(12 * 56 // 16):
            residuals = windows[(batch_of == batch) & (is_target == target)].reshape(-1, 128)
            if len(residuals):
                centred = residuals - residuals.mean(axis=0)
                scatter += centred.T @ centred
                n_windows += len(residuals) // 5
        inverse = (model.whitener[domain] @ model.whitener[domain].T).double().numpy()
        np.testing.assert_allclose(inverse @ (scatter / (n_windows - 1)), np.eye(128), atol=1e-3)


@pytest.mark.parametrize(
    ("logmel", "n_target", "match"),
    [
        (noise(4), 0, "0 frames of target training clips cannot give a covariance"),
        (noise(4), 4, "0 frames of source training clips"),
        (torch.zeros(4, 80, 128), 1, "covariance of the training residuals is singular"),
    ],
)
def test_mahalanobis_needs_clips_of_both_domains(logmel, n_target, match):
    model = create("autoencoder_mahalanobis", "smoke", 3, seed=0)
    with pytest.raises(DataError, match=match):
        model.fit_after([(logmel, labels(4, n_target=n_target))])


def test_mahalanobis_without_domains_has_one_covariance():
    """That of all clips, as if they were of both domains."""
    model = create("autoencoder_mahalanobis", "smoke", 3, seed=0)
    logmel = noise(8)
    plain = Labels.of([0] * 8, [False] * 8, training=True, has_domain=[False] * 8)
    model.fit_after([(logmel, plain)])
    assert torch.equal(model.whitener[0], model.whitener[1])
    alone = create("autoencoder_mahalanobis", "smoke", 3, seed=0)
    alone.fit_after([(torch.cat([logmel, logmel]), labels(16, n_target=8))])
    torch.testing.assert_close(model.score(logmel, plain), alone.score(logmel, plain), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("name", "profile", "least"),
    [("autoencoder", "paper", 5), ("mobilenetv2", "paper", 64), ("conformer", "smoke", 7), ("bce", "smoke", 128)],
)
def test_the_shortest_clip_that_a_model_takes(name, profile, least):
    """With one frame less it fails."""
    cls = model_class(name)
    assert cls.min_length(cls.profiles[profile]) == least
    model = create(name, profile, 2, seed=0).eval()
    known = Labels.of([0, 0, 1], [False] * 3, training=True)
    score = model._embeddings if name == "conformer" else lambda clips: model.score(clips, known)
    with torch.no_grad():
        assert torch.isfinite(score(noise(3, least))).all()
        with pytest.raises((RuntimeError, ValueError)):
            score(noise(3, least - 1))


def test_mahalanobis_gives_no_score_before_it_is_fitted():
    model = create("autoencoder_mahalanobis", "smoke", 3, seed=0)
    assert isinstance(model, MahalanobisAutoencoder)
    with pytest.raises(ValueError, match="need fit_after first"):
        model.score(noise(1), labels(1))


# ---- MobileNetV2 -----------------------------------------------------------------------------------------------------


def test_mobilenetv2_shapes():
    model = create("mobilenetv2", "paper", 3, seed=0).eval()
    images = noise(2, n_frames=64)[:, None].expand(-1, 3, -1, -1)
    assert model.features[0](images).shape == (2, 16, 32, 64)
    assert model.features(images).shape == (2, 1280, 2, 4), "five halvings"
    assert model(noise(2, n_frames=64)).shape == (2, 3)
    blocks = [layer for layer in model.features if isinstance(layer, InvertedResidual)]
    assert len(blocks) == 17
    assert sum(block.is_residual for block in blocks) == 10


def test_stride_two_pads_bottom_and_right_only():
    # A kernel that looks at its top left corner: with Keras' padding it sees pixels 0, 2, 4, ...; with symmetric
    # padding it would see the border and then 1, 3, ...
    stem = create("mobilenetv2", "paper", 3, seed=0).eval().features[0]
    pad, convolution = stem[0], stem[1]
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, :, 0, 0] = 1 / 3
    image = torch.arange(32.0).reshape(1, 1, 4, 8).expand(-1, 3, -1, -1)
    torch.testing.assert_close(convolution(pad(image))[0, 0], image[0, 0, ::2, ::2])


def test_negative_log_odds_by_hand_and_where_p_rounds_to_one():
    p = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    found = negative_log_odds(p.log() + 7.0, torch.tensor([2, 0]))
    torch.testing.assert_close(found, torch.tensor([0.0, float(np.log(0.1 / 0.9))]))
    extreme = torch.tensor([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]])
    found = negative_log_odds(extreme, torch.tensor([0, 0]))
    torch.testing.assert_close(found, torch.tensor([-200.0 + np.log(2), 200.0 + np.log(2)], dtype=torch.float32))


@pytest.mark.parametrize(("profile", "per_clip", "hop"), [("paper", 16, 16), ("released", 250, 1)])
def test_mobilenetv2_score_is_the_mean_over_windows(profile, per_clip, hop):
    model = create("mobilenetv2", profile, 3, seed=0)
    # Doubt about section 2, asked of clips said to be of sections 2 and 0; of 250 windows each, of one clip.
    sections = [2, 0] if profile == "paper" else [2]
    logmel = noise(len(sections), n_frames=313)
    said = Labels.of(sections, [False] * len(sections), training=False)
    found = model.score(logmel, said)
    model.eval()
    with torch.no_grad():
        for clip, section, score in zip(logmel, sections, found, strict=True):
            windows = torch.stack([clip[i * hop : i * hop + 64] for i in range(per_clip)])
            p = F.softmax(model(windows).double(), dim=1)[:, section]
            assert score.item() == pytest.approx(torch.log((1 - p) / p).mean().item(), abs=1e-4)


def test_mobilenetv2_learns_its_sections_and_scores_the_wrong_one_high():
    model = create("mobilenetv2", "smoke", 2, seed=0)
    logmel, known = noise(8, n_frames=64), labels(8, n_sections=2)
    logmel[known.section == 1, :, 60:80] += 20.0
    losses = train(model, logmel, known, n_batches=100, batch_size=4)  # at 60 a clip may still be misclassified
    assert np.median(losses[-5:]) < 0.3 * losses[0]
    right = model.score(logmel, known)
    wrong = model.score(logmel, replace(known, section=1 - known.section))
    assert (wrong > right).all(), "a clip that does not sound like its section scores higher"


def test_mobilenetv2_needs_two_sections():
    with pytest.raises(UsageError, match="needs two or more, found 1"):
        create("mobilenetv2", "paper", 1, seed=0)


# ---- Nearest neighbour -----------------------------------------------------------------------------------------------


def clips_of(*vectors: tuple[float, float]) -> torch.Tensor:
    """Clips of four frames and two bands whose mean is the vector and whose maximum is the vector plus one."""
    swing = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    return torch.stack([torch.tensor(vector) + swing for vector in vectors])


def test_nearest_neighbour_by_hand():
    model = create("nearest_neighbour", "paper", 2, seed=0)
    # Section 0: source along (1, 0), target along (0, 1). Section 1: along the diagonal.
    training = clips_of((3.0, 0.0), (0.0, 2.0), (5.0, 5.0))
    known = Labels.of([0, 0, 1], [False, True, False], training=True)
    model.fit_after([(training[:1], known.take(slice(0, 1))), (training[1:], known.take(slice(1, 3)))])
    test = clips_of((7.0, 0.0), (0.0, 7.0), (1.0, 1.0), (1.0, 1.0), (-1.0, 0.0))
    sections = [0, 0, 0, 1, 0]
    found = model.score(test, Labels.of(sections, [False] * 5, training=False))
    expected = [0.0, 0.0, 1 - 0.5**0.5, 0.0, 1.0]  # source, target, between the two, the other section, away from both
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_max_pooling_is_another_model():
    training, known = clips_of((1.0, 0.0), (1.0, 0.0)), Labels.of([0, 0], [False, True], training=True)
    test = Labels.of([0], [False], training=False)
    scores = {}
    for name in ("nearest_neighbour", "nearest_neighbour_max"):
        model = create(name, "paper", 1, seed=0)
        model.fit_after([(training, known)])
        scores[name] = model.score(clips_of((0.0, 1.0)), test).item()
    # Means (1, 0) and (0, 1) are orthogonal; maxima are (2, 1) and (1, 2).
    assert scores == {"nearest_neighbour": pytest.approx(1.0), "nearest_neighbour_max": pytest.approx(0.2)}


def test_a_training_clip_is_not_its_own_neighbour():
    model = create("nearest_neighbour", "paper", 1, seed=0)
    training = clips_of((1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    known = Labels.of([0, 0, 0], [False, False, True], training=True)
    model.fit_after([(training, known)])
    nearest = 1 - 0.5**0.5
    expected = torch.tensor([nearest] * 3, dtype=torch.float64)
    torch.testing.assert_close(model.score(training, known), expected)
    turned = torch.tensor([2, 0])
    torch.testing.assert_close(model.score(training[turned], known.take(turned)), expected[:2])
    as_test = model.score(training, Labels.of([0, 0, 0], [False, False, True], training=False))
    assert as_test.max() < 1e-12, "the same clips, not known as training clips, find themselves"


def test_small_distances_are_not_lost_in_rounding():
    model = create("nearest_neighbour", "paper", 1, seed=0)
    model.fit_after([(torch.tensor([[[1.0, 0.0]]]), Labels.of([0], [False], training=True))])
    score = model.score(torch.tensor([[[1.0, 1e-5]]]), Labels.of([0], [False], training=False))
    assert score.item() == pytest.approx(0.5e-10, rel=1e-3)


@pytest.mark.parametrize(("fitted", "section"), [(False, 0), (True, 1)])
def test_nearest_neighbour_without_a_neighbour(fitted, section):
    model = create("nearest_neighbour", "paper", 2, seed=0)
    if fitted:
        model.fit_after([(clips_of((1.0, 0.0)), Labels.of([0], [False], training=True))])
    with pytest.raises(DataError, match="no .other. training clip"):
        model.score(clips_of((1.0, 0.0)), Labels.of([section], [False], training=False))


def test_nearest_neighbour_has_nothing_to_train():
    model = create("nearest_neighbour", "paper", 2, seed=0)
    with pytest.raises(ValueError, match="nothing to train"):
        model.loss(noise(1), labels(1))


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_scores_as_before(name, tmp_path):
    n_sections = 1 if model_class(name).scope == "section" else 3
    model = create(name, "smoke", n_sections, seed=0)
    chunks = [(clips_for(name, 6), labels(6, n_sections))]
    model.begin_epoch(Epoch(0, 1), chunks)
    model.fit_after(chunks)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = create(name, "smoke", n_sections, seed=1)
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    test = clips_for(name, 3, seed=1), labels(3, n_sections, training=False)
    for key, expected in model.scores(*test).items():
        torch.testing.assert_close(again.scores(*test)[key], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("autoencoder", "1e50f4e4b3847042"),
        ("autoencoder_mahalanobis", "1c9e2fa8261f09e6"),
        ("mobilenetv2", "d6a1d4ec4bc95f9d"),
        ("nearest_neighbour", "6e2270ed54593254"),
        ("nearest_neighbour_max", "6e2270ed54593254"),
        ("bce", "b8cfa0cb204e5df0"),
        ("dsad", "18424be1d103d3d2"),
        ("ddcsad", "325e5d235d6b7f90"),
        ("bce_dsad", "3dc0988e3d6344bb"),
        ("bce_ddcsad", "0e5881bff07159bf"),
        ("attention", "3e55bbd97b447d88"),
        ("conformer", "45b1ed1748c4bcd3"),
        ("two_branch", "53c0ac79f0b3e808"),
        ("two_branch_multiresolution", "1638774e607f6c04"),
    ],
)
def test_saved_weights_keep_their_names(name, digest):
    """A weights file holds tensors by name: one that is called otherwise would leave trained models unreadable."""
    state = create(name, "smoke", 2, 0).state_dict()
    entries = [(key, tuple(value.shape), str(value.dtype)) for key, value in state.items()]
    assert hashlib.sha256(repr(entries).encode()).hexdigest()[:16] == digest


def test_labels_that_are_taken_are_those_of_the_rows() -> None:
    """Each is gathered when it is asked for, however often rows were taken of rows."""
    labels = Labels.of([0, 1, 0, 1], [True, False, True, False], training=True, known_anomaly=[False, True, True, True])
    taken = labels.take(torch.tensor([3, 1, 1])).take(slice(0, 2))
    assert len(taken) == 2
    for field in fields(Labels):
        assert torch.equal(getattr(taken, field.name), getattr(labels, field.name)[[3, 1]]), field.name
    assert taken.is_normal.tolist() == [False, False]
    assert torch.equal(taken.to("cpu").section, taken.section)
    with pytest.raises(AttributeError, match="no attribute 'speed'"):
        taken.speed  # noqa: B018
