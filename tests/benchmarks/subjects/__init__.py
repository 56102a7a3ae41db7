"""What can be measured; each function fills the figures of one run."""
