"""TLS, proxies and networks that fail in the middle, on real sockets."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rum_batches import ANY, PATH, client

from otel_rum_exporter.client.verdicts import Delivered, Parked, Retry

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LONG_S = 30
AWS_HOST = "dataplane.rum.eu-central-1.amazonaws.com"

pytestmark = pytest.mark.usefixtures("_credentials")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Server:
    """Takes connections one after the other, and treats each as a function says."""

    def __init__(self, treat):
        self._treat = treat
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open = self._socket
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        for each in (self._socket, self._open):
            with contextlib.suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(LONG_S)
        self._socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open = connection
            with connection:
                connection.settimeout(LONG_S)
                try:
                    self._treat(connection)
                except OSError:  # the client went away
                    continue


def read_request(connection):
    """The request line and the headers, with the body read and thrown away."""
    with connection.makefile("rb") as stream:
        heads = [head.decode() for head in iter(lambda: stream.readline().strip(), b"")]
        size = next((int(head.split(":")[1]) for head in heads if head.lower().startswith("content-length:")), 0)
        stream.read(size)
    return heads


def answering(answer):
    def treat(connection):
        read_request(connection)
        connection.sendall(answer)

    return treat


def attempt(server, scheme="http", **options):
    return client(f"{scheme}://localhost:{server.port}", **options).attempt(ANY)


# --- networks


def until_closed(connection, piece, pause_s=0.02):
    while True:
        connection.sendall(piece)
        time.sleep(pause_s)  # the server is slow


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"],
    ids=["status line", "header", "body"],
)
def test_an_answer_that_never_ends(start):
    """It is given up after the timeout, wherever it is slow."""

    def drip(connection):
        read_request(connection)
        connection.sendall(start)
        until_closed(connection, b"x")

    with Server(drip) as server:
        assert attempt(server, timeout=500) == Retry("network", "The request was given up: no end after 0.5 s")


def test_a_tls_handshake_that_never_ends():
    """A server that takes the connection and says nothing."""
    with Server(lambda connection: [None for _ in iter(lambda: connection.recv(65536), b"")]) as server:
        verdict = attempt(server, scheme="https", timeout=500)
    assert isinstance(verdict, Retry)
    assert verdict.cause == "network"


def test_a_reset_in_the_middle_of_an_answer():
    """The events may have arrived; ids tell duplicates."""

    def reset(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxxx")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Server(reset) as server:
        verdict = attempt(server)
    assert isinstance(verdict, Retry)
    assert verdict.cause == "network"


def test_a_name_that_takes_long(monkeypatch):
    """A resolver that does not answer is not covered by any timeout of a socket, but by the attempt's."""
    end = threading.Event()

    def look_up(*_, **__):
        end.wait(LONG_S)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    verdict = client("https://rum.invalid", timeout=300).attempt(ANY)
    end.set()
    assert verdict == Retry("network", "The request was given up: no end after 0.3 s")


# --- clocks


