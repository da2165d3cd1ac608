"""The HTTP side of the platform: the front layer, the framework behind it, and how both fail."""
