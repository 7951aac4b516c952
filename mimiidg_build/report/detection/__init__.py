"""What detection writes: ``written`` (score files, a table), ``page`` (HTML), ``differences`` (what is louder)."""
