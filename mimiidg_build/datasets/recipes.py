"""Recipes of a variant: read from a file of its own, held against the dataset, and made rows of the sections it has.

Before archives are read, :func:`stated_rows` says which rows may apply and :func:`certain_rows` which do; afterwards
:func:`section_rows` gives every section its row. In a recipe of one's own a row for a section that the dataset does not
have is a mistake, as is a section without a row; Table 1 lists more sections than most datasets have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimiidg_build.datasets.manifest import load_dataset, mixing_recipe, noise_recipe, recipe_of
from mimiidg_build.datasets.rows import records
from mimiidg_build.datasets.toml_files import is_path, read_toml, shipped_names, validated
from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.schemas.attributes import row_attributes
from mimiidg_build.schemas.manifests import DatasetManifest, NoiseLayer, Recipe, Section
from mimiidg_build.schemas.sections import SectionId
from mimiidg_build.schemas.variants import ALL, Variant

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = SectionId("default", "row")  # stands for all sections that a recipe does not list


def with_recipe(content: dict[str, Any], source: object, folder: Path) -> dict[str, Any]:
    """A variant's content with that of its recipe's file, where ``mixing`` is a path.

    Parameters
    ----------
    content : dict
    source : object
        Where it stands, for messages.
    folder : Path
        What the path counts from.

    Returns
    -------
    dict

    Raises
    ------
    UsageError
        The file cannot be read or has mistakes, or there are two recipes.
    """
    mixing = content.get("mixing")
    has_own = content.get("recipe") is not None
    if not isinstance(mixing, str):
        return content
    if has_own and (is_path(mixing) or mixing in ("none", *shipped_names("recipes"))):
        raise UsageError(
            f"{source}: mixing = {shown(mixing)}, and a [recipe] of its own: give one of the two. Beside a [recipe], "
            "mixing is only what it is called, and may be left out."
        )
    if not is_path(mixing):
        return content
    try:
        path = folder / Path(mixing).expanduser()
        recipe = read_toml(path)
        validated(Recipe, recipe, path)
    except UsageError as error:
        raise UsageError(f"{source}: its recipe {error}") from None
    except RuntimeError:  # "~name", and there is no such user
        raise UsageError(
            f"{source}: mixing = {shown(mixing)}: no user of that name has a home directory here"
        ) from None
    taken = path.stem in ("none", *shipped_names("recipes"))
    return content | {"mixing": f"own-{path.stem}" if taken else path.stem, "recipe": recipe}


def check_choices(variant: Variant, source: str) -> None:
    """Refuse sections that a variant names and its recipe does not list, where it lists all that there are.

    What a recipe with a default says nothing of is known when the archives are read.

    Raises
    ------
    UsageError
        The message begins with ``source``, where the variant comes from.
    """
    try:
        recipe, name, others = _recipe_to_check(variant)
    except UsageError as error:  # there is no recipe or dataset of that name
        raise UsageError(f"{source}: {error}") from None
    if recipe.default is not None:
        return
    ids = [section.id for section in recipe.sections]
    machines = list(dict.fromkeys(section.machine_type for section in recipe.sections))
    known = [*machines, *ids]
    for key in [*(key for key in variant.snr_db if key != ALL), *variant.sections]:
        if key not in known and key.split("/")[0] not in others:
            sections = sorted(ids) if "/" in key else known
            raise UsageError(
                f"{source}: {shown(key)} is not a section of recipe {name}; it has {', '.join(sections)}."
                f"{did_you_mean(key, known)}"
            )


def _recipe_to_check(variant: Variant) -> tuple[Recipe, str, set[str]]:
    """The recipe that lists a variant's sections, its name, and machine types beside those that it lists."""
    if variant.adds_noise:
        return noise_recipe(variant), variant.mixing, set()
    dataset = load_dataset(variant.dataset)
    recipe = recipe_of(dataset)
    # as they are, recordings need no row: the recipe may say nothing of some machine types
    return recipe, dataset.recipe or "", set(dataset.machine_types) - {row.machine_type for row in recipe.sections}


# ---- Before archives are read ----------------------------------------------------------------------------------------


def stated_rows(variant: Variant) -> list[Section]:
    """The rows that may apply to a section to which the variant adds noise, the default's last."""
    recipe = noise_recipe(variant)
    rows = [row for row in recipe.sections if variant.wants(*row.section_id)]
    return [*rows, *_default_row(recipe)]


def certain_rows(variant: Variant, dataset: DatasetManifest) -> list[Section]:
    """The rows of sections that are certain to be built, or to be missed, before any archive is read.

    Those are the sections that the variant names, all that a recipe of its own lists, and those of Table 1 that a
    synthetic release of its layout has. A default is certain to be used where it is the only row.
    """
    recipe = mixing_recipe(variant, dataset)
    named = [SectionId.parse(choice) for choice in variant.sections if "/" in choice]
    is_made = dataset.synthetic and variant.mixing == dataset.recipe
    rows = [
        row
        for row in recipe.sections
        if variant.wants(*row.section_id)
        and (row.section_id in named or variant.recipe is not None or (is_made and row.in_paper))
    ]
    listed = {row.section_id for row in recipe.sections}
    rows += [row for key in named if key not in listed and (row := recipe.row(key)) is not None]
    return rows if recipe.sections or named else _default_row(recipe)


def _default_row(recipe: Recipe) -> list[Section]:
    return [] if recipe.default is None else [Recipe(default=recipe.default).row(DEFAULT) or _plain(DEFAULT)]


def row_name(section: Section) -> str:
    """What messages call a row.

    >>> row_name(Section(machine_type="fan", section="00")), row_name(_plain(DEFAULT))
    ('fan/00', 'every section')
    """
    return "every section" if section.section_id == DEFAULT else section.id


