"""Verifying a finished store: every byte against its digest, and, deep, every clip rendered anew from the archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mimiidg_build.inputs import read_inputs
from mimiidg_build.plan_build import decide, plan_sections
from mimiidg_build.render import render_unwritten
from mimiidg_build.run_tasks import Runner
from mimiidg_build.store import Store
from schemas.variants import Variant


def render_again(store: Store, root: Path, run: Runner, on_clips: Callable[[int], None] = lambda n: None) -> list[str]:
    """Plan and render the store's variant anew from the archives and noise, and compare with what is stored.

    Parameters
    ----------
    store : Store
    root : Path
        Where archives and noise are.
    run : Runner
    on_clips : callable
        Told how many more clips are compared.

    Returns
    -------
    list of str
        One line for everything that differs; empty if every byte comes out the same.

    Raises
    ------
    DataError, FetchError, UsageError
        The archives or the noise are not there any more.
    """
    inputs = read_inputs(Variant.model_validate(store.attributes["variant"]), root)
    changed = [
        f"{section_id}: its inputs changed since it was built (archives, noise, settings or program version)"
        for section_id, section in store.sections.items()
        if inputs.fingerprints.get(section_id) != section["fingerprint"]
    ]
    if changed:
        return changed
    planned = plan_sections(inputs, decide(inputs, root), root, run)
    plan = pd.concat([section.plan for section in planned], ignore_index=True)
    problems = [] if plan.equals(store.mix_plan) else ["mix_plan.parquet: the plan comes out otherwise"]
    tasks = [(task,) for section in planned for task in section.tasks]
    for result in run(render_unwritten, tasks, lambda result: on_clips(len(result.n_saturated))):
        for rendered in result.objects:
            if store.attributes["objects"][rendered.path]["blake3"] != rendered.blake3:
                problems.append(f"{rendered.path}: renders to other bytes than are recorded")
    return problems
