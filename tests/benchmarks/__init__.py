"""Programs that measure: run by hand, ``python -m tests.benchmarks.<name>``. Ratios within one run are what counts."""
