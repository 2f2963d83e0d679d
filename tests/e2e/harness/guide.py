"""A PKI made by the very openssl commands of the managed clouds' certificate guides, RSA or ECC.

`-subj` and `-config` stand in for the prompts, nothing else is changed: these files are what a customer who
moves over brings along (CAs without keyUsage, devices that are CA:FALSE with keyCertSign, v1 verification
certificates). The fast PKI for the many variants is in authority.py.
"""

import subprocess
from pathlib import Path

OPENSSL_CNF = "/usr/lib/ssl/openssl.cnf"

CSR_CFG = """[req]
default_bits = 2048
prompt = no
default_md = sha256
distinguished_name = dn
[dn]
C=CN
ST=ZJ
L=HZ
O=ALI
OU=MQTT
emailAddress=xxx@xxx
CN={cn}
"""
CLIENT_CRT_CFG = """authorityKeyIdentifier=keyid,issuer
basicConstraints=CA:FALSE
keyUsage = digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, keyCertSign
"""
SERVER_CRT_CFG = CLIENT_CRT_CFG + """extendedKeyUsage = serverAuth, clientAuth
subjectAltName = @alt_names
[alt_names]
DNS.1=*.mqtt.aliyuncs.com
DNS.2=localhost
"""


class GuidePki:
    """CA.crt, server_chain.crt, server_pkcs8.key, client_chain.crt and the rest, in `folder`."""

    def __init__(self, folder, kind):
        self.folder = Path(folder)
        self.kind = kind  # "rsa" | "ecc"
        self.folder.mkdir(parents=True)
        self._ca()
        self._leaf("server", "mqtt-test.xxx.aliyuncs.com", SERVER_CRT_CFG)
        self.openssl("pkcs8 -topk8 -nocrypt -in server.key -out server_pkcs8.key")
        self.concat("server_chain.crt", "server.crt", "CA.crt")
        self.device("client", "client-test")

    def path(self, name):
        return str(self.folder / name)

    def openssl(self, arguments, *more):
        command = ["openssl", *arguments.split(), *more]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def concat(self, name, *parts):
        (self.folder / name).write_text("".join((self.folder / part).read_text() for part in parts))

    def _key(self, name):
        if self.kind == "rsa":
            self.openssl(f"genrsa -out {name}.key 2048")
        else:
            self.openssl(f"ecparam -genkey -name prime256v1 -out {name}.key")

    def _ca(self):
        subject = "/C=CN/ST=ZJ/O=ALI/CN=Guide CA " + self.kind
        self._key("CA")
        if self.kind == "rsa":
            self.openssl("req -new -key CA.key -out CA.csr -subj", subject)
            self.openssl(f"x509 -req -extfile {OPENSSL_CNF} -extensions v3_ca -in CA.csr -out CA.crt "
                         "-signkey CA.key -CAcreateserial -days 3650")
        else:
            self.openssl(f"req -new -x509 -days 3650 -config {OPENSSL_CNF} -extensions v3_ca -key CA.key "
                         "-out CA.crt -subj", subject)

    def _leaf(self, name, cn, extensions, issuer="CA"):
        (self.folder / f"{name}.csr.cfg").write_text(CSR_CFG.format(cn=cn))
        (self.folder / f"{name}.crt.cfg").write_text(extensions)
        if self.kind == "rsa":
            self.openssl(f"req -new -sha256 -nodes -out {name}.csr -newkey rsa:2048 -keyout {name}.key "
                         f"-config {name}.csr.cfg")
        else:
            self.openssl(f"ecparam -out {name}.key -name prime256v1 -genkey")
            self.openssl(f"req -new -sha256 -nodes -out {name}.csr -key {name}.key -config {name}.csr.cfg")
        self.openssl(f"x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial "
                     f"-out {name}.crt -days 500 -sha256 -extfile {name}.crt.cfg")

    def device(self, name, cn, issuer="CA", chain=("CA",)):
        """A device certificate, its PKCS#8 key and its chain file, device first, as the guide builds it."""
        self._leaf(name, cn, CLIENT_CRT_CFG, issuer)
        self.openssl(f"pkcs8 -topk8 -nocrypt -in {name}.key -out {name}_pkcs8.key")
        self.concat(f"{name}_chain.crt", f"{name}.crt", *(f"{part}.crt" for part in chain))

    def intermediate(self, name, cn):
        """A CA below CA.crt, with the extensions of the guide's own CA."""
        self._key(name)
        self.openssl(f"req -new -key {name}.key -out {name}.csr -subj", "/C=CN/O=ALI/CN=" + cn)
        self.openssl(f"x509 -req -extfile {OPENSSL_CNF} -extensions v3_ca -in {name}.csr -out {name}.crt "
                     "-CA CA.crt -CAkey CA.key -CAcreateserial -days 3650")

    def verification(self, code, issuer="CA"):
        """The verification certificate: the code as CN, X.509 v1, as the guide's commands give it."""
        if self.kind == "rsa":
            self.openssl("genrsa -out verificationCert.key 2048")
        else:
            self.openssl("ecparam -out verificationCert.key -name prime256v1 -genkey")
        self.openssl("req -new -key verificationCert.key -out verificationCert.csr -subj", "/CN=" + code)
        self.openssl(f"x509 -req -in verificationCert.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial "
                     "-out verificationCert.crt -days 300 -sha512")
        return self.path("verificationCert.crt")

    def register(self, server, issuer="CA", *flags):
        """Registers CA.crt (or an intermediate) the way an operator does; returns the CA's id."""
        verification = self.verification(server.cli("ca", "code").stdout.strip(), issuer)
        return server.cli("ca", "register", self.path(issuer + ".crt"), verification, *flags).stdout.strip()

    def fingerprint(self, name):
        text = self.openssl(f"x509 -in {name}.crt -noout -fingerprint -sha256")
        return text.split("=")[1].strip().replace(":", "").lower()

    def serial(self, name):
        return self.openssl(f"x509 -in {name}.crt -noout -serial").split("=")[1].strip()
