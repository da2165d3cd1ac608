"""What a process tells of itself to Prometheus; one rule: counted in passing, read at a scrape."""
