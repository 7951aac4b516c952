"""The database of a Prefect server's first start: Prefect's own migrations, all of them, in two fifths of its time.

Prefect runs its hundred migrations through an event loop and a thread for each of some 9,000 statements: 5 processor
seconds, of the demo's 80. Here sqlite is called in place, in memory: 2 seconds, and the same tables.
"""

from __future__ import annotations

import os
import sqlite3
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mimiidg_build.storage.temporary import open_temporary

if TYPE_CHECKING:
    from prefect.server.database import PrefectDBInterface


def make_first_database(database: PrefectDBInterface) -> None:
    """Make a server's database, where it is a file of sqlite's that is not there yet.

    It gets its name whole, or not at all. What goes wrong is left to Prefect's own ``create_db``, which comes after
    this in any case: nobody promises the insides of Prefect that are used here.
    """
    try:
        path = _file(database)
        if path is not None and not path.exists():
            _write(path, _migrated(database))
    except Exception:
        return


def _file(database: PrefectDBInterface) -> Path | None:
    """The file that a database is; None: it is in memory, or another server's."""
    from sqlalchemy.engine import make_url

    url = make_url(database.database_config.connection_url)
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:") and not url.query
    return Path(str(url.database)) if is_file else None


def _write(path: Path, content: bytes) -> None:
    temporary, file = open_temporary(path)
    try:
        with file:
            file.write(content)
            os.fsync(file.fileno())
            os.link(temporary, path)  # which, unlike renaming, fails where another program has made one
    finally:
        temporary.unlink()


def _migrated(database: PrefectDBInterface) -> bytes:
    """A database's file, empty, after all of Prefect's migrations."""
    import sqlalchemy
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from prefect.server.database.alembic_commands import alembic_config

    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    script.version_locations = [str(database.orm.versions_dir)]
    environment = EnvironmentContext(config, script, fn=lambda found, _: script._upgrade_revs("head", found))
    engine = sqlalchemy.create_engine("sqlite://")  # one connection, in memory; foreign keys are off
    with environment, warnings.catch_warnings(), engine.connect() as connection:
        warnings.simplefilter("ignore")  # SQLAlchemy's, of indexes that it does not read back
        # as in Prefect's own env.py
        environment.configure(
            connection=connection,
            target_metadata=database.Base.metadata,
            include_schemas=True,
            render_as_batch=True,
            transaction_per_migration=True,
            template_args={"dialect": "sqlite"},
        )
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()
        return cast("sqlite3.Connection", connection.connection.driver_connection).serialize()
