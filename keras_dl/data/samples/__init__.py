"""Built-in samples: drawn or generated in the process, deterministic by seed."""
