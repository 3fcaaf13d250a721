"""URLs: the page they name, their host, and what of them is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.convert import urls

S = "https://shop.example"
R = "REDACTED"

# url, page id by path, host, redacted (None: as it is)
CORPUS = [
    (S, "/", "shop.example", None),
    (S + "/", "/", "shop.example", None),
    (S + "/shop", "/shop", "shop.example", None),
    (S + "/shop/", "/shop/", "shop.example", None),
    (S + "?q=1", "/", "shop.example", None),
    (S + "#top", "/", "shop.example", None),
    (S + "/a?x=1&y=2#z", "/a", "shop.example", None),
    (S + "/b%C3%BCcher/%2F", "/b%C3%BCcher/%2F", "shop.example", None),
    (S + "/bücher", "/bücher", "shop.example", None),
    (S + "/a;v=1/b", "/a;v=1/b", "shop.example", None),
    (S + "//double//slash", "//double//slash", "shop.example", None),
    (S + "/a b", "/a b", "shop.example", None),
    (S + ":8443/a", "/a", "shop.example", None),
    ("http://SHOP.Example/A", "/A", "shop.example", None),
    ("http://127.0.0.1:8899/a", "/a", "127.0.0.1", None),
    ("http://[2001:db8::7]/a", "/a", "2001:db8::7", None),
    ("http://[2001:db8::7]:8080/a", "/a", "2001:db8::7", None),
    ("http://localhost", "/", "localhost", None),
    ("https://xn--bcher-kva.example/a", "/a", "xn--bcher-kva.example", None),
    ("https://bücher.example/a", "/a", "bücher.example", None),
    # userinfo
    ("https://jo@shop.example/a", "/a", "shop.example", S + "/a"),
    ("https://jo:pw@shop.example/a", "/a", "shop.example", S + "/a"),
    ("https://jo:p@w@shop.example:8443/a", "/a", "shop.example", S + ":8443/a"),
    ("https://:pw@shop.example", "/", "shop.example", S),
    ("//jo:pw@shop.example/a", "/a", None, "//shop.example/a"),
    ("http://jo:pw@[2001:db8::7]:80/a", "/a", "2001:db8::7", "http://[2001:db8::7]:80/a"),
    ("ftp://jo:pw@files.example/a", "/a", None, "ftp://files.example/a"),
    # passwords that hold what ends an authority
    ("https://jo:pa#ss@h.example/x", None, None, "https://h.example/x"),
    ("https://jo:pa?ss@h.example/x?y=1", None, None, "https://h.example/x"),
    ("https://jo:S3/cr@h.example/x", None, None, "https://h.example/x"),
    ("postgresql://jo:pa#ss@db/x", None, None, "postgresql://db/x"),
    ("postgresql://jo:12/34@db:5432/x", "/34@db:5432/x", None, "postgresql://db:5432/x"),
    ("redis://:12#34@cache", "/", None, "redis://cache"),
    ("https://jo:12#34@h.example", "/", "jo", "https://h.example"),
    ("https://jo:/34@h.example/x", "/34@h.example/x", "jo", "https://h.example/x"),
    ("postgresql://jo:pa", None, None, "postgresql://"),
    ("mongodb://jo:pw@h1:27017,h2:27017/x?w=1", None, None, "mongodb://h1:27017,h2:27017/x"),
    ("view-source:https://jo:pw@shop.example/", None, None, "view-source:https://shop.example/"),
    (
        S + "/proxy/https://jo:pw@h.example/x",
        "/proxy/https://jo:pw@h.example/x",
        "shop.example",
        S + "/proxy/https://h.example/x",
    ),
    (S + ":8080/@jo?mail=a", "/@jo", "shop.example", None),
    (S + ":8080?a=b@c", "/", "shop.example", None),
    # parameters of a path
    (S + "/cart;jsessionid=x?a=1", f"/cart;jsessionid={R}", "shop.example", S + f"/cart;jsessionid={R}?a=1"),
    # secrets within values, and below names, that are percent-encoded
    (S + "/a?next=/cb?token=x", "/a", "shop.example", S + f"/a?next={R}"),
    (S + "/a?next=%2Fcb%3Ftoken%3Dx&b=1", "/a", "shop.example", S + f"/a?next={R}&b=1"),
    (S + "/a?next=%252Fcb%253Ftoken%253Dx", "/a", "shop.example", S + f"/a?next={R}"),
    (S + "/a?to=https%3A%2F%2Fidp.example%2Fcb%23access_token%3Dx", "/a", "shop.example", S + f"/a?to={R}"),
    (S + "/a?u=https://jo:pw@h/", "/a", "shop.example", S + f"/a?u={R}"),
    (S + "/a?u=redis%3A%2F%2F%3Apa%2Fss%40h", "/a", "shop.example", S + f"/a?u={R}"),
    (S + "/a?u=redis://jo:pa&ss@h/&b=1", "/a", "shop.example", S + f"/a?u={R}&b=1"),
    (S + "/a?u=redis://:pa;s=&s@h&b=1", "/a", "shop.example", S + f"/a?u={R}&b=1"),
    (S + "/a?next=%25252Fcb%25253Ftoken%25253Dx", "/a", "shop.example", S + f"/a?next={R}"),
    (S + "/a?%2525252574oken=x", "/a", "shop.example", S + f"/a?%2525252574oken={R}"),
    (S + "/a?json=%7B%22token%22%3A%22x%22%7D", "/a", "shop.example", S + f"/a?json={R}"),
    (S + "/a?json=%7B%22token%22%3A+%22x%22%7D", "/a", "shop.example", S + f"/a?json={R}"),
    (S + "/a?%74oken=x&api%5Fkey=y", "/a", "shop.example", S + f"/a?%74oken={R}&api%5Fkey={R}"),
    (S + "/a?data%5Bpassword%5D=x", "/a", "shop.example", S + f"/a?data%5Bpassword%5D={R}"),
    (S + "/a?%2Fcb%3Ftoken%3Dx", "/a", "shop.example", S + f"/a?{R}"),
    (S + "/a?next=%2Fcart%3Fpage%3D2&u=https://shop.example/b&by=name:asc", "/a", "shop.example", None),
    (S + "/a?json=%7B%22page%22%3A2%7D&at=10:30&q=gr%C3%BC%C3%9Fe", "/a", "shop.example", None),
    # names that texts know, too
    (S + "/a?user=jo&pass=x&PHPSESSID=y", "/a", "shop.example", S + f"/a?user=jo&pass={R}&PHPSESSID={R}"),
    (S + "/a?SAMLResponse=x&oobCode=y", "/a", "shop.example", S + f"/a?SAMLResponse={R}&oobCode={R}"),
    (S + "/a?cvv=123&ssn=123456789", "/a", "shop.example", S + f"/a?cvv={R}&ssn={R}"),
    (S + "/a?code_verifier=x&reset_code=y", "/a", "shop.example", S + f"/a?code_verifier={R}&reset_code={R}"),
    # a ticket is one of CAS, or lets a socket in; the number of one at a help desk goes by other names
    (S + "/a?ticket=ST-1-x", "/a", "shop.example", S + f"/a?ticket={R}"),
    (S + "/a?ticket_id=4711&tickets=2", "/a", "shop.example", None),
    (S + "/a?zip_code=1&country_code=DE&status_code=404&promo_code=x", "/a", "shop.example", None),
    (S + "/a?compass=n&passenger=2&spin=1&bypass=1&class=ssnx", "/a", "shop.example", None),
    # secrets in the query
    (S + "/a?token=s3cret", "/a", "shop.example", S + f"/a?token={R}"),
    (S + "/a?page=2&token=s3cret&x=1", "/a", "shop.example", S + f"/a?page=2&token={R}&x=1"),
    (S + "/a?page=2;token=s3cret", "/a", "shop.example", S + f"/a?page=2;token={R}"),
    (S + "/a?access_token=x&refresh-token=y", "/a", "shop.example", S + f"/a?access_token={R}&refresh-token={R}"),
    (S + "/a?X-Amz-Signature=x&X-Amz-Date=y", "/a", "shop.example", S + f"/a?X-Amz-Signature={R}&X-Amz-Date=y"),
    (S + "/a?X-Amz-Credential=x&sig=y", "/a", "shop.example", S + f"/a?X-Amz-Credential={R}&sig={R}"),
    (S + "/a?apiKey=x&api_key=y&API-KEY=z", "/a", "shop.example", S + f"/a?apiKey={R}&api_key={R}&API-KEY={R}"),
    (S + "/a?password=x&passwd=y&pwd=z", "/a", "shop.example", S + f"/a?password={R}&passwd={R}&pwd={R}"),
    (S + "/a?user[password]=x", "/a", "shop.example", S + f"/a?user[password]={R}"),
    (S + "/a?code=x&state=y", "/a", "shop.example", S + f"/a?code={R}&state=y"),
    (S + "/a?key=x&keyboard=y", "/a", "shop.example", S + f"/a?key={R}&keyboard=y"),
    (S + "/a?sessionid=x", "/a", "shop.example", S + f"/a?sessionid={R}"),
    (S + "/a?otp=123456", "/a", "shop.example", S + f"/a?otp={R}"),
    (S + "/a?token=", "/a", "shop.example", None),
    (S + "/a?token", "/a", "shop.example", None),
    (S + "/a?=x", "/a", "shop.example", None),
    (S + "/a?x=a=b", "/a", "shop.example", None),
    (S + "/a?token=a=b", "/a", "shop.example", S + f"/a?token={R}"),
    (S + "/a?x=eyJh.eyJi.c2ln", "/a", "shop.example", S + f"/a?x={R}"),
    (S + "/a?x=eyJh", "/a", "shop.example", None),
    # and in the fragment
    (S + "/a#access_token=x&state=y", "/a", "shop.example", S + f"/a#access_token={R}&state=y"),
    (S + "/a#/reset?token=x", "/a", "shop.example", S + f"/a#/reset?token={R}"),
    (S + "/a#section=2", "/a", "shop.example", None),
    # paths without a host
    ("/api/items?token=x", "/api/items", None, f"/api/items?token={R}"),
    ("/", "/", None, None),
    ("shop/cart", "shop/cart", None, None),
    ("?page=2", "/", None, None),
    ("#top", "/", None, None),
    # other schemes
    ("file:///C:/index.html?token=x", None, None, f"file:///C:/index.html?token={R}"),
    ("file:///srv/app/index.html", None, None, None),
    ("file://server/share/index.html", None, None, None),
    ("data:text/html,<h1>hi</h1>", None, None, "data:"),
    ("DATA:text/html;base64,PGgxPg==", None, None, "data:"),
    ("chrome-extension://abcdef/popup.html", None, None, None),
    ("moz-extension://abcdef/popup.html", None, None, None),
    ("safari-web-extension://abcdef/popup.html", None, None, None),
    ("chrome://newtab/", None, None, None),
    ("about:blank", None, None, None),
    ("about:srcdoc", None, None, None),
    ("blob:https://shop.example/1-2-3", None, None, "blob:"),
    ("javascript:void(0)", None, None, "javascript:"),
    ("mailto:jo@shop.example", None, None, None),
    ("ws://shop.example/live", "/live", None, None),
    ("capacitor://localhost/app", "/app", None, None),
    ("app://shop/x?token=s3cret", "/x", None, f"app://shop/x?token={R}"),
    ("app:///x", None, None, None),
    # broken
    ("http://[broken/a?token=x", None, None, "http://[broken/a"),
    ("http://jo:pw@[broken/a?token=x", None, None, "http://[broken/a"),
    ("http://shop.example:99999/a?x=1", None, None, "http://shop.example:99999/a"),
    ("http://jo:pw@shop.example:port/a#b", None, None, "http://"),
    ("http://", None, None, None),
    ("http:///a", None, None, None),
    ("://", "://", None, None),
    ("   ", "/", None, None),
    ("http://" + "a" * 254 + "/x", "/x", None, None),
    ("http://" + "a" * 253 + "/x", "/x", "a" * 253, None),
    ("http://shop.example/\ud800", "/\ud800", "shop.example", None),
    ("http://shop\ud800.example/", "/", None, None),
]
_IDS = [ascii(url)[1:61] for url, *_ in CORPUS]


def test_the_corpus_is_one():
    """No URL twice."""
    assert len({url for url, *_ in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize(("url", "page", "host", "shown"), CORPUS, ids=_IDS)
def test_url(url, page, host, shown):
    """The page, never with its query; the host of web addresses; no userinfo and no secret."""
    assert urls.page_id(url, "path") == page
    assert urls.host(url) == host
    assert urls.redact(url, "redact") == (url if shown is None else shown)
    assert urls.redact(urls.redact(url, "redact"), "redact") == urls.redact(url, "redact")


@pytest.mark.parametrize(("url", "page", "host", "shown"), CORPUS, ids=_IDS)
@pytest.mark.parametrize("url_query", ["keep", "drop"])
def test_url_query(url, page, host, shown, url_query):
    """keep and drop leave no userinfo either, and drop no query."""
    del page, host, shown
    text = urls.redact(url, url_query)
    assert "pw@" not in text
    assert "jo:" not in text
    if url_query == "drop":
        assert "?" not in text
        assert "#" not in text


@pytest.mark.parametrize(
    ("text", "shown", "dropped"),
    [
        ("no URL at all", None, None),
        ("really? a=b", None, None),
        ("why?because", None, None),
        (f"get {S}/a?token=x failed", f"get {S}/a?token={R} failed", f"get {S}/a failed"),
        (f"at f ({S}/a.js?token=x:1:2)", f"at f ({S}/a.js?token={R}:1:2)", f"at f ({S}/a.js:1:2)"),
        ("Max retries exceeded with url: /cart?page=2&api_key=x (Caused by ...)",
         f"Max retries exceeded with url: /cart?page=2&api_key={R} (Caused by ...)",
         "Max retries exceeded with url: /cart? (Caused by ...)"),
        ("no route to postgresql://jo:pw@db.example:5432/shop", "no route to postgresql://db.example:5432/shop", None),
        ("from capacitor://localhost/a?token=x", f"from capacitor://localhost/a?token={R}",
         "from capacitor://localhost/a"),
        ("HTTPS://jo:pw@shop.example", "HTTPS://shop.example", None),
        ("no postgresql://jo:pa#ss@db/x", "no postgresql://db/x", None),
        ("no postgresql://jo:pa/ss@db/x", "no postgresql://db/x", None),
        ("no postgresql://jo:pa(ss@db/x", "no postgresql://db/x", None),
        ("no (postgresql://jo:pa)ss@db/x)", "no (postgresql://db/x)", None),
        ("no https:\\/\\/jo:pw@db\\/x", "no https:\\/\\/db\\/x", None),
        ("url=//jo:pw@h/x", "url=//h/x", None),
        ("no route to http://h:8080, http://h:8080: 'http://h:8080' or \"http://[::1]:80\",", None, None),
        ('{"url":"http://h:8080","mail":"a b"}', None, None),
        ("no http://jo-1:pw, no http://jo:1pw/", "no http:// no http://", None),
        ("//svg:rect[@id='x'] // see: jo@h", None, None),
        ("GET https://h/cb?f=(x)&code=y", f"GET https://h/cb?f=(x)&code={R}", "GET https://h/cb"),
        ("GET https://h/cb?f=((x))&code=y", f"GET https://h/cb?f=((x))&code={R}", "GET https://h/cb)&"),
        ("(see https://h/x?y=1)&z", None, "(see https://h/x)&z"),
        ("GET /cb?next=https://h/cb&token=x", f"GET /cb?next=https://h/cb&token={R}", "GET /cb?"),
        ("src data:,abc and data:;base64,YWJj", "src data: and data:", None),
        ("the data:, none", None, None),
    ],
)  # fmt: skip
def test_redact_text(text, shown, dropped):
    """URLs within a text: of any scheme, and paths with a query; prose stays as it is."""
    assert urls.redact_text(text, "redact").lower() == (shown or text).lower()
    assert urls.redact_text(text, "drop").lower() == (dropped or shown or text).lower()


@pytest.mark.parametrize(
    "unit",
    [
        "?",
        "a",
        "?u=//a:b",
        "?u=//a:b&",
        "?a=%25%",
        "a.b",
        "a://",
        ":1",
        "?a=",
        "//@",
        "a://b:",
        "//a:",
        "&a=(",
        "a://(",
        "?a=%3D",
        "://a:@",
    ],
)
def test_redact_text_is_linear(unit):
    """No text takes long: with time that grows as the square of the length this would take minutes."""
    assert urls.redact_text(unit * 300_000 + "?", "redact")


@pytest.mark.parametrize(
    ("url", "by_hash", "by_both"),
    [
        (S + "/app#/cart", "#/cart", "/app#/cart"),
        (S + "/app?x=1#/cart?y=2", "#/cart?y=2", "/app#/cart?y=2"),
        (S + "/app#/reset?token=s3cret", f"#/reset?token={R}", f"/app#/reset?token={R}"),
        (S + "/app#access_token=s3cret&state=y", f"#access_token={R}&state=y", f"/app#access_token={R}&state=y"),
        (S + "/app#/reset?next=/x?token=s3cret", f"#/reset?next={R}", f"/app#/reset?next={R}"),
        (S + "/app#pass=s3cret", f"#pass={R}", f"/app#pass={R}"),
        (S + "/app", "/app", "/app"),
        (S + "#", "/", "/"),
        (None, None, None),
        ("", None, None),
    ],
)
def test_page_id_formats(url, by_hash, by_both):
    """The fragment keeps its #; a page always has an id."""
    assert urls.page_id(url, "hash") == by_hash
    assert urls.page_id(url, "path_and_hash") == by_both


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://h.example:80/a%20b;c=1/@d?e=%2F&f[]=g#!h", None),
        ("/~a_b-c.d+e,f'(g)*$|^\\", None),
        ("/a b?c= d", "/a%20b?c=%20d"),
        ("/b\u00fccher/\u20ac", "/b%C3%BCcher/%E2%82%AC"),
        ("/\u00fc", "/%C3%BC"),
        ("/\u00c3\u00bc%20", "/%C3%BC%20"),  # as WSGI has it
        ('/"<>`{}\n', '/"<>`{}%0A'),
        ("/\ud800", "/%ED%A0%80"),
        ("", None),
    ],
)
def test_encoded(given, shown):
    """What a browser would have encoded is; what is encoded already is not again."""
    assert urls.encoded(given) == (given if shown is None else shown)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("jo@shop.example", "shop.example"),
        ("SHOP.example", "shop.example"),
        ("[2001:db8::7]:80", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::1", "::1"),
        ("0.0.0.0", None),  # noqa: S104 - nobody listens
        ("0.0.0.0:8000", None),
        ("::", None),
        ("[::]:8000", None),
        (":8000", None),
        ("", None),
        (None, None),
        ("shop.example:port", None),
        ("[broken", None),
        ("a" * 254, None),
    ],
)
def test_bare_host(authority, host):
    """The host of host:port, never an address that servers bind to."""
    assert urls.bare_host(authority) == host


