"""The mix plan: what is drawn depends on the clip alone, what is added has exactly the power that the SNR asks for."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.datasets.manifest import load_recipe
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.mixing.draws import NoiseDraw, draw, draw_noise
from mimiidg_build.mixing.mix_plan import LARGEST_SAMPLE, gains, plan_section, snr_db
from mimiidg_build.schemas.attributes import attributes_text
from mimiidg_build.schemas.manifests import NoiseLayer, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import MixPlan
from mimiidg_build.schemas.variants import Variant

PAPER = Variant(name="test")
FAN_00, VALVE_02 = SectionId("fan", "00"), SectionId("valve", "02")
COUNTS = {"A": 7, "B": 11, "C": 5, "D": 3, "W": 6, "X": 4, "Y": 9, "Z": 2}
ARRAYS = list[np.ndarray]


def row_of_table1(section_id: str) -> Section:
    section = load_recipe("table1").row(SectionId(*section_id.split("/")))
    assert section is not None
    return section


def clip_table(section: Section, n: int, domains: tuple[str, ...] = ("source", "target")) -> pd.DataFrame:
    """``n`` clips a domain, whose attributes go through the domain's values."""
    rows = []
    for domain in domains:
        values = section.values(domain)
        for index in range(n):
            attributes = values[index % len(values)]
            tail = "_".join(f"{key}_{value}" for key, value in attributes.items())
            clip = f"section_{section.section}_{domain}_train_normal_{index:04d}_{tail}"
            rows.append(
                {
                    "machine_type": section.machine_type,
                    "section": section.section,
                    "domain": domain,
                    "attributes": attributes_text(attributes.items()),
                    "clip": clip,
                    "archive": f"1/{section.machine_type}.zip",
                    "member": f"{section.machine_type}/train/{clip}.wav",
                }
            )
    return pd.DataFrame(rows)


def noise_signals(kinds: list[str], n_samples: int = 256, scale: float = 0.1) -> dict[str, ARRAYS]:
    """Coloured, hence correlated, signals of many levels."""
    rng = np.random.default_rng(sum(map(ord, kinds)))

    def walk() -> np.ndarray:
        steps = np.cumsum(rng.normal(size=n_samples))
        return steps / np.abs(steps).max() * scale * rng.uniform(0.1, 1)

    return {kind: [walk() for _ in range(COUNTS[kind])] for kind in kinds}


def noise_tables(signals: dict[str, ARRAYS]) -> dict[str, pd.DataFrame]:
    return {
        kind: pd.DataFrame(
            {
                "kind": kind,
                "noise_clip": [f"{kind}.wav#{k}" for k in range(len(clips))],
                "row": range(len(clips)),
                "power": [float(np.mean(c**2)) for c in clips],
                "peak": [float(np.abs(c).max()) for c in clips],
            }
        )
        for kind, clips in signals.items()
    }


def levels_of(n: int, power: float = 0.01, peak: float = 0.3) -> pd.DataFrame:
    """Clips of various powers whose mean is ``power``."""
    spread = np.linspace(0.5, 1.5, n) if n > 1 else np.ones(1)
    return pd.DataFrame({"power": power * spread, "peak": peak * spread / spread.max()})


class Planned:
    """A section planned on actual signals."""

    def __init__(self, section_id: str, variant: Variant = PAPER, n: int = 8, power: float = 0.01, peak: float = 0.3):
        self.section = row_of_table1(section_id)
        self.clips = clip_table(self.section, n)
        self.signals = noise_signals(self.section.noise_kinds)
        self.drawn = draw_noise(self.section, self.clips, COUNTS, variant.seed)
        cross = np.array(
            [float(np.mean(self.noise(d[0]) * self.noise(d[1]))) if len(d) > 1 else 0.0 for d in self.drawn]
        )
        self.levels = levels_of(len(self.clips), power, peak)
        self.a = float(self.levels["power"].mean())
        self.plan = plan_section(
            self.section, self.clips, self.levels, self.drawn, noise_tables(self.signals), cross, variant
        )

    def noise(self, drawn: NoiseDraw) -> np.ndarray:
        kind, row = drawn
        return self.signals[kind][row]

    def added(self, i: int) -> np.ndarray:
        """The noise of clip ``i`` by its row of the plan alone, before attenuation."""
        row = self.plan.iloc[i]
        total = np.zeros(256)
        for k in (1, 2):
            if kind := row[f"noise_{k}_kind"]:
                name, number = row[f"noise_{k}_clip"].split("#")
                assert name == f"{kind}.wav"
                total += row[f"noise_{k}_gain"] * self.signals[kind][int(number)]
        return total

    def measured_snr_db(self) -> np.ndarray:
        return np.array([10 * math.log10(self.a / np.mean(self.added(i) ** 2)) for i in range(len(self.plan))])


