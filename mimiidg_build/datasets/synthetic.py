"""Synthetic releases as datasets: names, archives, counts. Their sound is made in :mod:`mimiidg_build.synthesis`.

A release is named ``synthetic[-<family>][-<percent>pct][-seed<k>][-eval]``: the family of releases whose layout it has
(MIMII DG's where none is named), ``percent`` of 1,200 clips a section, a seed, and whether the evaluation part comes
too. Everything follows from that name, and from the generation: how the sound is made was changed once, and may be
again. A name means the present generation; ``-gen2`` after it says so, and names the record that its archives are of.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mimiidg_build.datasets.synthetic_families import DEFAULT_FAMILY, FAMILIES
from mimiidg_build.errors import UsageError

NOISE_KINDS = {kind: f"factory_noise_{kind}/*.wav" for kind in "ABCD"} | {kind: f"pump_{kind}/*.wav" for kind in "WXYZ"}

GENERATION = 2  # of the sound: one bit of any recording made otherwise is another generation

_GRAMMAR = "synthetic[-<family>][-<percent>pct][-seed<k>][-eval]"
_NAME = re.compile(
    rf"synthetic(?:-({'|'.join(FAMILIES)}))?(?:-([0-9]+(?:\.[0-9]+)?)pct)?(?:-seed([0-9]+))?(-eval)?(?:-gen([0-9]+))?"
)
TRUTH_LIST = "eval_data_list.csv"  # what evaluation clips are whose names hide it, as the organisers publish it


@dataclass(frozen=True)
class SyntheticSpec:
    """What decides every byte of a synthetic release.

    Parameters
    ----------
    percent : size in percent of the published release, 1 to 100
    seed : non-negative; another seed draws everything anew
    evaluation : whether the evaluation part is made too
    family : the family of releases that it is laid out as, one of ``FAMILIES``

    Raises
    ------
    UsageError : a percent or a seed out of range, or a family without an evaluation part
    """

    percent: float = 5.0
    seed: int = 0
    evaluation: bool = False
    family: str = DEFAULT_FAMILY

    def __post_init__(self) -> None:
        if not (math.isfinite(self.percent) and 1 <= self.percent <= 100):
            raise UsageError(f"synthetic release: percent must be from 1 to 100, found {self.percent:g}")
        if self.seed < 0:
            raise UsageError(f"synthetic release: seed must be 0 or more, found {self.seed}")
        if self.evaluation and not any(archive.part != "dev" for archive in FAMILIES[self.family].archives(True)):
            raise UsageError(f"synthetic release: {self.family} has no evaluation part; leave -eval out")

    @property
    def name(self) -> str:
        """The canonical name.

        >>> SyntheticSpec(percent=2.5, seed=1, evaluation=True).name
        'synthetic-2.5pct-seed1-eval'
        """
        # repr, unlike %g, loses no digit: two sizes never share a name
        percent = repr(float(self.percent)).removesuffix(".0")
        family = "" if self.family == DEFAULT_FAMILY else f"{self.family}-"
        return f"synthetic-{family}{percent}pct-seed{self.seed}{'-eval' if self.evaluation else ''}"

    @property
    def record_id(self) -> str:
        """What archives and stores know the release by: no other generation's are taken for them.

        >>> SyntheticSpec().record_id
        'synthetic-5pct-seed0-gen2'
        """
        return f"{self.name}-gen{GENERATION}"


def is_synthetic(name: str) -> bool:
    """Whether a dataset name means the synthetic release, well-formed or not.

    >>> [is_synthetic(name) for name in ("synthetic", "synthetic-5pct", "mimii_dg", "synthetics")]
    [True, True, False, False]
    """
    # so that a mistyped name is answered with the grammar, not with a list of files
    return name == "synthetic" or name.startswith("synthetic-")


def parse_name(name: str) -> SyntheticSpec:
    """The release that a name means. What the name leaves out takes its default: 5 %, seed 0, no evaluation sections.

    Raises
    ------
    UsageError : the name does not follow the grammar, a number is out of range, or it is another generation's

    >>> parse_name("synthetic-20pct-eval").name
    'synthetic-20pct-seed0-eval'
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r} is not a synthetic release: expected {_GRAMMAR}, such as synthetic-5pct-seed0")
    family, percent, seed, evaluation, generation = match.groups()
    if generation is not None and int(generation) != GENERATION:
        raise UsageError(
            f"{name!r} is of generation {generation} of the synthetic release; this version makes generation "
            f"{GENERATION}. Leave -gen{generation} out, or use the version of mimiidg_build that made it."
        )
    return SyntheticSpec(float(percent or 5), int(seed or 0), evaluation is not None, family or DEFAULT_FAMILY)


def archive_names(spec: SyntheticSpec) -> list[str]:
    """File names of the release's archives, in the order in which they are written.

    >>> archive_names(SyntheticSpec())
    ['bearing.zip', 'fan.zip', 'gearbox.zip', 'slider.zip', 'valve.zip', 'noise.zip']
    """
    machines = [archive.name for archive in FAMILIES[spec.family].archives(spec.evaluation)]
    dev = [name for name in machines if not name.endswith("_eval.zip")]
    # MIMII DG's evaluation archives came after its noise; all that a name means stays as it was
    names = [*dev, "noise.zip", *(name for name in machines if name not in dev)]
    return [*names, TRUTH_LIST] if spec.evaluation and spec.family != DEFAULT_FAMILY else names


def noise_count(percent: float) -> int:
    """Recordings of each noise kind.

    >>> noise_count(5), noise_count(100)
    (6, 60)
    """
    return max(6, round(0.6 * percent))


def clip_counts(percent: float) -> dict[str, int]:
    """Clips of one section per domain_split_condition; 100 % gives the published counts (Table 2).

    Small releases keep proportionally more test clips, so that an AUC is still made of more than one pair.

    >>> clip_counts(100)["source_train_normal"], sum(clip_counts(100).values()) * 15
    (990, 18000)
    >>> clip_counts(5)["target_test_anomaly"], sum(clip_counts(5).values())
    (5, 60)
    """
    n_clips = round(12 * percent)  # 1,200 a section at 100 %
    # n // 8 in each of four cells: never more than half of the clips are test clips
    n_test = max(round(n_clips / 24), min(5, n_clips // 8), 1)
    n_target_train = max(1, round(n_clips / 120))
    return {
        "source_train_normal": n_clips - n_target_train - 4 * n_test,
        "target_train_normal": n_target_train,
        "source_test_normal": n_test,
        "source_test_anomaly": n_test,
        "target_test_normal": n_test,
        "target_test_anomaly": n_test,
    }
