"""Templates of a model version become files: values are made safe for the place where they land."""
