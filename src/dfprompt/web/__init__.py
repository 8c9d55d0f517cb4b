"""The web apps: a server for this machine alone, and the studio on top of it. Needs the extra `studio`."""
