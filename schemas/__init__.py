"""The shape of everything that crosses a boundary: nothing here reads a file or computes.

In: what people write (dataset manifests, Table 1, variant files), what the program writes (stores' attributes, run
files, results, locks), and the tables that the stages hand to each other. Out: pydantic models of the files, and
rules of the tables, which pandera checks where one is broken.
Imports: nothing of this project.
"""
