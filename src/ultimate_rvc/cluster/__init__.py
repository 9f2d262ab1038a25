"""The same work on the machines of a Ray cluster; ray is imported nowhere else."""