# -------------------- draws


@pytest.mark.parametrize(
    ("arguments", "n", "expected"),
    [
        ((0, FAN_00, "section_00_source_train_normal_0000_m-n_W", "layer 1 clip"), 1000, 950),
        ((0, FAN_00, "section_00_source_train_normal_0000_m-n_W", "layer 2 clip"), 1000, 536),
        ((1, FAN_00, "section_00_source_train_normal_0000_m-n_W", "layer 1 clip"), 1000, 799),
        (
            (0, SectionId("valve", "02"), "section_02_target_test_anomaly_0049_v1pat_05_v2pat_05", "layer 1 kind"),
            1000,
            159,
        ),
        ((2**63 - 1, SectionId("bearing", "01"), "x", "layer 1 clip"), 10**9, 198946343),
        ((0, FAN_00, "x", "layer 1 clip"), 1, 0),
    ],
)
def test_draws_stay_what_they_are(arguments: tuple[int, SectionId, str, str], n: int, expected: int) -> None:
    # pinned: a plan must come out the same on every machine and in every later version that says mix-1
    # (the first: printf %s '0/fan/00/section_00_source_train_normal_0000_m-n_W/layer 1 clip' | b2sum -l 64)
    assert draw(*arguments, n) == expected


@pytest.mark.parametrize(
    ("section_id", "expected"),
    [
        ("fan/00", [[("B", 10), ("W", 3)], [("A", 4), ("X", 3)], [("A", 3), ("Y", 5)], [("A", 1), ("Z", 0)]]),
        ("bearing/02", [[("A", 3)], [("B", 9)], [("C", 3)], [("C", 0)]]),
    ],
)
def test_a_sections_draws_stay_what_they_are(section_id: str, expected: list[list[tuple[str, int]]]) -> None:
    section = row_of_table1(section_id)
    assert draw_noise(section, clip_table(section, 2), COUNTS, seed=0) == expected


@settings(max_examples=50)
@given(st.integers(0, 2**63 - 1), st.text(max_size=20), st.integers(1, 10**6))
def test_a_draw_is_in_range_and_repeatable(seed: int, clip: str, n: int) -> None:
    first = draw(seed, FAN_00, clip, "layer 1 clip", n)
    assert 0 <= first < n
    assert draw(seed, FAN_00, clip, "layer 1 clip", n) == first


@pytest.mark.parametrize("n", [2, 3, 7, 100])
def test_draws_are_uniform(n: int) -> None:
    found = [draw(0, FAN_00, f"section_00_source_train_normal_{i:04d}", "layer 1 clip", n) for i in range(20_000)]
    counts = np.bincount(found, minlength=n)
    assert len(counts) == n
    assert scipy.stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("changed", ["seed", "machine", "section", "clip", "what"])
def test_every_part_of_the_key_draws_anew_and_independently(changed: str) -> None:
    def drawn(other: bool) -> np.ndarray:
        return np.array(
            [
                draw(
                    int(other and changed == "seed"),
                    SectionId(
                        "slider" if other and changed == "machine" else "fan",
                        "01" if other and changed == "section" else "00",
                    ),
                    f"clip {i}" + "'" * (other and changed == "clip"),
                    f"layer {1 + (other and changed == 'what')} clip",
                    4,
                )
                for i in range(8000)
            ]
        )

    together = scipy.stats.contingency.crosstab(drawn(False), drawn(True)).count
    assert together.shape == (4, 4)
    assert scipy.stats.chi2_contingency(together).pvalue > 0.001


