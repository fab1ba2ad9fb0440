"""What to send and what to expect: TOML scenarios, and nftables rule sets for the lab."""
