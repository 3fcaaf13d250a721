"""Whose session a server works for: from a request's headers to the spans and logs that belong to it."""
