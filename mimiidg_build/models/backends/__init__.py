"""Back ends: anomaly scores from embeddings of clips, whatever network gave them. One line each in ``BACKENDS``.

A back end is fitted, for each section apart, to the embeddings of its normal training clips (its *bank*), and scores
any embedding; ``fusion`` combines all the others. It is a further score of a run: the network is trained once, and
knows nothing of back ends. What each one computes, and from which source, stands in its class.

Conventions
-----------
Embeddings are (clip, size), float64, on the CPU; scores are (clip,), float64, larger = more anomalous. Source and
target are told apart in the bank, never in a clip to be scored: it gets the smaller of the two domains' scores.
Training clips are scored by fits that have not seen them, so that thresholds hold for new clips
(:meth:`base.Backend.fit_and_score`).

Classes are imported when asked for: listing the back ends imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from mimiidg_build.errors import UsageError, did_you_mean, shown

if TYPE_CHECKING:
    from mimiidg_build.models.backends.base import Backend

SINGLE = {
    "cosine_knn": "neighbours:CosineNeighbour",
    "local_density": "neighbours:LocalDensity",
    "kmeans": "kmeans:KMeans",
    "mahalanobis": "gaussian:Mahalanobis",
    "pca_residual": "gaussian:PCAResidual",
}
BACKENDS = SINGLE | {"fusion": "fusion:Fusion"}
ALL = "all"
PREFIX = "backend_"  # sets the name of a back end's score apart from a model's own: conformer has a "mahalanobis", too


def chosen_backends(names: Iterable[str]) -> tuple[str, ...]:
    """The back ends that names mean, each once, in the order of ``BACKENDS``; ``all`` means all of them.

    Raises
    ------
    UsageError
        No back end has that name.

    Examples
    --------
    >>> chosen_backends(["kmeans", "cosine_knn", "kmeans"]), len(chosen_backends(["all"]))
    (('cosine_knn', 'kmeans'), 6)
    """
    wanted = set(names)
    for name in wanted - {ALL, *BACKENDS}:
        raise UsageError(
            f"there is no back end {shown(name)}; choose one of {', '.join(BACKENDS)}, or {ALL}."
            f"{did_you_mean(name, BACKENDS)}"
        )
    return tuple(name for name in BACKENDS if name in wanted or ALL in wanted)


def score_name(backend: str) -> str:
    """What a back end's score is called among those of a run: the name of its folder."""
    return f"{PREFIX}{backend}"


def backend_of(score: str) -> str | None:
    """The back end that a score is of; None for a model's own and its further ones.

    >>> backend_of("backend_kmeans"), backend_of("mahalanobis"), backend_of("")
    ('kmeans', None, None)
    """
    return score.removeprefix(PREFIX) if score.startswith(PREFIX) else None


def create_backend(name: str, seed: int) -> Backend:
    """A back end of one section, not fitted yet.

    Parameters
    ----------
    name : str
        A key of ``BACKENDS``.
    seed : int
        Decides every draw.

    Returns
    -------
    Backend
    """
    module, _, attribute = BACKENDS[name].partition(":")
    made: Backend = getattr(import_module(f"{__name__}.{module}"), attribute)(seed)
    return made
