"""Makes ``twistd pyproxy`` known to Twisted's plugin system."""

from twisted.application.service import ServiceMaker

pyproxy = ServiceMaker(
    "twistedproxy", "twistedproxy.tap", "The intercepting proxy that you can run as a service.", "pyproxy"
)
