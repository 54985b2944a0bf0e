"""Durable forms: journal, Parquet, spool, object store. Synchronous, no Trio: the writer calls it from threads."""
