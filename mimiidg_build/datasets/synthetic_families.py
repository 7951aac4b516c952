"""Families of releases that synthetic ones are made in: machine types, sections, clip lengths and archives of each.

Their machines are the five that :mod:`mimiidg_build.synthesis` has the physics of, under the names of the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mimiidg_build.schemas.manifests import LayoutName, Protocol

Part = Literal["dev", "train", "test"]  # development, or the evaluation part's training or test clips
Tail = Literal["pairs", "three", "none"]  # attributes of names: the physics' own, three of them, ``_noAttribute``


class Unit(NamedTuple):
    """A section: its name, and the section of the physics that sounds like it."""

    section: str
    physics: str


class ArchiveOf(NamedTuple):
    """An archive: its file name, the machine type and the part of the release that it holds."""

    name: str
    machine_type: str
    part: Part


@dataclass(frozen=True)
class Machine:
    """A machine type: whose physics it has, its sections of the development and the evaluation part, its clips."""

    physics: str
    dev: tuple[Unit, ...] = ()
    evaluation: tuple[Unit, ...] = ()
    seconds: float = 10.0
    tail: Tail = "pairs"


@dataclass(frozen=True)
class Family:
    """A family of releases. ``names`` are its archives' file names by part; a part without one is in another's.

    ``in_hall``: machines were recorded in the noise of their hall, by one microphone near and one far from them.
    """

    layout: LayoutName
    protocol: Protocol
    machines: Mapping[str, Machine]
    names: Mapping[Part, str]
    channels: int = 1
    has_domains: bool = True
    in_hall: bool = False

    def archives(self, evaluation: bool) -> list[ArchiveOf]:
        """The archives of a release, development first."""
        held = [
            (machine_type, part)
            for part in self.names
            for machine_type, machine in self.machines.items()
            if (machine.dev if part == "dev" else machine.evaluation and evaluation)
        ]
        return [ArchiveOf(self.names[part].format(machine_type), machine_type, part) for machine_type, part in held]


def _units(names: str, first: int = 0) -> tuple[Unit, ...]:
    return tuple(Unit(name, f"{first + number:02d}") for number, name in enumerate(names.split()))


_DCASE: dict[Part, str] = {"dev": "dev_{}.zip", "train": "eval_data_{}_train.zip", "test": "eval_data_{}_test.zip"}
_DEV, _EVAL = "00 01 02", "03 04 05"
_IDS = (_units("id_00 id_02 id_04"), _units("id_01 id_03 id_05", 3))
_SHIFTED = (_units(_DEV), _units(_EVAL, 3))
_FIRST, _LATER = (_units("00"),), ((), _units("00", 1))

DEFAULT_FAMILY = "mimii_dg"
FAMILIES: Mapping[str, Family] = {
    "mimii_dg": Family(
        layout="dcase2022",
        protocol="2022",
        machines={name: Machine(name, *_SHIFTED) for name in ("bearing", "fan", "gearbox", "slider", "valve")},
        names={"dev": "{}.zip", "test": "{}_eval.zip"},
    ),
    "mimii": Family(
        layout="mimii",
        protocol="mimii",
        machines={
            name: Machine(physics, _units("id_00 id_02 id_04 id_06"))
            for name, physics in (("fan", "fan"), ("pump", "gearbox"), ("slider", "slider"), ("valve", "valve"))
        },
        names={"dev": "0_dB_{}.zip"},
        channels=8,
        has_domains=False,
    ),
    "dcase2020": Family(
        layout="dcase2020",
        protocol="2020",
        machines={
            "fan": Machine("fan", *_IDS),
            "slider": Machine("slider", *_IDS),
            "ToyCar": Machine("gearbox", _units("id_01 id_02 id_03"), _units("id_05 id_06 id_07", 3), seconds=9.0),
        },
        names={
            "dev": "dev_data_{}.zip",
            "train": "eval_data_train_{}.zip",
            "test": "eval_data_test_{}.zip",
        },
        has_domains=False,
    ),
    "dcase2021": Family(
        layout="dcase2021",
        protocol="2021",
        machines={
            "fan": Machine("fan", *_SHIFTED),
            "valve": Machine("valve", *_SHIFTED),
            "ToyTrain": Machine("bearing", *_SHIFTED),
        },
        names={**_DCASE, "dev": "dev_data_{}.zip"},
    ),
    "dcase2023": Family(
        layout="dcase2022",
        protocol="2022",
        machines={
            "fan": Machine("fan", *_FIRST, tail="none"),
            "gearbox": Machine("gearbox", *_FIRST, seconds=8.0),
            "ToyCar": Machine("bearing", *_FIRST, seconds=6.0, tail="three"),
            "3DPrinter": Machine("valve", *_LATER),
            "HoveringDrone": Machine("slider", *_LATER, seconds=6.0, tail="none"),
        },
        names=_DCASE,
    ),
    "dcase2026": Family(
        layout="dcase2022",
        protocol="2022",
        machines={
            "fan": Machine("fan", *_FIRST, tail="none"),
            "gearboxEmu": Machine("gearbox", *_FIRST),
            "ToyCar": Machine("bearing", *_FIRST, seconds=6.0, tail="three"),
            "ToothBrush": Machine("slider", *_LATER, tail="none"),
            "Sander": Machine("valve", *_LATER, seconds=6.0),
        },
        names=_DCASE,
        channels=2,
    ),
    "2ch": Family(  # laid out as DCASE 2026, of MIMII DG's machines
        layout="dcase2022",
        protocol="2022",
        machines={name: Machine(name, _units(_DEV)) for name in ("bearing", "fan", "gearbox", "slider", "valve")},
        names={"dev": "dev_{}.zip"},
        channels=2,
        in_hall=True,
    ),
}
