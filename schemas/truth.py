"""The shape of ``data_manifests/wrong_truth.toml``: published truth lists that are known to be wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mimiidg_build.schemas.manifests import Strict

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]


class WrongList(Strict):
    """What was published for some machine types, why it must not be believed, and the digests of some of its rows."""

    machine_types: list[str]
    reason: str
    digests: list[Digest]


class WrongTruth(Strict):
    """All of the file."""

    lists: list[WrongList]
