"""An export that is killed at any step, or that several processes begin at once: whole in the end, or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.injected import CRASHED, numbered
from tests.faults.place import Place, files
from tests.faults.summary import Tries

ZIPPED = ["README.md", "clips.parquet", "croissant.json", "dataset.toml", "md5sums.txt", "mix_plan.csv", "valve.zip"]
ZIPPED += ["variant.toml"]
OPTIONS = [
    pytest.param([], id="folders"),
    pytest.param(["--zip"], id="zip"),
    *(
        pytest.param(options, marks=pytest.mark.slow, id=options[1])
        for options in (["--layout", "dcase"], ["--format", "webdataset"], ["--format", "huggingface"])
    ),
]


@pytest.fixture
def out(place: Place) -> Path:
    """A folder to export into; under ``variants``, where steps are counted (``injected.name_within``)."""
    shutil.copytree(place.template / "root/variants/one", place.directory("one"))
    return place.directory("exported") / "out"


def is_moving(verb: str, name: str) -> bool:
    """Whether a step is one of the last, in which a whole export gets its final names."""
    return verb == "rename" or (verb == "rmdir" and name == "out/.whole")


@pytest.mark.parametrize("every", [19, pytest.param(1, marks=pytest.mark.slow)], ids=["some steps", "every step"])
@pytest.mark.parametrize("options", OPTIONS)
def test_an_export_that_is_killed(place: Place, out: Path, fault: Tries, options: list[str], every: int) -> None:
    """The same command again ends with the very files; until then no README says that it is whole."""
    ended = place.run("export", "one", out, *options, list_steps=True)
    assert ended.code == 0, ended.err
    expected = files(out)
    steps = numbered([(verb, name) for verb, name in json.loads(ended.out.splitlines()[-1])])
    moving = [step for step in steps if is_moving(*step[:2])]
    assert len(moving) >= len(list(out.iterdir())) + 2
    chosen = [s for n, s in enumerate(steps) if n % every == 0 or s in (moving[0], *moving[-2:])]
    fault("an export killed at a step", cases=len(chosen))
    for step in chosen:
        shutil.rmtree(out.parent)  # as it was: to make that is a step, too
        assert place.run("export", "one", out, *options, crash_before=step).code == CRASHED, step
        is_last = step[:2] == ("rmdir", "out/.whole")
        assert (out / "README.md").is_file() == is_last
        ended = place.run("export", "one", out, *options)
        assert ended.code == 0, (step, ended.err)
        assert files(out) == expected, step
        assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_a_killed_export_is_finished_by_none_but_its_own_command(place: Place, out: Path) -> None:
    """And nothing that somebody has put there since is replaced."""
    assert place.run("export", "one", out, "--zip", crash_before=("rename", "out/variant.toml", 0)).code == CRASHED
    ended = place.run("export", "one", out)
    assert ended.code == 2 and "holds another export, which was interrupted" in ended.err
    (out / "variant.toml").write_text("mine")
    ended = place.run("export", "one", out, "--zip")
    assert ended.code == 2 and "holds variant.toml, which this export did not write" in ended.err
    (out / "variant.toml").unlink()
    assert place.run("export", "one", out, "--zip").code == 0
    assert sorted(files(out)) == ZIPPED


def test_several_exports_into_one_folder(place: Place, out: Path, fault: Tries) -> None:
    """One writes, the others wait and find it made; one of another kind is refused as it always is."""
    fault("exports into one folder at once", cases=4)
    assert place.run("export", "one", out).code == 0
    expected = files(out)
    shutil.rmtree(out)
    started = [place.start("export", "one", out) for _ in range(3)]
    ended = [place.processes.wait(process) for process in started]
    assert sorted(one.code for one in ended) in ([0, 0, 0], [0, 0, 2], [0, 2, 2])
    assert all("not empty" in one.err for one in ended if one.code == 2), "begun after another had ended"
    assert files(out) == expected
    shutil.rmtree(out)
    both = [place.start("export", "one", out, *options) for options in ([], ["--zip"])]
    codes = [place.processes.wait(process).code for process in both]
    assert sorted(codes) == [0, 2]
    assert files(out) == expected if codes[0] == 0 else sorted(files(out)) == ZIPPED
