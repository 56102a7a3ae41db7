"""List an account's batches at Anthropic, and store those that an unanswered create call may have made."""
