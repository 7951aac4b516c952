"""What Zenodo's API says about the files of a record, in its present form and the older one.

Present: ``files[]`` with ``key``, ``size``, ``checksum: "md5:<hex>"``, ``links.self``. Older: ``filename``,
``filesize`` and a bare md5. Only what is needed is read, and only if it has the right form: a checksum of another kind
counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from mimiidg_build.errors import FetchError
from mimiidg_build.fetch.http import NotFoundError, Session
from mimiidg_build.schemas.manifests import RecordFile

_MD5 = re.compile(r"^(?:md5:)?([0-9a-f]{32})$", re.IGNORECASE)


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record as the API describes it. ``link`` is ``links.self``; None where the answer has none."""

    name: str
    size_bytes: int | None = None
    md5: str | None = None
    link: str | None = None


def api_url(base_url: str, record_id: str) -> str:
    """URL of the record's description.

    Examples
    --------
    >>> api_url("https://zenodo.org/", "6529888")
    'https://zenodo.org/api/records/6529888'
    """
    return f"{base_url.rstrip('/')}/api/records/{quote(record_id)}"


def page_url(base_url: str, record_id: str, name: str) -> str:
    """URL at which a person downloads the file by hand.

    Parameters
    ----------
    base_url : str
        Where records are: ``https://zenodo.org``, or a server like it.
    record_id : str
    name : str
        The file's name in the record.

    Returns
    -------
    str

    Examples
    --------
    >>> page_url("https://zenodo.org", "6529888", "fan.zip")
    'https://zenodo.org/records/6529888/files/fan.zip?download=1'
    """
    return f"{base_url.rstrip('/')}/records/{quote(record_id)}/files/{quote(name)}?download=1"


def content_urls(base_url: str, record_id: str, remote: RemoteFile) -> list[str]:
    """Every URL to ask for the bytes, in order: ``links.self`` has been seen to answer 404 for a while.

    Parameters
    ----------
    base_url : str
    record_id : str
    remote : RemoteFile
        The file in the API's answer.

    Returns
    -------
    list of str
        None twice.

    Examples
    --------
    >>> content_urls("https://zenodo.org", "1", RemoteFile("a.zip", link="https://zenodo.org/mirror/a.zip"))[0]
    'https://zenodo.org/mirror/a.zip'
    >>> content_urls("https://zenodo.org", "1", RemoteFile("a.zip"))[0]
    'https://zenodo.org/api/records/1/files/a.zip/content'
    """
    content = f"{api_url(base_url, record_id)}/files/{quote(remote.name)}/content"
    try:
        links = [urljoin(content, remote.link)] if remote.link else []
    except ValueError:  # no URL at all
        links = []
    # each once: Zenodo's links.self usually is the content URL
    return list(dict.fromkeys([*links, content, page_url(base_url, record_id, remote.name)]))


def parse_record(answer: object) -> dict[str, RemoteFile]:
    """The files in an API answer, by name.

    Raises
    ------
    ValueError
        If the answer is not a record.

    Examples
    --------
    >>> parse_record({"files": [{"key": "a.zip", "size": 3, "checksum": "md5:" + "0" * 32, "links": {"self": "u"}}]})
    {'a.zip': RemoteFile(name='a.zip', size_bytes=3, md5='00000000000000000000000000000000', link='u')}
    >>> parse_record({"files": [{"filename": "a.zip", "filesize": 3, "checksum": "F" * 32}]})["a.zip"].md5
    'ffffffffffffffffffffffffffffffff'
    >>> parse_record([])
    Traceback (most recent call last):
    ...
    ValueError: no list of files in it
    """
    files = answer.get("files") if isinstance(answer, Mapping) else None
    if not isinstance(files, list):
        raise ValueError("no list of files in it")
    return {remote.name: remote for remote in map(_remote_file, files)}


def _remote_file(file: object) -> RemoteFile:
    name = (file.get("key") or file.get("filename")) if isinstance(file, Mapping) else None
    if not isinstance(file, Mapping) or not isinstance(name, str):
        raise ValueError(f"a file without a name: {file!r}")
    size = file.get("size", file.get("filesize"))
    md5 = _MD5.match(str(file.get("checksum", "")))
    links = file.get("links")
    link = links.get("self") if isinstance(links, Mapping) else None
    return RemoteFile(
        name,
        size if type(size) is int and size > 0 else None,  # `true` is an int, too
        md5[1].lower() if md5 else None,
        link if isinstance(link, str) else None,
    )


def ask_record(session: Session, base_url: str, record_id: str) -> dict[str, RemoteFile]:
    """The record's files, from its API.

    Parameters
    ----------
    session : Session
    base_url : str
    record_id : str

    Returns
    -------
    dict of str to RemoteFile
        By the file's name.

    Raises
    ------
    FetchError
        If the record does not exist, or its description cannot be had or read.
    """
    url = api_url(base_url, record_id)
    try:
        return parse_record(session.get_json(url))
    except NotFoundError as error:
        raise FetchError(f"record {record_id} is not there: {error}. Likely cause: a wrong record id.") from error
    except ValueError as error:
        raise FetchError(f"{url} did not answer with a record: {error}. Likely cause: a changed service.") from error


def check_unchanged(record_id: str, file: RecordFile, remote: RemoteFile) -> None:
    """Check that the record still holds the file that the manifest describes.

    Parameters
    ----------
    record_id : str
    file : RecordFile
        The file in the manifest.
    remote : RemoteFile
        The file in the API's answer.

    Raises
    ------
    FetchError
        If the published md5 or size differs from the manifest's.
    """
    # only what both sides state is compared
    for what, ours, theirs in (("md5", file.md5, remote.md5), ("size_bytes", file.size_bytes, remote.size_bytes)):
        if ours is not None and theirs is not None and ours != theirs:
            raise FetchError(
                f"{file.name}: record {record_id} now publishes {what} {theirs}, the manifest says {ours}. Nothing was "
                "fetched. Likely cause: the file was replaced on the record, or an error in the manifest."
            )