@pytest.mark.parametrize(("minutes", "words"), [(-10, "ahead of"), (10, "behind"), (2, None)])
def test_a_clock_that_is_wrong(minutes, words):
    """A refused signature's line names the skew, by the Date of the answer; two minutes are no reason to refuse."""
    date = (datetime.now(timezone.utc) + timedelta(minutes=minutes)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    body = b'{"message": "Signature expired"}'
    head = f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nx-amzn-ErrorType: InvalidSignatureException\r\n"
    with Server(answering(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)) as server:
        sender = client(f"http://localhost:{server.port}")
        assert sender.attempt(ANY).cause == "credentials"
        verdict = sender.attempt(ANY)
    assert isinstance(verdict, Parked)
    assert verdict.message.startswith("403 InvalidSignatureException: Signature expired")
    assert ("the clock of this machine is" in verdict.message) is (words is not None)
    assert words is None or words in verdict.message


# --- TLS


class Authority:
    """A certificate authority of our own, and a server's certificate from it."""

    def __init__(self, folder):
        self.bundle, self._chain = folder / "ca.pem", folder / "server.pem"
        key, name = ec.generate_private_key(ec.SECP256R1()), self._name("ours")
        authority = self._certificate(name, name, key, key, x509.BasicConstraints(ca=True, path_length=0))
        self.bundle.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        own = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName(AWS_HOST)])
        certificate = self._certificate(self._name("localhost"), name, own, key, names)
        self._chain.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context

    @staticmethod
    def _name(common_name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    @staticmethod
    def _certificate(subject, issuer, key, signing_key, extension):
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, critical=True).sign(signing_key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def encrypted(context, treat):
    def handshake(connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            treat(secured)

    return handshake


def test_tls(authority, monkeypatch):
    """AWS_CA_BUNDLE says whom to trust; TLS 1.2 or newer is spoken."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    versions = []

    def treat(connection):
        versions.append(connection.version())
        answering(OK)(connection)

    with Server(encrypted(authority.context(), treat)) as server:
        assert attempt(server, scheme="https") == Delivered()
    assert versions[0] in ("TLSv1.2", "TLSv1.3")


def test_the_authority_of_a_profile(authority, tmp_path):
    """So does `ca_bundle` in AWS's configuration file."""
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {authority.bundle}\n")
    with Server(encrypted(authority.context(), answering(OK))) as server:
        assert attempt(server, scheme="https") == Delivered()


def test_the_authority_of_requests(authority, monkeypatch):
    """And REQUESTS_CA_BUNDLE, which botocore reads last."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    with Server(encrypted(authority.context(), answering(OK))) as server:
        assert attempt(server, scheme="https") == Delivered()


def test_an_unknown_authority(authority):
    """A certificate that nobody vouches for gets no request."""
    requests = []
    with Server(encrypted(authority.context(), lambda connection: requests.append(read_request(connection)))) as server:
        verdict = attempt(server, scheme="https")
    assert isinstance(verdict, Retry)
    assert (verdict.cause, "CERTIFICATE_VERIFY_FAILED" in verdict.message, requests) == ("network", True, [])


def test_another_host(authority, monkeypatch):
    """Neither does the certificate of another host."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    with Server(encrypted(authority.context(), answering(OK))) as server:
        verdict = client(f"https://127.0.0.1:{server.port}").attempt(ANY)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, "SSL validation failed" in verdict.message) == ("network", True)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls(authority, monkeypatch):
    """TLS 1.1 is not spoken."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    context = authority.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with Server(encrypted(context, answering(OK))) as server:
        verdict = attempt(server, scheme="https")
    assert isinstance(verdict, Retry)
    assert verdict.cause == "network"


# --- proxies


def test_a_proxy(monkeypatch):
    """HTTP_PROXY is asked for the whole URL, and gets the signed request."""
    seen = []

    def treat(connection):
        seen.append(read_request(connection))
        connection.sendall(OK)

    with Server(treat) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        sender = client("http://rum.invalid/", insecure=True)
        assert sender.attempt(ANY) == Delivered()
    assert seen[0][0] == f"POST http://rum.invalid{PATH} HTTP/1.1"
    assert any(head.lower().startswith("authorization: aws4-hmac-sha256") for head in seen[0])


def test_a_proxy_for_tls(authority, monkeypatch):
    """HTTPS_PROXY connects through, and reads nothing of the request."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    seen = []

    def treat(connection):
        seen.append(read_request(connection)[0].rpartition(" ")[0])
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        encrypted(authority.context(), answering(OK))(connection)

    with Server(treat) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert client("https://localhost:9443").attempt(ANY) == Delivered()
    assert seen == ["CONNECT localhost:9443"]


def test_awss_own_endpoint_through_a_proxy(authority, monkeypatch):
    """Where AWS is only reached through a proxy: its host with the prefix, and a request that is signed for it."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    seen = []

    def treat(connection):
        seen.append(read_request(connection)[0].rpartition(" ")[0])
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with authority.context().wrap_socket(connection, server_side=True) as secured:
            seen.extend(read_request(secured))
            secured.sendall(OK)

    with Server(treat) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert client(None, region="eu-central-1").attempt(ANY) == Delivered()
    assert seen[:2] == [f"CONNECT {AWS_HOST}:443", f"POST {PATH} HTTP/1.1"]
    assert f"Host: {AWS_HOST}" in seen
    assert any("/eu-central-1/rum/aws4_request" in head for head in seen)


def test_no_proxy(rum, monkeypatch):
    """NO_PROXY excepts hosts."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert client(rum.endpoint).attempt(ANY) == Delivered()


def test_a_proxys_password_is_not_told(refused, monkeypatch):
    """The line about a proxy that cannot be reached does not show who may use it."""
    monkeypatch.setenv("HTTP_PROXY", refused.replace("//", "//user:proxy-password@"))
    verdict = client("http://rum.invalid", insecure=True).attempt(ANY)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, "proxy-password" in verdict.message) == ("network", False)
