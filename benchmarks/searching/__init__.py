"""What benchmarks/search.py is made of: landscapes, rivals, the replay and its report."""
