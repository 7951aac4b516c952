"""What the environment says, read here and nowhere else, and only when it is asked for.

| variable | meaning |
|---|---|
| ``MIMIIDG_ROOT`` | where archives and stores lie, where no ``--root`` is given |
| ``MIMIIDG_WORK`` | this machine's counterpart of a root on object storage |
| ``MIMIIDG_ZENODO_URL`` | another record API in Zenodo's place |
| ``AWS_ENDPOINT_URL`` | the object storage, where it is not Amazon's |
| ``PREFECT_API_URL`` | a Prefect server to run flows on |
"""

from __future__ import annotations

import os
from pathlib import Path

__version__ = "0.1.0"

DEFAULT_ROOT = "mimiidg-data"
DEFAULT_WORK = "mimiidg-work"
ZENODO_URL = "https://zenodo.org"


def root() -> str:
    """Where archives and stores lie by default: a path, or a URL of object storage."""
    return os.environ.get("MIMIIDG_ROOT", DEFAULT_ROOT)


def work() -> Path:
    """Where what cannot lie on object storage lies on this machine."""
    return Path(os.environ.get("MIMIIDG_WORK", DEFAULT_WORK))


def zenodo_url() -> str:
    """Base URL of the record API."""
    return os.environ.get("MIMIIDG_ZENODO_URL", ZENODO_URL)


def object_storage_url() -> str:
    """Address of the object storage; empty for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL", "")


def prefect_url() -> str:
    """Address of the configured Prefect server's API; empty where there is none."""
    return os.environ.get("PREFECT_API_URL", "")
