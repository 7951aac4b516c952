"""The commands ``benchmark`` and ``evaluate``: what they print, build, refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mimiidg_build.cli.benchmark import benchmark
from mimiidg_build.cli.evaluate import evaluate
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import GROUPS
from tests.conftest import DATASET
from tests.plain_store import TRAIN, UNKNOWN, make_plain_store
from tests.small_store import make_store

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object) -> Result:
    command = {"benchmark": benchmark, "evaluate": evaluate}[str(arguments[0])]
    return CliRunner().invoke(command, [str(a) for a in arguments[1:]], catch_exceptions=False)


def variant_file(directory: Path) -> Path:
    path = directory / "mine.toml"
    path.write_text(f'name = "mine"\ndataset = "{DATASET}"\nsections = ["fan"]\n')
    return path


def test_sweep_builds_and_compares(root: Path, tmp_path: Path) -> None:
    """Nothing is built beforehand; the second time nothing is done again."""
    arguments = ["benchmark", variant_file(tmp_path), "--model", "nearest_neighbour", "--profile", "smoke", "--quiet"]
    arguments += ["--snr-offset", "-6", "6", "--root", root, "--device", "cpu"]
    done = run(*arguments, "--json")
    content = json.loads(done.stdout)
    assert [(variant["variant"], variant["snr_offset_db"]) for variant in content["variants"]] == [
        ("mine-snr-6dB", -6.0),
        ("mine-snr+6dB", 6.0),
    ]
    sections = content["variants"][0]["models"][0]["runs"][0]["sections"]
    assert [(row["machine_type"], row["section"]) for row in sections] == [("fan", "00"), ("fan", "01"), ("fan", "02")]
    assert {"auc_source", "auc_target", "auc_all", "pauc", "f1_source"} <= set(sections[0])
    assert Path(content["figures"][0]).read_bytes().startswith(b"\x89PNG")
    stores = {path: path.stat().st_mtime_ns for path in root.rglob("zarr.json")}
    again = run(*arguments, "--values", "--losses")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("zarr.json")} == stores
    for text in (
        "mine-snr-6dB (synthetic data",
        "official score",
        "SNR offset [dB]",
        "per attribute value",
        "loss.png",
    ):
        assert text in again.stdout
    assert str(root / "runs" / "mine-snr+6dB") in again.stdout


def test_a_store_without_its_variant_file(tmp_path: Path) -> None:
    """By name under ROOT, or by path; its archives need not be there."""
    from mimiidg_build.datasets.variant import derive_variant, load_variant

    variant = derive_variant(load_variant("demo"), sections=["fan", "valve"])
    store = make_store(tmp_path, variant.name, variant=json.loads(variant.model_dump_json()))
    for name in (variant.name, str(store.path)):
        arguments = ["--model", "nearest_neighbour", "--root", tmp_path, "--workers", 1, "--quiet", "--json"]
        done = run("benchmark", name, *arguments)
        assert json.loads(done.stdout)["variants"][0]["path"] == str(store.path)


def test_several_variants_side_by_side(tmp_path: Path) -> None:
    """As a paper's three SNRs: by machine type, a column a variant. What is not evaluated is said."""
    for name, seconds in (("quiet", 0.5), ("loud", 0.6)):
        sections = {"fan/id_00": seconds, "pump/id_00": (seconds, {TRAIN: 6, UNKNOWN: 3})}
        make_plain_store(tmp_path, sections, name=name, variant={"name": name, "mixing": "none"})
    arguments = ["benchmark", "loud", "quiet", "loud", "--profile", "smoke", "--root", tmp_path, "--quiet"]
    arguments += ["--workers", "1"]
    done = run(*arguments, "--model", "nearest_neighbour", "--model", "nearest_neighbour_max")
    assert done.exit_code == 0
    (title,) = [number for number, line in enumerate(done.stdout.splitlines()) if "by machine type" in line]
    head = done.stdout.splitlines()[title + 1 : title + 3]
    assert any(line.split()[:5] == ["model", "machine", "type", "loud", "quiet"] for line in head)
    assert done.stdout.count("3 of 11 test clips are scored and not evaluated: nobody told their condition") == 1
    assert "loud+quiet-smoke-nearest_neighbour+nearest_neighbour_max-variants.png" in done.stdout
    done = run(*arguments, "--model", "nearest_neighbour", "--json")
    content = json.loads(done.stdout)
    assert [variant["variant"] for variant in content["variants"]] == ["loud", "quiet"], "each once"
    section = content["variants"][0]["models"][0]["sections"][0]
    assert (section["section"], set(section)) == ("id_00", {"machine_type", "section", "auc_all", "pauc"})
    assert content["variants"][0]["notes"][0].startswith("3 of 11 test clips")


def test_without_any_truth_only_scores_are_written(tmp_path: Path) -> None:
    make_plain_store(tmp_path, {"fan/00": (0.5, {TRAIN: 6, UNKNOWN: 3})}, variant={"name": "plain", "mixing": "none"})
    arguments = ["--model", "nearest_neighbour", "--root", tmp_path, "--quiet", "--workers", "1"]
    done = run("benchmark", "plain", *arguments, "--losses")
    assert "3 of 3 test clips are scored and not evaluated" in done.stdout
    directory = Path(done.stdout.splitlines()[-1])
    assert (directory / "nearest_neighbour-paper-0/anomaly_score_fan_section_00_test.csv").is_file()


