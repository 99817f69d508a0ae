"""The run: stages in order, each a function from its part of the spec and input files to output files."""
