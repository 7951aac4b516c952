"""Storage: a path on this machine or in a bucket, as one.

In: paths and URLs. Out: whole files or none, digests, locks, and tables that are cached beside what they were measured
from. Two back ends (``disk``, ``bucket``) keep one protocol (``backend``); nothing above this room asks where a path
lies: the functions of ``places`` and ``files`` do, in one line.
Imports: errors, settings, schemas.
"""
