"""Object storage: s3://, gs:// and az:// behind the Files protocol. `scorer.files.router.Places()` takes any path.

Needs the extra `batch-scorer[lake]`, which is imported only where a path asks for it. See docs/object-storage.md.
"""
