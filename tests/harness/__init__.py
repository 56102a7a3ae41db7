"""What the suite is made of: its app and URLs, factories, servers, and which tests run where."""
