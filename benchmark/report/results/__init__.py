"""What became of every run of a suite: read from the run folders, checked and typed."""