@pytest.mark.parametrize("section_id", ["fan/00", "fan/02", "bearing/02", "valve/01"])
def test_draws_depend_on_nothing_but_the_clip(section_id: str) -> None:
    section = row_of_table1(section_id)
    clips = clip_table(section, 40)
    alone = dict(zip(clips["clip"], draw_noise(section, clips, COUNTS, seed=5), strict=True))
    shuffled = clips.sample(frac=1, random_state=1)
    assert alone == dict(zip(shuffled["clip"], draw_noise(section, shuffled, COUNTS, 5), strict=True)), "order"
    some = clips.iloc[::7]
    assert list(map(alone.get, some["clip"])) == draw_noise(section, some, COUNTS, 5), "other clips"
    more_noise = COUNTS | {"Q": 99}
    assert list(alone.values()) == draw_noise(section, clips, more_noise, 5), "other kinds of noise"
    assert list(alone.values()) != draw_noise(section, clips, COUNTS, 6), "another seed draws anew"


@pytest.mark.parametrize(
    "change", [{"snr_offset_db": 6.0}, {"snr_db": {"fan/00": 3.0}}, {"full_scale": "saturate"}, {"name": "another"}]
)
def test_variants_that_differ_in_snr_share_their_noise(change: dict[str, object]) -> None:
    noise = ["noise_1_kind", "noise_1_clip", "noise_2_kind", "noise_2_clip"]
    one, other = Planned("fan/00"), Planned("fan/00", Variant.model_validate({"name": "test"} | change))
    pd.testing.assert_frame_equal(one.plan[noise], other.plan[noise])
    reseeded = Planned("fan/00", Variant(name="test", seed=1))
    assert not one.plan["noise_1_clip"].equals(reseeded.plan["noise_1_clip"])


def test_kinds_and_clips_of_a_section_are_used_evenly() -> None:
    section = row_of_table1("gearbox/00")
    drawn = draw_noise(section, clip_table(section, 4000), {"A": 5, "B": 10}, seed=0)
    kinds = [layers[0][0] for layers in drawn]
    assert scipy.stats.chisquare([kinds.count("A"), kinds.count("B")]).pvalue > 0.001
    for kind, n in (("A", 5), ("B", 10)):
        assert (
            scipy.stats.chisquare(np.bincount([row for ((k, row),) in drawn if k == kind], minlength=n)).pvalue > 0.001
        )


# -------------------- kinds and SNR


@pytest.mark.parametrize(
    ("section_id", "kinds", "why"),
    [
        ("fan/00", ["A", "B", "W", "X", "Y", "Z"], "factory noise, and the pump that m-n names"),
        ("fan/01", ["A", "B", "C"], "f-n names the kind"),
        ("fan/02", ["A", "B"], "its levels are of A and B"),
        ("bearing/02", ["A", "B", "C"], "f-n beside vel"),
        ("slider/05", ["A", "B", "D"], "the evaluation set has a noise D"),
        ("valve/02", ["A", "B"], "a section whose attributes are no noise"),
    ],
)
def test_kinds_of_a_section(section_id: str, kinds: list[str], why: str) -> None:
    assert row_of_table1(section_id).noise_kinds == kinds, why


@pytest.mark.parametrize("section", load_recipe("table1").sections, ids=lambda section: section.id)
def test_every_clip_gets_the_kinds_that_table_1_allows(section: Section) -> None:
    clips = clip_table(section, 12)
    for clip, layers in zip(clips.itertuples(), draw_noise(section, clips, COUNTS, 0), strict=True):
        attributes = json.loads(clip.attributes)
        assert all(0 <= row < COUNTS[kind] for kind, row in layers)
        kinds = [kind for kind, _ in layers]
        if "m-n" in attributes:
            assert kinds[0] in "AB"
            assert kinds[1:] == [attributes["m-n"]]
        elif "f-n" in attributes:
            assert kinds == [attributes["f-n"]]
        else:
            assert len(kinds) == 1
            assert kinds[0] in "AB"


