"""Files on the local disk and in buckets (s3://, gs://, az://). `scorer.files.router.AnyFiles()` takes any path.

Needs the extra `batch-scorer[lake]`, which is imported only where a path asks for it: docs/how-to/object-storage.md.
"""
