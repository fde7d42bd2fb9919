"""One port, many engines: each turns an ImageSpec into an OCI layout."""