def test_kinds_are_those_of_the_clips_domain() -> None:
    # in Table 1 factory noise A and B serve both domains; another table may say otherwise
    layer = NoiseLayer(source=["A", "B"], target=["C"])
    section = row_of_table1("valve/00").model_copy(update={"noise": [layer]})
    drawn = draw_noise(section, clip_table(section, 30), COUNTS, 0)
    assert {kind for ((kind, _),) in drawn[:30]} == {"A", "B"}
    assert {kind for ((kind, _),) in drawn[30:]} == {"C"}
    assert section.noise_kinds == ["A", "B", "C"]


def test_a_kind_that_the_attribute_does_not_name_is_refused() -> None:
    section = row_of_table1("fan/00")
    clips = clip_table(section, 2)
    clips.loc[1, "attributes"] = '{"m-n":"Q"}'  # let through by --allow
    with pytest.raises(
        DataError, match="fan/00, .*_0001_m-n_X: m-n names its noise kind, but is 'Q'; expected one of A, B, W"
    ):
        draw_noise(section, clips, COUNTS, 0)


SNRS = {
    **{"fan/00": -6, "fan/01": -12, "gearbox/00": -6, "gearbox/01": -12, "gearbox/02": -12},
    **{"bearing/00": 12, "bearing/01": 12, "bearing/02": 12, "slider/00": -6, "slider/01": -3, "slider/02": -12},
    **{"valve/00": 0, "valve/01": 0, "valve/02": 0},
}
LEVELS = {"L1": 3, "L2": -9, "L3": -3, "L4": -15}


@pytest.mark.parametrize(
    ("section_id", "attributes", "expected"),
    [(section_id, {}, snr) for section_id, snr in SNRS.items()]
    + [("fan/02", {"n-lv": value}, snr) for value, snr in LEVELS.items()],
)
def test_snr_is_table_1s_plus_the_offset(section_id: str, attributes: dict[str, str], expected: float) -> None:
    section = row_of_table1(section_id)
    assert snr_db(section, attributes, PAPER) == expected
    assert snr_db(section, attributes, Variant(name="v", snr_offset_db=-4.5)) == expected - 4.5
    stated = Variant(name="v", snr_db={section_id: 20.0}, snr_offset_db=1)
    assert snr_db(section, attributes, stated) == 21, "the variant's own SNR stands for Table 1's, offset included"
    assert snr_db(section, attributes, Variant(name="v", snr_db={"fan/03": 20.0})) == expected, "another section's"


@pytest.mark.parametrize("section_id", [s.id for s in load_recipe("table1").sections if s.section > "02"])
def test_an_snr_that_is_not_published_must_be_stated(section_id: str) -> None:
    section = row_of_table1(section_id)
    attributes = section.values("source")[0]
    message = (
        f'{section_id}: its SNR is not published, so the variant must state one: under .snr_db., "{section_id}" = <dB>'
    )
    with pytest.raises(UsageError, match=message):
        snr_db(section, attributes, Variant(name="v", snr_offset_db=6))
    assert snr_db(section, attributes, Variant(name="v", snr_db={section_id: -6.0})) == -6


def test_a_level_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"fan/02: a clip's n-lv decides its SNR, but it is 'L9'; expected one of L1, L2, L3, L4"
    ):
        snr_db(row_of_table1("fan/02"), {"n-lv": "L9"}, PAPER)


# -------------------- gains


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-9, 1),
    st.floats(-60, 60),
    st.lists(st.floats(1e-4, 2), min_size=1, max_size=2),
    st.floats(-0.9, 1),
    st.integers(0, 2**32 - 1),
)
def test_the_sum_that_is_added_has_the_power_that_the_snr_asks_for(
    a: float, snr: float, scales: list[float], alike: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=500)
    layers = [scale * ((alike if k else 1) * common + 0.3 * rng.normal(size=500)) for k, scale in enumerate(scales)]
    powers = [float(np.mean(layer**2)) for layer in layers]
    cross = float(np.mean(layers[0] * layers[-1])) if len(layers) == 2 else 0.0
    found = gains(a, snr, powers, cross)
    added = sum(gain * layer for gain, layer in zip(found, layers, strict=True))
    assert 10 * math.log10(a / np.mean(added**2)) == pytest.approx(snr, abs=1e-6)
    each = [gain**2 * power for gain, power in zip(found, powers, strict=True)]
    assert each == pytest.approx([each[0]] * len(each)), "layers of equal power"


