"""Heat maps as tables: AUCs of systems by section, and by attribute value. In %, coloured by distance from chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mimiidg_build.benchmark.model_result import ModelResult
from mimiidg_build.datasets.rows import records
from mimiidg_build.report.cells import Cell, PageTable, attribute_value, heat, number
from mimiidg_build.report.headline import ranked
from mimiidg_build.schemas.manifests import DOMAINS


def by_section(results: Sequence[ModelResult]) -> PageTable:
    """Two rows a system, source and target; a column a section. The best system first."""
    rows = [
        (
            Cell(title),
            Cell(domain, tone=domain if domain in DOMAINS else ""),
            *(heat(result.section(name, f"auc_{domain}").value) for name in result.evaluated),
            heat(result.mean(f"auc_{domain}").value),
        )
        for title, result in zip(titles(results), results, strict=True)
        for domain in _domains(result)
    ]
    return PageTable("AUC by system and section in %", ("System", "Domain", *results[0].evaluated, "Mean"), tuple(rows))


def _domains(result: ModelResult) -> tuple[str, ...]:
    """The domains that a result has AUCs of; ``all`` where clips have no domain."""
    known = tuple(domain for domain in DOMAINS if not math.isnan(result.mean(f"auc_{domain}").value))
    return known or ("all",)


def by_value(results: Sequence[ModelResult]) -> PageTable:
    """A row an attribute value, a column a system."""
    keys = ("machine_type", "section", "attribute", "value", "domain", "n_normal")
    aucs = [
        {tuple(row[key] for key in keys): float(row["auc"]) for row in records(result.values)} for result in results
    ]
    every = dict.fromkeys(key for of_system in aucs for key in of_system)
    rows = tuple(
        (
            Cell(f"{machine_type}/{section}"),
            Cell(attribute),
            attribute_value(value),
            Cell(domain, tone=domain if domain in DOMAINS else ""),
            number(n_normal),
            *(
                heat(of_system.get((machine_type, section, attribute, value, domain, n_normal), math.nan))
                for of_system in aucs
            ),
        )
        for machine_type, section, attribute, value, domain, n_normal in every
    )
    columns = ("Section", "Attribute", "Value", "Domain", "Normal clips", *titles(results))
    return PageTable("AUC by attribute value and system in %", columns, rows)


def titles(results: Sequence[ModelResult]) -> list[str]:
    """The systems' names, each with its profile where there are several."""
    several = len({result.label for result in results}) > 1
    return [f"{result.name} {result.label}" if several else result.name for result in results]


def best_first(results: Sequence[ModelResult]) -> list[ModelResult]:
    """The systems that heat maps show: those that know no anomaly of the test set."""
    return ranked([result for result in results if result.is_plain])
