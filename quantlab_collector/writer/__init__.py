"""Channel → object store: batches, segments, uploads."""
