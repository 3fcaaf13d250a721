"""The type of a resource is told exactly as aws-rum-web tells it, its gaps included."""

import pytest

from otel_rum_exporter.convert.resources import file_type

TYPES = {
    "stylesheet": ("css", "less"),
    "document": ("htm", "html", "ts", "doc", "docx", "pdf", "xls", "xlsx"),
    "script": ("js",),
    "image": ("ai", "bmp", "gif", "ico", "jpeg", "jpg", "png", "ps", "psd", "svg", "tif", "tiff"),
    "font": ("fnt", "fon", "otf", "ttf", "woff"),
}
EXTENSIONS = [(extension, kind) for kind, extensions in TYPES.items() for extension in extensions]
INITIATORS = {
    "image": "image",
    "img": "image",
    "input": "image",
    "iframe": "document",
    "frame": "document",
    "script": "script",
    "css": "stylesheet",
    "link": "other",
    "beacon": "other",
    "IMG": "other",
    "": "other",
}


@pytest.mark.parametrize(("extension", "kind"), EXTENSIONS)
def test_extension(extension, kind):
    """A known extension decides, whatever asked for the resource."""
    assert file_type(f"https://a/b.{extension}", "img") == kind


@pytest.mark.parametrize(("initiator", "kind"), INITIATORS.items())
def test_initiator(initiator, kind):
    """Else what asked for it does."""
    assert file_type("https://a/b", initiator) == kind


@pytest.mark.parametrize(
    ("url", "initiator", "kind"),
    [
        pytest.param("https://a/b.woff2", "css", "stylesheet", id="woff2 is in no list"),
        pytest.param("https://a/b.woff2", "link", "other", id="woff2 by a link"),
        pytest.param("https://a/b.webp", "img", "image", id="webp"),
        pytest.param("https://a/b.avif", "link", "other", id="avif"),
        pytest.param("https://a/b.mjs", "script", "script", id="mjs"),
        pytest.param("https://a/b.mjs", "link", "other", id="mjs by a link"),
        pytest.param("https://a/a.JS", "link", "other", id="case counts"),
        pytest.param("https://a/a.JS", "script", "script", id="case counts, but a script asked"),
        pytest.param("https://a/png", "link", "image", id="a name without a dot is its own extension"),
        pytest.param("https://a/b.js?v=1.css", "script", "stylesheet", id="the last dot may be in the query"),
        pytest.param("https://a/b.css?x=/y", "link", "other", id="the last slash may be in the query"),
        pytest.param("https://a/b.css?v=1", "other", "stylesheet", id="a query is cut"),
        pytest.param("https://a/b.css#x", "other", "stylesheet", id="a fragment is cut"),
        pytest.param("https://a/b.css?v#x", "other", "stylesheet", id="both are cut"),
        pytest.param("https://a/b.min.js", "other", "script", id="several dots"),
        pytest.param("https://a/", "img", "image", id="no name"),
        pytest.param("", "", "other", id="nothing"),
        pytest.param("https://a/b.", "css", "stylesheet", id="an empty extension"),
    ],
)
def test_quirks(url, initiator, kind):
    """The type is also a dimension of metrics: what looks wrong here is wrong there in the same way."""
    assert file_type(url, initiator) == kind
