"""Shell completion: what TAB offers for a value, and ``mimiidg completion``. Imports nothing that takes time."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from importlib.resources import files

import click
from click.shell_completion import CompletionItem, get_completion_class

from mimiidg_build.storage.places import is_local, place


def _matching(values: Iterable[str], incomplete: str, *, or_file: bool = False) -> list[CompletionItem]:
    items = [CompletionItem(value) for value in dict.fromkeys(values) if value.startswith(incomplete)]
    return [*items, CompletionItem(incomplete, type="file")] if or_file and not items else items


def _shipped(kind: str) -> list[str]:
    folder = files("data_manifests") / kind
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _built(ctx: click.Context) -> list[str]:
    root = ctx.params.get("root") or place(os.environ.get("MIMIIDG_ROOT", "mimiidg-data"))
    if not is_local(root):
        return []  # nobody waits for a network at every TAB
    return sorted(path.parent.name for path in root.glob("variants/*/latest"))


def datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped datasets, the synthetic release, else files."""
    return _matching([*_shipped("datasets"), "synthetic-5pct", "synthetic"], incomplete, or_file=True)


def variants(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped variants, variants built under ROOT, else files."""
    return _matching([*_shipped("variants"), *_built(ctx)], incomplete, or_file=True)


def shipped_variants(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped variants, else files."""
    return _matching(_shipped("variants"), incomplete, or_file=True)


def stores(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Variants built under ROOT, else files."""
    return _matching(_built(ctx), incomplete, or_file=True)


def stores_and_datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Variants built under ROOT, shipped datasets, else files."""
    return _matching([*_built(ctx), *_shipped("datasets")], incomplete, or_file=True)


def sections(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Machine types, and sections of Table 1."""
    content = tomllib.loads((files("data_manifests") / "table1.toml").read_text())
    rows = [(row["machine_type"], row["section"]) for row in content["sections"]]
    return _matching([*(machine for machine, _ in rows), *(f"{m}/{s}" for m, s in rows)], incomplete)


def schedulers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The schedulers that have a name, and how an address begins."""
    return _matching(["threads", "processes", "tcp://"], incomplete)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete `mimiidg`.

    Commands, options, and the names of what there is.

    \b
    bash: mimiidg completion bash > ~/.local/share/bash-completion/completions/mimiidg
    zsh:  mimiidg completion zsh > a folder of $fpath, as _mimiidg
    fish: mimiidg completion fish > ~/.config/fish/completions/mimiidg.fish

    Example: mimiidg completion bash
    """
    of = get_completion_class(shell)
    assert of is not None
    click.echo(of(ctx.find_root().command, {}, "mimiidg", "_MIMIIDG_COMPLETE").source())
