"""What the reader of an operators' page has before he begins: admin/docs/README.md says the same in words.

    work/   the folder where he stands: his CA of devices, three devices, the CA of his server certificates
    etc/    /etc/sallyport: the server's certificate and key"""

import datetime
import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from .authority import Authority, now


def named(cn):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                      x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def put(identity, folder, name, key_name=None):
    shutil.copy(identity.chain_file, folder / f"{name}.crt")
    shutil.copy(identity.key_file, folder / f"{key_name or name}.key")


def revocation_list(authority, *serials):
    """A CRL of the authority, as PEM."""
    builder = (x509.CertificateRevocationListBuilder().issuer_name(authority.name).last_update(now())
               .next_update(now() + datetime.timedelta(days=30)).add_extension(x509.CRLNumber(1), critical=False))
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial)
                                                  .revocation_date(now()).build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def lay_in(folder):
    """Makes it all below `folder`, which must not be there, and returns the CA of the devices."""
    folder = Path(folder)
    work, etc, made = folder / "work", folder / "etc", folder / "made"
    for each in (work, etc, made):
        each.mkdir(parents=True)
    fleet, servers = Authority(made / "fleet", named("Fleet CA")), Authority(made / "servers", named("Server CA"))
    put(fleet.identity, work, "fleet_ca")
    put(servers.identity, work, "server_ca")
    meters = [fleet.issue(name, subject=named(name)) for name in ("meter-1", "meter-2", "meter-3")]
    for meter in meters:
        put(meter, work, meter.cn)
    put(servers.server("localhost"), etc, "server_chain", "server_pkcs8")
    (work / "fleet_ca.crl").write_text(revocation_list(fleet, meters[2].certificate.serial_number))
    (work / "ca_id_at_aws").write_text("0" * 64 + "\n")
    return fleet
