"""What browsers send: the cookies of aws-rum-web."""

import base64
import json

SESSION = "0a1b2c3d-0000-4000-8000-00000000000a"
OTHER_SESSION = "0a1b2c3d-0000-4000-8000-00000000000b"
USER = "0a1b2c3d-0000-4000-8000-0000000000ff"
NOBODY = "00000000-0000-0000-0000-000000000000"


def encoded(value):
    """A value as `btoa(JSON.stringify(value))` writes it."""
    return base64.b64encode(json.dumps(value, ensure_ascii=False).encode("latin-1")).decode()


def cwr_s(session=SESSION, *, page_id="/cart", interaction=2, record=True):
    """The value of aws-rum-web's session cookie."""
    page = {"pageId": page_id, "interaction": interaction, "parentPageId": "/", "referrer": "", "start": 1700000000000}
    return encoded({"sessionId": session, "record": record, "eventCount": 7, "page": page})


def cookie(session=SESSION, user=USER, **parts):
    """The `Cookie` header of a page that aws-rum-web runs on, among cookies of others."""
    return f"theme=dark; cwr_u={user}; cwr_s={cwr_s(session, **parts)}; csrftoken=secret-token"
