"""The clip table: what it holds, in which order, and what each fault in archives and tables is called."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimiidg_build.datasets.clip_table.build import build_clip_table
from mimiidg_build.datasets.clip_table.rules import judge
from mimiidg_build.datasets.clip_table.sizes import check_sizes
from mimiidg_build.datasets.findings import raise_on_errors
from mimiidg_build.datasets.layouts.dcase2022 import is_attribute_table, read_clips, validate_tables
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.datasets.manifest import load_dataset, load_recipe
from mimiidg_build.datasets.truth import Truth
from mimiidg_build.errors import DataError
from mimiidg_build.schemas.manifests import CONDITIONS, DOMAINS, SPLITS
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.tables import ClipTable
from tests.conftest import REAL

MIMII_DG, TABLE1 = load_dataset("mimii_dg"), load_recipe("table1")
SIZE = 320_000 + 44
COUNTS = {cell: 10 if "train" in cell else 2 for cell in MIMII_DG.counts}
LAST = "file_name_with_full_attributes"


def clip_table(
    archives: dict[str, dict[str, int]], tables: dict[tuple[str, str], bytes], counts: dict[str, int] | None = None
):
    """The clip table of archives in MIMII DG's layout; its counts by default."""
    reading = read_clips(MIMII_DG, archives, tables, Truth())
    reading.findings += check_sizes(MIMII_DG, reading.read_clips(), archives)
    return build_clip_table(reading, TABLE1, MIMII_DG.counts if counts is None else counts)


@dataclass
class Release:
    """Machine archives as a caller hands them over; every test breaks one thing in a copy of its own."""

    archives: dict[str, dict[str, int]]
    tables: dict[tuple[str, str], bytes]

    def build(self, counts: dict[str, int] | None = None):
        return clip_table(self.archives, self.tables, COUNTS if counts is None else counts)

    def edit(self, key: tuple[str, str], old: str, new: str) -> None:
        text = self.tables[key].decode()
        assert old in text
        self.tables[key] = text.replace(old, new).encode()


def release(sections: list[str], counts: dict[str, int] = COUNTS) -> Release:
    """A faultless release of the sections: names in full in 00-02, test clips hidden in 03-05."""
    made = Release({}, {})
    for section in (s for s in TABLE1.sections if s.id in sections):
        machine, archive = section.machine_type, f"1/{section.machine_type}.zip"
        members = made.archives.setdefault(archive, {f"{section.machine_type}/": 0})
        two = max(len(c) for d in DOMAINS for c in section.values(d)) == 2
        header = ["file_name", "d1p", "d1v"] + ["d2p", "d2v"] * two + [LAST] * (not section.in_paper)
        lines, hidden = [",".join(header)], 0
        for cell, count in counts.items():
            domain, split, condition = cell.split("_")
            values = section.values(domain)
            for index in range(count):
                number = hidden if split == "test" and not section.in_paper else index
                attributes = tuple(values[index % len(values)].items())
                tail = "_".join(word for pair in attributes for word in pair)
                full = ClipName(section.section, domain, split, condition, number, tail).file_name
                base = full
                if split == "test" and not section.in_paper:
                    base, hidden = f"section_{section.section}_{hidden:04d}.wav", hidden + 1
                members[f"{machine}/{split}/{base}"] = SIZE
                if section.in_paper or split == "test":
                    cells = [cell for pair in attributes for cell in pair]
                    cells += [""] * (2 * (1 + two) - len(cells))
                    row = [f"{machine}/{split}/{base}", *cells] + [f"{machine}/{split}/{full}"] * (not section.in_paper)
                    lines.append(",".join(row))
        member = f"{machine}/attributes_{section.section}.csv"
        members[member] = 1
        made.tables[archive, member] = "".join(line + "\n" for line in lines).encode()
    return made


