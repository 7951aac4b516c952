"""A store's metadata file: the root group's ``zarr.json``, sealed, and its copy.

The *seal* is the digest of the file itself: BLAKE3 of its bytes with the seal's 64 digits as zeros. The copy is there
because the digests in the file are what everything else is repaired by.
"""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3
from pydantic import ValidationError

from mimiidg_build.errors import DataError, first_mistake
from mimiidg_build.schemas.stores import READABLE_VERSIONS, StoreAttributes
from mimiidg_build.storage.places import Place

METADATA, METADATA_COPY = "zarr.json", "zarr.json.copy"


UNSEALED = "0" * 64


def sealed(metadata: dict[str, Any], attributes: StoreAttributes) -> bytes:
    """The root's metadata as stored, with the attributes and their seal.

    Parameters
    ----------
    metadata : dict
        The root group's, as zarr writes it.
    attributes : StoreAttributes

    Returns
    -------
    bytes
        JSON, whose ``attributes.seal`` is the BLAKE3 digest of the same text with zeros in its place.
    """
    unsealed = metadata | {"attributes": attributes.model_dump(mode="json") | {"seal": UNSEALED}}
    return seal(json.dumps(unsealed, indent=1).encode())


def seal(content: bytes) -> bytes:
    """JSON with :data:`UNSEALED` as its seal, sealed.

    >>> is_sealed(seal(b'{"power": 0.25, "seal": "%s"}' % UNSEALED.encode()))
    True
    """
    return content.replace(UNSEALED.encode(), blake3(content).hexdigest().encode())


def is_sealed(content: bytes) -> bool:
    """Whether the root's metadata, or any JSON with a seal, is what was written, byte for byte.

    >>> is_sealed(b'{"attributes": {}}')
    False
    """
    try:
        found = json.loads(content)
        claimed = str(found.get("attributes", found)["seal"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return len(claimed) == 64 and blake3(content.replace(claimed, UNSEALED.encode())).hexdigest().encode() == claimed


def read_attributes(path: Place) -> StoreAttributes:
    """The attributes of the store at ``path``.

    Raises
    ------
    DataError
        Its metadata is missing, not a store's, of another format, or not what was written.
    """
    metadata = path / METADATA
    repair = f"Likely cause: bit rot; `mimiidg verify {path} --repair` takes its copy."
    try:
        content = metadata.read_bytes()
        found = dict(json.loads(content)["attributes"])
        format_version = found["format_version"]
    except FileNotFoundError:
        raise DataError(f"{metadata} is missing. {repair}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{metadata} is not a store of this program, or it is damaged. {repair}") from None
    # Before any other field is used: they may be what is damaged. Stores of early versions have no seal.
    if "seal" in found and not is_sealed(content):
        raise DataError(f"{metadata} is damaged: its content does not match its seal. {repair}")
    if format_version not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise DataError(f"{path} has format {format_version}, this program reads {known}. Build it again.")
    try:
        return StoreAttributes.model_validate(found)
    except ValidationError as error:
        raise DataError(
            f"{path}: its attributes are not those of a store of format {format_version} ({first_mistake(error)}). "
            f"{metadata} was written by mimiidg_build {_version_of(found)}, it is damaged, or it is a forgery. {repair}"
        ) from None


def _version_of(attributes: dict[str, Any]) -> str:
    """The version that wrote a store whose attributes do not validate."""
    try:
        return str(attributes["provenance"]["versions"]["mimiidg_build"])[:40]  # a forged one may have any length
    except (KeyError, TypeError):
        return "of an unknown version"
