"""The papers' own results, to stand beside runs: ``data_manifests/published.toml``, where every key is explained."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from mimiidg_build.benchmark.run_files import as_json
from mimiidg_build.models import settings_of
from mimiidg_build.models.settings import defaults
from mimiidg_build.schemas.manifests import Protocol, Strict
from mimiidg_build.store.store import Store

AVERAGE = "average"
DOMAIN_AUCS = ("auc_source", "auc_target")


class PaperTable(Strict):
    """A paper's table: numbers in % by model and place, one for each of ``metrics``.

    A place is a section (``"fan/00"``), a machine type, or ``"average"``. ``datasets``, ``protocol``, ``profile``,
    ``score`` and the models of ``rows`` are the recipe that made the numbers; ``notes``, by model, are what is to be
    said where they are shown.
    """

    source: str
    datasets: list[str]
    protocol: Protocol
    profile: str
    score: str = ""
    metrics: list[str]
    sections: dict[str, list[str]] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)
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


def tables_beside(
    store: Store, model: str, profile: str, score: str, settings: Mapping[str, Any] | None = None
) -> list[PaperTable]:
    """The tables whose numbers may stand beside a result.

    Parameters
    ----------
    store : Store
        Of one of the table's datasets as it was released: not synthetic, and with no noise added to recordings that
        have their own.
    model : str
    profile : str
    score : str
        The model's own is ``""``.
    settings : mapping of str to object, optional
        Those of the run, as its ``config.json`` has them: they decide, whatever the profile is called. By default they
        are the profile's.
    """
    attributes = store.attributes
    adds_more = attributes.recording == "mixed" and attributes.variant.adds_noise
    if attributes.synthetic or adds_more or attributes.variant.snr_offset_db:
        return []
    return [
        table
        for table in paper_tables()
        if attributes.dataset in table.datasets
        and attributes.protocol == table.protocol
        and model in table.rows
        and score == table.score
        and (_are_of(settings, model, table.profile) if settings else profile == table.profile)
    ]


def _are_of(settings: Mapping[str, Any], model: str, profile: str) -> bool:
    """Whether a run's settings are those of a profile; threads are no part of a paper's recipe."""
    own = settings_of(model, profile)
    # a run of an early version lacks the settings of later ones
    expected, found = (as_json(one) for one in (asdict(own), {**defaults(type(own)), **settings}))
    return expected | {"threads": 0} == found | {"threads": 0}


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
