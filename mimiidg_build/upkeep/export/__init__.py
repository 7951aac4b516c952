"""Export: a store's clips as files that other programs read, whole or not at all.

``export`` is the way in, ``target`` the folder that an export grows in, ``clips`` the clips as WAV files, ``about``
what stands beside. One module for each form that an export can have: ``released`` (the dataset's own layout, as folders
or zip archives), ``dcase`` (what the organisers' baselines and evaluators look for), ``webdataset`` (tar archives) and
``huggingface`` (parquet); ``forms`` brings them together.
"""

from mimiidg_build.upkeep.export.export import export_store

__all__ = ["export_store"]
