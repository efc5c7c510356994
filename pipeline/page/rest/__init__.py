"""The REST interface: the same searches as everywhere, one request each, beside the page in its process."""
