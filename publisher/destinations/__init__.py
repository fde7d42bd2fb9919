"""Where a finished layout goes: a repository of a container registry, or an OCI layout on disk."""
