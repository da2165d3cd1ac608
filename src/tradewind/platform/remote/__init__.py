"""Calls between services that run in different processes."""
