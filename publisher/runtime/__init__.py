"""What goes INTO images. Imports nothing of publisher's; runs on the image's own Python and packages."""
