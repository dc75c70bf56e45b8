"""Tables: cells, their layout, and one writer for each file format."""
