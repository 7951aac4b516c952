"""Audio, tables and files that people write, each with every fault: one message that names it, or read right.

The fuzz tests damage what is good at seeded random places, and compare what was accepted with a second reader, so that
neither a crash nor a silent acceptance passes.
"""

from __future__ import annotations

import csv
import io
import random
import re
import tomllib
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pydantic import BaseModel

from mimiidg_build.audio.pieces import read_pieces
from mimiidg_build.audio.wav import decode_clip, encode_wav
from mimiidg_build.cli import main
from mimiidg_build.datasets.layouts.dcase2022.attribute_table import parse_attribute_table, read_attribute_table
from mimiidg_build.datasets.layouts.dcase2022.names import ClipName
from mimiidg_build.datasets.manifest import load_dataset
from mimiidg_build.datasets.toml_files import RESOURCES, shipped_names
from mimiidg_build.datasets.variant import load_variant
from mimiidg_build.errors import DataError, UsageError
from tests.conftest import pack_release, write_dataset
from tests.faults.summary import Tries

SEEDS = [range(300), pytest.param(range(300, 3_300), marks=pytest.mark.slow)]
IDS = ["300", "3000 more"]
CLIP = np.random.default_rng(0).integers(-32768, 32768, 500).astype(np.int16)
FULL = np.random.default_rng(1).integers(-999, 999, 160_000).astype(np.int16)


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def damaged(data: bytes, rng: random.Random, reach: int, pieces: list[bytes]) -> bytes:
    """The bytes with some of the first ``reach`` of them changed, lost, or with a piece put in or over."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(min(reach, len(changed)) or 1)
        action = rng.randrange(5)
        piece = rng.choice(pieces)
        if action == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif action == 1:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif action == 2:
            del changed[at : at + rng.choice([1, 2, 4, 8])]
        elif action == 3:
            changed[at:at] = piece
        else:
            changed[at : at + len(piece)] = piece
    return bytes(changed)


# One release on disk, damaged in one place, from the command line.

NAMES = [
    f"section_00_{domain}_{split}_{condition}_{index:04d}_m-n_{value}.wav"
    for index, (domain, split, condition, value) in enumerate(
        [
            ("source", "train", "normal", "W"),
            ("target", "train", "normal", "Y"),
            ("source", "test", "normal", "W"),
            ("source", "test", "anomaly", "X"),
        ]
    )
]
Change = Callable[[bytes], bytes]


class Release:
    """A root with an archive of four clips, and a variant that builds them as they are."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.archive = pack_release(self.root / "archives/mine/fan.zip", dict.fromkeys(NAMES, FULL), "fan")
        self.manifest = write_dataset(directory, "mine", [self.archive])
        self.variant = directory / "v.toml"
        self.variant.write_text(f'name = "v"\ndataset = "{self.manifest}"\nmixing = "none"\n')

    def run(self, *arguments: object) -> int:
        return main([*map(str, arguments), "--root", str(self.root)])

    def damage(self, ending: str, change: Change) -> None:
        with zipfile.ZipFile(self.archive) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(self.archive, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, change(data) if name.endswith(ending) else data)

    def files(self) -> set[Path]:
        return {
            path for path in self.root.rglob("*") if path.is_file() and not path.name.endswith((".lock", ".parquet"))
        }


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def one_error(output: pytest.CaptureResult[str]) -> str:
    errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in output.err and output.out == "", output.err
    return output.err


def declare(data: bytes, n_bytes: int) -> bytes:
    return data[:40] + n_bytes.to_bytes(4, "little") + data[44:]


AUDIO: dict[str, tuple[Change, str]] = {
    "8 kHz": (lambda data: wav(FULL, 8000), "found 8000 Hz"),
    "stereo": (lambda data: wav(np.stack([FULL, FULL], 1)), "found 16000 Hz, 2 channels"),
    "8 bits": (lambda data: wav(FULL, subtype="PCM_U8"), "PCM_U8"),
    "NaN": (lambda data: wav(np.r_[np.nan, FULL[1:] / 32768], subtype="FLOAT"), "FLOAT"),
    "beyond full scale": (lambda data: wav(FULL.astype(float), subtype="FLOAT"), "at most 1, full scale"),
    "no samples": (lambda data: data[:40] + bytes(4), "0 samples"),
    "nothing": (lambda data: b"", "not a readable WAV file"),
    "one sample short": (lambda data: wav(FULL[:-1]), "159999 samples.*truncated"),
    "one sample long": (lambda data: wav(np.r_[FULL, 0]), "160001 samples.*not cut"),
    "declares more than it holds": (
        lambda data: declare(data, 640_000),
        "declares 640000 bytes of samples, the file holds 320000",
    ),
    "declares less than it holds": (lambda data: declare(data, 1000), "500 samples"),
    "FLAC under a WAV's name": (lambda data: wav(FULL, form="FLAC"), "not a WAV file but FLAC"),
    "a byte lost": (lambda data: data[:41] + data[42:], "WAV file|declares|samples"),
}


