"""The parameters of URLs by which advertising and mail recognise who has clicked, by who puts them there.

Only what pages do not need to be found is here: a parameter that also means something elsewhere has no place in it. To
add one, show a link that works without it. Names are compared in lower case.
"""

from __future__ import annotations

from typing import Final

PREFIXES: Final = (
    # Urchin, which became Google Analytics; what everybody else has taken over.
    "utm_",
    # Matomo, and what it was called before.
    "mtm_",
    "matomo_",
    "pk_",
    "piwik_",
    # HubSpot's, for advertisements.
    "hsa_",
    # Piano, once AT Internet.
    "at_campaign",
    "at_recipient",
    # Webtrekk.
    "wt_mc",
)
"""What names begin with."""

NAMES: Final = (
    # Google: advertisements, DoubleClick, and the session of Analytics on several domains.
    "gclid",
    "gclsrc",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "dclid",
    "srsltid",
    "_ga",
    "_gl",
    # Meta.
    "fbclid",
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "igsh",
    "igshid",
    # Microsoft.
    "msclkid",
    # X, once Twitter.
    "twclid",
    # TikTok.
    "ttclid",
    # LinkedIn.
    "li_fat_id",
    # Pinterest, Reddit, Snapchat.
    "epik",
    "rdt_cid",
    "sccid",
    "scclid",
    # Yandex.
    "yclid",
    "ymclid",
    "ysclid",
    "_openstat",
    # Baidu, Alibaba.
    "hmsr",
    "hmpl",
    # Mail: Mailchimp, HubSpot, Marketo, Klaviyo, Drip, Vero, Omeda, Sailthru, Customer.io.
    "mc_cid",
    "mc_eid",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsctatracking",
    "mkt_tok",
    "_kx",
    "__s",
    "vero_conv",
    "vero_id",
    "oly_anon_id",
    "oly_enc_id",
    "sailthru_id",
    "cio_id",
    # Advertising: Adobe, Impact, Wicked Reports, Branch, Criteo, Outbrain, Taboola, Zanox.
    "s_kwcid",
    "ef_id",
    "irclickid",
    "wickedid",
    "_branch_match_id",
    "_branch_referrer",
    "cto_pld",
    "obclid",
    "dicbo",
    "tblci",
    "zanpid",
    # Rakuten.
    "ranmid",
    "raneaid",
    "ransiteid",
)
"""Whole names."""

SIGNATURES: Final = (
    "x-amz-signature",
    "x-goog-signature",
    "x-oss-signature",
    "x-cos-signature",
    "signature",
    "sig",
    "hmac",
    "hdnts",
    "hdnea",
)
"""Parameters that sign the others: a URL with one of them is left as it is."""

HOSTS_THAT_NEED_THEM: Final = (
    # Where clicks are counted, and sent on by what they carry.
    ".doubleclick.net",
    ".googleadservices.com",
    ".googlesyndication.com",
    ".google-analytics.com",
    ".bing.com",
    ".awin1.com",
    ".linksynergy.com",
    "l.facebook.com",
    "lm.facebook.com",
    "l.instagram.com",
    "t.co",
    # Mail that is left by a link in it.
    ".list-manage.com",
    ".hubspotlinks.com",
)
"""Hosts whose URLs are left as they are, in the notation of ``intercept.hosts``."""
