"""All that touches the kernel: sockets, captures, privileges. Nothing else in the agent does."""
