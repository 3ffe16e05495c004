"""The shipped model bundle; data files only."""
