"""As much of LDAP (RFC 4511) as it takes to ask a directory whose a name and a password are."""
