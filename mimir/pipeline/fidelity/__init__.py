"""`make fidelity`: the same spec on the simulated cluster and for real, compared edge by edge."""
