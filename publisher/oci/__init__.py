"""The OCI formats and the distribution protocol: references, layouts, layers, registries."""
