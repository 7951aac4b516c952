"""What is wrong with a build that names alone tell, said before anything is fetched, made or read.

A variant's name is taken by the definition of its latest store: the dataset, sections, SNR, seed, noise and features
that it was built with. Another definition takes the name over only where the caller says so, since ``latest`` moves to
the new store and ``mimiidg prune`` then removes the old one. New archives and new recordings in the same folders are
the same definition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mimiidg_build import features
from mimiidg_build.build.audio import check_channels
from mimiidg_build.datasets import synthetic
from mimiidg_build.datasets.findings import check_kinds
from mimiidg_build.datasets.manifest import load_dataset, mixing_recipe
from mimiidg_build.datasets.noise_choice import check_noise, with_stated_rest
from mimiidg_build.datasets.recipes import DEFAULT, certain_rows, check_machine_types, row_name
from mimiidg_build.datasets.release import machine_types
from mimiidg_build.datasets.variant import parse_variant
from mimiidg_build.errors import DataError, UsageError, shown
from mimiidg_build.schemas.manifests import DatasetManifest, MixRule, Recipe, Section
from mimiidg_build.schemas.variants import Variant
from mimiidg_build.storage.places import Place
from mimiidg_build.store.store import Store, open_store, variant_dir

# keys that decide nothing where no noise is added
WITHOUT_NOISE = {"seed", "snr_offset_db", "snr_db", "full_scale", "noise", "noise_from", "noise_settings", "recipe"}
NOT_COMPARED = {"name", "title", "dataset"}  # the dataset is compared by its own name: it may be given in several ways


def check_build(variant: Variant, root: Place, *, allow: Collection[str] = (), replace: bool = False) -> Variant:
    """The variant, if nothing that names tell speaks against building it.

    Parameters
    ----------
    variant : Variant
        From anywhere: it is validated anew.
    root : Place
    allow : collection of str
        Kinds of findings that are warnings rather than errors.
    replace : bool
        Whether its store may take the name over from one of another definition.

    Returns
    -------
    Variant

    Raises
    ------
    UsageError
        A value that a variant cannot have, an unknown dataset or kind of finding, a section that the dataset does not
        have or whose SNR nobody states, settings of features that do not fit the sample rate, or a name that a store of
        another definition has.
    """
    variant = parse_variant(variant.model_dump(), f"variant {shown(variant.name)}")
    dataset = load_dataset(variant.dataset)
    check_kinds(allow)
    check_channels(variant, dataset)
    _check_sections(variant, dataset)
    check_noise(variant)
    check_features(variant, {variant.sample_rate or dataset.audio.sample_rate})
    if not replace:
        # noise recordings may have moved without changing: that is for their digests to tell
        check_name_is_free(variant, root, except_for={"noise", "noise_from"})
    return variant


# ---- Sections --------------------------------------------------------------------------------------------------------


def _check_sections(variant: Variant, dataset: DatasetManifest) -> None:
    """Sections that the dataset cannot have, as its archives' names tell, and those without an SNR."""
    machines, recipe = machine_types(dataset), mixing_recipe(variant, dataset)
    check_machine_types(variant, dataset, machines)
    if absent := [choice for choice in variant.sections if choice.split("/")[0] not in machines]:
        raise UsageError(
            f"variant {variant.name} asks for {', '.join(absent)}, but {dataset.name} has {', '.join(machines)}."
        )
    rows = [row for row in recipe.sections if row.machine_type in machines]
    if variant.adds_noise and recipe.default is None and not rows:
        raise UsageError(
            f"variant {variant.name}: recipe {variant.mixing} has no row for any section of {dataset.name}, whose "
            f"machine types are {', '.join(machines)}. Give it a [recipe] with rows for them or a default, or "
            'mixing = "none".'
        )
    if recipe.default is not None or set(machines) - {row.machine_type for row in rows}:
        check_snrs(certain_rows(variant, dataset), variant)
        return  # which sections there are beside those that are listed is known when the archives are read
    if not dataset.synthetic:  # which sections it has is known when its archives are read
        check_held(variant, dataset, rows, machines)
        rows = [row for row in rows if row.id in variant.sections]
    elif not synthetic.parse_name(dataset.name).evaluation and variant.recipe is None:
        rows = [row for row in rows if row.in_paper]
        check_held(variant, dataset, rows, [row.id for row in rows])
    check_snrs(rows, variant)


def check_held(
    variant: Variant, dataset: DatasetManifest, sections: Collection[Section], held: Collection[str]
) -> None:
    """Refuse sections that a dataset does not have.

    Parameters
    ----------
    variant : Variant
    dataset : DatasetManifest
    sections : collection of Section
        Those that it has.
    held : collection of str
        What the message says that it has.

    Raises
    ------
    UsageError
        The variant names another one, or wants none of those that there are.
    """
    known = {choice for section in sections for choice in (section.machine_type, section.id)}
    absent = [choice for choice in variant.sections if choice not in known]
    if absent or not sections:
        raise UsageError(
            f"variant {variant.name} asks for {', '.join(absent) or 'sections'}, but {dataset.name} has "
            f"{', '.join(held) or 'nothing'}."
        )


