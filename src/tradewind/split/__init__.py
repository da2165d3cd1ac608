"""The whole topology on one machine, without containers."""
