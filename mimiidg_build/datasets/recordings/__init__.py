"""Own recordings as a dataset: what names or a table say of them, and which clips they become.

``patterns`` reads a path, ``fields`` turns words into a recording, ``listing`` does it for a folder or a table,
``split`` parts training from test, ``cutting`` plans the clips, ``archives`` gives the dataset the archives that
fetching makes of it, ``guess`` and ``template`` write a first manifest.
"""
