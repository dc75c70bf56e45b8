"""What the numbers of few seeds allow to say, for one cell and over all pairs."""
