"""SQL of notifications; one rule: one function a statement, written for many where it is hot."""
