"""What a command line names: near names are offered, unknown values refused, a taken name is not taken over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mimiidg_build.build.checks import check_build
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.cli.names import named_variant, store_path
from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.datasets.variant import derive_grid, derive_variant, load_variant
from mimiidg_build.errors import UsageError
from mimiidg_build.store.store import open_store
from tests.build.any_release import make_release, members
from tests.conftest import DATASET
from tests.small_store import make_store

DERIVED = "demo-synthetic-2pct"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A root with the store that ``build demo --dataset synthetic-2pct`` makes."""
    variant = derive_variant(load_variant("demo"), dataset="synthetic-2pct")
    make_store(tmp_path, DERIVED, dataset="synthetic-2pct-seed0", variant=json.loads(variant.model_dump_json()))
    return tmp_path


# -------------------- near names


@pytest.mark.parametrize(
    ("command", "near"),
    [
        *((f"{command} demo", DERIVED) for command in ("verify", "report", "prune")),
        *(("export demo out", DERIVED), ("explain demo --clip x", DERIVED), ("verify mimii_gd", "mimii_dg")),
        *(("export Demo-synthetic-2pc out", DERIVED), ("build demo-synthetic", DERIVED), ("build papre", "paper")),
        ("benchmark demo-synth --model autoencoder", DERIVED),
        *(("validate mimii_gd", "mimii_dg"), ("fetch mimii_dg --file fan.zi", "fan.zip")),
        ("build paper --dataset mimi_dg", "mimii_dg"),
        ("serve --variant papre", "paper"),
        ("bild demo", "build"),
    ],
)
def test_near_names(built: Path, command: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--root", str(built)]) == 2
    said = capsys.readouterr().err
    assert f"Did you mean {near!r}" in said or f"{near!r} or" in said, said


@pytest.mark.parametrize(
    ("command", "near"),
    [
        ("validate synthetic-1pct --machine-type fans", "fan"),
        ("validate synthetic-1pct --machine fans", "fan"),
        ("validate synthetic-1pct --allow missing_tables", "missing_table"),
        ("build demo --allow misplace", "misplaced"),
        ("build demo --section fans", "fan"),
        ("build demo --section fan/09", "fan/05"),
        ("build demo --full-scale saturat", "saturate"),
        ("build demo --scheduler thread", "threads"),
        ("benchmark demo --model autoencodr", "autoencoder"),
        ("benchmark demo --model autoencoder --profile smok", "smoke"),
        ("benchmark demo --model autoencoder --device cudo", "cuda"),
        ("explain demo --clip x --model attentio", "attention"),
    ],
)
def test_unknown_values(tmp_path: Path, command: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"Did you mean {near!r}" in said or f"or {near!r}" in said, said
    assert not list(tmp_path.iterdir()), "before any work"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("build demo --dataset synthetic-2pct-eval", "no SNR is published for fan/03, fan/04, fan/05, gearbox/03"),
        ("build demo --section fan/03", "variant demo-fan03 asks for fan/03, but synthetic-5pct-seed0 has fan/00, "),
        ("build paper --section fan/03", "no SNR is published for fan/03. State one: --snr DB"),
        ("build demo --dataset mimii_due --section bearing", "asks for bearing, but mimii_due has fan, gearbox, pump,"),
        ("fetch dcase2022 --section fan/06", "dcase2022 has no section '06' of fan"),
        ("fetch dcase2022 --section fan --file dev_fan.zip", "--file names archives and --section chooses them"),
        ("validate dcase2020 --section fan/00", "dcase2020 has no section '00' of fan. It has id_00, id_02, id_04,"),
        ("validate dcase2022 --truth nowhere", "'nowhere' does not exist"),
        ("datasets dcase20", "no dataset is named 'dcase20'. Did you mean"),
        ("build demo --scheduler tcp://127.0.0.1:1", "no dask scheduler answers at tcp://127.0.0.1:1"),
        ("demo --percent 0", "percent must be from 1 to 100"),
    ],
)
def test_what_names_tell_is_said_first(
    tmp_path: Path,
    command: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mimiidg_build.parallel.cluster.CONNECT_WITHIN_S", 0.5)
    assert main([*command.split(), "--quiet", "--root", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing was synthesised"


def test_a_variant_under_the_root_goes_before_a_folder_of_its_name(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (built / "here" / DERIVED).mkdir(parents=True)
    monkeypatch.chdir(built / "here")
    assert store_path(DERIVED, built) == built / "variants" / DERIVED / "small.zarr"
    assert named_variant(DERIVED, built) == DEMO, "as for every command"
    assert main(["verify", f"./{DERIVED}", "--root", str(built)]) == 1
    assert "is not a store" in capsys.readouterr().err


def test_unknown_names_are_said_without_waiting_for_torch(built: Path) -> None:
    commands = ["benchmark demo --model nosuch", "benchmark dmo --model bce", "benchmark demo --model my_models:Mine"]
    commands += ["report demi", "explain demi --clip x", "export demi out"]
    code = (
        "import sys; from mimiidg_build.cli import main\n"
        f"print([main([*command.split(), '--root', {str(built)!r}]) for command in {commands}])\n"
        "print(sorted({'torch', 'matplotlib', 'prefect', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[2, 2, 2, 2, 2, 2]", "[]"]


# -------------------- a name that is taken


def test_a_name_is_not_taken_over_unasked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = ["build", "demo", "--dataset", DATASET, "--name", "small", "--quiet", "--root", str(root), "--section"]
    assert main([*build, "fan/00"]) == 0
    first = open_store(root / "variants/small").path
    capsys.readouterr()
    assert main([*build, "valve/00", "--snr", "-3"]) == 2
    said = capsys.readouterr().err
    assert f"the name small is taken: {first} was built from another definition" in said
    assert "sections: ['fan/00'], now ['valve/00']" in said and "snr_db: {}, now {'all': -3.0}" in said
    assert "--replace" in said and "--name" in said
    assert open_store(root / "variants/small").path == first
    assert main([*build, "fan/00"]) == 0, "the same definition is no other"
    assert main([*build, "valve/00", "--snr", "-3", "--replace"]) == 0
    second = open_store(root / "variants/small")
    assert second.path != first and set(second.mix_plan["added_noise_snr_db"].round(6)) == {-3.0}
    assert first.is_dir(), "until it is pruned"
    assert main([*build, "fan/00"]) == 2, "back again is another definition, too"


DEMO = derive_variant(load_variant("demo"), dataset="synthetic-2pct")


@pytest.mark.parametrize(
    "changes",
    [
        *({"dataset": DATASET}, {"sections": ["fan"]}, {"snr_offset_db": 1.0}, {"snr_db": 1.0}, {"seed": 1}),
        *({"full_scale": "saturate"}, {"mixing": "none"}, {"features": {"dtype": "float16"}}),
    ],
    ids=str,
)
def test_what_another_definition_is(built: Path, changes: dict[str, object]) -> None:
    other = derive_variant(DEMO, name=DERIVED, **changes)
    with pytest.raises(UsageError, match=rf"^the name {DERIVED} is taken: .*\n  {next(iter(changes))}: "):
        build_variant(other, built)
    check_build(other, built, replace=True)


@pytest.mark.parametrize(
    "changes", [{"title": "other words"}, {"dataset": "synthetic-2pct-seed0"}, {"dataset": "synthetic-2pct"}], ids=str
)
def test_what_no_other_definition_is(built: Path, changes: dict[str, object]) -> None:
    check_build(derive_variant(DEMO, name=DERIVED, **changes), built)


# -------------------- several at once


def test_a_grid(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build", "--snr-offset", "-6", "6", "--seed", "0", "1", "--section", "fan/00", "valve/00", "demo"]
    assert main([*command, "--dataset", DATASET, "--quiet", "--json", "--root", str(root)]) == 0
    stores = json.loads(capsys.readouterr().out)["stores"]
    names = [Path(store["path"]).parent.name for store in stores]
    stem = f"demo-{DATASET}-snr"
    ends = ["-6dB-fan00-valve00", "-6dB-seed1-fan00-valve00", "+6dB-fan00-valve00", "+6dB-seed1-fan00-valve00"]
    assert names == [stem + end for end in ends]
    assert all(list(store["sections"]) == ["fan/00", "valve/00"] for store in stores)
    assert main([*command, "--name", "one", "--root", str(root)]) == 2
    assert "one name for 4 variants" in capsys.readouterr().err


def test_one_snr_for_all_sections() -> None:
    eval_too = derive_variant(load_variant("demo"), dataset="synthetic-1pct-eval", snr_db=-6.0)
    assert eval_too.name == "demo-synthetic-1pct-eval-at-6dB"
    assert {eval_too.snr_of(row.section_id) for row in load_recipe("table1").sections} == {-6.0}
    offset = derive_variant(load_variant("demo"), snr_offset_db=3.0)
    assert derive_variant(offset, snr_db=0.0).snr_offset_db == 0.0, "absolute"
    with pytest.raises(UsageError, match="exclude each other"):
        derive_variant(load_variant("demo"), snr_db=-6.0, snr_offset_db=3.0)
    with pytest.raises(UsageError, match="snr_db.all: Input should be less than or equal to 60"):
        derive_variant(load_variant("demo"), snr_db=61.0)


def test_the_order_of_a_grid() -> None:
    grid = derive_grid(load_variant("paper"), snr_offset_db=[6.0, -6.0, 0.0, 6.0])
    assert [(variant.name, variant.snr_offset_db) for variant in grid] == [
        ("paper-snr+6dB", 6.0),
        ("paper-snr-6dB", -6.0),
        ("paper", 0.0),
    ]
    assert derive_grid(load_variant("paper"), snr_offset_db=[]) == [load_variant("paper")]


# -------------------- new-variant, list, the home directory


def test_a_new_variant_is_valid_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-variant", "workshop", "--dataset", "mimii_dg"]) == 0
    assert capsys.readouterr().out == "workshop.toml\n"
    made = load_variant("workshop.toml")
    assert (made.name, made.dataset, made.mixing) == ("workshop", "mimii_dg", "table1")
    text = (tmp_path / "workshop.toml").read_text()
    assert all(f"\n{key} = " in text for key in ("name", "dataset", "sections", "snr_offset_db", "seed", "full_scale"))
    assert main(["new-variant", "workshop"]) == 2
    assert "is there already, and is left as it is" in capsys.readouterr().err
    assert (tmp_path / "workshop.toml").read_text() == text
    assert main(["new-variant", "other", "--dataset", "mimi_dg"]) == 2 and not (tmp_path / "other.toml").exists()


def test_a_new_variant_of_any_dataset_names_its_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read from its archives where they are there; valid as it is, and with the recipe that stands in comments."""
    monkeypatch.chdir(tmp_path)
    files = members("Mixer", "00", [b"?"] * 6) | members("Mixer", "07", [b"?"] * 6)
    dataset = make_release(tmp_path, {"Mixer": files})
    assert main(["new-variant", "stirred", "--dataset", dataset, "--root", str(tmp_path)]) == 0
    made, text = load_variant("stirred.toml"), (tmp_path / "stirred.toml").read_text()
    assert (made.mixing, made.dataset) == ("none", dataset)
    assert "# any has the sections Mixer/00, Mixer/07." in text and "Table 1" not in text and "fan" not in text
    lines = text[text.index("# [recipe.default]") :].splitlines()
    recipe = "\n".join(line.removeprefix("# ") for line in lines)
    own = text.replace('mixing = "none"', "").replace("[noise]  ", '[noise]\nhall = "h"\nyard = "y"\n')
    (tmp_path / "own.toml").write_text(own + recipe)
    found = load_variant("own.toml")
    assert found.recipe is not None and found.recipe.default is not None
    assert [row.id for row in found.recipe.sections] == ["Mixer/00"]
    assert main(["new-variant", "later", "--dataset", "dcase2020", "--root", str(tmp_path)]) == 0  # not fetched yet
    assert load_variant("later.toml").mixing == "none"


def test_list_says_what_a_store_is(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json", "--root", str(built)]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["dataset"], listed["seed"], listed["noise"]) == ("synthetic-2pct-seed0", 0, {})
    assert listed["built"].startswith("20")
    assert main(["list", "--root", str(built)]) == 0
    assert "synthetic-2pct-seed0" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["option", "variable"])
def test_the_home_directory(
    built: Path, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(built.parent))
    monkeypatch.setenv("MIMIIDG_ROOT", f"~/{built.name}" if way == "variable" else "/nowhere")
    assert main(["list", *([f"--root=~/{built.name}"] if way == "option" else [])]) == 0
    assert DERIVED in capsys.readouterr().out
    assert main(["list", "--root=~nobody-of-that-name/x"]) == 2
    assert "no user of that name" in capsys.readouterr().err
