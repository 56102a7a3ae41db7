"""The diagnosis of `doctor`."""
