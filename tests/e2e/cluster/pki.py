"""What the cluster trusts: a certificate authority made for one run, what it signs, and the key of service account tokens."""
import datetime
import ipaddress
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://kubernetes.default.svc"
# kube-apiserver takes a token for this long after its exp.
LEEWAY = 60


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common_name, organization=None):
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


class Authority:
    """Files in a folder: ca.crt, and NAME.crt with NAME.key for each certificate made."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("ipamd-e2e")
        self.ca = folder / "ca.crt"
        builder = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self._write(self.ca, builder)
        self.token_key = folder / "tokens.key"
        self.token_public_key = folder / "tokens.pub"
        self._make_token_key()

    def _builder(self, subject, key):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
                .not_valid_after(now + datetime.timedelta(days=1)))

    def _write(self, path, builder):
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _issue(self, file_name, subject, usage, names=()):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate, key_file = self.folder / f"{file_name}.crt", self.folder / f"{file_name}.key"
        self._write(certificate, builder)
        key_file.write_bytes(_pem(key))
        return certificate, key_file

    def issue_server(self, file_name):
        """For servers on loopback."""
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self._issue(file_name, _name("localhost"), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_client(self, file_name, user, group=None):
        return self._issue(file_name, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _make_token_key(self):
        key = ec.generate_private_key(ec.SECP256R1())
        self.token_key.write_bytes(_pem(key))
        self.token_public_key.write_bytes(key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))

    def sign_token(self, namespace, name, uid, lifetime):
        """A token as the TokenRequest API makes them, but for as few seconds as wanted (that API gives ten minutes at least)."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": [ISSUER], "sub": f"system:serviceaccount:{namespace}:{name}", "iat": now - 120,
                  "nbf": now - 120, "exp": now + lifetime - LEEWAY,
                  "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}}
        return jwt.encode(claims, self.token_key.read_bytes(), algorithm="ES256")
