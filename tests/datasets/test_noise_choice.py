"""Which noise a variant takes: never another than the one that was given, and never part of it without a word."""

from __future__ import annotations

from typing import Any

import pytest

from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.noise_choice import check_noise, choose_noise, noise_sources, with_stated_rest
from mimiidg_build.datasets.release import needed_archives
from mimiidg_build.datasets.variant import load_variant, parse_variant, with_noise
from mimiidg_build.errors import UsageError
from mimiidg_build.schemas.manifests import Section
from mimiidg_build.schemas.variants import NoiseSettings, Variant

SYNTHETIC = "synthetic-1pct-seed0"


def variant(dataset: str = SYNTHETIC, **content: Any) -> Variant:
    return parse_variant({"name": "test", "dataset": dataset, "sections": ["gearbox/00"], **content})


def sections(*ids: str) -> list[Section]:
    return [section for section in load_recipe("table1").sections if section.id in ids]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"noise": {"a": "hall"}},
            "noise of kind 'a'. Did you mean 'A'[?] The kinds wanted are A, B, C, D, W, X, Y, Z",
        ),
        ({"noise": {"Q": "hall"}}, "uses noise of kind 'Q'. The kinds wanted are A, B, C, D, W, X, Y, Z"),
        ({"noise_settings": {"q": {"split": True}}}, "uses noise of kind 'q'. The kinds"),
        ({"noise_from": "mimii_deu"}, "no dataset is named 'mimii_deu'. Did you mean 'mimii_due'"),
        ({"noise_settings": {"A": {"channel": "left"}}}, "channel"),
        ({"noise_settings": {"A": {"channel": -1}}}, "channel"),
        ({"noise_settings": {"A": {"offset": "seeded"}}}, "offset: .*'fixed' or 'random'"),
        ({"noise_settings": {"A": {"min_level_db": 3.0}}}, "min_level_db"),
    ],
)
def test_mistakes_are_found_when_a_variant_is_read(content: dict[str, Any], message: str) -> None:
    """Files, flows' parameters and the command line all come by here."""
    with pytest.raises(UsageError, match=message):
        variant(**content)


def test_a_variant_made_in_python_is_checked_before_any_work() -> None:
    for content, message in (
        ({"noise": {"a": [{"folder": "hall"}]}}, "variant test: .* kind 'a'. Did you mean 'A'"),
        ({"noise": {"A": [{"folder": "hall"}]}}, r"no noise is given for B \(gearbox/00\), though it is for A"),
        ({"mixing": "none", "dataset": "mimii_gd"}, "no dataset is named 'mimii_gd'"),
    ):
        with pytest.raises(UsageError, match=message):
            check_noise(Variant(**{"name": "test", "dataset": SYNTHETIC, "sections": ["gearbox/00"], **content}))


def test_a_file_may_list_the_noise_of_all_sections() -> None:
    check_noise(variant(noise=dict.fromkeys("ABCDWXYZ", "hall")))


def test_what_is_certain_is_asked_for_before_a_release_is_made_or_read() -> None:
    check_noise(parse_variant({"name": "test", "noise": {"A": "hall"}}))  # which sections mimii_dg has is read later
    with pytest.raises(UsageError, match=r"no noise is given for B \(.*fan/00.*\); C \(fan/01.*though it is for A"):
        check_noise(parse_variant({"name": "test", "dataset": SYNTHETIC, "noise": {"A": "hall"}}))


def test_one_kind_given_means_that_all_are_asked_for() -> None:
    wanted, dataset = sections("fan/00"), load_dataset("mimii_dg")
    given = variant("mimii_dg", noise={"A": "hall", "B": "yard"})
    with pytest.raises(
        UsageError, match=r"W \(fan/00\).*though it is for A, B.*mimii_dg offers W, X, Y, Z \(--noise-from mimii_dg"
    ):
        choose_noise(given, dataset, wanted)
    for name in ("mimii_due", "mimii_dg"):  # whose noise comes from mimii_due
        chosen = choose_noise(given.model_copy(update={"noise_from": name}), dataset, wanted)
        assert [s.folder for s in chosen["A"] + chosen["B"]] == ["hall", "yard"]
        assert {chosen[kind][0].dataset for kind in "WXYZ"} == {"mimii_due"}


def test_the_datasets_own_noise_is_used_where_none_is_given() -> None:
    chosen = choose_noise(variant(), load_dataset(SYNTHETIC), sections("gearbox/00"))
    assert {kind: s[0].dataset for kind, s in chosen.items()} == {"A": SYNTHETIC, "B": SYNTHETIC}


def test_noise_from_another_dataset_replaces_the_datasets_own() -> None:
    other = variant(noise_from="synthetic-2pct-seed3")
    chosen = choose_noise(other, load_dataset(SYNTHETIC), sections("gearbox/00"))
    assert {s[0].dataset for s in chosen.values()} == {"synthetic-2pct-seed3"}
    assert needed_archives(other)["synthetic-2pct-seed3"] == ["noise.zip"]
    with pytest.raises(UsageError, match=r"no noise is given for A \(gearbox/00\); B .* --noise A=FOLDER"):
        choose_noise(variant(noise_from="mimii_due"), load_dataset(SYNTHETIC), sections("gearbox/00"))


def test_stores_of_early_versions_say_where_their_rest_came_from() -> None:
    early = variant("mimii_dg", noise={"A": "hall", "B": "yard"})
    assert with_stated_rest(early).noise_from == "mimii_dg"
    assert choose_noise(with_stated_rest(early), load_dataset("mimii_dg"), sections("fan/00"))["W"][0].dataset
    of_mimii = variant("mimii_0_dB", noise={"A": "x"})
    for as_it_is in (variant(), variant(noise={"A": "x"}, noise_from="mimii_due"), of_mimii):
        assert with_stated_rest(as_it_is) == as_it_is


def test_keys_that_are_not_used_leave_no_trace() -> None:
    """Stores record their variant, and the same inputs must give the same bytes as before."""
    content = load_variant("paper").model_dump(mode="json")
    assert "noise_from" not in content and "noise_settings" not in content
    used = variant(noise_from="mimii_due", noise_settings={"A": {"split": True}})
    assert Variant.model_validate_json(used.model_dump_json()) == used
    assert used.settings_of("A").split and used.settings_of("B") == NoiseSettings()


def test_noise_given_by_path_counts_from_here(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = with_noise(variant(noise={"A": "/hall", "B": "/yard"}), {"A": "here", "B": ["x.zip", "y"]}, "--noise")
    sources = noise_sources(given, load_dataset(SYNTHETIC), sections("gearbox/00"))
    assert [s.folder or s.archive for s in sources["A"] + sources["B"]] == [
        str(tmp_path / name) for name in ("here", "x.zip", "y")
    ]