def kinds(findings, *, of_release: bool = True) -> list[tuple[str, str]]:
    """(severity, kind) of each finding; those of a whole section (the paper, other sections) only if asked for."""
    of_sections = {"missing_section", "not_in_paper", "paper_only", "train_values"}
    rows = zip(findings.severity, findings.kind, strict=True)
    return [(s, k) for s, k in rows if not (of_release and k in of_sections)]


FAN = "1/fan.zip"
TABLE = (FAN, "fan/attributes_00.csv")
CLIP = "fan/train/section_00_source_train_normal_0003_m-n_X.wav"


@pytest.fixture
def fan() -> Release:
    return release(["fan/00"])


@pytest.fixture
def hidden() -> Release:
    return release(["fan/03"])


def test_a_whole_release_has_no_error_and_keeps_every_clip():
    made = release([section.id for section in TABLE1.sections])
    clips, findings = made.build()
    assert kinds(findings) == []
    assert len(clips) == 30 * sum(COUNTS.values())
    assert set(clips.archive + ":" + clips.member) == {
        f"{archive}:{member}" for archive, members in made.archives.items() for member in members if ".wav" in member
    }
    raise_on_errors(findings)


def test_rows_say_what_the_names_say(fan):
    clips, _ = fan.build()
    row = clips[clips.member == CLIP].iloc[0]
    assert row.tolist() == [
        *("fan", "00", "train", "source", "normal", 3, '{"m-n":"X"}'),
        *("section_00_source_train_normal_0003_m-n_X.wav", "section_00_source_train_normal_0003_m-n_X", FAN, CLIP),
    ]


def test_rows_are_sorted_whatever_the_order_of_members():
    made = release(["valve/02", "bearing/00", "bearing/03"])
    made.archives = {
        archive: dict(reversed(members.items())) for archive, members in reversed(list(made.archives.items()))
    }
    clips, _ = made.build()
    columns = ["machine_type", "section", "split", "domain", "condition", "index"]
    found = list(clips[columns].itertuples(index=False, name=None))
    ranks = (None, None, SPLITS, DOMAINS, CONDITIONS, None)
    assert found == sorted(
        found, key=lambda row: [cell if r is None else r.index(cell) for cell, r in zip(row, ranks, strict=True)]
    )
    assert found[0] == ("bearing", "00", "train", "source", "normal", 0)


def test_hidden_names_take_their_truth_from_the_full_name(hidden):
    clips, findings = hidden.build()
    assert kinds(findings) == []
    row = clips[clips["clip"] == "section_03_0007"].iloc[0]
    assert row[["split", "domain", "condition", "index"]].tolist() == ["test", "target", "anomaly", 7]
    assert (row.attributes, row.member) == ('{"m-n":"Z"}', "fan/test/section_03_0007.wav")


def test_clips_and_table_may_lie_in_two_archives(hidden):
    name = "fan/attributes_03.csv"
    hidden.archives["2/truth.zip"] = {name: hidden.archives[FAN].pop(name)}
    hidden.tables["2/truth.zip", name] = hidden.tables.pop((FAN, name))
    clips, findings = hidden.build()
    assert len(clips) == sum(COUNTS.values()) and kinds(findings) == []


def test_the_caller_must_hand_over_every_table(fan):
    assert [m for m in fan.archives[FAN] if is_attribute_table(m)] == ["fan/attributes_00.csv"]
    with pytest.raises(ValueError, match=r"no bytes given for the attribute table 1/fan\.zip:fan/attributes_00\.csv"):
        clip_table(fan.archives, {})


def move(old: str, new: str) -> Callable[[Release], None]:
    """Rename an audio member and its row in the table alike."""

    def fault(made: Release) -> None:
        members = made.archives[FAN]
        members[new] = members.pop(old)
        pair = ",".join(ClipName.parse(new).attributes[0])
        made.edit(TABLE, f"{old},m-n,X", f"{new},{pair}")

    return fault


def table_says(old: str, new: str) -> Callable[[Release], None]:
    return lambda made: made.edit(TABLE, old, new)


def member(name: str, size_bytes: int = SIZE) -> Callable[[Release], None]:
    return lambda made: made.archives[FAN].update({name: size_bytes})


