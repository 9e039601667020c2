"""Living under systemd: its notifications, its sockets, the units, and installing them. None of it needs a reactor."""
