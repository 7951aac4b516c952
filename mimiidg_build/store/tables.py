"""A store's tables, read: checked against their digests, and held against the columns that they must have."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa

from mimiidg_build.errors import DataError
from mimiidg_build.store.recorded import Recorded

CLIPS, MIX_PLAN = "clips.parquet", "mix_plan.parquet"
FOREIGN = "Likely cause: the store was written by another program. Build its variant again."

# Of ``schemas.tables``, whose models take half a second to import; a test holds these against those.
COLUMNS = {
    CLIPS: "machine_type section split domain condition index d1p d1v d2p d2v clip archive member "
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
    path = recorded.path / name
    try:
        table = pd.read_parquet(io.BytesIO(recorded.read(name)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a table in parquet: {error}. {FOREIGN}") from None
    if missing := [column for column in COLUMNS[name].split() if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}. {FOREIGN}")
    if table.empty:
        raise DataError(f"{path} has no rows, and a store has one for every clip. {FOREIGN}")
    return table
