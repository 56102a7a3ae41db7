"""Find out whether an unanswered create call made a batch."""
