"""How near reaches the agent on the far host: TCP and TLS, packets, ssh; keys, names, pairing."""
