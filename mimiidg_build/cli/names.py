"""What a command line names: variants, stores and datasets, by name or by path."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import UsageError, did_you_mean, shown
from mimiidg_build.storage.places import Place, exists, matching, place

if TYPE_CHECKING:
    from mimiidg_build.schemas.manifests import DatasetManifest
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.store.store import Store


def absolute_for_cluster(root: Place, scheduler: str) -> Place:
    """ROOT as a cluster's workers need it, who start in folders of their own."""
    from mimiidg_build.parallel.runner import is_cluster

    return root.absolute() if is_cluster(scheduler) else root


def chosen_variants(
    name: str, root: Place, *, noise: Sequence[str], variant_name: str | None, **choices: Sequence[Any]
) -> list[Variant]:
    """The variants that a command line means: one for every combination of values.

    Parameters
    ----------
    name : str
        See :func:`named_variant`.
    root : Place
    noise : sequence of str
        ``KIND=PATH`` each; paths are relative to the current folder, not to the file's.
    variant_name : str or None
        Its name, instead of the one that says how it differs.
    **choices
        See :func:`mimiidg_build.datasets.variant.derive_grid`.

    Returns
    -------
    list of Variant

    Raises
    ------
    UsageError
        There is no such variant, or a change is none that it can take.
    """
    from mimiidg_build.datasets.noise_choice import kinds_used, refuse_unused_kinds
    from mimiidg_build.datasets.recipes import stated_rows
    from mimiidg_build.datasets.variant import derive_grid, with_noise

    variants, given = derive_grid(named_variant(name, root), name=variant_name, **choices), noise_by_kind(noise)
    variant = variants[0]  # all of them have the same sections
    rows = stated_rows(variant) if variant.adds_noise else []
    # stricter than for a file, which may list the noise of all sections: what is named here is meant for this build
    if not any(row.open_attributes for row in rows):
        refuse_unused_kinds(given, kinds_used(rows), "--noise", "section that is built")
    return [with_noise(variant, given, "--noise") for variant in variants]


def noise_by_kind(noise: Sequence[str]) -> dict[str, list[str]]:
    """Where the noise of each kind is, from ``KIND=PATH`` options.

    Raises
    ------
    UsageError
        One is not of that form.
    """
    given: dict[str, list[str]] = {}
    for entry in noise:
        kind, separator, path = entry.partition("=")
        if not (kind and separator and path):
            raise UsageError(f"--noise {entry!r}: write KIND=PATH, as in --noise A=recordings/factory_a")
        given.setdefault(kind, []).append(path)
    return given


# ---- Variants and stores ---------------------------------------------------------------------------------------------


def named_variant(name: str, root: Place) -> Variant:
    """A shipped variant, that of a file, or that of a store: under ROOT by its name, elsewhere by its path.

    Raises
    ------
    UsageError
        There is none of these; the message names what is near.
    """
    from mimiidg_build.datasets.noise_choice import with_stated_rest
    from mimiidg_build.datasets.toml_files import is_path, shipped_names
    from mimiidg_build.datasets.variant import load_variant
    from mimiidg_build.store.store import open_store

    shipped = shipped_names("variants")
    if name in shipped or name.endswith(".toml"):
        return load_variant(name)
    path = _store_place(name, root)
    if path is not None and path.is_dir():
        return with_stated_rest(open_store(path).attributes.variant)
    if is_path(name):
        return load_variant(name)  # which says that it cannot be read
    built = built_variants(root)
    raise UsageError(
        f"no variant is named {shown(name)}.{did_you_mean(name, [*shipped, *built])} Shipped: {', '.join(shipped)}; "
        f"built under {root}: {', '.join(built) or 'none'}; or give the path of a .toml file."
    )


def named_store(name: str, root: Place) -> Store:
    """A store by the name of its variant under ROOT, whose latest it is, or by path."""
    from mimiidg_build.store.store import open_store

    return open_store(store_path(name, root))


def store_path(name: str, root: Place, also: Collection[str] = ()) -> Place:
    """Where a store lies that is named as for :func:`named_store`. It may be damaged.

    Parameters
    ----------
    name : str
    root : Place
    also : collection of str
        What else could have been meant, for the message.

    Returns
    -------
    Place

    Raises
    ------
    UsageError
        There is nothing of that name; the message names what is near.
    """
    from mimiidg_build.store.store import latest

    path = _store_place(name, root)
    if path is None:
        built = built_variants(root)
        raise UsageError(
            f"there is no store {shown(name)}, neither as a variant under {root} nor as a path."
            f"{did_you_mean(name, [*built, *also])} `mimiidg list` shows what there is, `mimiidg build` makes one."
        )
    return path / f"{latest(path)}.zarr" if (path / "latest").is_file() else path


def _store_place(name: str, root: Place) -> Place | None:
    """What a name means: a variant under ROOT, else a path. So it is for every command; ``./demo`` is always a path."""
    from mimiidg_build.schemas.variants import is_variant_name
    from mimiidg_build.store.store import variant_dir

    if is_variant_name(name) and exists(directory := variant_dir(root, name)):
        return directory
    path = place(name)
    return path if name and exists(path) else None


def built_variants(root: Place) -> list[str]:
    """Variants with a finished store under ROOT."""
    return [path.parent.name for path in matching(root / "variants", "*/latest")]


# ---- Datasets --------------------------------------------------------------------------------------------------------


def named_dataset(name: str, root: Place) -> DatasetManifest | None:
    """The dataset that a name means, if it means neither a variant nor a store."""
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.schemas.variants import is_variant_name
    from mimiidg_build.store.store import variant_dir

    if is_variant_name(name) and exists(variant_dir(root, name)):
        return None
    try:
        return load_dataset(name)
    except UsageError:
        if name.endswith(".toml"):  # a manifest file was meant: its error is the one to report
            raise
        return None
