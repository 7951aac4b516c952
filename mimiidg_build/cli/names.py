"""What a command line names: variants, stores and datasets, by name or by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mimiidg_build.errors import UsageError
from mimiidg_build.storage.places import Place, place

if TYPE_CHECKING:
    from mimiidg_build.schemas.manifests import DatasetManifest
    from mimiidg_build.schemas.variants import Variant
    from mimiidg_build.store.store import Store


def absolute_for_cluster(root: Place, scheduler: str) -> Place:
    """ROOT as a cluster's workers need it, who start in folders of their own."""
    from mimiidg_build.parallel.runner import is_cluster

    return root.absolute() if is_cluster(scheduler) else root


def chosen_variant(
    name: str, *, noise: Sequence[str], sections: Sequence[str], variant_name: str | None, **changes: Any
) -> Variant:
    """The variant that a command line means.

    Parameters
    ----------
    name : str
        A shipped variant's name, or the path of a variant file.
    noise : sequence of str
        ``KIND=PATH`` each; paths are relative to the current folder, not to the file's.
    sections : sequence of str
        Machine types and sections to keep; all where none is given.
    variant_name : str or None
        Its name, instead of the one that says how it differs.
    **changes
        See :func:`mimiidg_build.datasets.variant.derive_variant`; None changes nothing.

    Returns
    -------
    Variant

    Raises
    ------
    UsageError
        There is no such variant, or a change is none that it can take.
    """
    from mimiidg_build.datasets.manifest import load_table1
    from mimiidg_build.datasets.noise_choice import kinds_used, refuse_unused_kinds
    from mimiidg_build.datasets.variant import derive_variant, load_variant, with_noise

    variant = derive_variant(load_variant(name), sections=list(sections) or None, **changes)
    given = noise_by_kind(noise)
    wanted = kinds_used(s for s in load_table1().sections if variant.wants(s.machine_type, s.section))
    # stricter than for a file, which may list the noise of all sections: what is named here is meant for this build
    refuse_unused_kinds(given, wanted if variant.mixing == "table1" else (), "--noise", "section that is built")
    variant = with_noise(variant, given, "--noise")
    return variant.model_copy(update={"name": variant_name}) if variant_name else variant


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


def named_variant(name: str, root: Place) -> Variant:
    """A variant by name or file, or that of a store under ROOT or at a path."""
    from mimiidg_build.datasets.noise_choice import with_stated_rest
    from mimiidg_build.datasets.toml_files import shipped_names
    from mimiidg_build.datasets.variant import load_variant
    from mimiidg_build.store.store import open_store, variant_dir

    if name in shipped_names("variants") or name.endswith(".toml"):
        return load_variant(name)
    path = variant_dir(root, name) if variant_dir(root, name).is_dir() else place(name)
    if path.is_dir():
        return with_stated_rest(open_store(path).attributes.variant)
    return load_variant(name)  # which fails, and lists the variants that there are


def named_store(name: str, root: Place) -> Store:
    """A store by path, or the latest one of a variant by name."""
    from mimiidg_build.store.store import open_store

    return open_store(store_path(name, root))


def store_path(name: str, root: Place) -> Place:
    """Where a store lies that is given by path, or by variant: its latest. It may be damaged, or not there."""
    from mimiidg_build.store.store import latest, variant_dir

    directory, given = variant_dir(root, name), place(name)
    # a path wins over a variant of the same name
    path = directory if not given.exists() and directory.is_dir() else given
    return path / f"{latest(path)}.zarr" if (path / "latest").is_file() else path


def named_dataset(name: str, root: Place) -> DatasetManifest | None:
    """The dataset that a name means, if it means neither a variant nor a store."""
    from mimiidg_build.datasets.manifest import load_dataset
    from mimiidg_build.store.store import variant_dir

    if variant_dir(root, name).is_dir():
        return None
    try:
        return load_dataset(name)
    except UsageError:
        if name.endswith(".toml"):  # a manifest file was meant: its error is the one to report
            raise
        return None
