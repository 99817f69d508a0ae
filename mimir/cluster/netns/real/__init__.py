"""Real programs in pods: each pod a process tree of its own that sees private folders and ends with the testbed."""
