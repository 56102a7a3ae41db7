"""Shared parts of the test suite: its app and URLs, factories, servers, and the selection of tests."""
