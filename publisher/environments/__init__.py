"""What a model asks for, and what that is on each platform: read, lock."""
