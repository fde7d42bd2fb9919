"""Where work comes from: the model registry (later also project folders and Git repositories)."""
