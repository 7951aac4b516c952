"""Having a dataset's archives on disk: fetched once, verified, never changed.

In: dataset manifests. Out: paths of archives whose every byte is verified, or one error that says what is wrong.
Imports: errors, settings, schemas, progress, storage, audio, datasets, synthesis.

``steps.decide`` says what must be done about a file, ``steps.ensure`` does it:

- a file that was verified and has not been touched since is used as it is, without a request and without hashing;
- any other file found is hashed, and accepted if it is the published one; it is never changed or deleted;
- a missing file is fetched (``download``), or named, with where to get it and where to put it, when offline.

From the top: ``dataset`` (a dataset's archives, a synthetic release's too), ``recordings``, ``cut_index`` and
``cutting`` (those made of own recordings), ``archives`` (one record's), ``steps`` (one archive), ``download`` and
``transfer`` (its bytes), ``record_api``, ``http`` and ``retry`` (the requests), ``lock``.
"""