def without(name: str) -> Callable[[Release], None]:
    return lambda made: made.archives[FAN].pop(name) and None


FAULTS = [
    # audio members
    (member("fan/x.wav"), ("error", "misplaced"), 0, "fan/x.wav is audio outside of the layout"),
    (member("fan/test/x.wav"), ("error", "bad_name"), 0, "'x.wav' is not a clip name"),
    (member("fan/notes.txt"), ("warning", "unexpected_member"), 0, "fan/notes.txt does not belong to the layout"),
    (member("fan/attributes.csv"), ("warning", "unexpected_member"), 0, "fan/attributes.csv does not belong"),
    (
        member("ToyCar/train/a.wav"),
        ("warning", "other_machine"),
        0,
        "folder 'ToyCar' (1 members) is none of the machine",
    ),
    (member(CLIP, 320_040), ("warning", "size"), 0, "has 320040 bytes; expected 320044"),
    (without(CLIP), ("error", "no_audio"), 5, "the row names fan/train/section_00_source_train_normal_0003_m-n_X.wav"),
    (
        lambda made: made.archives.update({"2/fan.zip": {CLIP: SIZE}}),
        ("error", "duplicate_clip"),
        0,
        "also stands in 1/fan.zip:fan/train/section_00_source_train_normal_0003_m-n_X.wav",
    ),
    (
        move(CLIP, CLIP.replace("train_normal", "train_anomaly")),
        ("error", "anomaly_in_train"),
        0,
        "is an anomalous training clip",
    ),
    (
        move(CLIP, CLIP.replace("fan/train", "fan/test")),
        ("error", "misplaced"),
        5,
        "lies in test, its name says train",
    ),
    # names against Table 1
    (
        move(CLIP, CLIP.replace("_X.wav", "_V.wav")),
        ("error", "unknown_value"),
        5,
        "section fan/00 has no m-n 'V' in the source domain; allowed are W, X, closest is",
    ),
    (move(CLIP, CLIP.replace("_X.wav", "_Y.wav")), ("error", "wrong_domain"), 5, "m-n Y belongs to the target domain"),
    (
        move(CLIP, CLIP.replace("_m-n_", "_vel_")),
        ("error", "unknown_key"),
        5,
        "section fan/00 has no clips with vel; its attributes are m-n",
    ),
    # the table
    (table_says(f"{CLIP},m-n,X\n", ""), ("warning", "no_table_row"), 0, "the attributes are taken from its name"),
    (table_says(f"{CLIP},m-n,X", f"{CLIP},m-n,W"), ("warning", "attribute_contradiction"), 5, "the file name is right"),
    (
        table_says(f"{CLIP},m-n,X", f"{CLIP},m-n,Q"),
        ("error", "unknown_value"),
        5,
        "has no m-n 'Q' in either domain; allowed are W, X, Y, Z",
    ),
    (table_says(f"{CLIP},m-n,X", f"{CLIP},volt,1.0"), ("error", "unknown_key"), 5, "has no attribute 'volt'"),
    (table_says(f"{CLIP},m-n,X", f"{CLIP},m-n"), ("error", "ragged_row"), 5, "2 cells under a header of 3"),
    (
        table_says("file_name,d1p,d1v\n", "file_name,d1p\n"),
        ("error", "bad_header"),
        1,
        "lines below it were not read",
    ),
    (
        lambda made: (made.archives[FAN].pop(TABLE[1]), made.tables.clear()),
        ("error", "missing_table"),
        0,
        "no fan/attributes_00.csv; allow missing_table to take the attributes from the 28 file names",
    ),
]


