"""Every billed response, and its shares."""
