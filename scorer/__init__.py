"""The batch scorer: Parquet in, a language-model judge, Parquet out."""
