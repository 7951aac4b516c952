"""A store's tables, read: checked against their digests, and held against the columns that they must have."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mimiidg_build.errors import DataError
from mimiidg_build.store.recorded import Recorded

if TYPE_CHECKING:
    import pandas as pd

CLIPS, MIX_PLAN = "clips.parquet", "mix_plan.parquet"
FOREIGN = "Likely cause: the store was written by another program. Build its variant again."

# Of ``schemas.tables``, whose models take half a second to import; a test holds these against those.
COLUMNS = {
    CLIPS: "machine_type section split domain condition index attributes full_name clip archive member "
    "row power peak measured_added_noise_snr_db n_saturated",
    MIX_PLAN: "machine_type section clip archive member added_noise_snr_db attenuation "
    "noise_1_kind noise_1_clip noise_1_gain noise_2_kind noise_2_clip noise_2_gain",
}


def read_table(recorded: Recorded, name: str) -> pd.DataFrame:
    """One of a store's tables.

    Raises
    ------
    DataError
        It is damaged, is no parquet, lacks a column or has no rows.
    """
    # Imported here: `mimiidg list` opens stores and reads no table, and does without half of its time.
    import pandas as pd
    import pyarrow as pa

    path = recorded.path / name
    try:
        table = pd.read_parquet(io.BytesIO(recorded.read(name)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a table in parquet: {error}. {FOREIGN}") from None
    if name == CLIPS and "d1p" in table.columns:
        table = _of_format_1(table)
    if missing := [column for column in COLUMNS[name].split() if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}. {FOREIGN}")
    if table.empty:
        raise DataError(f"{path} has no rows, and a store has one for every clip. {FOREIGN}")
    return table


def _of_format_1(table: pd.DataFrame) -> pd.DataFrame:
    """The clip table of a store of format 1, whose attributes were four columns, as it is now."""
    from mimiidg_build.schemas.attributes import attributes_text

    pairs = [
        [(key, value) for key, value in (row[:2], row[2:]) if key]
        for row in table[["d1p", "d1v", "d2p", "d2v"]].itertuples(index=False, name=None)
    ]
    named = [
        "_".join([f"section_{section}", domain, split, condition, f"{index:04d}", *(f"{k}_{v}" for k, v in own)])
        + ".wav"
        for own, section, domain, split, condition, index in zip(
            pairs, *(table[c] for c in ("section", "domain", "split", "condition", "index")), strict=True
        )
    ]
    at = list(table.columns).index("d1p")
    table = table.drop(columns=["d1p", "d1v", "d2p", "d2v"])
    table.insert(at, "attributes", [attributes_text(own) for own in pairs])
    table.insert(at + 1, "full_name", named)
    return table
