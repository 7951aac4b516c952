"""Filling the templates of pages: Jinja with everything escaped. They lie in ``templates/``, with style and script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fill(template: str, content: Mapping[str, Any]) -> str:
    """A page as text.

    Parameters
    ----------
    template : str
        Its file in ``templates/``.
    content : mapping
        What the template names.

    Returns
    -------
    str
        HTML.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mimiidg_build.report"),
        autoescape=True,  # names come from data, and are text whatever they hold
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty text
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(content)