@pytest.mark.parametrize(
    ("fault", "kind", "line", "message"), FAULTS, ids=[f"{i}-{f[1][1]}" for i, f in enumerate(FAULTS)]
)
def test_each_fault_is_named_once(fan, fault, kind, line, message):
    fault(fan)
    _, findings = fan.build({})
    found = findings[[pair == kind for pair in zip(findings.severity, findings.kind, strict=True)]]
    assert len(found) == 1 and found.line.iloc[0] == line
    assert message in found.message.iloc[0]
    others = [pair for pair in kinds(findings) if pair != kind]
    # a row that had to be left out leaves its clip without one, a clip that went leaves a gap in the numbers
    assert set(others) <= {("warning", "no_table_row"), ("warning", "index_gap")}
    if kind[0] == "error":
        with pytest.raises(DataError, match=kind[1]):
            raise_on_errors(findings)


def test_companions_of_the_data_are_no_findings(fan):
    fan.archives[FAN] |= {
        "fan/": 0,
        "fan/train/": 0,
        "LICENSE": 9,
        "README.md": 9,
        "fan/readme.txt": 9,
        "fan/Licence": 1,
    }
    _, findings = fan.build()
    assert kinds(findings) == []


def test_other_machines_are_skipped_as_a_whole():
    toys = {"ToyCar/train/section_00_source_train_normal_0000_car_A1.wav": 1, "ToyCar/attributes_00.csv": 1}
    clips, findings = clip_table({"3/ToyCar.zip": toys}, {})
    assert clips.empty and list(clips.columns) == list(ClipTable.to_schema().columns)
    assert kinds(findings) == [("warning", "other_machine"), ("error", "no_clips")], "nothing else is there"


def test_an_attribute_that_the_table_leaves_out():
    made = release(["bearing/01"])
    key = ("1/bearing.zip", "bearing/attributes_01.csv")
    clip = "bearing/train/section_01_source_train_normal_0001_vel_4_loc_B.wav"
    made.edit(key, f"{clip},vel,4,loc,B", f"{clip},loc,B,,")
    clips, findings = made.build()
    assert kinds(findings) == [("warning", "missing_attribute")]
    assert findings.message[0].startswith("the table leaves out vel 4, which the file name section_01_source_train")
    assert clips[clips["member"] == clip]["attributes"].tolist() == ['{"vel":"4","loc":"B"}']


def test_a_full_name_beside_a_full_name_must_be_the_same(fan):
    fan.tables[TABLE] = f"file_name,d1p,d1v,{LAST}\n{CLIP},m-n,X,{CLIP.replace('_X', '_W')}\n".encode()
    _, findings = fan.build()
    assert ("error", "name_mismatch") in kinds(findings)
    fan.tables[TABLE] = f"file_name,d1p,d1v,{LAST}\n{CLIP},m-n,X,{CLIP}\n".encode()
    _, findings = fan.build()
    assert {severity for severity, _ in kinds(findings)} == {"warning"}


def test_an_unknown_section_is_one_error(fan):
    names = [f"fan/train/section_09_source_train_normal_000{i}_m-n_W.wav" for i in range(3)]
    fan.archives[FAN] |= dict.fromkeys(names, SIZE)
    _, findings = fan.build()
    assert kinds(findings) == [("error", "missing_table"), ("error", "unknown_section")]
    assert "is of section 09; Table 1 has sections 00, 01, 02, 03, 04, 05 of fan" in findings.message.iloc[1]


def test_hidden_names_without_table_are_one_error(hidden):
    hidden.archives[FAN].pop("fan/attributes_03.csv")
    clips, findings = hidden.build({})
    assert kinds(findings) == [("error", "hidden_name")]
    assert "and 8 clips hide domain and condition in their names" in findings.message[0]
    assert "no truth list tells of fan/03" in findings.message[0] and "(--truth FOLDER)" in findings.message[0]
    assert (clips.split == "train").sum() == 20
    assert (clips[clips.split == "test"][["domain", "condition"]] == "").all(axis=None) and len(clips) == 28


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("section_03_source_test_normal_0001", "section_03_source_test_normal_0009", "name_mismatch", "is not one of"),
        (
            "fan/test/section_03_source_test_normal_0001",
            "fan/test/section_04_source_test_normal_0001",
            "name_mismatch",
            "",
        ),
        (
            "fan/test/section_03_source_test_normal_0001",
            "gearbox/test/section_03_source_test_normal_0001",
            "name_mismatch",
            "",
        ),
        ("fan/test/section_03_source_test_normal_0001_m-n_X.wav", "unknown.wav", "bad_name", "is not a clip name"),
        ("fan/test/section_03_source_test_normal_0001_m-n_X.wav", "section_03_0001.wav", "name_mismatch", ""),
    ],
)
def test_a_full_name_must_be_of_the_same_clip(hidden, old, new, kind, message):
    key = (FAN, "fan/attributes_03.csv")
    hidden.edit(key, old, new)
    clips, findings = hidden.build({})
    assert ("error", kind) in kinds(findings)
    assert findings[findings.kind == kind].line.tolist() == [3] and message in findings.message[0]
    assert "section_03_0001" not in set(clips["clip"])