def _plain(section_id: SectionId) -> Section:
    """The row of a section of which nothing is said."""
    return Section(machine_type=section_id.machine_type, section=section_id.section)


def check_machine_types(variant: Variant, dataset: DatasetManifest, held: Sequence[str]) -> None:
    """Refuse rows, in a recipe of the variant's own, for machine types that a dataset does not have.

    Parameters
    ----------
    variant : Variant
    dataset : DatasetManifest
    held : sequence of str
        The machine types that it has.

    Raises
    ------
    UsageError
        Names the recipe, the row, and what there is.
    """
    for row in variant.recipe.sections if variant.recipe else ():
        if row.machine_type not in held:
            raise UsageError(
                f"recipe {variant.mixing}: its row {row.id} is of machine type "
                f"{shown(row.machine_type)}, but {dataset.name} has {', '.join(held)}."
                f"{did_you_mean(row.machine_type, held)}"
            )


# ---- Once the clips are known ----------------------------------------------------------------------------------------


def section_rows(
    variant: Variant, dataset: DatasetManifest, sections: Sequence[SectionId], clips: pd.DataFrame
) -> tuple[Section, ...]:
    """The row of every section that the variant builds, noise kinds that only its clips tell filled in.

    Parameters
    ----------
    variant : Variant
    dataset : DatasetManifest
    sections : sequence of SectionId
        All that there are.
    clips : pd.DataFrame
        The clip table.

    Returns
    -------
    tuple of Section
        In the order of ``sections``.

    Raises
    ------
    UsageError
        A row for a section that there is not, a section without a row, or a row that does not fit the section's clips;
        the message names the recipe, the row, the value and what was expected.
    """
    recipe = mixing_recipe(variant, dataset)
    wanted = [key for key in sections if variant.wants(*key)]
    if not variant.adds_noise:
        return tuple(recipe.row(key) or _plain(key) for key in wanted)
    name = f"recipe {variant.mixing}"
    if variant.recipe is not None:
        _check_known(variant, recipe, name, sections)
    rows = {key: recipe.row(key) for key in wanted}
    if lacking := [str(key) for key, row in rows.items() if row is None]:
        raise UsageError(
            f"{name} has no row for {', '.join(lacking)}, and no default for sections that it does not list. Add one, "
            "or leave those sections out (sections in the variant, or --section)."
        )
    own = clips.groupby(["machine_type", "section"])[["clip", "domain", "attributes"]]
    return tuple(_fitted(row, name, own.get_group(tuple(key)), variant) for key, row in rows.items() if row)


def _check_known(variant: Variant, recipe: Recipe, name: str, sections: Sequence[SectionId]) -> None:
    """Refuse rows of a recipe for sections that there are not, among those that the variant wants."""
    for row in recipe.sections:
        if variant.wants(*row.section_id) and row.section_id not in sections:
            known = [str(key) for key in sections]
            raise UsageError(
                f"{name}: its row {row.id} is of a section that {variant.dataset} does not have; it has "
                f"{', '.join(known)}.{did_you_mean(row.id, known)}"
            )


def _fitted(row: Section, name: str, clips: pd.DataFrame, variant: Variant) -> Section:
    """A row that fits the clips of its section, the kinds of its layers filled in."""
    where = f"{name}, row {row.id}"
    # of a row with published values, validation has told what is odd
    if row.snr_attribute and not row.source and variant.snr_of(row.section_id) is None:
        _check_snrs(row, where, records(clips))
    layers = [_fitted_layer(row, number, where, clips) for number in range(len(row.noise))]
    return row if layers == row.noise else row.model_copy(update={"noise": layers})


def _check_snrs(row: Section, where: str, clips: Sequence[Mapping[str, Any]]) -> None:
    attribute = row.snr_attribute or ""
    found = _values(attribute, where, "its SNR", clips)
    stated = row.snr_db_by_value
    if stated and (unknown := [value for value in found if value not in stated]):
        raise UsageError(
            f"{where}: snr_db_by_value has no SNR for {attribute} = {shown(unknown[0])}, which "
            f"{found[unknown[0]]} clips have; it has {', '.join(stated)}."
        )


def _fitted_layer(row: Section, number: int, where: str, clips: pd.DataFrame) -> NoiseLayer:
    """A layer of noise with its kinds, where only the clips tell them."""
    layer = row.noise[number]
    if layer.attribute in row.open_attributes:
        found = _values(layer.attribute or "", where, f"the noise kind of layer {number + 1}", records(clips))
        return layer.model_copy(update={"kinds": sorted(found)})
    if layer.attribute is None and not all(map(layer.drawn_for, clips["domain"].unique())):
        raise UsageError(
            f"{where}: layer {number + 1} has noise kinds for source and target, but the section's clips have no "
            'domain. Expected kinds for all of them: { kinds = ["..."] }.'
        )
    return layer


def _values(attribute: str, where: str, what: str, clips: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """The values of an attribute, which every clip has to have, by how many clips have them."""
    attributes = [row_attributes(clip) for clip in clips]
    without = [clip["clip"] for clip, pairs in zip(clips, attributes, strict=True) if not pairs.get(attribute)]
    if without:
        known = sorted({key for pairs in attributes for key in pairs})
        raise UsageError(
            f"{where}: the attribute {shown(attribute)} says {what}, but {len(without)} of {len(clips)} clips do not "
            f"have it, first {without[0]}; the section's clips have {', '.join(known) or 'no attributes'}."
            f"{did_you_mean(attribute, known)}"
        )
    return Counter(pairs[attribute] for pairs in attributes)
