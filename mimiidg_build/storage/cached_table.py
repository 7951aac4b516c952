"""Tables cached beside what they were measured from, or in the work folder, so that it is measured once.

Such a table can always be made again, so it is believed only if it is exactly what was written, and of the same thing:
its metadata has a digest of its columns, its rows and the identity of what was measured. Anything else counts as
missing.
"""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from mimiidg_build.storage.files import write_file
from mimiidg_build.storage.places import Place, cache_places

KEY = b"identity"
# What pyarrow and pandas raise on a damaged file depends on where the damage is; an AttributeError, where it is in what
# pandas notes of the columns.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, pa.ArrowException)


def write_cached(path: Place, frame: pd.DataFrame, identity: str) -> None:
    """Cache a table, whole or not at all; in the work folder where nothing can be written at its path.

    Parameters
    ----------
    path : Place
    frame : pd.DataFrame
    identity : str
        Of what was measured, and of how.

    Raises
    ------
    DataError
        It cannot be written.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # pandas' own metadata must stay: it restores the column types, which the digest covers.
    metadata = {**(table.schema.metadata or {}), KEY: _digest(frame, identity)}
    content = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), content)
    # not flushed: what a power cut leaves of it is damaged or older, and made again
    write_file(cache_places(path)[-1], [content.getvalue()], durable=False)


def read_cached(path: Place, identity: str) -> pd.DataFrame | None:
    """A cached table; None if there is none, if it is of something else, or if it is damaged."""
    found = (_read(place, identity) for place in cache_places(path))
    return next((frame for frame in found if frame is not None), None)


def _read(path: Place, identity: str) -> pd.DataFrame | None:
    try:
        # not read_table, which would import pyarrow's data sets: 10 ms of a small build
        table = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
        frame = table.to_pandas()
        # hashing, too, may fail on what was read: Arrow takes any bytes for text until it is looked at
        is_whole = table.schema.metadata[KEY] == _digest(frame, identity)
    except UNREADABLE:
        return None
    return frame if is_whole else None


def _digest(frame: pd.DataFrame, identity: str) -> bytes:
    """Of the values rather than the file: a flipped bit may change a value and leave a file that can be read."""
    columns = [(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]
    rows = pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()
    return blake3(repr((identity, columns)).encode() + rows).hexdigest().encode()
