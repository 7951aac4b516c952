"""Tasks in parallel: threads, processes, or a dask cluster; the result never depends on which.

In: functions and their arguments, as plain data. Out: their results, in order. Also what processes need to behave:
Ctrl-C, memory, an end with their parent.
Imports: errors, settings, progress, storage.
"""
