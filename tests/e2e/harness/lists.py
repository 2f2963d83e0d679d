"""CRLs as a CA makes them, and how they reach a server; and what becomes of the devices that they name."""

import json
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from .authority import Authority, days, now
from .device import admitted, refusal
from .unix_http import UnixConnection

HOLD = x509.ReasonFlags.certificate_hold


def entry(serial, reason=None, *extensions):
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - days(1))
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.build()


def crl(ca, *entries, number=1, signer=None, at=None, extensions=()):
    """A CRL of `ca`. Entries are identities, authorities, serials, or what `entry` made; extensions are critical."""
    made = []
    for each in entries:
        if isinstance(each, Authority):
            each = each.identity
        if not isinstance(each, (int, x509.RevokedCertificate)):
            each = each.certificate.serial_number
        made.append(entry(each) if isinstance(each, int) else each)
    when = at or now()
    # Its own add_revoked_certificate() copies the list for each entry.
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=made)
    builder = builder.issuer_name(ca.name).last_update(when).next_update(when + days(7))
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer or ca.key, hashes.SHA256())


def held(identity):
    return entry(identity.certificate.serial_number, HOLD)


def file_of(made, folder, form="der"):
    path = folder / f"list-{time.monotonic_ns()}.{form}"
    path.write_bytes(made.public_bytes(serialization.Encoding[form.upper()]))
    return str(path)


def post(server, made):
    """POST /v1/crls; (status, answer)."""
    body = made if isinstance(made, bytes) else made.public_bytes(serialization.Encoding.DER)
    connection = UnixConnection(server.socket, timeout=30)
    try:
        connection.request("POST", "/v1/crls", body, {"content-type": "application/pkix-crl"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def imported(server, made, **expected):
    status, outcome = post(server, made)
    assert status == 200, outcome
    for key, value in expected.items():
        assert outcome[key] == value, f"{key}={value} expected in {outcome}"
    return outcome


def known(server, *identities):
    for identity in identities:
        admitted(server.port, identity).close()
        server.registered(identity)


def is_refused(server, identity, reason="device_revoked"):
    alert = "certificate_revoked" if reason == "device_revoked" else "certificate_unknown"
    with server.refuses(reason, serial=identity.serial):
        assert refusal(server.port, identity) == alert
