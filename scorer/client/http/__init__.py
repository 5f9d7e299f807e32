"""HTTP/1.1 for the transport: connections of our own, and aiohttp's session for proxies and what those do not speak."""