def test_the_power_of_a_sum_is_not_the_sum_of_the_powers() -> None:
    # two layers that are the same signal add up to twice its amplitude, not to twice its power
    assert gains(1.0, 0.0, [1.0, 1.0], cross_power=1.0) == [0.5, 0.5]
    assert gains(1.0, 0.0, [1.0, 1.0], cross_power=0.0) == pytest.approx([0.5**0.5, 0.5**0.5])


def test_layers_that_cancel_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="the layers cancel each other"):
        gains(1.0, 0.0, [1.0, 4.0], cross_power=-2.0)


def test_layers_that_cancel_are_named_with_their_clip() -> None:
    section = row_of_table1("fan/00")
    clips = clip_table(section, 1, ("source",))
    signal = np.sin(np.arange(256))
    tables = noise_tables({"A": [signal], "W": [-signal]})
    with pytest.raises(
        DataError, match=r"fan/00, section_00_source.*_W: the layers cancel each other \(A.wav#0 and W.wav#0\)"
    ):
        plan_section(
            section,
            clips,
            levels_of(1),
            [[NoiseDraw("A", 0), NoiseDraw("W", 0)]],
            tables,
            np.array([-np.mean(signal**2)]),
            PAPER,
        )


# -------------------- sections


@pytest.mark.parametrize("section_id", [*SNRS, "fan/02"])
@pytest.mark.parametrize("offset_db", [0.0, 7.5])
def test_every_clip_has_its_snr_on_actual_signals(section_id: str, offset_db: float) -> None:
    planned = Planned(section_id, Variant(name="test", snr_offset_db=offset_db))
    wanted = [
        LEVELS[json.loads(c.attributes)["n-lv"]] if section_id == "fan/02" else SNRS[section_id]
        for c in planned.clips.itertuples()
    ]
    np.testing.assert_allclose(planned.measured_snr_db(), np.array(wanted) + offset_db, atol=1e-9)
    np.testing.assert_array_equal(planned.plan["added_noise_snr_db"], np.array(wanted) + offset_db)
    MixPlan.validate(planned.plan)
    assert planned.plan["clip"].tolist() == planned.clips["clip"].tolist(), "in the clip table's order"
    assert (planned.plan[["archive", "member"]] == planned.clips[["archive", "member"]]).all(axis=None)


def test_a_is_the_mean_of_the_section_not_the_clip() -> None:
    # quiet and loud clips of a section get noise of one and the same power, as the paper has it
    planned = Planned("gearbox/00")
    assert planned.levels["power"].nunique() > 1
    powers = [np.mean(planned.added(i) ** 2) for i in range(len(planned.plan))]
    np.testing.assert_allclose(powers, planned.levels["power"].mean() * 10**0.6)


def test_fan_00_adds_factory_noise_and_the_pump_that_the_clip_names() -> None:
    planned = Planned("fan/00")
    assert set(planned.plan["noise_1_kind"]) == {"A", "B"}
    assert planned.plan["noise_2_kind"].tolist() == [json.loads(text)["m-n"] for text in planned.clips["attributes"]]
    for i, drawn in enumerate(planned.drawn):
        one, two = (
            planned.plan[f"noise_{k}_gain"][i] ** 2 * np.mean(planned.noise(layer) ** 2)
            for k, layer in enumerate(drawn, 1)
        )
        assert one == pytest.approx(two), "layers of equal power"


def test_one_layer_leaves_the_second_empty() -> None:
    plan = Planned("valve/00").plan
    assert set(plan["noise_2_kind"]) == set(plan["noise_2_clip"]) == {""}
    assert set(plan["noise_2_gain"]) == {0.0}
    assert (plan["noise_1_gain"] > 0).all()


