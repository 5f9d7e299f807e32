"""Statistics of finished tables: polars in, dataclasses and polars out. Knows no judge and no engine."""
