"""Hosts that are better not opened, whoever asks: what ``defaults`` stands for in ``intercept.leave_alone``.

Three kinds. What pins its certificates breaks when it is opened: operating systems fetch their updates so. What people
have a right to keep to themselves: their bank, their health. And what proves who somebody is. No list of these is
complete, and the operator's own comes on top; a wrong entry costs a look inside, a missing one a person's trust.
"""

from __future__ import annotations

from typing import Final

UPDATES: Final = (
    ".windowsupdate.com",
    ".update.microsoft.com",
    ".delivery.mp.microsoft.com",
    ".swcdn.apple.com",
    ".swscan.apple.com",
    ".mesu.apple.com",
    ".gdmf.apple.com",
    ".itunes.apple.com",
    ".push.apple.com",
    ".icloud.com",
    ".android.clients.google.com",
    ".play.googleapis.com",
    ".gvt1.com",
    ".mtalk.google.com",
    ".update.googleapis.com",
    ".aus5.mozilla.org",
    ".addons.mozilla.org",
    ".snapcraft.io",
)
"""Updates of operating systems, browsers and applications, and their push services."""

BANKING: Final = (
    ".paypal.com",
    ".stripe.com",
    ".wise.com",
    ".revolut.com",
    ".n26.com",
    ".americanexpress.com",
    ".visa.com",
    ".mastercard.com",
    ".chase.com",
    ".bankofamerica.com",
    ".wellsfargo.com",
    ".citi.com",
    ".hsbc.com",
    ".barclays.co.uk",
    ".lloydsbank.co.uk",
    ".deutsche-bank.de",
    ".commerzbank.de",
    ".sparkasse.de",
    ".bnpparibas.net",
    ".ing.com",
    ".santander.com",
    ".ubs.com",
    "*bank*",
)
"""Money: by name, and whatever says of itself that it is a bank."""

HEALTH: Final = (
    ".nhs.uk",
    ".mychart.com",
    ".healthcare.gov",
    ".medicare.gov",
    ".gematik.de",
    ".ameli.fr",
    ".doctolib.fr",
    ".doctolib.de",
)
"""Health: services that hold people's records."""

IDENTITY: Final = (
    ".login.microsoftonline.com",
    ".accounts.google.com",
    ".appleid.apple.com",
    ".okta.com",
    ".duosecurity.com",
    ".login.gov",
    ".bitwarden.com",
    ".1password.com",
)
"""Who somebody is: sign-on services, and safes for passwords."""

LEFT_ALONE: Final = (*UPDATES, *BANKING, *HEALTH, *IDENTITY)
"""All of them."""
