"""The MIMII DG paper's own results, for comparison."""

from __future__ import annotations

import tomllib
from importlib.resources import files


def published(model: str) -> dict[str, tuple[float, float]]:
    """The MIMII DG paper's Table 3: source and target AUC in %, by section (``fan/00``) and ``average``.

    Examples
    --------
    >>> published("autoencoder")["fan/00"], published("nearest_neighbour")
    ((84.69, 39.35), {})
    """
    content = tomllib.loads((files("mimiidg_build") / "data_manifests" / "published.toml").read_text(encoding="utf-8"))
    if model not in content["models"]:
        return {}
    table = content["models"][model]
    sections = {
        f"{machine_type}/{section}": (source, target)
        for machine_type, rows in table["sections"].items()
        for section, (source, target) in rows.items()
    }
    return sections | {"average": tuple(table["average"])}
