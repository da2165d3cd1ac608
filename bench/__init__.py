"""Measures, with what they are measured against; they time, tests never do."""