def test_of_all_models_those_that_suit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are named, with the reason; a model that is asked for by name is refused instead."""
    monkeypatch.setitem(GROUPS, "all", ("nearest_neighbour", "mobilenetv2"))
    make_plain_store(tmp_path, {"fan/00": 0.5, "pump/00": 0.5}, variant={"name": "plain", "mixing": "none"})
    arguments = ["--profile", "smoke", "--root", tmp_path, "--quiet", "--workers", "1"]
    done = run("benchmark", "plain", "--model", "all", *arguments)
    assert "left out: mobilenetv2 learns to classify sections" in done.stdout and "nearest_neighbour" in done.stdout
    with pytest.raises(UsageError, match="mobilenetv2 learns to classify sections: it needs two or more"):
        run("benchmark", "plain", "--model", "mobilenetv2", *arguments)


def test_other_datasets_than_the_variants(root: Path, tmp_path: Path) -> None:
    """Built under names that say so."""
    arguments = ["benchmark", variant_file(tmp_path), "--model", "nearest_neighbour", "--profile", "smoke", "--quiet"]
    arguments += ["--workers", "1"]
    done = run(*arguments, "--dataset", DATASET, "--root", root, "--json")
    assert [variant["variant"] for variant in json.loads(done.stdout)["variants"]] == ["mine"], "its own"
    with pytest.raises(UsageError, match="no dataset is named 'mimii_-7_dB'"):
        run(*arguments, "--dataset", DATASET, "--dataset", "mimii_-7_dB", "--root", root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'VARIANT...'"),
        (["demo"], "Missing option '--model'"),
        (["demo", "--model", "autoencodr"], "'autoencodr' is not one of 'autoencoder'"),
        (["demo", "--model", "autoencoder", "--profile", "big"], "'big' is not one of 'paper', 'released', 'cpu'"),
        (["demo", "--model", "autoencoder", "--seeds", "0"], "0 is not in the range"),
    ],
)
def test_wrong_use(arguments: list[str], message: str) -> None:
    done = run("benchmark", *arguments)
    assert done.exit_code == 2 and message in done.stderr


def test_unknown_variant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no variant is named 'demi'. Did you mean 'demo'"):
        run("benchmark", "demi", "--model", "autoencoder", "--root", tmp_path)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    lines = []
    for domain in ("source", "target"):
        for condition, values in (("normal", (1, 3)), ("anomaly", (2, 4))):
            for index, score in enumerate(values):
                lines.append(f"section_00_{domain}_test_{condition}_{index:04d}_m-n_W.wav,{score}\n")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/anomaly_score_fan_section_00_test.csv").write_text("".join(lines))
    return tmp_path / "scores"


def test_evaluate(scores: Path) -> None:
    content = json.loads(run("evaluate", scores, "--json").stdout)
    (section,) = content["sections"]
    assert (section["machine_type"], section["section"]) == ("fan", "00")
    assert [section[name] for name in ("auc_source", "auc_target", "auc_all")] == [0.75] * 3
    assert section["f1_source"] is None, "there are no decisions"
    assert 0 < content["official_score"] < 1
    text = run("evaluate", scores).stdout
    assert "fan/00" in text and "75.00" in text and "harmonic mean" in text and "official score" in text


def test_evaluate_says_what_is_missing(scores: Path) -> None:
    """One section of fifteen has no official score; the same scores for all of them have one."""
    content = json.loads(run("evaluate", scores, "--json").stdout)
    assert content["complete"] is False and len(content["missing_sections"]) == 14
    assert "valve/02" in content["missing_sections"] and "fan/00" not in content["missing_sections"]
    assert "valve/03" not in content["missing_sections"], "another set: of the evaluation"
    text = run("evaluate", scores).stdout
    (official,) = [line for line in text.splitlines() if line.strip().startswith("official score")]
    assert "incomplete: 14 sections missing" in official
    assert "incomplete: no scores of fan/01, fan/02, gearbox/00" in text
    path = scores / "anomaly_score_fan_section_00_test.csv"
    for name in content["missing_sections"]:
        machine_type, number = name.split("/")
        lines = path.read_text().replace("section_00", f"section_{number}")
        (scores / f"anomaly_score_{machine_type}_section_{number}_test.csv").write_text(lines)
    whole = json.loads(run("evaluate", scores, "--json").stdout)
    assert whole["complete"] is True and whole["missing_sections"] == []
    assert "incomplete" not in run("evaluate", scores).stdout


def test_evaluate_with_truth(scores: Path, tmp_path: Path) -> None:
    path = scores / "anomaly_score_fan_section_00_test.csv"
    names = [line.split(",")[0] for line in path.read_text().splitlines()]
    hidden = {name: f"section_00_{number:04d}.wav" for number, name in enumerate(names)}
    expected = json.loads(run("evaluate", scores, "--json").stdout)["official_score"]
    text = path.read_text()
    for name, hides in hidden.items():
        text = text.replace(name, hides)
    path.write_text(text)
    with pytest.raises(DataError, match="line 1: is section_00_0000.wav normal or anomalous"):
        run("evaluate", scores)
    rows = [f"fan/test/{hides},m-n,W,fan/test/{name}\n" for name, hides in hidden.items()]
    (tmp_path / "fan").mkdir()
    (tmp_path / "fan/attributes_00.csv").write_text("file_name,d1p,d1v,full\n" + "".join(rows))
    done = run("evaluate", scores, "--truth", tmp_path / "fan", "--json")
    assert json.loads(done.stdout)["official_score"] == expected


# ---- Changed settings ------------------------------------------------------------------------------------------------


def changed_run(root: Path, *arguments: object) -> Result:
    model = ["--model", "autoencoder", "--profile", "smoke", "--epochs", 1]
    return run("benchmark", "small", *model, "--root", root, "--quiet", "--workers", 1, "--device", "cpu", *arguments)


def test_settings_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    """The command line goes before the file; both, and the precision, are in the run's name and configuration."""
    make_store(tmp_path, variant={"name": "small", "mixing": "none"})
    path = tmp_path / "mine.toml"
    path.write_text("batch_size = 64\nlearning_rate = 1e-2\n")
    given = ["--set", "learning_rate=3e-3", "--set", "train_hop = 4", "--settings", path, "--precision", "bf16"]
    done = changed_run(tmp_path, *given)
    # the learning rate is the profile's own, and so no change
    label = "smoke-1epochs-batch_size=64-precision=bf16-train_hop=4"
    assert done.exit_code == 0 and f"{label} profile" in done.stdout
    (config,) = (tmp_path / "runs").rglob("config.json")
    content = json.loads(config.read_text())
    assert config.parent.name == f"autoencoder-{label}-0"
    assert content["changes"] == {"batch_size": 64, "precision": "bf16", "train_hop": 4}
    (model,) = json.loads(changed_run(tmp_path, *given, "--json").stdout)["variants"][0]["models"]
    assert (model["profile"], model["changes"], model["published"]) == (label, content["changes"], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "batchsize=64"], "no setting 'batchsize' to change; .* Did you mean 'batch_size'"),
        (["--set", "batch_size=many"], "the setting batch_size cannot be 'many': .* valid integer"),
        (["--set", "batch_size=64\nlearning_rate=1"], "batch_size cannot be .* valid integer"),
        (["--set", "learning_rate=1979-05-27"], "learning_rate cannot be datetime.date"),
        (["--set", "learning_rate=nan"], "learning_rate cannot be nan"),
        (["--set", "batch_size=0x1"], "batch_size cannot be 1: .* greater than or equal to 2"),
        (["--set", "batch_size=" + "9" * 5000], "batch_size cannot be"),
        (["--set", "batch_size"], "--set 'batch_size': expected KEY=VALUE, as in batch_size=256"),
        (["--set", "=3"], "--set '=3': expected KEY=VALUE"),
        (["--set", "batch_size=2", "--set", "batch_size=4"], "the setting 'batch_size' is given twice, as 2 and 4"),
        (["--set", "precision=bf16", "--precision", "fp32"], "'precision' is given twice, as 'bf16' and 'fp32'"),
        (["--precision", "fp16"], "a CPU trains in fp32 or bf16"),
        (["--set", "epochs=3"], "Ask for epochs with --epochs"),
        (["--set", "time_masks=1"], "time_mask_width = 40, and what it is given at a time has 5 frames"),
        (["--set", "noise=0.5"], "fan/00 of .* was mixed with none. Build a variant that adds noise"),
        (["--set", "noise_snr_low=30", "--set", "noise=1"], "noise_snr_low = 30 is above noise_snr_high = 20"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, arguments: list[str], message: str) -> None:
    make_store(tmp_path, variant={"name": "small", "mixing": "none"})
    with pytest.raises(UsageError, match=message):
        changed_run(tmp_path, *arguments)
    assert UsageError.exit_code == 2 and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("batch_size = ", "mine.toml: not valid TOML"),
        ("[autoencoder]\nbatch_size = 64\n", "mine.toml: autoencoder: no setting 'autoencoder' to change"),
        ('batch_size = "64"\n', "mine.toml: autoencoder: the setting batch_size cannot be '64'"),
    ],
)
def test_files_of_settings_that_cannot_be(tmp_path: Path, content: str, message: str) -> None:
    make_store(tmp_path, variant={"name": "small", "mixing": "none"})
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        changed_run(tmp_path, "--settings", path)
    assert changed_run(tmp_path, "--settings", tmp_path / "none.toml").exit_code == 2
    path.write_text("learning_rate = 0.01\n")
    with pytest.raises(UsageError, match="^autoencoder: the setting batch_size"):  # the file is not to blame
        changed_run(tmp_path, "--settings", path, "--set", "batch_size=1")
    assert not (tmp_path / "runs").exists()
