"""What fetching writes beside the archives: the lock file of a record, and what a partial download is a part of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mimiidg_build.schemas.manifests import Md5, Strict

Pinned = Literal["manifest", "first fetch", "as found"]

# What may be sent back to a server in a request: printable ASCII, so neither a line break nor another encoding.
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class LockEntry(Strict):
    """One archive of ``archives.lock.json``. ``pinned`` names the source of the md5.

    ``"manifest"``: published in the dataset's manifest. ``"first fetch"``: the record API's answer when the archive
    was first fetched. ``"as found"``: no source; the file was put there by hand while offline.
    ``size_bytes`` and ``mtime_ns`` are the file's when its md5 was last computed.
    """

    md5: Md5
    size_bytes: Annotated[int, Field(ge=0)]
    mtime_ns: int
    pinned: Pinned


class ArchiveLock(Strict):
    """``archives.lock.json``: the checksum that each archive of a record is pinned to, by file name."""

    version: Literal[1] = 1  # first, so that a later version is the mistake that is named
    files: dict[str, LockEntry]

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_known(cls, value: Any) -> Any:
        if value != 1:
            raise ValueError(f"version {value}, expected 1")
        return value


class PartVersion(BaseModel):
    """The version of a file on the server, by the headers that name it; None where the server sent none."""

    model_config = ConfigDict(frozen=True, strict=True)

    etag: HeaderValue | None = None
    last_modified: HeaderValue | None = Field(default=None, alias="last-modified")


class PartRecord(BaseModel):
    """``<name>.part.json``: which file, and which version of it, ``<name>.part`` is the beginning of."""

    model_config = ConfigDict(frozen=True, strict=True)

    md5: str
    version: PartVersion
    url: str | None = None
