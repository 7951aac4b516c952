"""The truth about clips: from names, attribute tables and the organisers' lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mimiidg_build.datasets import truth
from mimiidg_build.datasets.truth import ClipTruth
from mimiidg_build.errors import DataError, UsageError
from tests.conftest import REAL

ATTRIBUTES = REAL / "attributes"
HEADER = "file_name,d1p,d1v,file_name_with_full_attributes\n"
ROW = "fan/test/section_03_0000.wav,m-n,X,fan/test/section_03_source_test_normal_0000_m-n_X.wav\n"
FULL = "section_03_source_test_normal_0000_m-n_X.wav"
YEAR = "eval_data_list_2030.csv"
LIST = "ground_truth_fan_section_03_test.csv"


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        ("section_00_source_test_normal_0000_m-n_W.wav", ClipTruth("source", "normal", "m-n_W"), "development clip"),
        (
            "section_02_target_test_anomaly_0049_v1pat_04_v2pat_05.wav",
            ClipTruth("target", "anomaly", "v1pat_04_v2pat_05"),
            "two attributes",
        ),
        (
            "section_00_source_test_normal_0000_car_A1_spd_28V_mic_1.wav",
            ClipTruth("source", "normal", "car_A1_spd_28V_mic_1"),
            "another machine, three attributes",
        ),
        ("section_00_source_test_normal_0000.wav", ClipTruth("source", "normal", ""), "no attribute"),
        ("section_00_source_test_normal_0000_.wav", ClipTruth("source", "normal", ""), "an empty end"),
        (
            "section_00_target_normal_0091_weight35_BckgE.wav",
            ClipTruth("target", "normal", "weight35_BckgE"),
            "_test left out, as in 2024",
        ),
        ("anomaly_id_01_00000064.wav", ClipTruth("", "anomaly", ""), "2020: no domains"),
        ("section_03_0000.wav", None, "hidden"),
        ("section_03_source_test_0000.wav", None, "2021: the domain told, the condition hidden"),
        ("id_01_00000000.wav", None, "hidden, 2020"),
        ("section_00_source_train_normal_0000_m-n_W.wav", None, "a training clip has no place in a test"),
        ("section_00_source_test_strange_0000_m-n_W.wav", None, "no condition"),
    ],
)
def test_names_tell_the_truth(name, expected, reason):
    assert truth.truth_of_name(name) == (expected and replace(expected, full_name=name)), reason


@pytest.mark.skipif(not ATTRIBUTES.is_dir(), reason=f"the released tables are not at {ATTRIBUTES}")
def test_released_tables_short_rows_included():
    told = truth.read_truth(ATTRIBUTES)
    assert len(told) == 600
    # A short row of the valve's table, whose attribute column says v1pat; the full name is right.
    assert told["valve", "section_05_0001.wav"] == ClipTruth(
        "source", "normal", "v2pat_05", "section_05_source_test_normal_0001_v2pat_05.wav"
    )
    assert told["bearing", "section_04_0000.wav"] == ClipTruth(
        "target", "anomaly", "vel_8_loc_H", "section_04_target_test_anomaly_0000_vel_8_loc_H.wav"
    )
    for machine_type in ("bearing", "fan", "valve"):
        cells = [(t.domain, t.condition) for (name, _), t in told.items() if name == machine_type]
        assert {cell: cells.count(cell) for cell in set(cells)} == {
            (domain, condition): 50 for domain in ("source", "target") for condition in ("normal", "anomaly")
        }


def test_tables_without_full_names_take_the_truth_from_the_first_column(tmp_path):
    table = tmp_path / "attributes_00.csv"
    table.write_text("file_name,d1p,d1v\nfan/test/section_00_target_test_anomaly_0001_m-n_Y.wav,m-n,Y\n")
    name = "section_00_target_test_anomaly_0001_m-n_Y.wav"
    assert truth.read_truth(table) == {("fan", name): ClipTruth("target", "anomaly", "m-n_Y", name)}


def test_machine_type_is_the_folder_where_the_table_names_none(tmp_path):
    (tmp_path / "valve").mkdir()
    table = tmp_path / "valve" / "attributes_03.csv"
    table.write_text(HEADER + "section_03_0000.wav,pat,06,section_03_target_test_normal_0000_pat_06.wav\n")
    assert list(truth.read_truth(tmp_path)) == [("valve", "section_03_0000.wav")]


def test_lists_give_condition_and_in_a_domain_folder_domain(tmp_path):
    for folder, codes in (("ground_truth_data", "10"), ("ground_truth_domain", "01")):
        (tmp_path / folder).mkdir()
        rows = [f"section_03_{index:04d}.wav,{code}\r\n" for index, code in enumerate(codes)]
        (tmp_path / folder / LIST).write_text("".join(rows))
    expected = {
        ("fan", "section_03_0000.wav"): ClipTruth("source", "anomaly"),
        ("fan", "section_03_0001.wav"): ClipTruth("target", "normal"),
    }
    assert truth.read_truth(tmp_path) == expected
    assert (
        truth.read_truth([tmp_path / "ground_truth_domain" / LIST, tmp_path / "ground_truth_data" / LIST]) == expected
    )
    alone = truth.read_truth(tmp_path / "ground_truth_data")
    assert alone["fan", "section_03_0000.wav"] == ClipTruth("", "anomaly"), "conditions alone leave the domain open"


def test_lists_and_tables_that_agree_are_merged(tmp_path):
    (tmp_path / "attributes_03.csv").write_text(HEADER + ROW)
    (tmp_path / LIST).write_text("section_03_0000.wav,0\n")
    found = truth.read_truth(tmp_path)
    assert found == {("fan", "section_03_0000.wav"): ClipTruth("source", "normal", "m-n_X", FULL)}
    assert found.findings == []


def test_where_a_table_differs_from_a_code_list_the_code_holds_and_a_finding_counts(tmp_path):
    (tmp_path / "attributes_03.csv").write_text(HEADER + ROW + ROW.replace("0000", "0001"))
    (tmp_path / LIST).write_text("section_03_0000.wav,1\nsection_03_0001.wav,0\n")
    found = truth.read_truth(tmp_path)
    assert found["fan", "section_03_0000.wav"] == ClipTruth("source", "anomaly", "m-n_X", FULL)
    (finding,) = found.findings
    assert (finding.severity, finding.kind, finding.table) == ("warning", "truth_differs", "fan")
    assert finding.message.startswith("fan: 1 of 2 labels in attributes_03.csv differ from those of ground_truth_data")


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (
            {f"a/{LIST}": "section_03_0000.wav,1\n", f"b/{LIST}": "section_03_0000.wav,0\n"},
            rf"b/{LIST}, line 1: fan section_03_0000.wav is 'normal' here, but 'anomaly' in .*a/{LIST}, line 1",
        ),
        (
            {"attributes_03.csv": HEADER + ROW, "eval_data_list_2030.csv": "fan\nsection_03_0000.wav,FULL\n"},
            r"is 'target' here, but 'source' in .*attributes_03.csv, line 2 \(domain\). Are the lists",
        ),
        (
            {"attributes_03.csv": HEADER + ROW, "b/fan/attributes_03.csv": HEADER + ROW.replace("n_X.wav", "n_W.wav")},
            r"is 'm-n_W' here, but 'm-n_X' in .*attributes_03.csv, line 2 \(attributes\)",
        ),
    ],
    ids=["code lists", "names", "attributes"],
)
def test_lists_of_one_standing_that_disagree_are_refused(tmp_path, texts, match):
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("FULL", FULL.replace("source", "target")))
    with pytest.raises(DataError, match=match):
        truth.read_truth(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        (LIST, "section_03_0000.wav,2\n", rf"{LIST}, line 1: expected \(file name, 0 or 1\), found"),
        (LIST, "section_03_0000.wav,0\nsection_03_0001.wav\n", "line 2: expected"),
        (
            "attributes_03.csv",
            HEADER + ROW + "fan/test/section_03_0001.wav,m-n,X\n",
            "line 3: expected a full clip name",
        ),
        ("anything.csv", "section_03_0000.wav,0\n", "anything.csv: expected a table with a header"),
        (
            LIST,
            "section_03_0000.wav,0\nx/section_03_0000.wav,0\n",
            "line 2: section_03_0000.wav is repeated; .* line 1",
        ),
        (
            "attributes_03.csv",
            HEADER + ROW + "\n" + ROW,
            "line 4: section_03_0000.wav is repeated; it is first on line 2",
        ),
        (LIST, "", f"{LIST} is empty: expected a line for every test clip"),
        ("attributes_03.csv", HEADER, "attributes_03.csv is empty"),
        (LIST, 'section_03_0000.wav,0\n"section_03_0001.wav,0\n', "line 2: expected CSV text in UTF-8"),
        (LIST, "section_03_0000.wav,nan\n", r"line 1: expected \(file name, 0 or 1\), found .*nan"),
        (
            LIST,
            f"section_03_0000.wav,{FULL}\nsection_03_0001.wav,x\n",
            "line 2: expected a full clip name, found 'x.wav'",
        ),
        (YEAR, "fan\nsection_03_0000.wav\n", r"line 2: expected \(file name, full name\) or a machine type, found"),
        (YEAR, "fan\nid_01_0.wav,normal_id_01_9.wav,1\n", "line 2: normal_id_01_9.wav is normal, but its code is '1'"),
        (YEAR, f"section_03_0000.wav,{FULL}\n", f"{YEAR}: expected .* a list that begins with a machine type"),
        (
            "attributes_00_test_correspondence.csv",
            "source_file_name,target_file_name\nx.wav\n",
            "line 2: expected .sour",
        ),
    ],
)
def test_bad_tables_name_file_and_line(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=match):
        truth.read_truth(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffsection_03_0000.wav,1\r\n",
        '"section_03_0000.wav","1"',
        "\n\nfan\\test\\section_03_0000.wav , 1 \n\n",
        "/home/a b/fan/test/section_03_0000.wav,1\n",
    ],
    ids=["byte order mark and CRLF", "quotes", "Windows path and blanks", "full path"],
)
def test_lists_as_people_write_them(tmp_path, text):
    (tmp_path / LIST).write_bytes(text.encode())
    assert truth.read_truth(tmp_path) == {("fan", "section_03_0000.wav"): ClipTruth("", "anomaly")}


def test_tables_that_were_thrown_away_are_not_read(tmp_path):
    (tmp_path / ".Trash-1000/files").mkdir(parents=True)
    (tmp_path / ".Trash-1000/files" / LIST).write_text("section_03_0000.wav,0\n")
    (tmp_path / LIST).write_text("section_03_0000.wav,1\n")
    assert truth.read_truth(tmp_path) == {("fan", "section_03_0000.wav"): ClipTruth("", "anomaly")}


@pytest.mark.parametrize(
    ("folder", "match"), [("nowhere", "nowhere does not exist"), ("", "holds no tables; expected attributes_NN.csv")]
)
def test_ground_truth_that_is_not_there(tmp_path, folder, match):
    (tmp_path / "result.csv").touch()
    with pytest.raises(UsageError, match=match):
        truth.read_truth(tmp_path / folder)


@pytest.mark.parametrize(
    ("attributes", "pairs"),
    [
        ("", []),
        ("m-n_W", [("m-n", "W")]),
        ("pat_04_panel_bs-c", [("pat", "04"), ("panel", "bs-c")]),
        ("noAttribute", []),
        ("spd_2_mic_1_car_A", [("spd", "2"), ("mic", "1"), ("car", "A")]),
        ("spd1000_BckgA", [("spd", "1000"), ("Bckg", "A")]),
        ("pro_A_wt_200_damage1", [("pro", "A"), ("wt", "200"), ("damage", "1")]),
        ("strength_1_ambient", [("tail", "strength_1_ambient")]),
        ("v1pat", [("tail", "v1pat")]),
        ("serial_no_000_water", [("tail", "serial_no_000_water")]),
        ("car_A_car_B", [("tail", "car_A_car_B")]),
        ("vel_6_", [("tail", "vel_6_")]),
    ],
)
def test_attribute_pairs(attributes, pairs):
    assert truth.attribute_pairs(attributes) == pairs