def test_a_hidden_clip_without_row_cannot_be_known(hidden):
    key = (FAN, "fan/attributes_03.csv")
    line = hidden.tables[key].decode().splitlines(keepends=True)[2]
    hidden.edit(key, line, "")
    _, findings = hidden.build({})
    assert ("error", "hidden_name") in kinds(findings)
    assert "no row of 1/fan.zip:fan/attributes_03.csv gives its full name" in findings.message[0]


def test_a_table_that_cannot_be_read_is_one_error(hidden):
    hidden.edit((FAN, "fan/attributes_03.csv"), "file_name,", "filename,")
    _, findings = hidden.build({})
    assert kinds(findings) == [("error", "bad_header")]


def test_a_clip_in_two_tables_names_both(fan):
    fan.archives["2/fan.zip"] = {TABLE[1]: 1}
    fan.tables["2/fan.zip", TABLE[1]] = f"file_name,d1p,d1v\n{CLIP},m-n,X\n".encode()
    _, findings = fan.build()
    assert kinds(findings) == [("error", "duplicate_row")]
    assert findings.table[0] == "2/fan.zip:fan/attributes_00.csv" and findings.line[0] == 2
    assert "also stands in 1/fan.zip:fan/attributes_00.csv, line 5" in findings.message[0]


def test_a_row_of_another_section_is_misplaced():
    made = release(["fan/00", "fan/01"])
    made.edit(TABLE, f"{CLIP},m-n,X\n", "")
    key = (FAN, "fan/attributes_01.csv")
    made.tables[key] += f"{CLIP},m-n,X\n".encode()
    _, findings = made.build()
    assert kinds(findings) == [("error", "misplaced_row")]
    assert findings.message[0] == "a clip of fan/00 in the table of fan/01"


def test_counts_are_warnings_with_expected_and_found(fan):
    _, findings = fan.build(dict(MIMII_DG.counts))
    counts = findings[findings.kind == "count"]
    assert (counts.severity == "warning").all() and counts.table.unique().tolist() == ["fan/00"]
    assert counts.message.tolist()[0] == "section fan/00: 10 clips of source_train_normal, expected 990"
    assert len(counts) == 5, "all but the 10 target training clips"


def test_counts_default_to_table_1(fan):
    _, findings = clip_table(fan.archives, fan.tables)
    assert (findings.kind == "count").sum() == 5


def test_a_gap_in_the_numbers(fan):
    last = "fan/test/section_00_target_test_anomaly_0000_m-n_Y.wav"
    fan.archives[FAN].pop(last)
    fan.edit(TABLE, f"{last},m-n,Y\n", "")
    _, findings = fan.build({})
    assert kinds(findings) == [("warning", "index_gap")]
    assert "1 clips of target_test_anomaly are numbered 1 to 1 with gaps, expected 0 to 0" in findings.message[0]


