"""Questions asked of finished tables: polars in, dataclasses and polars out. Knows nothing of judges or the engine."""
