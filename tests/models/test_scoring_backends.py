"""Back ends: the same as scikit-learn on random data, edge cases by hand, and one for each section of a network."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as ScikitKMeans
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models.backends import BACKENDS, SINGLE, chosen_backends, create_backend
from mimiidg_build.models.backends import neighbours as neighbours_module
from mimiidg_build.models.backends.base import FOLDS, Bank, NetworkBackend
from mimiidg_build.models.backends.fusion import Fusion
from mimiidg_build.models.backends.gaussian import ledoit_wolf, principal_axes
from mimiidg_build.models.backends.kmeans import first_centres
from mimiidg_build.models.base import Labels

pytestmark = pytest.mark.usefixtures("one_thread")

Array = np.ndarray[Any, np.dtype[np.float64]]


def embeddings(n: int, size: int, seed: int) -> Array:
    """Correlated vectors away from the origin."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size) * 3


def bank_of(source: Array, target: Array | None = None) -> Bank:
    """A bank, its domains not one after the other."""
    parts = [source] if target is None else [source, target]
    z, is_target = np.concatenate(parts), np.repeat([False, True], [len(source), 0 if target is None else len(target)])
    order = np.random.default_rng(0).permutation(len(z))
    return Bank(torch.from_numpy(z[order]), torch.from_numpy(is_target[order]))


def scores(name: str, bank: Bank, z: Array) -> Array:
    backend = create_backend(name, seed=0)
    backend.fit(bank)
    return backend(torch.from_numpy(z)).numpy()


# ---- What scikit-learn finds -----------------------------------------------------------------------------------------


def by_cosine_knn(domains: list[Array], z: Array) -> Array:
    found = [NearestNeighbors(n_neighbors=1, metric="cosine").fit(own).kneighbors(z)[0][:, 0] for own in domains]
    return np.min(found, axis=0)


def by_local_density(domains: list[Array], z: Array) -> Array:
    every = np.concatenate(domains)
    neighbours = NearestNeighbors(metric="cosine").fit(every)
    to_four = neighbours.kneighbors(n_neighbors=min(4, len(every) - 1))[0].mean(axis=1)  # without the clip itself
    distances, numbers = neighbours.kneighbors(z, n_neighbors=len(every))
    return np.asarray((distances / to_four[numbers]).min(axis=1))


def by_mahalanobis(domains: list[Array], z: Array) -> Array:
    about_means = np.concatenate([own - own.mean(axis=0) for own in domains])
    fitted = LedoitWolf(assume_centered=True).fit(about_means)
    return np.sqrt(np.min([fitted.mahalanobis(z - own.mean(axis=0)) for own in domains], axis=0))


def by_pca_residual(domains: list[Array], z: Array) -> Array:
    pca = PCA(n_components=0.95, svd_solver="full").fit(np.concatenate(domains))
    return np.asarray(np.linalg.norm(z - pca.inverse_transform(pca.transform(z)), axis=1))


def by_kmeans(domains: list[Array], z: Array) -> Array:
    centres = []
    for own in domains:
        unit = normalize(own)
        if len(unit) > 16:
            first = first_centres(torch.from_numpy(unit), 16, seed=0).numpy()
            unit = ScikitKMeans(16, init=first, n_init=1, tol=0, algorithm="lloyd").fit(unit).cluster_centers_
        centres.append(unit)
    return by_cosine_knn(centres, z)


