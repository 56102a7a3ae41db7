"""The admin in a real browser: Chromium, driven by Playwright, both of the extra `browser` and of the system."""
