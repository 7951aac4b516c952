"""Tasks in parallel: threads, processes, or a dask cluster; the result never depends on which.

In: functions and their arguments, as plain data. Out: their results, in order. Also what processes need to behave:
Ctrl-C, memory, an end with their parent, and an error that says so where a script's ``__main__`` guard is missing.
Imports: errors, storage.
"""
