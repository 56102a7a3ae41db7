"""Tests of the admin in a real browser: the system's Chromium, driven by Playwright of the extra `browser`."""
