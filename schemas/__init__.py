"""The shape of everything that crosses a boundary.

Pydantic models for the files people write (dataset manifests, Table 1, variant files) and for those the program writes
(what fetching pins); pandera models for the tables that the stages hand to each other. Nothing here reads a file or
computes: ``mimiidg_build`` does.
"""
