"""``mimiidg completion``: the script that makes a shell complete the other commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for shell completion of `mimiidg`.

    Commands, options, and the names of variants, stores and datasets.

    \b
    bash: mimiidg completion bash > ~/.local/share/bash-completion/completions/mimiidg
    zsh:  mimiidg completion zsh > a folder of $fpath, as _mimiidg
    fish: mimiidg completion fish > ~/.config/fish/completions/mimiidg.fish

    Example: mimiidg completion bash
    """
    made = get_completion_class(shell)
    assert made is not None  # click.Choice allows no other shell
    click.echo(made(ctx.find_root().command, {}, "mimiidg", "_MIMIIDG_COMPLETE").source())