SCIKIT = {
    "cosine_knn": by_cosine_knn,
    "local_density": by_local_density,
    "mahalanobis": by_mahalanobis,
    "pca_residual": by_pca_residual,
    "kmeans": by_kmeans,
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize(
    ("n_source", "n_target", "size"),
    [(90, 10, 8), (40, 3, 64), (25, 0, 12), (5, 2, 30)],
    ids=["as released", "fewer clips than dimensions", "one domain", "fewer clips than neighbours and centres"],
)
def test_scores_are_scikit_learns(name: str, n_source: int, n_target: int, size: int) -> None:
    source, z = embeddings(n_source, size, 1), embeddings(50, size, 3)
    target = embeddings(n_target, size, 2) if n_target else None
    bank = bank_of(source, target)
    expected = SCIKIT[name]([domain.numpy() for domain in bank.domains()], z)
    np.testing.assert_allclose(scores(name, bank, z), expected, rtol=1e-6, atol=1e-6)


def test_fusion_is_the_least_of_the_standardised_scores() -> None:
    source, target, z = embeddings(30, 6, 1), embeddings(8, 6, 2), embeddings(20, 6, 3)
    bank, standardised = bank_of(source, target), []
    for name in SINGLE:
        backend = create_backend(name, seed=0)
        own = backend.fit_and_score(bank).numpy()
        standardised.append((backend(torch.from_numpy(z)).numpy() - own.mean()) / own.std())
    np.testing.assert_allclose(scores("fusion", bank, z), np.min(standardised, axis=0), rtol=1e-9)
    assert len({int(number) for number in np.argmin(standardised, axis=0)}) > 1, "more than one decides"


# ---- What they are for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_what_lies_elsewhere_scores_higher(name: str) -> None:
    """Of both domains alike."""
    rng = np.random.default_rng(0)
    bases = np.eye(16)[:2] * 10
    source, target = (bases[i] + rng.normal(size=(n, 16)) * 0.3 for i, n in ((0, 60), (1, 10)))
    bank = bank_of(source, target)
    normal = np.concatenate([base + rng.normal(size=(5, 16)) * 0.3 for base in bases])
    strange = np.eye(16)[2:7] * 10
    assert scores(name, bank, strange).min() > scores(name, bank, normal).max()


@pytest.mark.parametrize("name", BACKENDS)
def test_training_clips_are_scored_as_new_ones(name: str) -> None:
    """On average as clips that were never fitted to; to their own fit they would be 0, or far too close."""
    every = embeddings(400, 24, 5)
    backend = create_backend(name, seed=0)
    own, new = backend.fit_and_score(bank_of(every[:200])).mean(), backend(torch.from_numpy(every[200:])).mean()
    spread = float(backend(torch.from_numpy(every[200:])).std())
    assert abs(float(own - new)) < 0.25 * spread


def test_folds_are_even_in_each_domain() -> None:
    bank = bank_of(embeddings(23, 2, 0), embeddings(7, 2, 1))
    parts = bank.folds(seed=0)
    for is_target, counts in ((False, {4, 5}), (True, {1, 2})):
        assert set(torch.bincount(parts[bank.is_target == is_target], minlength=FOLDS).tolist()) <= counts
    assert not torch.equal(parts, bank.folds(seed=1))


# ---- Edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.ones((9, 5)), None),
        (np.zeros((9, 5)), np.zeros((3, 5))),
        (np.repeat(embeddings(2, 5, 0), 30, axis=0), None),
        (embeddings(2, 5, 0), None),
        (embeddings(2, 40, 0), embeddings(1, 40, 1)),
        (embeddings(1, 5, 0), embeddings(1, 5, 1)),
        (embeddings(3, 1, 0), embeddings(2, 1, 1)),
        (embeddings(20, 5, 0) * 1e-30, None),
        (embeddings(20, 5, 0) * 1e30, embeddings(4, 5, 0) * 1e30),
    ],
    ids=["alike", "zero", "two, over and over", "two clips", "a lone target", "one each", "one number", "tiny", "huge"],
)
def test_scores_of_odd_banks_are_finite(name: str, source: Array, target: Array | None) -> None:
    bank, backend = bank_of(source, target), create_backend(name, seed=0)
    assert backend.fit_and_score(bank).isfinite().all()
    new = backend(torch.cat([bank.z, torch.from_numpy(embeddings(4, bank.z.shape[1], 9))]))
    assert new.isfinite().all() and backend(bank.z[:0]).shape == (0,)
    if name != "fusion":
        assert (new >= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 6), st.integers(1, 9), st.integers(0, 99), st.sampled_from([*BACKENDS]))
def test_scores_of_small_banks_are_finite(n_source: int, n_target: int, size: int, seed: int, name: str) -> None:
    """With repeated clips among them."""
    rng = np.random.default_rng(seed)
    source, target = (rng.integers(-2, 3, (n, size)).astype(float) for n in (n_source, n_target))
    bank, backend = bank_of(source, target), create_backend(name, seed)
    assert backend.fit_and_score(bank).isfinite().all()
    assert backend(torch.from_numpy(rng.normal(size=(5, size)))).isfinite().all()


@pytest.mark.parametrize("name", BACKENDS)
def test_one_clip_is_no_bank(name: str) -> None:
    with pytest.raises(DataError, match="1 training clip of a section: a back end needs two or more"):
        create_backend(name, 0).fit_and_score(bank_of(embeddings(1, 4, 0)))


def test_a_lone_target_clip_is_as_far_from_its_neighbours_as_the_domain_shift() -> None:
    source, target = embeddings(9, 6, 0), embeddings(1, 6, 1)
    shift = NearestNeighbors(n_neighbors=4, metric="cosine").fit(source).kneighbors(target)[0].mean()
    z = target + 0.01
    to_target = by_cosine_knn([target], z) / shift
    assert scores("local_density", bank_of(source, target), z) == pytest.approx(to_target, rel=1e-9)
    two = bank_of(source[:1], target)
    apart = by_cosine_knn([source[:1]], target)
    np.testing.assert_allclose(scores("local_density", two, z), scores("cosine_knn", two, z) / apart, rtol=1e-9)
    one = bank_of(source[:1])
    np.testing.assert_allclose(scores("local_density", one, z), scores("cosine_knn", one, z), rtol=1e-9)


