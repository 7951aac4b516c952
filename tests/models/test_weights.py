"""Networks with given weights, layer by layer, against their formulas in numpy: what released weights would give here.

Weights, running statistics, slopes and inputs are drawn, all in evaluation mode and double precision. The formulas know
nothing of torch: a layer of another order, padding, epsilon or layout of its weights shows at that layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from mimiidg_build.models import create
from mimiidg_build.models.base import Detector, Labels
from mimiidg_build.models.centroids.resnet38 import ResNet38

pytestmark = pytest.mark.usefixtures("one_thread")

Array = npt.NDArray[np.float64]


# ---- Layers ----------------------------------------------------------------------------------------------------------


def convolution(
    x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0, groups: int = 1
) -> Array:
    """Of images (n, channel, row, column) with weights (channel out, channel in of its group, row, column)."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups, axis=0), strict=True)
    found = np.concatenate([np.einsum("ncijkl,ockl->noij", own, its, optimize=True) for own, its in parts], axis=1)
    return found if bias is None else found + bias[:, None, None]


def batch_norm(x: Array, norm: tuple[Array, Array, Array, Array], eps: float = 1e-5) -> Array:
    """Over axis 1, with scale, offset, running mean and running variance."""
    scale, offset, mean, variance = (values.reshape(-1, *[1] * (x.ndim - 2)) for values in norm)
    return scale * (x - mean) / np.sqrt(variance + eps) + offset


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def halved(x: Array) -> Array:
    """The mean of each 2 x 2 pixels; what is left over at the end is not used."""
    rows, columns = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :rows, :columns]
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


# ---- Weights ---------------------------------------------------------------------------------------------------------


def randomised(module: nn.Module) -> nn.Module:
    """All weights and statistics drawn, so that no scale is 1 and no offset 0; in double precision, to be evaluated."""
    generator = torch.Generator().manual_seed(0)
    for name, values in [*module.named_parameters(), *module.named_buffers()]:
        if not values.is_floating_point() or name.endswith(("window", "filters")):
            continue
        drawn = torch.randn(values.shape, generator=generator)
        fan_in = values[0].numel() if values.ndim > 1 else 1
        is_spread = name.endswith("running_var") or (values.ndim == 1 and name.endswith("weight"))
        values.data = 0.5 + drawn.abs() if is_spread else drawn / fan_in**0.5
    return module.double().eval()


class Weights:
    """A module's weights and statistics in the order in which it has them, each of the shape that is expected next."""

    def __init__(self, module: nn.Module) -> None:
        state = {name: values for name, values in module.state_dict().items() if not name.endswith("batches_tracked")}
        self._left: Iterator[tuple[str, Array]] = ((name, values.numpy()) for name, values in state.items())

    def take(self, *shape: int) -> Array:
        name, values = next(self._left)
        assert values.shape == shape, name
        return values

    def norm(self, n: int) -> tuple[Array, Array, Array, Array]:
        return self.take(n), self.take(n), self.take(n), self.take(n)

    def all_taken(self) -> bool:
        return next(self._left, None) is None


class Outputs:
    """What modules gave in a forward pass, in the order in which they were run."""

    def __init__(self, *modules: nn.Module) -> None:
        self.found: list[Array] = []
        for module in modules:
            # a copy: what comes after may compute in place
            module.register_forward_hook(lambda *given: self.found.append(given[-1].detach().numpy().copy()))

    def assert_are(self, *expected: Array) -> None:
        assert len(self.found) == len(expected)
        for number, (own, formula) in enumerate(zip(self.found, expected, strict=True)):
            np.testing.assert_allclose(own, formula, rtol=1e-7, atol=1e-9, err_msg=f"layer {number}")
            assert own.std() > 0, f"layer {number} gives a constant, which says nothing"


# ---- Autoencoder -----------------------------------------------------------------------------------------------------

SIZES = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)


