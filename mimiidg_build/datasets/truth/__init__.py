"""What a clip really is: its condition, domain and attributes, from its name or from the organisers' truth lists.

- ``names``: what a full clip name says of itself;
- ``lists``: every form of list and table that the organisers publish, read into statements;
- ``mistakes``: published lists that are known to be wrong, and how they are recognised;
- ``merge``: what several lists say of a clip, where they disagree too;
- ``truth``: all of it together, ``read_truth``.
"""

from mimiidg_build.datasets.truth.mistakes import known_mistake
from mimiidg_build.datasets.truth.names import ClipTruth, attribute_pairs, section_of_name, truth_of_name
from mimiidg_build.datasets.truth.truth import Truth, read_truth

__all__ = ["ClipTruth", "Truth", "attribute_pairs", "known_mistake", "read_truth", "section_of_name", "truth_of_name"]
