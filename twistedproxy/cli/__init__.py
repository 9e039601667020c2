"""``pyproxyctl``: the daemon's control API as commands, for people and for scripts. Nothing here imports Twisted."""