def keras_file(path: Path) -> dict[str, Array]:
    """Weights in Keras' layout and under its names: kernels are (in, out); a batch norm after every dense layer but the
    last."""
    rng, arrays = np.random.default_rng(0), {}
    for number, (n_in, n_out) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
        suffix = f"_{number}" if number else ""
        arrays[f"dense{suffix}/kernel"] = rng.normal(0, n_in**-0.5, (n_in, n_out))
        arrays[f"dense{suffix}/bias"] = rng.normal(0, 0.1, n_out)
        if number < len(SIZES) - 2:
            norm = f"batch_normalization{suffix}"
            arrays[f"{norm}/gamma"], arrays[f"{norm}/beta"] = rng.uniform(0.5, 1.5, n_out), rng.normal(0, 0.1, n_out)
            arrays[f"{norm}/moving_mean"] = rng.normal(0, 0.1, n_out)
            arrays[f"{norm}/moving_variance"] = rng.uniform(1e-3, 2e-3, n_out)  # so that epsilon tells
    np.savez(path, **{name: values.astype(np.float32) for name, values in arrays.items()})
    return arrays


def load_keras(model: Detector, path: Path) -> None:
    """As anyone would who has weights of the released baseline."""
    arrays, state = np.load(path), model.state_dict()
    for number in range(len(SIZES) - 1):
        suffix = f"_{number}" if number else ""
        names = {f"network.{3 * number}.bias": f"dense{suffix}/bias"}
        norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        if number < len(SIZES) - 2:
            names |= {
                f"network.{3 * number + 1}.{ours}": f"batch_normalization{suffix}/{its}" for ours, its in norm.items()
            }
        for ours, its in names.items():
            state[ours] = torch.from_numpy(arrays[its])
        state[f"network.{3 * number}.weight"] = torch.from_numpy(arrays[f"dense{suffix}/kernel"].T)
    model.load_state_dict(state)


def test_autoencoder_with_weights_of_a_keras_file(tmp_path: Path) -> None:
    """Every layer, the reconstruction, a clip's score: epsilon 1e-3, ReLU after every batch norm, none at the end."""
    keras_file(tmp_path / "model.npz")
    arrays = {name: values.astype(np.float64) for name, values in np.load(tmp_path / "model.npz").items()}
    model = create("autoencoder", "released", 3, seed=1)
    load_keras(model, tmp_path / "model.npz")
    model.double().eval()
    logmel = np.random.default_rng(1).normal(-40, 8, (1, 12, 128)).astype(np.float32)
    vectors = np.stack([logmel[0, first : first + 5].astype(np.float64).ravel() for first in range(8)])
    outputs = Outputs(*model.network)
    with torch.no_grad():
        model(torch.from_numpy(vectors))
    x, expected = vectors, []
    for number in range(10):
        suffix = f"_{number}" if number else ""
        x = x @ arrays[f"dense{suffix}/kernel"] + arrays[f"dense{suffix}/bias"]
        expected.append(x)
        if number < 9:
            names = [f"batch_normalization{suffix}/{name}" for name in ("gamma", "beta", "moving_mean")]
            gamma, beta, mean = (arrays[name] for name in names)
            variance = arrays[f"batch_normalization{suffix}/moving_variance"]
            x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
            expected.append(x)
            x = np.where(x > 0, x, 0)
            expected.append(x)
    outputs.assert_are(*expected)
    # a clip's score: the mean over 8 windows of 640 values; windows are cut in single precision
    model.float()
    score = model.score(torch.from_numpy(logmel), Labels.of([0], [False], training=False)).item()
    assert score == pytest.approx(np.mean((vectors - x) ** 2), rel=1e-4)


# ---- Attention -------------------------------------------------------------------------------------------------------