def test_no_noise_leaves_everything_as_it_is() -> None:
    section = row_of_table1("fan/03")  # whose SNR nobody states: nobody asks for it either
    clips = clip_table(section, 3)
    loud = pd.DataFrame({"power": [0.9] * 6, "peak": [1.0] * 6})
    plan = plan_section(section, clips, loud, [[]] * 6, {}, np.zeros(6), PAPER)
    assert plan["added_noise_snr_db"].isna().all()
    assert set(plan["attenuation"]) == {1.0}, "a clip at full scale stays bit for bit what it is"
    assert set(plan["noise_1_kind"]) == {""}
    assert set(plan["noise_1_gain"]) == {0.0}
    silent = pd.DataFrame({"power": [0.0] * 6, "peak": [0.0] * 6})
    assert len(plan_section(section, clips, silent, [[]] * 6, {}, np.zeros(6), PAPER)) == 6


def test_a_silent_section_has_no_snr() -> None:
    with pytest.raises(
        DataError, match=r"valve/00: all its clips are silent, so no SNR can be set\. The archive is damaged"
    ):
        Planned("valve/00", power=0.0, peak=0.0)


# -------------------- full scale


def bounds(planned: Planned) -> np.ndarray:
    """What a clip's peak and its noise's could add up to."""
    return planned.levels["peak"].to_numpy() + np.array(
        [
            sum(
                planned.plan[f"noise_{k}_gain"][i] * np.abs(planned.noise(layer)).max()
                for k, layer in enumerate(drawn, 1)
            )
            for i, drawn in enumerate(planned.drawn)
        ]
    )


@pytest.mark.parametrize("section_id", ["fan/00", "fan/01", "gearbox/01", "fan/02"])
def test_a_section_that_could_pass_full_scale_is_attenuated_as_one(section_id: str) -> None:
    loud, quiet = (Planned(section_id, power=power, peak=0.9) for power in (0.09, 1e-9))
    assert bounds(loud).max() > 1
    (attenuation,) = set(loud.plan["attenuation"])  # one for the section: level relations hold
    assert attenuation * bounds(loud).max() == pytest.approx(LARGEST_SAMPLE, rel=1e-12)
    assert set(quiet.plan["attenuation"]) == {1.0}
    # the SNR holds: machine and noise are attenuated alike, and the gains are those of the section unattenuated
    saturated = Planned(section_id, Variant(name="test", full_scale="saturate"), power=0.09, peak=0.9)
    np.testing.assert_array_equal(loud.plan["noise_1_gain"], saturated.plan["noise_1_gain"])
    assert set(saturated.plan["attenuation"]) == {1.0}


def test_bounds_up_to_full_scale_need_no_attenuation() -> None:
    section = row_of_table1("valve/00")
    clips = clip_table(section, 1, ("source",))
    tables = {"A": pd.DataFrame({"noise_clip": ["a#0"], "power": [0.01], "peak": [0.5]})}

    def attenuation(peak: float, full_scale: str = "attenuate") -> float:
        variant = Variant.model_validate({"name": "test", "full_scale": full_scale})
        levels = pd.DataFrame({"power": [0.01], "peak": [peak]})  # a = b at 0 dB: a gain of one
        return float(
            plan_section(section, clips, levels, [[NoiseDraw("A", 0)]], tables, np.zeros(1), variant)["attenuation"][0]
        )

    assert attenuation(LARGEST_SAMPLE - 0.5) == attenuation(LARGEST_SAMPLE - 0.5, "error") == 1.0
    assert attenuation(0.75) == LARGEST_SAMPLE / 1.25
    assert attenuation(0.75, "saturate") == 1.0
    with pytest.raises(
        DataError, match=r"valve/00: section_00_.*_pat_00 could reach 1\.25 of full scale .*Raise the SNR"
    ):
        attenuation(0.75, "error")


def test_the_error_policy_names_the_worst_clip() -> None:
    attenuated = Planned("fan/01", power=0.09, peak=0.9)
    worst = attenuated.clips["clip"][int(np.argmax(bounds(attenuated)))]
    with pytest.raises(DataError, match=f'fan/01: {worst} could reach .* of full scale with its noise.*"attenuate"'):
        Planned("fan/01", Variant(name="test", full_scale="error"), power=0.09, peak=0.9)