PAPER = {
    "gearbox/00": [("not_in_paper", "does not print volt 2.8 (the paper prints 2.3 twice")],
    "bearing/01": [("not_in_paper", "does not print vel (the release carries the velocity")],
    "bearing/02": [("not_in_paper", "does not print vel (")],
    "valve/01": [("not_in_paper", "does not print pat (")],
    "valve/02": [
        ("paper_only", "source v2pat 04; target v1pat 04, v2pat 04; target v1pat 05, v2pat 04 (the release never has")
    ],
    "fan/04": [("not_in_paper", "noise f-n D is not in the paper, which has A, B, C")],
    "bearing/05": [("not_in_paper", "noise f-n D is not in the paper, which has A, B, C")],
    "slider/05": [("not_in_paper", "noise f-n D is not in the paper, which has A, B, C")],
}


@pytest.mark.parametrize("section", [section.id for section in TABLE1.sections])
def test_where_release_and_paper_differ(section):
    _, findings = release([section]).build()
    found = findings[findings.kind.isin(["not_in_paper", "paper_only"])]
    assert (found.severity == "warning").all() and (found.table == section).all()
    expected = PAPER.get(section, [])
    assert found.kind.tolist() == [kind for kind, _ in expected]
    assert all(part in message for (_, part), message in zip(expected, found.message, strict=True))


def test_target_values_that_training_never_shows():
    made = release(["gearbox/00"])
    for edge in ("0.6", "3.5"):
        names = [
            n for n in made.archives["1/gearbox.zip"] if n.startswith("gearbox/train") and n.endswith(f"_{edge}.wav")
        ]
        for name in names:
            made.archives["1/gearbox.zip"].pop(name)
            made.edit(("1/gearbox.zip", "gearbox/attributes_00.csv"), f"{name},volt,{edge}\n", "")
    _, findings = made.build({})
    warnings = findings[findings.kind == "train_values"]
    assert warnings.message.tolist() == ["section gearbox/00: no target training clip covers volt 0.6; volt 3.5"]


def test_missing_sections_of_the_same_set(fan):
    _, findings = fan.build()
    missing = findings[findings.kind == "missing_section"]
    assert missing.table.tolist() == ["fan/01", "fan/02"] and (missing.severity == "warning").all()


@pytest.mark.parametrize(
    ("section", "domain", "attributes", "kind", "part"),
    [
        ("bearing/01", "source", {"vel": "4", "loc": "A"}, None, ""),
        ("bearing/01", "source", {"loc": "A", "vel": "4"}, None, ""),
        ("bearing/01", "source", {"vel": "4", "loc": "E"}, "wrong_domain", "belongs to the target domain"),
        ("bearing/01", "source", {"vel": "5", "loc": "E"}, "unknown_value", "no vel '5' in the source domain"),
        ("bearing/01", "source", {"loc": "A"}, "unknown_key", "its attributes are vel and loc"),
        ("valve/02", "source", {"v1pat": "04", "v2pat": "04"}, "unknown_value", "no v2pat '04'"),
        ("valve/02", "target", {"v1pat": "04", "v2pat": "04"}, "unknown_value", "no v2pat '04'"),
        ("gearbox/00", "target", {"volt": "2.9"}, "unknown_value", "closest is 2.8"),
        ("gearbox/00", "target", {"volt": "1"}, "unknown_value", "closest is 0.8"),
        ("valve/01", "source", {"pat": "04", "panel": "bsc"}, "unknown_value", "closest is bs-c"),
    ],
)
def test_attributes_against_table_1(section, domain, attributes, kind, part):
    row = next(s for s in TABLE1.sections if s.id == section)
    fault = judge(row, domain, attributes)
    assert (fault.kind if fault else None) == kind
    assert part in (fault.message if fault else "")