def log_mel(waves: Array, filters: Array) -> Array:
    """Reflect padding, periodic Hann window of 1024 every 512, power, mel, 10 log10 of it and 1e-8."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = sliding_window_view(np.pad(waves, ((0, 0), (512, 512)), mode="reflect"), 1024, axis=1)[:, ::512]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    return 10 * np.log10(power @ filters + 1e-8).transpose(0, 2, 1)


def separable(x: Array, weights: Weights, n_in: int, n_out: int, kernel: int, bias: bool) -> Array:
    """The released code's: depthwise, batch norm, ReLU, pointwise, batch norm, ReLU."""
    depthwise, offset = weights.take(n_in, 1, kernel, kernel), weights.take(n_in) if bias else None
    x = relu(batch_norm(convolution(x, depthwise, offset, 1, kernel // 2, n_in), weights.norm(n_in)))
    pointwise, offset = weights.take(n_out, n_in, 1, 1), weights.take(n_out) if bias else None
    return relu(batch_norm(convolution(x, pointwise, offset), weights.norm(n_out)))


def attention_map(x: Array, weights: Weights) -> Array:
    x = elu(batch_norm(separable(x, weights, 2, 16, 3, bias=False), weights.norm(16)))
    x = elu(batch_norm(separable(x, weights, 16, 64, 3, bias=False), weights.norm(64)))
    return sigmoid(separable(x, weights, 64, 2, 1, bias=True))


def wavegram(waves: Array, weights: Weights) -> Array:
    """One filter of 1024 every 512, batch norm, ReLU; to 128 rows, batch norm, ReLU."""
    frames = sliding_window_view(np.pad(waves, ((0, 0), (512, 512))), 1024, axis=1)[:, ::512]
    one = frames @ weights.take(1, 1, 1024)[0, 0] + weights.take(1)
    one = relu(batch_norm(one[:, None], weights.norm(1)))
    rows = one * weights.take(128, 1, 1)[:, 0] + weights.take(128)[:, None]
    return relu(batch_norm(rows, weights.norm(128)))


def prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, slope[:, None, None] * x)


def mobilefacenet(x: Array, weights: Weights, left: tuple[int, int]) -> list[Array]:
    """After each layer: stem, depthwise, six bottlenecks, 1 x 1, linear depthwise, its norm, 1 x 1, its norm."""

    def block(x: Array, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> Array:
        weight = weights.take(n_out, n_in // groups, kernel, kernel)
        x = batch_norm(convolution(x, weight, None, stride, kernel // 2, groups), weights.norm(n_out))
        return prelu(x, weights.take(n_out))

    found = [block(x, 2, 64, 3, stride=2)]
    found.append(block(found[-1], 64, 64, 3, groups=64))
    n = 64
    for expansion, strides in ((2, (2, 1)), (4, (2, 1)), (4, (2, 1))):
        for stride in strides:
            wide = block(found[-1], n, n * expansion, 1)
            wide = block(wide, n * expansion, n * expansion, 3, stride, n * expansion)
            narrow = convolution(wide, weights.take(128, n * expansion, 1, 1))
            narrow = batch_norm(narrow, weights.norm(128))
            found.append(narrow + found[-1] if stride == 1 and n == 128 else narrow)
            n = 128
    found.append(block(found[-1], 128, 512, 1))
    found.append(convolution(found[-1], weights.take(512, 1, *left), groups=512))
    found.append(batch_norm(found[-1], weights.norm(512)))
    found.append(convolution(found[-1], weights.take(128, 512, 1, 1)))
    found.append(batch_norm(found[-1], weights.norm(128)))
    return found


def test_attention_network_by_its_formulas() -> None:
    """Log-mel, Wavegram, the map, every layer of MobileFaceNet, the cosines, and the score under the margin."""
    model = create("attention", "paper", 3, seed=0, clip_length=16_000)  # a second: 32 frames
    randomised(model)
    model.classes.data = model.classes.data.float()  # angles are taken in single precision
    waves = np.random.default_rng(0).normal(0, 0.1, (2, 16_000))
    outputs = Outputs(model.logmel, model.wavegram, model.attention, *model.encoder.layers)
    with torch.no_grad():
        cosine = model(torch.from_numpy(waves)).numpy()
    mel = outputs.found.pop(0)  # with a window and filters in single precision
    np.testing.assert_allclose(mel, log_mel(waves, model.logmel.filters.numpy()), atol=1e-4)
    rows = wavegram(waves, wavegrams := Weights(model.wavegram))
    images = np.stack([mel, rows], axis=1)
    shown = attention_map(images, maps := Weights(model.attention))
    assert shown.min() >= 0.5, "the last ReLU comes before the sigmoid"
    layers = mobilefacenet(images * shown, encoder := Weights(model.encoder), (8, 2))
    outputs.assert_are(rows, shown, *layers)
    assert all(weights.all_taken() for weights in (wavegrams, maps, encoder))
    z, classes = layers[-1][:, :, 0, 0], model.classes.detach().double().numpy()
    expected = (z / np.linalg.norm(z, axis=1)[:, None]) @ (classes / np.linalg.norm(classes, axis=1)[:, None]).T
    np.testing.assert_allclose(cosine, expected, atol=1e-6)
    # ArcFace, s = 40, m = 0.7, and the cross-entropy of the true class
    for clip, section in ((0, 0), (1, 2)):
        theta = np.arccos(expected[clip, section])
        logits = 40 * expected[clip]
        logits[section] = 40 * (np.cos(theta + 0.7) if theta < np.pi - 0.7 else np.cos(theta) - 0.7 * np.sin(0.7))
        score = np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[section]
        own = model._logits(torch.from_numpy(expected[clip : clip + 1]), torch.tensor([section]))
        found = nn.functional.cross_entropy(own, torch.tensor([section])).item()
        assert found == pytest.approx(score, rel=1e-6)


# ---- PANNs' ResNet38 -------------------------------------------------------------------------------------------------


def resnet38(logmel: Array, weights: Weights, width: int) -> list[Array]:
    """After the mel norm, the stem and each of the sixteen blocks; then the mean over time and frequency."""
    normed = batch_norm(logmel.transpose(0, 2, 1), weights.norm(128)).transpose(0, 2, 1)
    x = normed[:, None]  # (n, channel, frame, mel)
    for n_in in (1, width):
        x = relu(batch_norm(convolution(x, weights.take(width, n_in, 3, 3), padding=1), weights.norm(width)))
    found, n = [normed.transpose(0, 2, 1)[..., None], halved(x)], width
    for stage, repeats in enumerate((3, 4, 6, 3)):
        for repeat in range(repeats):
            n_out, given = width * 2**stage, found[-1]
            shortcut = given = halved(given) if stage and not repeat else given
            x = relu(batch_norm(convolution(given, weights.take(n_out, n, 3, 3), padding=1), weights.norm(n_out)))
            x = batch_norm(convolution(x, weights.take(n_out, n_out, 3, 3), padding=1), weights.norm(n_out))
            if n != n_out:
                shortcut = batch_norm(convolution(given, weights.take(n_out, n, 1, 1)), weights.norm(n_out))
            found.append(relu(x + shortcut))
            n = n_out
    return [*found, found[-1].mean(axis=(2, 3))]


def test_the_trunk_of_panns_by_its_formulas() -> None:
    """An odd number of frames: pooling leaves the last one out."""
    network = randomised(ResNet38(base_width=4))
    logmel = np.random.default_rng(0).normal(0, 1, (2, 37, 128))
    outputs = Outputs(network.bands, network.stem, *network.stages, network)
    with torch.no_grad():
        # the embedding itself is taken in single precision
        embedding = network(torch.from_numpy(logmel)).numpy()
    *layers, mean = resnet38(logmel, weights := Weights(network), 4)
    outputs.found.pop()
    outputs.assert_are(*layers)
    assert weights.all_taken() and embedding.shape == (2, 32)
    np.testing.assert_allclose(embedding, mean, rtol=1e-5)
