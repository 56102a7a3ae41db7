"""Deliver a batch's results to its job's handlers: `deliver` is where it begins, `transaction` what happens."""
