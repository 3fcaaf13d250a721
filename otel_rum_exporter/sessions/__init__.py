"""Whose an event is: ids, and what is remembered of each session."""
