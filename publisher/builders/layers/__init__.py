"""The embedded builder: wheels become layers without recompression and without being unpacked."""
