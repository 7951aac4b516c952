"""Stores mixed by a recipe of one's own: what it says holds clip by clip, and the store needs no file of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mimiidg_build.audio.wav import encode_wav
from mimiidg_build.build.variant import build_variant
from mimiidg_build.cli import main
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.variant import derive_variant, load_variant
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.store.store import Store, open_store
from mimiidg_build.upkeep.verify import verify_store
from tests.build.any_release import make_release, members, noise, noise_folder

N = 8000
RECIPE = """
source = "our hall"

[default]                                    # every section that is not listed
snr_db = 6.0
noise = [{ source = ["hall"], target = ["yard east"] }]

[[sections]]
machine_type = "fan"
section = "01"
snr_attribute = "lv"
snr_db_by_value = { L1 = 0.0, L2 = -12.0 }
noise = [{ kinds = ["hall", "yard east"] }]

[[sections]]
machine_type = "fan"
section = "02"
snr_db = -6.0
noise = [{ attribute = "n" }, { kinds = ["hall"] }]
"""
KINDS = ("hall", "yard east", "saw", "drill")


def clips(seed: int) -> list[bytes]:
    return [encode_wav(noise((N,), seed + number)) for number in range(6)]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A release of three sections in a root, noise of four kinds, a recipe, and a variant that names all of it."""
    fan = members("fan", "00", clips(0))
    fan |= members("fan", "01", clips(10)[:3], "lv_L1") | members("fan", "01", clips(20)[3:], "lv_L2")
    for number, data in enumerate(clips(30)):
        name = list(members("fan", "02", clips(30)))[number]
        fan[name.replace("vel_6", "n_saw" if number % 2 else "n_drill")] = data
    manifest = make_release(tmp_path, {"fan": fan})
    lines = ['name = "hall"', f'dataset = "{manifest}"', 'mixing = "recipes/hall.toml"', "[noise]"]
    lines += [f'"{kind}" = "noise/{kind}"' for kind in KINDS]
    for number, kind in enumerate(KINDS):
        noise_folder(tmp_path / "noise" / kind, 2 * N, seed=100 + 10 * number)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/hall.toml").write_text(RECIPE)
    (tmp_path / "v.toml").write_text("\n".join(lines))
    return tmp_path


def build(written: Path, **changes: object) -> Store:
    return build_variant(derive_variant(load_variant(str(written / "v.toml")), **changes), written).store


def test_every_clip_gets_what_its_row_says(written: Path) -> None:
    store = build(written)
    plan, table = records(store.mix_plan), records(store.clips)
    for row, clip in zip(plan, table, strict=True):
        kinds = (row["noise_1_kind"], row["noise_2_kind"])
        if clip["section"] == "00":
            assert kinds == ({"source": "hall", "target": "yard east"}[clip["domain"]], "")
            assert row["added_noise_snr_db"] == 6.0
        elif clip["section"] == "01":
            assert kinds[0] in ("hall", "yard east") and kinds[1] == ""
            assert row["added_noise_snr_db"] == {"L1": 0.0, "L2": -12.0}[clip["attributes"][7:9]]
        else:
            assert kinds == (clip["attributes"].split('"')[3], "hall")
            assert row["added_noise_snr_db"] == -6.0
    error = store.clips["measured_added_noise_snr_db"] - store.mix_plan["added_noise_snr_db"]
    assert error.abs().max() < 0.05 and error.notna().all()
    assert set(store.attributes.provenance.noise) == set(KINDS)


def test_snrs_of_the_variant_go_before_the_recipes(written: Path) -> None:
    stated = build(written, name="stated", snr_db={"fan": 3.0, "fan/02": -3.0}, snr_offset_db=-1.0)
    planned = {name: section.planned_added_noise_snr_db for name, section in stated.sections.items()}
    assert planned == {"fan/00": [2.0], "fan/01": [2.0], "fan/02": [-4.0]}
    assert build(written, name="one", snr_db=-6.0).sections["fan/01"].planned_added_noise_snr_db == [-6.0]


