"""A batch's results: from the download to the rows."""
