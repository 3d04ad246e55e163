"""The same work done by seven other libraries and by Nissl, each checked before it is timed."""
