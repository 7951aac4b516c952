"""Which noise a variant takes: the kinds that its sections use, and where each of them comes from.

A variant that gives no noise takes what its dataset offers. One that gives some must give all that its sections use, or
name with ``noise_from`` a dataset for the rest: nothing is filled in without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mimiidg_build.datasets.manifest import default_noise, load_dataset
from mimiidg_build.datasets.recipes import certain_rows, row_name, stated_rows
from mimiidg_build.errors import UsageError, did_you_mean
from mimiidg_build.schemas.manifests import DatasetManifest, NoiseSource, Section
from mimiidg_build.schemas.variants import Variant


def kinds_used(sections: Iterable[Section]) -> dict[str, list[str]]:
    """The noise kinds that sections use, each with the names of those that do."""
    kinds: dict[str, list[str]] = {}
    for section in sections:
        for kind in section.noise_kinds:
            kinds.setdefault(kind, []).append(row_name(section))
    return dict(sorted(kinds.items()))


def refuse_unused_kinds(
    given: Iterable[str], used: Collection[str], source: str, by: str = "section of the recipe"
) -> None:
    """Refuse noise kinds that nothing uses: such noise would be passed over, and other noise used in its place.

    Parameters
    ----------
    given : iterable of str
    used : collection of str
        The kinds that are wanted.
    source : str
        Where they were given, for the message.
    by : str
        What would have to use them.

    Raises
    ------
    UsageError
        The message names the kinds that are wanted.
    """
    for kind in given:
        if kind not in used:
            raise UsageError(
                f"{source}: no {by} uses noise of kind {kind!r}.{did_you_mean(kind, used)} The kinds wanted are "
                f"{', '.join(sorted(used)) or 'none'}."
            )


def check_noise_kinds(variant: Variant, source: str, rows: Collection[Section] = ()) -> None:
    """Refuse noise and noise settings for kinds that the variant's recipe does not have, and an unknown ``noise_from``.

    A kind of the recipe that the variant's sections leave out is allowed: a file may list the noise of all sections.

    Parameters
    ----------
    variant : Variant
    source : str
        Where it comes from, for messages.
    rows : collection of Section
        Those of the sections that are built, once they are known: the clips may tell kinds that the recipe does not.

    Raises
    ------
    UsageError
        The message begins with ``source``.
    """
    if variant.adds_noise and (variant.noise or variant.noise_settings):
        stated = stated_rows(variant.model_copy(update={"sections": []}))
        known_ids = {row.id for row in rows}
        # where clips that were not read decide the kinds, any may be one of them
        if all(row.id in known_ids for row in stated if row.open_attributes and variant.wants(*row.section_id)):
            known = kinds_used([*stated, *rows])
            refuse_unused_kinds([*variant.noise, *variant.noise_settings], known, source)
    if variant.noise_from is not None:
        load_dataset(variant.noise_from)


def check_noise(variant: Variant) -> None:
    """What can be said of a variant's noise before any archive is read or made.

    Which sections it builds is known of some only: :func:`mimiidg_build.datasets.recipes.certain_rows`.

    Raises
    ------
    UsageError
        No such dataset, a kind that nothing uses, or none given for a section that is certain to be built.
    """
    check_noise_kinds(variant, f"variant {variant.name}")
    dataset = load_dataset(variant.dataset)
    if not variant.adds_noise:
        return
    choose_noise(variant, dataset, certain_rows(variant, dataset))


def noise_sources(
    variant: Variant, dataset: DatasetManifest, sections: Iterable[Section]
) -> dict[str, list[NoiseSource]]:
    """Where each noise kind of the sections comes from; an empty list where nothing says so.

    Parameters
    ----------
    variant : Variant
    dataset : DatasetManifest
        The variant's.
    sections : iterable of Section

    Returns
    -------
    dict of kind to list of NoiseSource
    """
    return sources_of_kinds(variant, dataset, kinds_used(sections))


def sources_of_kinds(variant: Variant, dataset: DatasetManifest, kinds: Iterable[str]) -> dict[str, list[NoiseSource]]:
    """Where noise kinds of a variant come from, as :func:`noise_sources` has those of its sections.

    Parameters
    ----------
    variant : Variant
    dataset : DatasetManifest
        The variant's.
    kinds : iterable of str

    Returns
    -------
    dict of kind to list of NoiseSource
    """
    rest: dict[str, NoiseSource] = {}
    if variant.noise_from is not None:
        rest = default_noise(load_dataset(variant.noise_from))
    elif not variant.noise:
        rest = default_noise(dataset)
    return {kind: variant.noise.get(kind) or ([rest[kind]] if kind in rest else []) for kind in kinds}


def possible_sources(variant: Variant, dataset: DatasetManifest) -> list[NoiseSource]:
    """Where noise may come from that the variant needs, before any archive is read.

    Where clips decide which kinds there are, that is all that is given and offered.
    """
    if not variant.adds_noise:
        return []
    rows = stated_rows(variant)
    sources = noise_sources(variant, dataset, rows)
    if any(row.open_attributes for row in rows):
        offered = default_noise(load_dataset(variant.noise_from) if variant.noise_from else dataset)
        rest = offered if variant.noise_from or not variant.noise else {}
        sources = {kind: [source] for kind, source in rest.items()} | sources | variant.noise
    return [source for given in sources.values() for source in given]


def choose_noise(
    variant: Variant, dataset: DatasetManifest, sections: Collection[Section]
) -> dict[str, list[NoiseSource]]:
    """Where each noise kind of the sections comes from, as :func:`noise_sources` says it.

    Raises
    ------
    UsageError
        One error that names every kind for which none is given, and the sections that use it.
    """
    sources, used = noise_sources(variant, dataset, sections), kinds_used(sections)
    missing = [kind for kind, given in sources.items() if not given]
    if not missing:
        return sources
    named = "; ".join(f"{kind} ({_some(used[kind])})" for kind in missing)
    offered = sorted(set(missing) & default_noise(dataset).keys())
    if variant.noise and variant.noise_from is None and offered:
        raise UsageError(
            f"no noise is given for {named}, though it is for {', '.join(sorted(variant.noise))}. Give all that the "
            f"sections use, or say where the rest comes from: {dataset.name} offers {', '.join(offered)} "
            f"(--noise-from {variant.dataset}, or noise_from in the variant)."
        )
    own = f"with --noise {missing[0]}=FOLDER or under [noise] in the variant"
    if variant.recipe is not None:
        raise UsageError(f"no noise is given for {named}. Give it {own}, or leave those sections out.")
    raise UsageError(
        f"no noise is given for {named}. The factory noise of MIMII DG was never published: give your own {own}, leave "
        "those sections out, or try the synthetic release (--dataset synthetic)."
    )


def _some(sections: list[str], most: int = 3) -> str:
    """The first of a list of sections.

    >>> _some(["fan/00", "fan/01", "fan/02", "gearbox/00", "gearbox/01"])
    'fan/00, fan/01, fan/02 and 2 more'
    """
    more = len(sections) - most
    return ", ".join(sections[:most]) + (f" and {more} more" if more > 0 else "")


def with_stated_rest(variant: Variant) -> Variant:
    """A variant as early versions took it, who filled up what was not given with the dataset's noise, saying so."""
    if not variant.noise or variant.noise_from is not None or not default_noise(load_dataset(variant.dataset)):
        return variant
    return variant.model_copy(update={"noise_from": variant.dataset})
