"""Croissant: what a store or an export holds, its licences and citations, as other programs read it.

``croissant.json`` is JSON-LD in the vocabulary of https://docs.mlcommons.org/croissant (version 1.0): the files, a
record set over the table of clips, and every source, noise included. It depends on the store alone and names no time
and no host, so equal stores have equal descriptions. Written by hand: the library ``mlcroissant`` only reads what it
would have made, and a test has it do so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mimiidg_build.schemas.stores import Source, StoreAttributes
from mimiidg_build.store.tables import CLIPS, MIX_PLAN

CROISSANT = "croissant.json"
PARQUET = "application/x-parquet"
NOT_STATED = "not stated"  # the licence of recordings that somebody gave as files

Node = dict[str, Any]

# The prefixes that the specification prescribes. "key" and "md5" are not used, but mlcroissant warns without them.
_CROISSANT_TERMS = (
    "citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform"
)
CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS.split()},
}


def store_description(attributes: StoreAttributes, tables: Mapping[str, bytes]) -> bytes:
    """A store's ``croissant.json``.

    Parameters
    ----------
    attributes : StoreAttributes
        Its ``objects`` are not looked at: the description is one of them.
    tables : mapping of str to bytes
        The store's tables by file name.

    Returns
    -------
    bytes
    """
    distribution = [file_object(name, tables[name], PARQUET) for name in (CLIPS, MIX_PLAN)]
    for name, what in (("audio", "samples: int16, clip by clip"), ("logmel", "log-mel spectrograms in dB")):
        includes = [f"*/{name}/c/*", f"*/{name}/zarr.json"]
        distribution.append(file_set(name, includes, "application/x-zarr", f"Arrays of zarr, version 3: {what}"))
    names = {"clips": CLIPS, "mix_plan": MIX_PLAN}
    record_sets = [record_set(name, file, table_schema(tables[file])) for name, file in names.items()]
    return described(attributes, distribution, record_sets)


def described(attributes: StoreAttributes, distribution: Sequence[Node], record_sets: Sequence[Node]) -> bytes:
    """A description as JSON text: what a store says of itself, with the given files and record sets.

    Parameters
    ----------
    attributes : StoreAttributes
    distribution : sequence of dict
        From :func:`file_object` and :func:`file_set`.
    record_sets : sequence of dict
        From :func:`record_set`.

    Returns
    -------
    bytes
    """
    sources = stated_sources(attributes)
    variant = attributes.variant
    content: Node = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": variant.name,
        "description": _sentence(attributes),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "identifier": attributes.fingerprint,
        "license": list(dict.fromkeys(source.license or NOT_STATED for source in sources)),
        "citeAs": "\n".join(dict.fromkeys(source.citation for source in sources if source.citation)),
        "isBasedOn": [_work(source) for source in sources],
        "distribution": list(distribution),
        "recordSet": list(record_sets),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def stated_sources(attributes: StoreAttributes) -> list[Source]:
    """What a store was made from; of one that an earlier version built, what its attributes say of its dataset."""
    if attributes.sources:
        return attributes.sources
    title, citation = attributes.dataset_title, attributes.citation
    return [
        Source(name=attributes.dataset, title=title, role="recordings", license=attributes.license, citation=citation)
    ]


def file_object(name: str, content: bytes | str, media_type: str) -> Node:
    """A single file.

    Parameters
    ----------
    name : str
        Its path beside ``croissant.json``.
    content : bytes or str
        What it holds, or its sha256.
    media_type : str

    Returns
    -------
    dict
    """
    digest = content if isinstance(content, str) else hashlib.sha256(content).hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": media_type,
        "sha256": digest,
    }


def file_set(name: str, includes: Sequence[str], media_type: str, description: str) -> Node:
    """Files of one sort.

    Parameters
    ----------
    name : str
    includes : sequence of str
        Glob patterns.
    media_type : str
    description : str

    Returns
    -------
    dict
    """
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": media_type,
        "includes": list(includes),
    }


def table_schema(content: bytes) -> pa.Schema:
    """The columns of a table in parquet."""
    return pq.read_schema(pa.BufferReader(content))


def record_set(name: str, file: str, schema: pa.Schema, *, from_set: bool = False) -> Node:
    """Records that are the rows of a table.

    Parameters
    ----------
    name : str
    file : str
        The file object, or the file set, that holds the table.
    schema : pyarrow.Schema
        The columns. Those that hold structures are left out: the specification has no types for them.
    from_set : bool
        Whether ``file`` is a file set.

    Returns
    -------
    dict
    """
    origin = {"fileSet" if from_set else "fileObject": {"@id": file}}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column.name}",
            "name": column.name,
            "dataType": data_type,
            "source": origin | {"extract": {"column": column.name}},
        }
        for column in schema
        if (data_type := _data_type(column.type))
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _data_type(column: pa.DataType) -> str | None:
    """schema.org's word for a column's type."""
    tests = {
        "sc:Text": (pa.types.is_string, pa.types.is_large_string),
        "sc:Integer": (pa.types.is_integer,),
        "sc:Float": (pa.types.is_floating,),
        "sc:Boolean": (pa.types.is_boolean,),
    }
    return next((name for name, known in tests.items() if any(test(column) for test in known)), None)


def _sentence(attributes: StoreAttributes) -> str:
    """What it is, in a line or two."""
    n_clips = sum(section.n_clips for section in attributes.sections.values())
    made = f"{n_clips:,} clips of {', '.join(attributes.sections)}, made from {attributes.dataset}"
    title = f"{attributes.variant.title}. " if attributes.variant.title else ""
    return f"{title}{made} ({attributes.data_kind}). Fingerprint {attributes.fingerprint}."


def _work(source: Source) -> Node:
    """A source as schema.org has it."""
    return {
        "@type": "sc:Dataset",
        "name": source.name,
        "description": f"{source.title} ({source.role})",
        "license": source.license or NOT_STATED,
        **({"citation": source.citation} if source.citation else {}),
        **({"url": source.url} if source.url else {}),
    }