PIECES = st.sampled_from(
    ["fan", "valve", "ToyCar", "train", "test", "section_03_0001.wav", CLIP.rpartition("/")[2], "x"]
)
MEMBERS = st.lists(PIECES | st.text(max_size=6), min_size=1, max_size=4).map("/".join)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["1/a.zip", "2/b.zip"]), st.dictionaries(MEMBERS, st.integers(0, SIZE))),
    st.binary(),
)
def test_no_names_crash_it_and_no_audio_vanishes(archives, data):
    for members in archives.values():
        members["fan/attributes_03.csv"] = len(data)
    clips, findings = clip_table(archives, {(a, "fan/attributes_03.csv"): data for a in archives})
    ClipTable.validate(clips, lazy=True)
    told = " ".join(findings.message)
    kept = set(clips.archive + ":" + clips.member)
    for archive, members in archives.items():
        for name in members:
            if name.startswith(("fan/", "valve/")) and name.endswith(".wav"):
                assert f"{archive}:{name}" in kept or name.rpartition("/")[2] in told or not data


def test_a_release_of_the_published_size():
    made = release([section.id for section in TABLE1.sections if section.in_paper], dict(MIMII_DG.counts))
    clips, findings = made.build(dict(MIMII_DG.counts))
    assert len(clips) == 18_000 and kinds(findings) == []


real_tables = pytest.mark.skipif(
    not (REAL / "attributes").is_dir(), reason=f"real attribute tables are not at {REAL / 'attributes'}"
)


@real_tables
def test_real_tables_give_exactly_the_known_findings():
    tables = {SectionId(p.parent.name, p.stem[-2:]): p.read_bytes() for p in (REAL / "attributes").glob("*/*.csv")}
    clips, findings = validate_tables(tables, TABLE1)
    assert clips.groupby(["machine_type", "section"]).size().to_dict() == dict.fromkeys(tables, 200)
    assert findings.groupby(["severity", "kind", "table"]).size().to_dict() == {
        ("warning", "short_row", "valve/attributes_05.csv"): 100,
        ("warning", "attribute_contradiction", "valve/attributes_05.csv"): 32,
        ("warning", "missing_attribute", "bearing/attributes_04.csv"): 200,
    }
    balance = clips.groupby(["machine_type", "section", "domain", "condition"]).size()
    assert (balance == 50).all() and len(balance) == 12


@real_tables
def test_the_file_name_wins_over_the_table():
    data = (REAL / "attributes" / "valve" / "attributes_05.csv").read_bytes()
    clips, findings = validate_tables({SectionId("valve", "05"): data}, TABLE1)
    assert clips.attributes.str.startswith('{"v2pat"').sum() == 32
    finding = findings[findings.kind == "attribute_contradiction"].iloc[0]
    assert (finding.line, finding.column, finding.value, finding.expected) == (3, "d1v", "v1pat 05", "v2pat 05")


@real_tables
@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (",m-n,X,fan", ",m-n,Q,fan", "unknown_value"),
        ("fan/test/section_03_0000.wav", "fan/section_03_0000.wav", "misplaced"),
        ("fan/test/section_03_0000.wav", "fan/test/section_03_0001.wav", "duplicate_row"),
        ("0000_m-n_X.wav", "0000_m-n_Y.wav", "wrong_domain"),
    ],
)
def test_faults_in_a_real_table(old, new, kind):
    data = (REAL / "attributes" / "fan" / "attributes_03.csv").read_bytes().decode()
    _, findings = validate_tables({SectionId("fan", "03"): data.replace(old, new, 1).encode()}, TABLE1)
    assert kind in findings[findings.severity == "error"].kind.tolist()


@pytest.mark.skipif(not (REAL / "baseline_ae_results").is_dir(), reason=f"real score files are not at {REAL}")
def test_every_real_test_clip_fits_table_1():
    archives: dict[str, dict[str, int]] = {}
    for path in sorted((REAL / "baseline_ae_results").glob("anomaly_score_*.csv")):
        machine = path.stem.split("_")[2]
        with path.open(newline="") as file:
            names = [f"{machine}/test/{row[0]}" for row in csv.reader(file)]
        archives.setdefault(f"1/{machine}.zip", {}).update(dict.fromkeys(names, SIZE))
    tests = {cell: count for cell, count in MIMII_DG.counts.items() if "test" in cell}
    clips, findings = clip_table(archives, {}, tests)
    assert len(clips) == 3000
    assert kinds(findings) == [("error", "missing_table")] * 15
