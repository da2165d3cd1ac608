"""Tradewind: a headless commerce backend; ARCHITECTURE.md is the map."""

__version__ = "0.1.0"
