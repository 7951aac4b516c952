"""Evaluation: the field's metrics, their confidence intervals, the official score files.

In: anomaly scores and the truth. Out: an :class:`~mimiidg_build.evaluation.evaluate.Evaluation`.
Imports: errors, schemas, storage, datasets.
"""
