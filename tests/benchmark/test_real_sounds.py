"""Detectors on real recordings: from a manifest through build, training and evaluation, as for a whole release.

A few clips of DCASE 2020 and of MIMII (eight channels): AUCs are rough and their intervals wide, but the machines are
real, and so are their faults. ``python -m tests.benchmark.test_real_sounds FOLDER`` prints the table for the real
material in FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build import benchmark_models, build_variant, evaluate_scores
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.cli.printing import print_table
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.evaluation.score_files import read_scores
from mimiidg_build.schemas.sections import SectionId
from tests.build.test_real_releases import pack

SLIDER, FAN = "slider/id_00", "fan/id_00"
# The machines that have a training clip, all but fan id_02; a decision threshold needs two of a machine type.
MACHINES = {"fan": "00 06", "pump": "00 04", "slider": "00 04", "ToyCar": "02 04", "ToyConveyor": "01 02"}
MACHINES["valve"] = "00 02 06"
# What is built of which material, and with what: nearest neighbour needs two training clips of a machine.
BOTH = ("nearest_neighbour", "autoencoder")
CASES: dict[str, tuple[str, list[str], tuple[str, ...]]] = {
    "slider": ("audio_dcase2020", [SLIDER], BOTH),
    # of ToyCar and valve the one normal clip of a machine is trained on: scored, and not evaluated
    "six machines": (
        "audio_dcase2020",
        [f"{name}/id_{number}" for name, numbers in MACHINES.items() for number in numbers.split()],
        ("autoencoder",),
    ),
    "eight channels": ("audio_mimii", [], BOTH),
}
HELD_OUT = range(3, 74, 8)  # of the slider's training clips, 1, 3, .. 73: nine normal test clips more


def place_2020(path: Path) -> str:
    """Of a machine ID with several normal clips the first is trained on; of the slider, all but those held out."""
    machine, folder = path.parts[-3:-1]
    condition, _, number, index = path.stem.split("_")
    if condition == "anomaly":
        return f"{machine}/test/{path.name}"
    if machine == "slider" and number == "00":
        is_test = folder == "clips" or int(index) in HELD_OUT
    else:
        alike = sorted(path.parent.glob(f"normal_id_{number}_*.wav"))
        is_test = len(alike) > 1 and path != alike[0]
    return f"{machine}/{'test' if is_test else 'train'}/{path.name}"


def place_mimii(path: Path) -> str:
    """Every other normal clip of the fan is trained on, under names that tell the split."""
    condition = {"normal": "normal", "abnormal": "anomaly"}[path.parts[-2]]
    split = "train" if condition == "normal" and int(path.stem) % 2 == 0 else "test"
    return f"fan/{split}/{condition}_id_00_{path.stem}.wav"


def run(real: Path, case: str, root: Path) -> Benchmark:
    """Build a store of real clips, train, score and evaluate."""
    folder, sections, models = CASES[case]
    place, dataset = (place_mimii, "mimii_0_dB") if folder == "audio_mimii" else (place_2020, "dcase2020")
    manifest = pack(real, folder, place, dataset, root)
    # names that tell the split: in MIMII's own layout all six normal clips would be test clips
    text = manifest.read_text().replace('layout = "mimii"', 'layout = "dcase2020"')
    manifest.write_text(text.replace('citation = "c"', 'citation = "c"\nprotocol = "2020"'))
    variant = derive_variant(load_variant("released"), dataset=str(manifest), sections=sections, name="real")
    store = build_variant(variant, root).store
    return benchmark_models(store, root, models, profile="smoke", epochs=20, device="cpu", workers=1)


def aucs(found: Benchmark, section: str) -> dict[str, tuple[float, float, float]]:
    """AUC and interval of each model, from its score files alone."""
    return {model.model: _auc(model.runs[0].directory, section) for model in found.models}


def _auc(directory: Path, section: str) -> tuple[float, float, float]:
    evaluation = evaluate_scores(directory, partial=True)  # numbers in the names tell of hundreds of other clips
    row = evaluation.sections.set_index(["machine_type", "section"]).loc[tuple(SectionId.parse(section))]
    bounds = evaluation.section_intervals.get(SectionId.parse(section), {}).get("auc_all", (np.nan, np.nan))
    return float(row["auc_all"]), *bounds


def scores_of(found: Benchmark) -> Iterator[float]:
    for model in found.models:
        for path in model.runs[0].directory.glob("anomaly_score_*.csv"):
            yield from read_scores(path)["score"]


@pytest.mark.slow  # trains for a minute
@pytest.mark.parametrize("case", CASES)
def test_real_sounds_from_manifest_to_evaluation(real: Path, case: str, tmp_path: Path) -> None:
    found = run(real, case, tmp_path)
    assert np.isfinite(list(scores_of(found))).all()
    assert found.models[0].few_clips, "and so it is said"


def main(real: Path) -> None:
    """Print the table."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            found = run(real, case, Path(directory))
            for section in found.models[0].evaluated:
                cells = {
                    name: f"{100 * auc:.1f} ({100 * low:.1f} .. {100 * high:.1f})"
                    for name, (auc, low, high) in aucs(found, section).items()
                }
                row = {"case": case, "section": section, **counts(found, section), **dict.fromkeys(BOTH, "")}
                rows.append(row | cells)
    print_table("AUC in % with 95 % intervals on real recordings", rows)


def counts(found: Benchmark, section: str) -> dict[str, int]:
    """Training clips, normal and anomalous test clips of a section."""
    clips = found.store.clips
    own = clips[(clips["machine_type"] + "/" + clips["section"]) == section]
    n = own.groupby(["split", "condition"]).size()
    kinds = {"trained": ("train", "normal"), "normal": ("test", "normal"), "anomalous": ("test", "anomaly")}
    return {title: int(n.get(kind, 0)) for title, kind in kinds.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
