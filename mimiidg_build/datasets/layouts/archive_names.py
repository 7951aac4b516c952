"""Which machine type an archive's file name says that it holds, in every layout."""

from __future__ import annotations

import re

from mimiidg_build.schemas.manifests import DatasetManifest
from mimiidg_build.schemas.sections import MACHINE_TYPE

# dev_fan.zip, dev_data_fan.zip, eval_data_fan_train.zip, eval_data_train_fan.zip, dev_ToyCar_r2.zip, -6_dB_fan.zip
_BEFORE = r"(?:[0-9-]+_dB_|dev_|data_|eval_data_|eval_|train_|test_)*"
_AFTER = r"(?:_train|_test|_eval)?(?:_r[0-9]+)?"
_NAME = re.compile(rf"{_BEFORE}({MACHINE_TYPE[1:-1]}?){_AFTER}\.zip")


def machine_type_of(dataset: DatasetManifest, archive: str) -> str | None:
    """The machine type in an archive's file name: one that the dataset lists, or where it lists none, any.

    Examples
    --------
    >>> from mimiidg_build.datasets.manifest import load_dataset
    >>> release = load_dataset("mimii_dg")
    >>> machine_type_of(release, "fan.zip"), machine_type_of(release, "noise.zip")
    ('fan', None)
    >>> open_list = release.model_copy(update={"machine_types": []})
    >>> [machine_type_of(open_list, f"{name}.zip") for name in ("eval_data_fan_train", "dev_ToyCar_r2", "3DPrinter")]
    ['fan', 'ToyCar', '3DPrinter']
    """
    match = _NAME.fullmatch(archive)
    if match is None or (dataset.machine_types and match[1] not in dataset.machine_types):
        return None
    return match[1]
