"""The subjects of the benchmark; each function fills the figures of one run."""
