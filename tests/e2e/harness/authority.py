"""A fast PKI in memory (python3-cryptography), for the many variants the guides' commands do not make.

An Authority issues Identities: a certificate, its key and the chain a client sends with it, also as PEM files,
since Python's ssl and the mosquitto clients read files only.
"""

import datetime
import itertools
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_files = itertools.count(1)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)


def days(count):
    return datetime.timedelta(days=count)


def new_key(kind="p256"):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


def name_of(cn):
    """`cn` under our organisation; a whole name is taken as it is."""
    if isinstance(cn, x509.Name):
        return cn
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sallyport tests"),
                      x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _tlv(tag, body):
    length = bytes([len(body)]) if len(body) < 128 else None
    if length is None:
        digits = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
        length = bytes([0x80 | len(digits)]) + digits
    return bytes([tag]) + length + body


def with_signature(certificate, signature):
    """The same certificate to the last byte but its signature."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    return x509.load_der_x509_certificate(
        _tlv(0x30, certificate.tbs_certificate_bytes + algorithm + _tlv(0x03, b"\0" + signature)))


def with_other_s(certificate):
    """ECDSA's twin: (r, n − s) verifies exactly when (r, s) does, and gives another fingerprint."""
    r, s = decode_dss_signature(certificate.signature)
    return with_signature(certificate, encode_dss_signature(r, _P256_ORDER - s))


class Identity:
    """A certificate with its key, and the certificates its owner sends along."""

    def __init__(self, folder, certificate, key, sent=()):
        self.certificate = certificate
        self.key = key
        self.sent = tuple(sent)
        stem = Path(folder) / f"{next(_files)}"
        self.chain_file = f"{stem}.crt"
        self.key_file = f"{stem}.key"
        Path(self.chain_file).write_text("".join(pem(each) for each in (certificate, *self.sent)))
        descriptor = os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))

    @property
    def id(self):
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def serial(self):
        digits = f"{self.certificate.serial_number:X}"
        return digits if len(digits) % 2 == 0 else "0" + digits

    @property
    def cn(self):
        return self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


class Authority:
    """A CA, root or below another one."""

    def __init__(self, folder, cn="Test CA", kind="p256", parent=None, key=None, path_length=None, ca=True,
                 not_before=None, not_after=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parent = parent
        self.key = key or new_key(kind)
        self.name = name_of(cn)
        issuer = parent or self
        builder = (x509.CertificateBuilder().subject_name(self.name).issuer_name(issuer.name)
                   .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(not_before or now() - days(1)).not_valid_after(not_after or now() + days(3650))
                   .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False))
        self.certificate = builder.sign(issuer.key, _hash_for(issuer.key))
        self.identity = Identity(self.folder, self.certificate, self.key)

    @property
    def id(self):
        return self.identity.id

    def issue(self, cn="device", *, kind="p256", key=None, serial=None, not_before=None, not_after=None, eku=None,
              ca=None, sent=(), dns=(), signer=None, subject=None, extra=()):
        """A leaf. `signer`: another key under this CA's name. `ca`: basic constraints; None leaves them out."""
        key = key or new_key(kind)
        builder = (x509.CertificateBuilder().subject_name(subject or name_of(cn)).issuer_name(self.name)
                   .public_key(key.public_key()).serial_number(serial or x509.random_serial_number())
                   .not_valid_before(not_before or now() - days(1)).not_valid_after(not_after or now() + days(500)))
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if eku is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
        if dns:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in dns]),
                                            critical=False)
        for extension in extra:
            builder = builder.add_extension(extension, critical=False)
        signing_key = signer or self.key
        return Identity(self.folder, builder.sign(signing_key, _hash_for(signing_key)), key, sent)

    def server(self, *dns, kind="p256"):
        """A server certificate with its chain file, as the configuration's `certificates` takes it."""
        identity = self.issue(dns[0], kind=kind, dns=dns, eku=[ExtendedKeyUsageOID.SERVER_AUTH],
                              sent=[self.certificate])
        return identity

    def verification(self, code, signer=None, cn=None):
        """What proves possession of the CA's key: a certificate signed by it with the code as CN."""
        return self.issue(cn or code, signer=signer)

    def register(self, server, *flags):
        """Registers this CA the way an operator does; returns its id."""
        proof = self.verification(server.cli("ca", "code").stdout.strip())
        return server.cli("ca", "register", self.identity.chain_file, proof.chain_file, *flags).stdout.strip()


def _hash_for(key):
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
