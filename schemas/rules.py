"""A table's rules, declared once: checked quickly, and by pandera where one of them is broken.

A table that breaks no rule is found so column by column, by pandas alone. Only one that may break some is handed to
pandera, which says which cells do. Nearly no table of a build breaks any, so most processes never import pandera: that
and its first table take 0.3 s, three quarters of what a small build took before its first clip.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, cast

import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa
    from pandera.typing.pandas import DataFrame

# What a column of each declared type looks like; other types that pandera lets pass are left to it.
_DTYPES = {"str": "str", "int": "int64", "float": "float64", "bool": "bool"}
_RULES: dict[str, Callable[[pd.Series[Any], Any], Any]] = {
    "ge": lambda column, least: column >= least,
    "gt": lambda column, bound: column > bound,
    "le": lambda column, most: column <= most,
    "in_range": lambda column, bounds: column.between(bounds["min_value"], bounds["max_value"]),
    "isin": lambda column, allowed: column.isin(list(allowed)),
    # of texts that come again and again each is looked at once
    "str_matches": lambda column, pattern: column.drop_duplicates().str.match(pattern),
    "str_length": lambda column, bounds: column.str.len() >= bounds["min_value"],
}


class Rules(NamedTuple):
    """What `Field` was told of a column."""

    nullable: bool
    unique: bool
    checks: dict[str, Any]


class Column(NamedTuple):
    """A declared column."""

    dtype: str
    required: bool
    rules: Rules


def Field(*, nullable: bool = False, unique: bool = False, **checks: Any) -> Any:
    """The rules of a column, as pandera's function of that name takes them.

    Parameters
    ----------
    nullable, unique : bool
    **checks
        Of pandera's, those that are checked here: ge, gt, le, in_range, isin, str_matches, str_length.
    """
    if unknown := checks.keys() - _RULES.keys():
        raise TypeError(f"no quick check for {', '.join(sorted(unknown))}; there are {', '.join(_RULES)}")
    return Rules(nullable, unique, checks)


def dataframe_check(*, name: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a method that says of every row of a table whether it is right; pandera calls the check ``name``."""

    def decorate(function: Callable[..., Any]) -> Any:
        function.check_name = name  # type: ignore[attr-defined]
        return classmethod(function)

    return decorate


class Table:
    """No column missing, none unknown, in the declared order. Columns are declared as in a pandera model."""

    columns: ClassVar[dict[str, Column]] = {}
    row_checks: ClassVar[dict[str, str]] = {}  # name of the check: the method that makes it

    def __init_subclass__(cls) -> None:
        own = {name: _column(text, vars(cls).get(name)) for name, text in vars(cls).get("__annotations__", {}).items()}
        cls.columns = {**cls.columns, **own}
        found = {name: getattr(getattr(value, "__func__", None), "check_name", "") for name, value in vars(cls).items()}
        cls.row_checks = {**cls.row_checks, **{check: method for method, check in found.items() if check}}

    @classmethod
    def dtypes(cls) -> dict[str, str]:
        """What pandas calls the type of each column."""
        return {name: _DTYPES[column.dtype] for name, column in cls.columns.items()}

    @classmethod
    def holds(cls, table: pd.DataFrame) -> bool:
        """Whether a table breaks no rule, as far as can be said quickly: False sends it to pandera, which decides."""
        found = list(table.columns)
        if found != [name for name, column in cls.columns.items() if column.required or name in found]:
            return False
        return all(_holds(table[name], cls.columns[name]) for name in found) and all(
            getattr(cls, method)(table).all() for method in cls.row_checks.values()
        )

    @classmethod
    def validate(cls, table: pd.DataFrame, *, lazy: bool = False) -> DataFrame[Self]:
        """The table, if it breaks no rule.

        Raises
        ------
        pandera.errors.SchemaError
            It breaks one; ``SchemaErrors``, of all that are broken, where ``lazy``.
        """
        if cls.holds(table):
            return cast("DataFrame[Self]", table.copy(deep=False))  # pandas copies what is written to either
        return cast("DataFrame[Self]", cls.to_schema().validate(table, lazy=lazy))

    @classmethod
    def to_schema(cls) -> pa.DataFrameSchema:
        """The rules as pandera has them."""
        return _schema(cls)  # type: ignore[arg-type]  # mypy takes a class with class variables for unhashable


def _column(annotation: str, rules: Rules | None) -> Column:
    """A column of its annotation's text: ``Series[str]``, or ``Optional[Series[str]]`` where it may be missing."""
    dtype = annotation.replace("Optional", "").replace("Series", "").strip("[]")
    if dtype not in _DTYPES:
        raise TypeError(f"{annotation} is no column; expected Series of {', '.join(_DTYPES)}")
    return Column(dtype, not annotation.startswith("Optional"), rules or Field())


def _holds(column: pd.Series[Any], declared: Column) -> bool:
    """Whether a column breaks no rule, as far as can be said quickly."""
    if column.dtype != _DTYPES[declared.dtype]:
        return False
    rules = declared.rules
    present = column
    if declared.dtype in ("str", "float") and column.hasnans:
        if not rules.nullable:
            return False
        present = column.dropna()
    if rules.unique and not column.is_unique:
        return False
    return all(_RULES[name](present, bound).all() for name, bound in rules.checks.items())


@cache
def _schema(model: type[Table]) -> pa.DataFrameSchema:
    # Put together here and not by a pandera model, whose making asks whether a field is an index, for which it imports
    # dask.dataframe: 0.7 s. No table here has an index.
    import pandera.pandas as pa

    types = {"str": str, "int": int, "float": float, "bool": bool}
    columns = {}
    for name, (dtype, required, rules) in model.columns.items():
        field = pa.Field(nullable=rules.nullable, unique=rules.unique, **rules.checks)
        columns[name] = pa.Column(**field.column_properties(types[dtype], required=required, checks=[], name=name))
    checks = [pa.Check(getattr(model, method), name=name) for name, method in model.row_checks.items()]
    return pa.DataFrameSchema(columns, checks=checks, strict=True, ordered=True, name=model.__name__)