def check_snrs(sections: Iterable[Section], variant: Variant) -> None:
    """Refuse sections that are to be mixed at an SNR which neither the recipe nor the variant states.

    Raises
    ------
    UsageError
        The message names them all and says how to state one.
    """
    lacking = [row for row in sections if variant.adds_noise and row.noise and not _has_snr(row, variant)]
    if lacking:
        said = "stated" if variant.recipe is not None else "published"
        names = ", ".join(map(row_name, lacking))
        under = ' or under [snr_db] in the variant, "MACHINE_TYPE/SECTION" = DB'
        if lacking[0].section_id != DEFAULT:
            under = f', or under [snr_db] in the variant, "{lacking[0].id}" = DB'
        raise UsageError(
            f"no SNR is {said} for {names}. State one: --snr DB for all sections{under}; or leave those sections out "
            "(--section)."
        )


def _has_snr(section: Section, variant: Variant) -> bool:
    """Whether an SNR is stated for a section; which of several a clip gets, its attribute says."""
    return variant.snr_of(section.section_id) is not None or section.snr_db is not None or bool(section.snr_db_by_value)


# ---- Features --------------------------------------------------------------------------------------------------------


def check_features(variant: Variant, sample_rates: Iterable[int]) -> None:
    """Refuse settings of features that do not fit the sample rate.

    Parameters
    ----------
    variant : Variant
    sample_rates : iterable of int, Hz
        Of the clips as they are stored.

    Raises
    ------
    UsageError
        Mel bands beyond half of a sample rate, or some that hold no bin of the FFT; the message says what would do.
    """
    for sample_rate in sample_rates:
        if (mistake := features.mistake(variant.features, sample_rate)) is not None:
            raise UsageError(f"variant {variant.name}: features.{mistake}")


# ---- Names -----------------------------------------------------------------------------------------------------------


def check_name_is_free(variant: Variant, root: Place, except_for: Collection[str] = ()) -> None:
    """Refuse to take a name over from a store of another definition.

    Parameters
    ----------
    variant : Variant
    root : Place
    except_for : collection of str
        Keys of a variant that may differ.

    Raises
    ------
    UsageError
        The latest store of that name was built from another definition; the message says what differs.
    """
    directory = variant_dir(root, variant.name)
    if not (directory / "latest").is_file():
        return
    try:
        there = open_store(directory)
    except DataError:
        return  # damaged: the build that comes now is what mends it
    if found := [line for key, line in _differences(there, variant) if key not in except_for]:
        raise UsageError(
            "\n".join(
                [
                    f"the name {variant.name} is taken: {there.path} was built from another definition.",
                    *(f"  {line}" for line in found),
                    "Give this one a name of its own (--name), or take the name over with --replace: then the new "
                    "store is the latest, and the one that is there stays until `mimiidg prune` removes it.",
                ]
            )
        )


def _differences(there: Store, variant: Variant) -> Iterable[tuple[str, str]]:
    """(key, what it was and what it is now) of everything that defines a store."""
    old, dataset = with_stated_rest(there.attributes.variant), load_dataset(variant.dataset)
    if there.attributes.dataset != dataset.name:
        yield "dataset", f"dataset: {there.attributes.dataset}, now {dataset.name}"
    unused = set() if old.adds_noise or variant.adds_noise else WITHOUT_NOISE
    for key in [key for key in Variant.model_fields if key not in NOT_COMPARED | unused]:
        before, after = _comparable(old, key), _comparable(variant, key)
        if key == "recipe" and before and after:
            yield from ((key, f"recipe: {row} differs") for row in _changed_rows(old, variant))
        elif before != after:
            yield key, f"{key}: {shown(before)}, now {shown(after)}"


def _changed_rows(old: Variant, variant: Variant) -> list[str]:
    """The rows that mix otherwise in two recipes, or that one of them lacks; what they say beside is no difference."""
    before, after = _rows(old), _rows(variant)
    return [row for row in dict.fromkeys([*before, *after]) if before.get(row) != after.get(row)]


def _rows(variant: Variant) -> dict[str, MixRule]:
    """The rules of a variant's own recipe, by row."""
    recipe = variant.recipe or Recipe()
    rules = {f"row {row.id}": MixRule(**row.model_dump(include=set(MixRule.model_fields))) for row in recipe.sections}
    return rules | ({"the default": recipe.default} if recipe.default is not None else {})


def _comparable(variant: Variant, key: str) -> object:
    """A value as it is compared and shown: the order of sections decides nothing."""
    if key == "sections":
        return sorted(set(variant.sections)) or "all"
    return variant.model_dump(exclude_none=True).get(key)
