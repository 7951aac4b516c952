"""Published truth lists that are known to be wrong (``data_manifests/wrong_truth.toml``).

A list is known by its rows, not by its file's name: some rows of each section are published with the manifest as
digests of ``<machine>/<clip>=<full name>``, and a list that holds one of them is the wrong one, whole or in part, in
whatever form. A corrected list, or one of another year, holds none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from mimiidg_build.datasets.toml_files import RESOURCES, read_toml, validated
from mimiidg_build.schemas.truth import WrongTruth


@lru_cache(maxsize=1)
def _mistakes() -> WrongTruth:
    path = RESOURCES / "wrong_truth.toml"
    return validated(WrongTruth, read_toml(path), path)


def row_digest(machine_type: str, clip: str, full_name: str) -> str:
    """What the manifest knows a row by.

    >>> row_digest("fan", "section_03_0000.wav", "section_03_source_test_normal_0000_m-n_X.wav")
    '6cc60af7cc11'
    """
    return sha256(f"{machine_type}/{clip}={full_name}".encode()).hexdigest()[:12]


def known_mistake(machine_type: str, rows: Iterable[tuple[str, str]]) -> str:
    """Why rows (clip, full name) of a machine type must not be believed, ``""`` where nothing is known against them."""
    lists = [wrong for wrong in _mistakes().lists if machine_type in wrong.machine_types]
    digests = {row_digest(machine_type, *row) for row in rows} if lists else set()
    return next((wrong.reason for wrong in lists if digests & set(wrong.digests)), "")
