"""The command line as a person meets it: results, exit codes, and one clear message for every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.shell_completion import ShellComplete

from mimiidg_build.cli import cli, main
from tests.command_server import run
from tests.conftest import DATASET, link_archives, pack_release, write_dataset

NAMES = [
    f"section_00_{domain}_{split}_{condition}_{index:04d}_m-n_{kind}.wav"
    for domain, split, condition, kinds in (
        ("source", "train", "normal", "WX"),
        ("target", "train", "normal", "YZ"),
        ("source", "test", "normal", "WX"),
        ("source", "test", "anomaly", "WX"),
        ("target", "test", "normal", "YZ"),
        ("target", "test", "anomaly", "YZ"),
    )
    for index, kind in enumerate(kinds)
]


def tone(seed: int, n_samples: int = 160_000) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n_samples) * 1000).astype(np.int16)


class Place:
    """A root with one good archive of fan 00, a noise folder, and a variant file: everything a mistake can break."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "root"
        self.archive = self.root / "archives/mine/fan.zip"
        pack_release(self.archive, {name: tone(i) for i, name in enumerate(NAMES)}, "fan")
        self.manifest = write_dataset(directory, "mine", [self.archive])
        self.noise = directory / "noise"
        self.noise.mkdir()
        sf.write(self.noise / "hum.wav", tone(99, 400_000), 16_000)
        self.variant = directory / "mine_variant.toml"
        kinds = "\n".join(f'{kind} = "noise"' for kind in "ABWXYZ")
        self.variant.write_text(f'name = "mine"\ndataset = "{self.manifest}"\n[noise]\n{kinds}\n')

    def run(self, *arguments: object) -> int:
        return main([*map(str, arguments), "--root", str(self.root)])

    def fetch(self) -> int:
        return self.run("fetch", self.manifest, "--offline")

    def build(self) -> int:
        return self.run("build", self.variant)

    def rewrite(self, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
        """Pack the archive anew, each member changed."""
        old = self.archive.with_suffix(".old")
        self.archive.rename(old)
        with zipfile.ZipFile(old) as source, zipfile.ZipFile(self.archive, "w") as target:
            for name in source.namelist():
                for new_name, data in change(name, source.read(name)):
                    target.writestr(new_name, data)
        old.unlink()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wav(samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> bytes:
    import io

    file = io.BytesIO()
    sf.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def first_clip(new: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    return lambda name, data: new(name, data) if name.endswith(NAMES[0]) else [(name, data)]


def table(change: Callable[[str], str]) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    return lambda name, data: [(name, change(data.decode()).encode() if name.endswith(".csv") else data)]


ARCHIVES = {
    "a missing table": (
        lambda name, data: [] if name.endswith(".csv") else [(name, data)],
        "no fan/attributes_00.csv",
    ),
    "a ragged row": (table(lambda text: text.replace(",W\n", ",W,x,y\n", 1)), "ragged_row.*attributes_00.csv.*line"),
    "a WAV of 8 kHz": (
        first_clip(lambda name, data: [(name, wav(tone(1, 160_000), 8000))]),
        r"fan.zip: fan/train/section_00_source_train_normal_0000_m-n_W.wav: expected 16000 Hz.*found 8000 Hz",
    ),
    "a stereo WAV": (
        first_clip(lambda name, data: [(name, wav(np.stack([tone(1), tone(2)], axis=1), 16_000))]),
        "found 16000 Hz, 2 channels",
    ),
    "a truncated WAV": (first_clip(lambda name, data: [(name, data[:100_000])]), "declares 320000 bytes.* holds 99956"),
    "a WAV that is none": (first_clip(lambda name, data: [(name, b"x" * len(data))]), "not a readable WAV file"),
    "a name with ..": (first_clip(lambda name, data: [("fan/../../evil.wav", data)]), r"\.\."),
    "two clips of one name": (
        first_clip(lambda name, data: [(name, data), (name, data)]),
        "more than once|twice|duplicate",
    ),
    "an unknown attribute value": (
        first_clip(lambda name, data: [(name.replace("m-n_W", "m-n_Q"), data)]),
        "unknown_value|no_audio",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("mistake", ARCHIVES)
def test_bad_archives(place: Place, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, message = ARCHIVES[mistake]
    place.rewrite(change)
    place.fetch()
    before = snapshot(place.root)
    capsys.readouterr()
    assert place.build() == 1
    one_message(capsys.readouterr(), message)
    assert snapshot(place.root) == before, "nothing of a failed build is left"
    assert not (place.root / "variants/mine").exists(), "no empty folder either"


def snapshot(root: Path) -> dict[str, bytes]:
    """What stands under the root, but for locks, and levels and noise, which are caches."""
    skipped = (".lock", ".levels.parquet")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(skipped) and path.relative_to(root).parts[0] != "noise"
    }


def one_message(output: pytest.CaptureResult[str], message: str) -> None:
    import re

    assert output.out == ""
    lines = [line for line in output.err.splitlines() if not re.match(r"\w+: [\d,]+ of", line)]
    assert lines[0].startswith("error: ") and "Traceback" not in output.err
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert re.search(message, "\n".join(lines), re.DOTALL), output.err


def test_silent_noise(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(place.noise / "hum.wav", 0 * tone(99, 480_000), 16_000)
    place.fetch()
    before = snapshot(place.root)
    capsys.readouterr()
    assert place.build() == 1
    one_message(capsys.readouterr(), "noise kind A, hum.wav: silent from beginning to end")
    assert snapshot(place.root) == before


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.random.default_rng(0).integers(-1, 2, 400_000), "hum.wav#[01]: its level is -92.1 dB re full scale, below"),
        (np.stack([0 * tone(1), tone(2)], 1), "hum.wav: silent from beginning to end.* It has 2 channels"),
    ],
    ids=["dither", "a silent left channel"],
)
def test_noise_that_is_no_noise(
    place: Place, samples: np.ndarray, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(place.noise / "hum.wav", samples.astype(np.int16), 16_000)
    place.fetch()
    before = snapshot(place.root)
    capsys.readouterr()
    assert place.build() == 1
    one_message(capsys.readouterr(), message)
    assert snapshot(place.root) == before


def test_a_build_ends_with_its_noise_and_what_is_odd_about_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tone(99, 480_000)
    samples[160_000:320_000] = 0
    sf.write(place.noise / "hum.wav", samples, 16_000)
    (place.noise / "._hum.wav").write_bytes(b"x")
    place.fetch()
    for again in (False, True):
        capsys.readouterr()
        assert place.build() == 0
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert f"A {place.noise} 1 2 30.0" in lines and f"W {place.noise} 1 2 30.0" in lines
        assert "warning noise_silent noise A 1 silent pieces of longer recordings were left out." in lines, again
        assert "warning noise_companions noise B 1 hidden or system files were passed over." in lines
    assert place.run("build", place.variant, "--json") == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["noise"]["A"]["pieces"], built["noise"]["A"]["silent"]) == (2, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', 'name = "mine"\nsnr_ofset_db = 1', "snr_ofset_db: unknown key; did you mean 'snr_offset_db'"),
        ('name = "mine"', 'name = "mine"\nsnr_offset_db = "loud"', "snr_offset_db: .*found 'loud'"),
        ('name = "mine"', 'name = "mine"\nsections = ["fan/09"]', "'fan/09' is not a section of recipe table1"),
        ('name = "mine"', 'name = "mine"\nsections = ["pump"]', "'pump' is not a section"),
        ('name = "mine"', 'name = "../mine"', "name: String should match"),
        ('name = "mine"', "name = ", "not valid TOML"),
        ('A = "noise"\n', "", r"no noise is given for A \(fan/00\)"),
    ],
)
def test_bad_variants(place: Place, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    place.fetch()
    place.variant.write_text(place.variant.read_text().replace(old, new))
    capsys.readouterr()
    assert place.build() == 2
    one_message(capsys.readouterr(), message)
    assert not (place.root / "variants").exists()


def test_wrong_md5(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = place.manifest.read_text()
    place.manifest.write_text(text + f'md5 = "{"0" * 32}"\n')
    content = place.archive.read_bytes()
    assert place.fetch() == 1
    one_message(capsys.readouterr(), "fan.zip is not the published archive: .*expected 0{32}")
    assert place.archive.read_bytes() == content, "a file that a person put there is left alone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "papre"], "no variant is named 'papre'. Did you mean 'paper'"),
        (["fetch", "mimii_gd"], "no dataset is named 'mimii_gd'. Did you mean 'mimii_dg'"),
        (["fetch", "mimii_dg", "--file", "pump.zip"], "no file is named pump.zip"),
        (["build", "demo", "--noise", "A"], "write KIND=PATH"),
        (
            ["build", "demo", "--section", "valve", "--noise", "a=."],
            "kind 'a'. Did you mean 'A'? The kinds wanted are A, B",
        ),
        (
            ["build", "demo", "--section", "valve", "--noise", "C=."],
            "uses noise of kind 'C'. The kinds wanted are A, B.",
        ),
        (
            ["build", "demo", "--section", "valve", "--noise", "A=."],
            "no noise is given for B (valve/00, valve/01, valve/02",
        ),
        (["build", "released", "--noise", "A=."], "The kinds wanted are none"),
        (["build", "demo", "--noise-from", "mimii_deu"], "no dataset is named 'mimii_deu'. Did you mean 'mimii_due'"),
        (["build", "demo", "--noise-from", "mimii_due"], "no noise is given for A ("),
        (["build", "demo", "--dataset", "synthetic-0pct"], "percent must be from 1 to 100"),
        (["build", "demo", "--scheduler", "dask"], "no scheduler is named 'dask'"),
        (["build", "demo", "--workers", "0"], "0 is not in the range"),
        (["build"], "Missing argument"),
        (["bild"], "No such command"),
    ],
)
def test_wrong_use(tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, *(["--root", str(tmp_path)] if len(arguments) > 1 else [])]) == 2
    output = capsys.readouterr()
    assert message in output.err and "Traceback" not in output.err


@pytest.mark.parametrize("name", ["verify", "export"])
def test_no_store(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "nothing", *(["out"] if name == "export" else []), "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "there is no store 'nothing'" in said and "`mimiidg list` shows what there is" in said


def test_build_list_verify_export(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.fetch() == 0
    capsys.readouterr()
    assert place.run("validate", place.manifest, "--json") == 0
    validated = json.loads(capsys.readouterr().out)
    assert validated["clips"] == 12 and all(f["severity"] == "warning" for f in validated["findings"])
    assert place.run("build", place.variant, "--json") == 0
    built = json.loads(capsys.readouterr().out)
    assert built["sections"]["fan/00"]["n_clips"] == 12 and Path(built["path"]).is_dir()
    assert place.build() == 0
    assert "nothing to do, it is built" in capsys.readouterr().out
    assert place.run("list", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["variant"], listed["state"], listed["n_clips"]) == ("mine", "latest", 12)
    assert place.run("verify", "mine", "--deep", "--quiet") == 0
    assert "all as recorded" in capsys.readouterr().out
    assert place.run("export", "mine", place.directory / "out") == 0
    assert len(list((place.directory / "out").rglob("*.wav"))) == 12
    shard = Path(built["path"]) / "fan/section_00/logmel/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert place.run("verify", "mine") == 1
    assert "logmel/c/0/0/0" in capsys.readouterr().out


def test_options_make_a_variant_of_its_own(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.fetch()
    for options in (["--snr-offset", 6], ["--seed", 3], ["--noise", f"A={place.noise}", "--name", "named"]):
        assert place.run("build", place.variant, *options, "--quiet") == 0
    capsys.readouterr()
    assert place.run("list", "--json") == 0
    assert {s["variant"] for s in json.loads(capsys.readouterr().out)} == {"mine-snr+6dB", "mine-seed3", "named"}


def test_allowed_findings_are_warnings(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.rewrite(ARCHIVES["a missing table"][0])
    place.fetch()
    assert place.run("build", place.variant, "--allow", "missing_table", "--quiet") == 0


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.commands:
        assert main([name, "--help"]) == 0
        assert f"Example: mimiidg {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mimiidg bu", {"build"}),
        ("mimiidg build pap", {"paper"}),
        ("mimiidg build mi", {"mine-of-my-own"}),
        ("mimiidg fetch mimii_d", {"mimii_dg", "mimii_due"}),
        ("mimiidg verify mi", {"mine-of-my-own", "mimii_-6_dB", "mimii_0_dB", "mimii_6_dB", "mimii_dg", "mimii_due"}),
        ("mimiidg build paper --section fan/0", {f"fan/0{k}" for k in range(6)}),
        ("mimiidg build paper --section valve/0", {f"valve/0{k}" for k in range(6)}),
        ("mimiidg build paper --section valve/i", {f"valve/id_0{k}" for k in range(7)}),
        ("mimiidg build paper --dataset synthetic-5", {"synthetic-5pct"}),
        ("mimiidg build paper --scheduler p", {"processes"}),
        ("mimiidg benchmark demo --model nearest_neighbour_", {"nearest_neighbour_max"}),
        ("mimiidg benchmark demo --profile sm", {"smoke"}),
        ("mimiidg validate mimii_dg --machine-type v", {"valve", "valveEmu"}),
        ("mimiidg validate mimii_dg --allow missing", {"missing_table"}),
        ("mimiidg fetch mimii_dg --file fa", {"fan.zip"}),
        ("mimiidg report mi", {"mine-of-my-own"}),
        ("mimiidg explain mi", {"mine-of-my-own"}),
        ("mimiidg prune mi", {"mine-of-my-own"}),
        ("mimiidg benchmark demo --device cp", {"cpu"}),
        ("mimiidg new-variant mine --dataset mimii_du", {"mimii_due"}),
        ("mimiidg serve --variant rel", {"released"}),
        ("mimiidg completion f", {"fish"}),
    ],
)
def test_completion(words: str, offered: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bash offers when TAB is pressed after the words."""
    latest = tmp_path / "variants/mine-of-my-own/latest"
    latest.parent.mkdir(parents=True)
    latest.write_text("0\n")
    monkeypatch.setenv("MIMIIDG_ROOT", str(tmp_path))
    args = words.split()
    found = ShellComplete(cli, {}, "mimiidg", "_MIMIIDG_COMPLETE").get_completions(args[1:-1], args[-1])
    assert {item.value for item in found} == offered


def test_completion_offers_files_where_a_file_may_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIIDG_ROOT", str(tmp_path))
    for arguments in (["build"], ["fetch"], ["verify"], ["export"], ["serve", "--variant"]):
        (found,) = ShellComplete(cli, {}, "mimiidg", "_MIMIIDG_COMPLETE").get_completions(arguments, "./my")
        assert found.type == "file"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_MIMIIDG_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_bash_completes_with_what_is_printed(tmp_path: Path) -> None:
    script = """
        source <(mimiidg completion bash)
        COMP_WORDS=(mimiidg build pap) COMP_CWORD=2
        _mimiidg_completion mimiidg
        echo "${COMPREPLY[@]}"
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("paper\n", "")


@pytest.mark.slow  # .ci/run runs it; the flows and stages that it is made of have tests of their own
def test_demo_end_to_end(synthetic_archives: Path, tmp_path: Path) -> None:
    """As a person runs it: in an empty directory, through Prefect's embedded server; the second run is a no-op."""
    link_archives(synthetic_archives, tmp_path / "mimiidg-data")
    command = [sys.executable, "-m", "mimiidg_build", "demo", "--percent", "1"]
    first = run(command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "synthetic data" in first.stdout and "bearing/00" in first.stdout
    assert f"demo-{DATASET}/" in first.stdout.splitlines()[-1]
    assert "rror" not in first.stderr and "arning" not in first.stderr
    second = run(command, cwd=tmp_path)
    assert "nothing to do, it is built" in second.stdout
