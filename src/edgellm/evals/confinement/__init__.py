"""How code that nobody vouches for is shut in: namespaces, a filter of system calls, limits, and a watch."""
