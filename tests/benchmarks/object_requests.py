"""What a build asks of object storage, shard by shard: requests and bytes.

``python -m tests.benchmarks.object_requests``. One section and three sections of the 1 % release, a shard each, built
in a bucket of a server on this machine (moto), levels known; the difference is what a section of one shard takes, the
rest what a build takes once. A section's group and arrays have metadata: three objects that are written, and read when
the store is opened. The other puts are each shard's: two arrays and the journal's entry. Counted are the library's own
requests: of an object above 5 MiB obstore makes several, one for each 5 MiB and two about the upload.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from mimiidg_build.build.variant import build_variant
from mimiidg_build.datasets.synthetic import SyntheticSpec
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.fetch.dataset import fetch_dataset
from mimiidg_build.storage import object_path
from mimiidg_build.storage.object_path import ObjectPath
from tests.benchmarks import Ratio, parser, report, working_root
from tests.object_storage import make_bucket, s3_server

MACHINE = "fan"
CLIPS = 12  # of a section of the 1 % release
LAYERS = 1.5  # of noise on a clip, on the mean


class Counted:
    """A bucket's client that counts: requests by kind, and bytes read and written."""

    def __init__(self, store: Any, requests: Counter[str], n_bytes: Counter[str]) -> None:
        self._store, self._requests, self._bytes = store, requests, n_bytes

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self._requests[name] += 1
            if name == "get_range":
                self._bytes["read"] += options["length"]
            if name == "put":
                key, content = arguments
                return real(key, self._counted(content), **options)
            return real(*arguments, **options)

        return counted

    def _counted(self, content: Any) -> Any:
        """What is put, its bytes counted: bytes, an open file, or a generator of pieces."""
        if isinstance(content, bytes):
            self._bytes["written"] += len(content)
        elif hasattr(content, "seek"):
            at = content.tell()
            self._bytes["written"] += content.seek(0, os.SEEK_END) - at
            content.seek(at)
        else:
            return self._passing(content)
        return content

    def _passing(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for piece in pieces:
            self._bytes["written"] += len(piece)
            yield piece


@contextmanager
def counting() -> Iterator[tuple[Counter[str], Counter[str]]]:
    """Count the library's requests in this block."""
    requests, n_bytes, real = Counter[str](), Counter[str](), object_path.requests

    @contextmanager
    def counted(bucket: str, url: str) -> Iterator[Counted]:
        with real(bucket, url) as store:
            yield Counted(store, requests, n_bytes)

    with mock.patch.object(object_path, "requests", counted):
        yield requests, n_bytes


def built(root: ObjectPath, sections: Sequence[str], seed: int) -> tuple[Counter[str], Counter[str]]:
    """Requests and bytes of a build of a variant of its own."""
    variant = derive_variant(
        load_variant("demo"), dataset=SyntheticSpec(1, 0).name, sections=sections, seed=seed, name=f"requests-{seed}"
    )
    with counting() as counts:
        build_variant(variant, root, workers=1)
    return counts


def per_section(archives: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Requests by kind, and bytes: of a section of one shard, and of a build beside its sections."""
    with s3_server() as url, tempfile.TemporaryDirectory(prefix="mimiidg-benchmark-") as work:
        make_bucket(url, "bucket")
        access = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}
        with mock.patch.dict(os.environ, access | {"AWS_ENDPOINT_URL": url, "MIMIIDG_WORK": work}):
            root = ObjectPath("/", "bucket") / "data"
            for path in archives.rglob("*"):
                wanted = path.suffix != ".zip" or path.stem in (MACHINE, "noise")
                if wanted and path.is_file() and ".locks" not in path.parts:
                    (root / "archives" / archives.name / path.relative_to(archives).as_posix()).write(path.read_bytes())
            built(root, [MACHINE], 0)  # levels, noise banks
            one, three = built(root, [f"{MACHINE}/00"], 1), built(root, [MACHINE], 2)
    few, many = (Counter({**requests, **n_bytes}) for requests, n_bytes in (one, three))
    section = {what: (many[what] - few[what]) / 2 for what in many}
    return section, {what: few[what] - section[what] for what in many}


def main(arguments: Sequence[str] | None = None) -> list[Ratio]:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="where the archives are kept; a temporary folder by default")
    given = options.parse_args(arguments)
    spec = SyntheticSpec(1, 0)
    with working_root(given.root) as root:
        fetch_dataset(spec.name, root)
        section, rest = per_section(root / "archives" / spec.record_id)
    rows = [
        {"what": what, f"a section of {CLIPS} clips": f"{section[what]:,.1f}", "a build beside": f"{rest[what]:,.1f}"}
        for what in section
    ]
    reads = section["get_range"] / CLIPS
    others = sum(n for what, n in section.items() if what not in ("get_range", "read", "written"))
    ratios = [
        Ratio("ranges that are read, for each clip", reads, 1 + LAYERS, at_least=False),
        Ratio("other requests, for a section of one shard", others, 16, at_least=False),
    ]
    report("object_requests", "requests to object storage, and bytes", rows, ratios, given.save)
    return ratios


if __name__ == "__main__":
    main()
