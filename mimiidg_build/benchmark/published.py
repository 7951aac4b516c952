"""The papers' own results, to stand beside runs: ``data_manifests/published.toml``, where every key is explained."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import Field

from mimiidg_build.schemas.manifests import Strict
from mimiidg_build.store.store import Store

AVERAGE = "average"
DOMAIN_AUCS = ("auc_source", "auc_target")


class PaperTable(Strict):
    """A paper's table: numbers in % by model and place, one for each of ``metrics``.

    A place is a section (``"fan/00"``), a machine type, or ``"average"``.
    """

    source: str
    datasets: list[str]
    profiles: list[str]
    metrics: list[str]
    scores: list[str] = Field(default_factory=lambda: [""])
    sections: dict[str, list[str]] = Field(default_factory=dict)
    rows: dict[str, dict[str, list[float]]]

    def sections_of(self, place: str, model: str) -> list[str]:
        """The sections (``"fan/00"``) that a number of the table is of."""
        if place == AVERAGE and not self.sections:
            return [name for name in self.rows[model] if name != AVERAGE]
        if "/" in place:
            return [place]
        machine_types = list(self.sections) if place == AVERAGE else [place]
        return [
            f"{machine_type}/{section}" for machine_type in machine_types for section in self.sections[machine_type]
        ]


@cache
def paper_tables() -> tuple[PaperTable, ...]:
    """All tables of the file."""
    content = tomllib.loads((files("mimiidg_build") / "data_manifests" / "published.toml").read_text(encoding="utf-8"))
    return tuple(PaperTable.model_validate(table) for table in content["tables"])


def tables_beside(store: Store, model: str, profile: str, score: str) -> list[PaperTable]:
    """The tables whose numbers may stand beside a result.

    Parameters
    ----------
    store : Store
        Of one of the table's datasets as it was released: not synthetic, and with no noise added to recordings that
        have their own.
    model : str
    profile : str
        With the profile's own epochs.
    score : str
        The model's own is ``""``.
    """
    attributes = store.attributes
    adds_more = attributes.recording == "mixed" and attributes.variant.adds_noise
    if attributes.synthetic or adds_more or attributes.variant.snr_offset_db:
        return []
    return [
        table
        for table in paper_tables()
        if attributes.dataset in table.datasets
        and model in table.rows
        and profile in table.profiles
        and score in table.scores
    ]


def published(model: str) -> dict[str, tuple[float, float]]:
    """A model's published source and target AUC in %, by section (``fan/00``) and ``average``.

    Examples
    --------
    >>> published("autoencoder")["fan/00"], published("nearest_neighbour")
    ((84.69, 39.35), {})
    """
    return domain_aucs(paper_tables(), model)


def domain_aucs(tables: tuple[PaperTable, ...] | list[PaperTable], model: str) -> dict[str, tuple[float, float]]:
    """Source and target AUC in % of a model by place, of those tables that have them."""
    return {
        place: (source, target)
        for table in tables
        if tuple(table.metrics) == DOMAIN_AUCS
        for place, (source, target) in table.rows.get(model, {}).items()
    }
