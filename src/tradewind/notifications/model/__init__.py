"""What is told, to whom and in which words; one rule: pure, no I/O and no clock of its own."""