@pytest.mark.parametrize(
    ("url", "is_self"),
    [
        ("https://dataplane.rum.eu-central-1.amazonaws.com/appmonitors/11111111-2222-4333-8444-555555555555", True),
        ("http://127.0.0.1:8080/appmonitors/11111111-2222-4333-8444-555555555555/?x=1", True),
        ("https://shop.example/appmonitors/list", False),
        ("https://shop.example/appmonitors/11111111-2222-4333-8444-555555555555/charts", False),
        ("http://collector:4318/v1/traces", True),
        ("http://collector:4318/v1/logs/", True),
        ("/v1/metrics", True),
        ("https://shop.example/v1/orders", False),
        ("https://cognito-identity.eu-central-1.amazonaws.com/", True),
        ("https://sts.amazonaws.com/", True),
        ("https://sts.eu-central-1.amazonaws.com", True),
        ("https://sts.cn-north-1.amazonaws.com.cn/", True),
        ("https://sts.amazonaws.com.shop.example/", False),
        ("https://s3.amazonaws.com/", False),
        ("http://[broken", False),
        (None, False),
    ],
)
def test_self_traffic(url, is_self):
    """Telemetry on its way, and the credentials for it."""
    assert urls.is_self_traffic(url) is is_self


@pytest.mark.parametrize(
    ("method", "path", "is_self"),
    [
        ("POST", "/v1/metrics", True),
        ("OPTIONS", "/v1/metrics", True),
        ("GET", "/v1/metrics", False),
        ("DELETE", "/v1/logs", False),
        ("GET", "/appmonitors/11111111-2222-4333-8444-555555555555", True),
    ],
)
def test_self_traffic_by_method(method, path, is_self):
    """OTLP is POSTed, after a browser's preflight; the rest of such an address is an application's own."""
    assert urls.is_self_traffic("https://api.shop.example" + path, method) is is_self


@given(st.text(st.characters()) | st.from_regex(r"[a-z]{0,6}:?//[^ ]{0,30}\?[^ ]{0,30}#?.{0,10}"))
def test_any_text_is_some_url(url):
    """Whatever stands where a URL should be."""
    for url_query in ("redact", "keep", "drop"):
        shown = urls.redact(url, url_query)
        assert len(shown) <= len(url) + len(R) * (url.count("&") + url.count(";") + 2)
    for page_id_format in ("path", "hash", "path_and_hash"):
        page = urls.page_id(url, page_id_format)
        assert page is None or page
    urls.host(url)
    urls.bare_host(url)
    urls.is_self_traffic(url)
    assert urls.encoded(urls.encoded(url)) == urls.encoded(url)