@pytest.mark.parametrize("case", AUDIO)
def test_a_clip_that_is_not_what_it_should_be(
    release: Release, case: str, fault: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    fault("a clip of another rate, width, length, ...")
    change, message = AUDIO[case]
    release.damage(NAMES[2], change)
    release.run("fetch", release.manifest, "--offline")
    before = release.files()
    capsys.readouterr()
    assert release.run("build", release.variant) == 1
    error = one_error(capsys.readouterr())
    assert f"fan.zip: fan/test/{NAMES[2]}: " in error
    assert re.search(message, error), error
    assert {path for path in release.files() if ".zarr.partial/" not in str(path)} == before, "nothing is published"


def line(n: int, change: Change) -> Change:
    """A table with one of its lines changed; the header is line 1."""

    def changed(data: bytes) -> bytes:
        lines = data.split(b"\n")
        lines[n - 1] = change(lines[n - 1])
        return b"\n".join(lines)

    return changed


BAD_TABLES: dict[str, tuple[Change, str]] = {
    "a cell too many": (line(3, lambda row: row + b",x"), "ragged_row.*line 3"),
    "a cell too few": (line(3, lambda row: row.rpartition(b",")[0]), "ragged_row.*line 3"),
    "a row twice": (line(3, lambda row: row + b"\n" + row), "duplicate_row.*line 4.*stands in lines 3 and 4"),
    "not UTF-8": (line(3, lambda row: row.replace(b"m-n", b"m\xe9n")), "not_utf8.*line 3.*0xe9"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "not_utf8.*line 1"),
    "a quote left open": (line(3, lambda row: b'"' + row), "bad_quoting.*line 3"),
    "a long line with a quote left open": (
        line(3, lambda row: b'"' + b"x" * 78 + "é".encode() + row),
        "bad_quoting.*line 3",
    ),
    "an empty value": (line(3, lambda row: row[:-1]), "empty_cell.*line 3.*d1v"),
    "an unknown attribute": (line(3, lambda row: row.replace(b",m-n,", b",vel,")), "line 3.*vel"),
    "an unknown value": (line(3, lambda row: row[:-1] + b"Q"), "line 3.*Q"),
    "a header of another table": (line(1, lambda row: b"id,label"), "bad_header.*line 1.*id,label"),
    "no header": (line(1, lambda row: b""), "bad_header.*line 2"),
    "nothing": (lambda data: b"", "empty_table"),
    "a path that leaves": (line(3, lambda row: b"../../" + row), r"line 3.*\.\./\.\./"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_table_that_is_not_what_it_should_be(
    release: Release, case: str, fault: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    fault("a table with ragged, double, unknown, unreadable rows, ...")
    change, message = BAD_TABLES[case]
    release.damage("attributes_00.csv", change)
    release.run("fetch", release.manifest, "--offline")
    before = release.files()
    capsys.readouterr()
    assert release.run("build", release.variant) == 1
    error = one_error(capsys.readouterr())
    assert "fan.zip:fan/attributes_00.csv" in error
    assert re.search(message, error, re.DOTALL), error
    assert release.files() == before


GOOD_TABLES: dict[str, Change] = {
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "blank lines": lambda data: b"\n" + data.replace(b"\n", b"\n\n"),
    "no last line end": lambda data: data.rstrip(b"\n"),
    "all of these": lambda data: b"\xef\xbb\xbf\r\n" + data.replace(b"\n", b"\r\n,,\r\n").rstrip(),
}


@pytest.mark.parametrize("case", GOOD_TABLES)
def test_a_table_written_in_another_way_is_read_the_same(release: Release, case: str, fault: Tries) -> None:
    fault("a table with a byte order mark, CRLF, blank lines")
    with zipfile.ZipFile(release.archive) as archive:
        data = archive.read("fan/attributes_00.csv")
    table, findings = read_attribute_table(GOOD_TABLES[case](data), "t.csv")
    plain, _ = read_attribute_table(data, "t.csv")
    assert table.drop(columns="line").equals(plain.drop(columns="line"))
    assert set(findings.kind) <= {"blank_row"}
    release.damage("attributes_00.csv", GOOD_TABLES[case])
    release.run("fetch", release.manifest, "--offline")
    assert release.run("validate", release.manifest) == 0


def second_reader(data: bytes) -> tuple[int, bytes] | None:
    """Rate and samples as the standard library reads them; what the outermost size says has no bearing on them.

    0 bytes of samples is a placeholder: all that follows are samples.
    """
    try:
        with wave.open(io.BytesIO(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                return None
            return file.getframerate(), file.readframes(10**6) or data[data.index(b"data") + 8 :]
    except (wave.Error, EOFError):
        return None


@pytest.mark.parametrize("seeds", SEEDS, ids=IDS)
def test_damaged_wav(seeds: range, fault: Tries, capfd: pytest.CaptureFixture[str]) -> None:
    whole, n_refused = encode_wav(CLIP), 0
    sizes = [b"\xff" * 4, bytes(4), (1000).to_bytes(4, "little"), b"RIFX", b"RF64", b"fLaC", b"\xff\xfb"]
    pieces = [b"LIST\x04\x00\x00\x00abcd", b"data\x08\x00\x00\x00abcdefgh", b"\xff", bytes(2), *sizes]
    for seed in seeds:
        fault("fuzz: the WAV reader")
        data = damaged(whole, random.Random(seed), 48, pieces)
        try:
            samples = decode_clip(data, "a.wav", n_samples=500)
        except DataError as error:
            n_refused += 1
            assert str(error).startswith("a.wav: ")
        else:
            found = second_reader(data)
            assert found is not None, f"seed {seed}"
            rate, expected = found
            # a rate that is off by some Hz leaves 500 samples, too: then they are resampled
            assert len(samples) == 500 if rate != 16_000 else samples.tobytes() == expected, f"seed {seed}"
        try:
            for piece in read_pieces(io.BytesIO(data), "a.wav", n_samples=100):
                assert len(piece) == 100 and np.isfinite(piece).all(), f"seed {seed}"
        except DataError as error:
            assert str(error).startswith("a.wav: ")
    assert len(seeds) / 2 < n_refused < len(seeds), "the damage is felt, and some of it is harmless"
    assert "Traceback" not in capfd.readouterr().err


SOUNDS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("WAV", "IMA_ADPCM")]


@pytest.mark.parametrize(("form", "subtype"), SOUNDS)
def test_damaged_noise(form: str, subtype: str, fault: Tries, capfd: pytest.CaptureFixture[str]) -> None:
    whole = wav(np.random.default_rng(0).integers(-9999, 9999, 4000).astype(np.int16), 16_000, subtype, form)
    for seed in range(100):
        fault("fuzz: noise recordings of other formats")
        rng = random.Random(seed)
        data = damaged(whole, rng, 200, [b"\xff" * 4, bytes(4)])[: rng.choice([None, None, rng.randrange(len(whole))])]
        try:
            for piece in read_pieces(io.BytesIO(data), "a", n_samples=1600):
                assert len(piece) == 1600 and np.isfinite(piece).all(), f"seed {seed}"
        except DataError as error:
            assert str(error).startswith("a: ")
    assert "Traceback" not in capfd.readouterr().err


TABLE = "file_name,d1p,d1v,d2p,d2v\n" + "".join(
    f"valve/test/section_05_{i:04d}.wav,v1pat,{i % 3:02d},v2pat,0{i % 2}\n" for i in range(6)
)


@pytest.mark.parametrize("seeds", SEEDS, ids=IDS)
def test_damaged_table(seeds: range, fault: Tries) -> None:
    pieces = [b'"', b"\n", b"\r\n", b",", b"\xef\xbb\xbf", b"\x00", b"\xe9", "é\u2028".encode(), b'"' + b"x" * 79, b" "]
    pieces += [b'"' * 3, b"\xff\xfe", b",,,", b"../", b"x" * 140_000]
    for seed in seeds:
        fault("fuzz: the table reader")
        data = damaged(TABLE.encode(), random.Random(seed), 10**6, pieces)
        rows, findings = parse_attribute_table(data, "t.csv")
        if seed % 50 == 0:
            table, frame = read_attribute_table(data, "t.csv")
            assert list(table.itertuples(index=False, name=None)) == rows and len(frame) == len(findings)
        lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
        assert all(finding.table == "t.csv" and finding.message for finding in findings)
        blank = [finding.line for finding in findings if finding.kind == "blank_row"]
        errors = [finding.line for finding in findings if finding.severity == "error"]
        header = next((n for n in range(1, len(lines) + 1) if n not in blank), 0)
        if header in errors or not header:
            assert not rows, "nothing is read under a header that cannot be"
            continue
        assert sorted([header, *(row[0] for row in rows), *errors, *blank]) == list(range(1, len(lines) + 1)), seed
        for number, *cells in rows:
            (written,) = csv.reader([lines[number - 1].decode()])
            assert [cell for cell in cells if cell] == [cell for cell in written if cell], f"seed {seed}"


@pytest.mark.parametrize("seeds", SEEDS, ids=IDS)
def test_damaged_clip_name(seeds: range, fault: Tries) -> None:
    pieces = [b"_", b".wav", b"\n", b"\x00", "٣".encode(), "ß".encode(), b"/", b"..", b"target", b"section_00_", b"-"]
    valid = [*NAMES, "section_03_0012.wav", "section_01_target_test_anomaly_0007_pat_05_panel_bs-c.wav"]
    for seed in seeds:
        fault("fuzz: the name grammar")
        rng = random.Random(seed)
        name = damaged(rng.choice(valid).encode(), rng, 100, pieces).decode("utf-8", "replace")
        try:
            parsed = ClipName.parse(name)
        except DataError as error:
            assert repr(name.rpartition("/")[2]) in str(error)
        else:
            assert parsed.file_name == name.rpartition("/")[2], f"seed {seed}"


LITERALS = [
    *(
        '""',
        '"../x"',
        '"/etc"',
        '"a\\u0000b"',
        '"~nobody/x"',
        '"a\\nb"',
        '"true"',
        '"1"',
        "true",
        "0",
        "-1",
        "1.5",
        "inf",
    ),
    *(
        "nan",
        "1e400",
        "9223372036854775808",
        "9" * 5000,
        "0x" + "f" * 5000,
        "[]",
        "{}",
        "[[[]]]",
        "1979-05-27",
        "[" * 5000,
    ),
    *('["fan", 1]', '"fan"', '["fan/00\\n"]', '["fan/00", "fan/00"]', "{ a = 1 }", '[{ folder = "x", archive = "y" }]'),
]


def damaged_toml(text: str, rng: random.Random) -> str:
    """A TOML file with a value or a key replaced, a line lost or doubled, or bytes changed."""
    lines = text.splitlines()
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(lines))
        action = rng.randrange(5)
        if action < 2 and "=" in lines[at]:
            lines[at] = f"{lines[at].partition('=')[0]}= {rng.choice(LITERALS)}"
        elif action == 2 and "=" in lines[at]:
            lines[at] = f"{rng.choice(['x', 'nmae', 'noise', 'records', 'Ä', '..'])} ={lines[at].partition('=')[2]}"
        elif action == 3:
            lines[at : at + 1] = rng.choice([[], [lines[at]] * 2])
        else:
            lines[at] = damaged(lines[at].encode(), rng, 100, [b"[", b'"', b"=", b"#", b"\x00"]).decode(
                "utf-8", "replace"
            )
    return "\n".join(lines)


VARIANT = """name = "v"
dataset = "mimii_dg"
mixing = "table1"
sections = ["fan", "valve/02"]
snr_offset_db = -3.0
seed = 7
full_scale = "attenuate"
[snr_db]
"fan/03" = -6.0
[noise]
A = "noise"
B = [{ dataset = "mimii_due", file = "pump.zip", members = "*/train/*.wav" }]
[features]
dtype = "float32"
"""


def says_the_same(model: Any, content: Any, path: str = "") -> None:
    """Whether every value of the file stands in the model as it was written."""
    if isinstance(model, BaseModel):
        assert isinstance(content, dict) and set(content) <= set(type(model).model_fields), path
        for key, value in content.items():
            says_the_same(getattr(model, key), value, f"{path}.{key}")
    elif path == ".noise":
        assert set(model) == set(content)  # which may be written in short, and is made absolute
    elif isinstance(model, dict):
        assert set(model) == set(content), path
        for key, value in content.items():
            says_the_same(model[key], value, f"{path}.{key}")
    elif isinstance(model, list):
        assert len(model) == len(content), path
        for ours, theirs in zip(model, content, strict=True):
            says_the_same(ours, theirs, path)
    else:
        assert model == content and isinstance(model, bool) == isinstance(content, bool), path
        assert isinstance(model, str) == isinstance(content, str), path


@pytest.mark.parametrize("seeds", SEEDS, ids=IDS)
@pytest.mark.parametrize("kind", ["variant", "dataset"])
def test_damaged_toml(tmp_path: Path, kind: str, seeds: range, fault: Tries) -> None:
    load = load_variant if kind == "variant" else load_dataset
    texts = [(RESOURCES / f"{kind}s" / f"{name}.toml").read_text() for name in shipped_names(f"{kind}s")]
    path, n_refused = tmp_path / "file.toml", 0
    for seed in seeds:
        fault(f"fuzz: the {kind} reader")
        rng = random.Random(seed)
        text = damaged_toml(rng.choice([*texts, VARIANT] if kind == "variant" else texts), rng)
        path.write_bytes(text.encode("utf-8", "replace"))
        try:
            model = load(str(path))
        except UsageError as error:
            n_refused += 1
            assert str(path) in str(error) or "~nobody" in str(error), f"seed {seed}"
            assert len(str(error)) < 100_000
        else:
            says_the_same(model, tomllib.loads(text))
    assert len(seeds) / 4 < n_refused < len(seeds), "the damage is felt, and some of it is harmless"
