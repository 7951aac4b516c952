"""Protocols: which AUCs and means a year's organisers compute, and what they rank systems by.

==========  ==========================================================  ==============  ===============================
protocol    of each section                                             mean            official score
==========  ==========================================================  ==============  ===============================
``mimii``   AUC of the machine ID                                       arithmetic,     mean AUC
                                                                        over IDs, then
                                                                        machine types
``2020``    AUC and pAUC of the machine ID                              the same        average of AUC and pAUC
``2021``    AUC and pAUC **within** each domain: its normal clips       harmonic        mean of all of these
            against its own anomalous clips
``2022``    AUC of each domain's normal clips against **all** anomalous harmonic        mean of all of these
            clips of the section; pAUC of all its clips
==========  ==========================================================  ==============  ===============================

2022 holds for every year since. pAUC is up to a false positive rate of 0.1, after McClish.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.evaluation.means import arithmetic_mean, harmonic_mean
from mimiidg_build.evaluation.roc import Floats
from mimiidg_build.schemas.manifests import Protocol as ProtocolName

NAMES: tuple[ProtocolName, ...] = get_args(ProtocolName)


@dataclass(frozen=True)
class Protocol:
    """How one year is judged.

    ``shown`` are the AUCs of a section by the titles of their columns, ``official`` those that the official score is
    made of. Where ``by_machine_type``, means are of the machine types' means, else over all sections alike.
    """

    name: ProtocolName
    shown: Mapping[str, str]
    official: tuple[str, ...]
    mean: str
    by_machine_type: bool = False

    @property
    def has_domains(self) -> bool:
        """Whether any of it is of one domain."""
        return any(metric.startswith(("auc_source", "auc_target")) for metric in self.official)


_WITHIN = {
    "source within": "auc_source_within",
    "target within": "auc_target_within",
    "pAUC source within": "pauc_source_within",
    "pAUC target within": "pauc_target_within",
}
_AGAINST_ALL = {"source": "auc_source", "target": "auc_target", "all": "auc_all", "pAUC": "pauc"}

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("mimii", {"AUC": "auc_all"}, ("auc_all",), "arithmetic", by_machine_type=True),
        Protocol("2020", {"AUC": "auc_all", "pAUC": "pauc"}, ("auc_all", "pauc"), "arithmetic", by_machine_type=True),
        Protocol("2021", _WITHIN, tuple(_WITHIN.values()), "harmonic"),
        Protocol("2022", _AGAINST_ALL, ("auc_source", "auc_target", "pauc"), "harmonic"),
    )
}
DEFINITIONS = {"within": PROTOCOLS["2021"], "all": PROTOCOLS["2022"]}
"""What a table may be made with beside its protocol's own AUCs: a domain's normal clips against its own anomalous clips
(within), or against all of the section."""


def protocol_named(name: str) -> Protocol:
    """The protocol of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    if name not in PROTOCOLS:
        raise UsageError(
            f"no protocol is named {shown(name)}.{did_you_mean(name, NAMES)} There are {', '.join(NAMES)}."
        )
    return PROTOCOLS[name]


def official_score(sections: Iterable[Mapping[str, Any]], protocol: str = "2022") -> float:
    """The official score of a set of sections.

    Parameters
    ----------
    sections : iterable of {metric: value}
        With the metrics of the protocol; ``machine_type`` as well for those that average by it.
    protocol : {"mimii", "2020", "2021", "2022"}

    Returns
    -------
    float in [0, 1]
        NaN where a section lacks one of the metrics.

    Examples
    --------
    >>> official_score([{"auc_source": 0.5, "auc_target": 0.5, "pauc": 0.5}])
    0.5
    >>> ids = [("fan", 0.5), ("fan", 0.7), ("pump", 0.8)]
    >>> round(official_score([{"machine_type": m, "auc_all": auc} for m, auc in ids], "mimii"), 4)
    0.7
    """
    rows = list(sections)
    values = np.array([[float(row[name]) for row in rows] for name in PROTOCOLS[protocol].official])
    return float(official_mean(values, [str(row.get("machine_type", "")) for row in rows], protocol))


def official_mean(values: Floats, machine_types: Sequence[str], protocol: str) -> Floats:
    """The official score of values of the protocol's metrics.

    Parameters
    ----------
    values : np.ndarray [shape=(n_metrics, ..., n_sections)]
        In the order of ``Protocol.official``.
    machine_types : sequence of str [length=n_sections]
    protocol : str

    Returns
    -------
    np.ndarray [shape=(...)]
    """
    rule = PROTOCOLS[protocol]
    if rule.by_machine_type:
        own = np.asarray(machine_types)
        values = np.stack([arithmetic_mean(values[..., own == name]) for name in dict.fromkeys(machine_types)], axis=-1)
    mean = {"arithmetic": arithmetic_mean, "harmonic": harmonic_mean}[rule.mean]
    together = np.concatenate(list(values), axis=-1)
    return mean(together, axis=-1)
