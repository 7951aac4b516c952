"""Detectors on real recordings: from a manifest through build, training and evaluation, as for a whole release.

A few clips of DCASE 2020 and of MIMII (eight channels): AUCs are rough and their intervals wide, but the machines are
real, and so are their faults. ``python -m tests.benchmark.test_real_sounds FOLDER`` prints the table for the real
material in FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimiidg_build import benchmark_models, build_variant, evaluate_scores
from mimiidg_build.benchmark.results import Benchmark
from mimiidg_build.cli.printing import print_table
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.evaluation.score_files import read_scores
from mimiidg_build.models.backends import BACKENDS
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
# AUC of back ends on time-averaged log-mels, which draw little or nothing: as measured, within two pairs of clips
BACK_ENDS = {
    "slider": dict.fromkeys(("cosine_knn", "local_density"), 18)
    | dict.fromkeys(("mahalanobis", "fusion"), 19)
    | {"kmeans": 20, "pca_residual": 21},
    "eight channels": dict.fromkeys(("cosine_knn", "local_density", "kmeans"), 15)
    | dict.fromkeys(("mahalanobis", "pca_residual", "fusion"), 14),
}
N_PAIRS = {"slider": 22, "eight channels": 18}  # of a normal and an anomalous test clip
HELD_OUT = range(3, 74, 8)  # of the slider's training clips, 1, 3, .. 73: nine normal test clips more

EVALUATED = {
    "slider": [SLIDER],
    "six machines": ["ToyConveyor/id_01", "fan/id_06", "pump/id_04", SLIDER],
    "eight channels": [FAN],
}
# AUC as measured, and by how much it may differ: two pairs of clips turned round; training differs by processor, too
MEASURED = {
    ("slider", SLIDER, "nearest_neighbour"): (18 / 22, 0.1),
    ("slider", SLIDER, "autoencoder"): (21 / 22, 0.15),
    ("six machines", SLIDER, "autoencoder"): (22 / 22, 0.15),
    ("eight channels", FAN, "nearest_neighbour"): (15 / 18, 0.12),
}


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


def run(real: Path, case: str, root: Path, backends: Sequence[str] = ()) -> Benchmark:
    """Build a store of real clips, train, score and evaluate."""
    folder, sections, models = CASES[case]
    place, dataset = (place_mimii, "mimii_0_dB") if folder == "audio_mimii" else (place_2020, "dcase2020")
    manifest = pack(real, folder, place, dataset, root)
    # names that tell the split: in MIMII's own layout all six normal clips would be test clips
    text = manifest.read_text().replace('layout = "mimii"', 'layout = "dcase2020"')
    manifest.write_text(text.replace('citation = "c"', 'citation = "c"\nprotocol = "2020"'))
    variant = derive_variant(load_variant("released"), dataset=str(manifest), sections=sections, name="real")
    store = build_variant(variant, root).store
    options: dict[str, Any] = {"profile": "smoke", "epochs": 20, "device": "cpu", "workers": 1}
    return benchmark_models(store, root, models, backends=backends, **options)


def aucs(found: Benchmark, section: str) -> dict[str, tuple[float, float, float]]:
    """AUC and interval of each model."""
    estimates = {model.model: model.section(section, "auc_all") for model in found.models}
    return {name: (one.value, one.low, one.high) for name, one in estimates.items()}


def scores_of(found: Benchmark) -> Iterator[float]:
    for model in found.models:
        for path in model.runs[0].directory.glob("anomaly_score_*.csv"):
            yield from read_scores(path)["score"]


@pytest.mark.slow  # each trains for some seconds
@pytest.mark.parametrize("case", CASES)
def test_real_sounds_from_manifest_to_evaluation(real: Path, case: str, tmp_path: Path) -> None:
    found = run(real, case, tmp_path)
    assert np.isfinite(list(scores_of(found))).all()
    assert sorted(found.models[0].evaluated) == EVALUATED[case]
    assert found.models[0].few_clips, "and so it is said"
    for section in found.models[0].evaluated:
        for name, (auc, low, high) in aucs(found, section).items():
            if 1 in (counts(found, section)["normal"], counts(found, section)["anomalous"]):
                assert np.isnan([low, high]).all()
            else:
                assert low <= auc <= high and high - low > 0.05, "few clips say little"
            if (case, section, name) in MEASURED:
                expected, margin = MEASURED[case, section, name]
                assert auc == pytest.approx(expected, abs=margin)


@pytest.mark.slow
@pytest.mark.parametrize("case", BACK_ENDS)
def test_every_back_end_on_real_sounds(real: Path, case: str, tmp_path: Path) -> None:
    found = run(real, case, tmp_path, ["all"])
    aucs = {model.name: model.mean("auc_all").value for model in found.models}
    assert len(aucs) == len(BOTH) * (1 + len(BACKENDS)) and np.isfinite(list(aucs.values())).all()
    for backend, n_right in BACK_ENDS[case].items():
        expected = n_right / N_PAIRS[case]
        assert aucs[f"nearest_neighbour/{backend}"] == pytest.approx(expected, abs=2.1 / N_PAIRS[case])


@pytest.mark.slow
def test_score_files_of_real_sounds_are_evaluated_alike(real: Path, tmp_path: Path) -> None:
    """By the official files alone; the numbers in the names tell of hundreds of other clips."""
    found = run(real, "slider", tmp_path)
    for model in found.models:
        alone = evaluate_scores(model.runs[0].directory, partial=True)
        assert alone.official_score == model.official_score.value
        assert alone.section_intervals == model.runs[0].evaluation.section_intervals


def main(real: Path) -> None:
    """Print the table."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            found = run(real, case, Path(directory))
            for section in found.models[0].evaluated:
                cells = {
                    name: f"{100 * auc:.1f}" + (f" ({100 * low:.1f} .. {100 * high:.1f})" if low == low else "")
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