def test_a_store_needs_no_recipes_file(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built again by the store's name, or from an export's variant, and verified deep, it is the same."""
    store = build(written)
    (written / "recipes/hall.toml").unlink()
    assert verify_store(open_store(store.path), deep=True) == []
    assert main(["build", "hall", "--root", str(written), "--json"]) == 0
    assert f"{store.fingerprint}.zarr" in capsys.readouterr().out
    assert main(["export", "hall", str(written / "out"), "--root", str(written)]) == 0
    exported = load_variant(str(written / "out/variant.toml"))
    assert exported.recipe == store.attributes.variant.recipe
    again = build_variant(exported, written)
    assert again.was_finished and again.store.fingerprint == store.fingerprint


def test_an_exported_recipe_of_many_rows_is_read_again(written: Path) -> None:
    """A line of a variant's file has at most 100 dots."""
    row = '[[sections]]\nmachine_type = "fan"\nsection = "%02d"\nsnr_db = -1.5\nnoise = [{ kinds = ["hall"] }]\n'
    rows = "".join(row % number for number in range(3, 203))
    (written / "recipes/hall.toml").write_text(RECIPE + rows)
    variant = load_variant(str(written / "v.toml"))
    assert variant.recipe and len(variant.recipe.sections) == 202
    with pytest.raises(UsageError, match=r"recipe hall: its row fan/03 is of a section that .* does not have"):
        build_variant(variant, written)
    (written / "recipes/hall.toml").write_text(RECIPE)
    store = build(written)
    attributes = store.attributes.model_copy(update={"variant": variant.model_copy(update={"name": "hall"})})
    from mimiidg_build.upkeep.export.about import VARIANT, about_files

    content = about_files(Store(store.path, attributes), "folders")[VARIANT]
    (written / "again.toml").write_bytes(content)
    assert load_variant(str(written / "again.toml")).recipe == variant.recipe


def test_a_changed_recipe_is_another_definition(written: Path) -> None:
    first = build(written)
    (written / "recipes/hall.toml").write_text(RECIPE.replace("-6.0", "-7.0").replace("our hall", "our great hall"))
    with pytest.raises(UsageError, match="hall is taken.*\n  recipe: row fan/02 differs\n"):
        build(written)
    replaced = build_variant(load_variant(str(written / "v.toml")), written, replace=True).store
    assert [replaced.sections[name].fingerprint == first.sections[name].fingerprint for name in first.sections] == [
        *(True, True),
        False,
    ], "the sections that did not change are taken over"


def test_words_beside_the_rules_are_no_other_definition(written: Path) -> None:
    first = build(written)
    (written / "recipes/hall.toml").write_text(RECIPE.replace("our hall", "our great hall"))
    assert build(written).fingerprint == first.fingerprint


MISTAKES = {
    "a section that is not there": (
        lambda text: text.replace('section = "02"', 'section = "07"'),
        "error: recipe hall: its row fan/07 is of a section that .* does not have; it has fan/00, fan/01, fan/02",
    ),
    "a machine type that is not there": (
        lambda text: text.replace('machine_type = "fan"\nsection = "02"', 'machine_type = "van"\nsection = "02"'),
        "error: recipe hall: its row van/02 is of machine type 'van', but any has fan. Did you mean 'fan'",
    ),
    "a section without a row": (
        lambda text: re.sub(r"\[default\].*\n.*\n.*\n", "", text),
        "error: recipe hall has no row for fan/00, and no default",
    ),
    "an attribute that no clip has": (
        lambda text: text.replace('"n"', '"nn"'),
        "error: recipe hall, row fan/02: the attribute 'nn' says the noise kind of layer 1, but 6 of 6 clips",
    ),
    "a kind that nobody gives": (
        lambda text: text.replace('"yard east"', '"dock"'),
        r"error: .*no section of the recipe uses noise of kind 'yard east'|no noise is given for dock",
    ),
    "no SNR": (
        lambda text: text.replace("snr_db = -6.0", ""),
        r'error: no SNR is stated for fan/02. State one: --snr DB .*"fan/02" = DB',
    ),
    "a value without an SNR": (
        lambda text: text.replace(", L2 = -12.0", ""),
        "error: recipe hall, row fan/01: snr_db_by_value has no SNR for lv = 'L2', which 3 clips have; it has L1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_message_before_any_work(
    written: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = MISTAKES[mistake]
    (written / "recipes/hall.toml").write_text(change(RECIPE))
    assert main(["build", str(written / "v.toml"), "--root", str(written)]) == 2
    output = capsys.readouterr()
    assert re.search(message, output.err.replace("\n", " ")) and "Traceback" not in output.err, output.err
    assert output.err.count("error: ") == 1
    assert not (written / "noise").joinpath("x").exists() and not list(written.rglob("*.zarr*"))


def test_noise_is_added_at_the_same_places_whatever_its_snr(written: Path) -> None:
    """Variants of one recipe that differ in SNR share their noise, clip by clip."""
    stores = [build(written, name=f"at{snr:g}", snr_db=snr) for snr in (-6.0, 0.0, 6.0)]
    drawn = [store.mix_plan[["noise_1_kind", "noise_1_clip", "noise_2_clip"]] for store in stores]
    assert drawn[0].equals(drawn[1]) and drawn[1].equals(drawn[2])
    gains = [store.mix_plan["noise_1_gain"].to_numpy() for store in stores]
    np.testing.assert_allclose(gains[0] / gains[2], 10 ** (12 / 20), rtol=1e-12)


def test_recipes_may_be_named_in_python(written: Path) -> None:
    noise_given = {"hall": ["noise/hall"], "yard east": ["noise/yard east"]}
    given = {kind: [str(written / path) for path in paths] for kind, paths in noise_given.items()}
    variant = Variant(
        name="python",
        dataset=str(written / "any.toml"),
        mixing=str(written / "recipes/hall.toml"),
        sections=["fan/00"],
        noise=given,
    )
    assert build_variant(variant, written).store.attributes.variant.recipe is not None
