"""What the proxy tells its clients about itself: the page at ``http://pyproxy.internal/``, and what is said in it."""
