"""Listing an account's batches, and keeping what may be a batch whose create call got no answer."""