def test_a_covariance_of_two_opposite_clips_is_regular() -> None:
    """Ledoit and Wolf's shrinkage is 0 there, and the covariance singular."""
    x = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]], dtype=torch.float64)
    assert LedoitWolf(assume_centered=True).fit(x.numpy()).shrinkage_ == 0
    assert 0 < ledoit_wolf(x, principal_axes(x)[0]) < 1e-5


@pytest.mark.parametrize("n", [4, 7, 200])
def test_principal_axes_are_those_of_the_covariance(n: int) -> None:
    """With fewer vectors than dimensions, too, where they come from another matrix."""
    x = torch.from_numpy(embeddings(n, 6, 0))
    variance, axes = principal_axes(x)
    torch.testing.assert_close(axes.T @ axes, torch.eye(min(n, 6), dtype=torch.float64))
    torch.testing.assert_close(axes * variance @ axes.T, x.T @ x / n)
    assert (variance.diff() <= 0).all()


def test_distances_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    source, z = embeddings(40, 8, 0), embeddings(30, 8, 1)
    whole = [scores(name, bank_of(source), z) for name in ("cosine_knn", "local_density")]
    seen: list[int] = []
    plain = neighbours_module.cosine_distances

    def watched(unit: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        seen.append(len(unit) * len(others))
        return plain(unit, others)

    monkeypatch.setattr(neighbours_module, "BLOCK_DISTANCES", 200)
    monkeypatch.setattr(neighbours_module, "cosine_distances", watched)
    for name, expected in zip(("cosine_knn", "local_density"), whole, strict=True):
        np.testing.assert_allclose(scores(name, bank_of(source), z), expected, rtol=1e-9)
    assert max(seen) <= 200 and len(seen) > 10


# ---- The same every time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kmeans", pytest.param("fusion", marks=pytest.mark.slow)])  # it holds one of each
def test_the_seed_decides_and_the_threads_do_not(name: str) -> None:
    bank, z = bank_of(embeddings(300, 64, 0)), torch.from_numpy(embeddings(20, 64, 1))
    found = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        torch.manual_seed(n_threads)  # whatever was drawn before
        backend = create_backend(name, seed=3)
        found.append((backend.fit_and_score(bank), backend(z)))
    torch.set_num_threads(1)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    other_seed = create_backend(name, seed=4)
    assert not torch.equal(other_seed.fit_and_score(bank), found[0][0]), "other folds"


@pytest.mark.parametrize("name", BACKENDS)
def test_what_is_fitted_is_saved(name: str) -> None:
    """Whatever the sizes of the banks, from one section to the next."""
    z = torch.from_numpy(np.concatenate([embeddings(30, 5, 0), embeddings(12, 5, 1)]))
    known = Labels.of([0] * 30 + [1] * 12, [False] * 25 + [True] * 5 + [False] * 12, training=True)
    fitted, again = (NetworkBackend(name, 2, seed=0) for _ in range(2))
    fitted.fit(z, known)
    file = io.BytesIO()
    torch.save(fitted.state_dict(), file)
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    torch.testing.assert_close(again.score(z, known), fitted.score(z, known), rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_clip_is_compared_within_its_section(name: str) -> None:
    first, second = bank_of(embeddings(20, 4, 0)), bank_of(embeddings(20, 4, 1), embeddings(5, 4, 2))
    z, section = torch.cat([first.z, second.z]), [0] * 20 + [1] * 25
    known = Labels.of(section, [*first.is_target.tolist(), *second.is_target.tolist()], training=True)
    network, alone = NetworkBackend(name, 2, seed=0), create_backend(name, seed=0)
    own = network.fit(z, known)
    torch.testing.assert_close(own[20:], alone.fit_and_score(second), rtol=0, atol=0)
    strange = torch.from_numpy(embeddings(6, 4, 3))
    found = network.score(strange, Labels.of([1, 0, 1, 0, 1, 0], [False] * 6, training=False))
    torch.testing.assert_close(found[::2], alone(strange[::2]), rtol=0, atol=0)


# ---- Names -----------------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert chosen_backends([]) == () and chosen_backends(["all", "kmeans"]) == tuple(BACKENDS)
    assert set(SINGLE) == set(SCIKIT) and isinstance(create_backend("fusion", 0), Fusion)
    with pytest.raises(UsageError, match="there is no back end 'k_means'.*Did you mean 'kmeans'"):
        chosen_backends(["kmeans", "k_means"])
