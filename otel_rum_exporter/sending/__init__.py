"""From an event that waits to the answer that it got: batches, what leaves next, attempts, the threads that send."""
