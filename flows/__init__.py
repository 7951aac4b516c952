"""Prefect flows: order, retries, concurrency, artifacts. No arithmetic: every task is one call into the library.

They run with Prefect's embedded server where none is configured, and then send nothing and say nothing
(``flows.hermetic``). Its files lie under PREFECT_HOME, which ``mimiidg`` sets to ROOT/.prefect.

In: variants as plain data, a root, options. Out: the library's results, and artifacts of the run.
Imports: errors, schemas, settings, storage, datasets, fetch, store, build, benchmark, report.
"""

from mimiidg_build import settings

settings.configure(environment=settings.UNTRACKED)  # the one thing set at import: Prefect looks for it at its own
