# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is stored is what is read, and nobody gets in by another door."""

from __future__ import annotations

from data_site import Site

CLIENT = """
import hashlib, json, os, socket, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
def read(name):
    return open('/run/secrets/' + name).read()
def client(access, secret):
    return boto3.client('s3', endpoint_url='http://seaweedfs:8333', aws_access_key_id=access,
                        aws_secret_access_key=secret, config=Config(retries={'max_attempts': 1}))
s3 = client(read('mlflow_s3_access_key'), read('mlflow_s3_secret_key'))
def refused(call):
    try:
        call()
    except ClientError as error:
        return error.response['Error']['Code']
    return 'allowed'
"""


def test_hashes_of_what_is_stored_and_read(site: Site) -> None:
    found = site.python(
        "mlflow",
        CLIENT
        + """
result = {}
for size in (0, 1, 4095, 4 << 20, (4 << 20) + 1, 24 << 20):
    data = os.urandom(size)
    s3.put_object(Bucket='mlflow', Key=f'test/{size}', Body=data)
    stored = s3.get_object(Bucket='mlflow', Key=f'test/{size}')['Body'].read()
    result[size] = hashlib.sha256(data).hexdigest() == hashlib.sha256(stored).hexdigest()
    s3.delete_object(Bucket='mlflow', Key=f'test/{size}')
print(json.dumps(result))
""",
    )
    assert set(found.values()) == {True}, found


def test_mlflow_reaches_its_bucket_alone(site: Site) -> None:
    found = site.python(
        "mlflow",
        CLIENT
        + """
from botocore import UNSIGNED
nobody = boto3.client('s3', endpoint_url='http://seaweedfs:8333', config=Config(signature_version=UNSIGNED))
wrong = client(read('mlflow_s3_access_key'), 'x' * 40)
print(json.dumps({
    'other bucket': refused(lambda: s3.list_objects_v2(Bucket='other')),
    'new bucket': refused(lambda: s3.create_bucket(Bucket='other')),
    'drop bucket': refused(lambda: s3.delete_bucket(Bucket='mlflow')),
    'unsigned': refused(lambda: nobody.list_objects_v2(Bucket='mlflow')),
    'wrong key': refused(lambda: wrong.list_objects_v2(Bucket='mlflow')),
}))
""",
    )
    assert set(found.values()) <= {"AccessDenied", "SignatureDoesNotMatch"}, found


def test_master_filer_and_volume_server_are_out_of_reach(site: Site) -> None:
    """They know no passwords; the filer alone would give every object to anybody."""
    found = site.python(
        "mlflow",
        """
import json, socket
open_ports = []
for port in (8080, 8888, 9333, 18080, 18888, 19333, 8181, 9101, 8333, 9327):
    with socket.socket() as probe:
        probe.settimeout(3)
        if probe.connect_ex(('seaweedfs', port)) == 0:
            open_ports.append(port)
print(json.dumps(open_ports))
""",
    )
    assert found == [8333, 9327]


def test_identities_cannot_be_added_by_its_grpc_port(site: Site) -> None:
    """S3's own gRPC port listens with S3, and without a certificate it took identities from anybody."""
    found = site.python(
        "mlflow",
        """
import json, socket
# HTTP/2 in plain text: the preface and an empty SETTINGS frame. A server that talks it answers with its own SETTINGS.
with socket.create_connection(('seaweedfs', 18333), 5) as plain:
    plain.settimeout(5)
    plain.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes(3) + b'\\x04' + bytes(5))
    try:
        answer = plain.recv(64)
    except OSError:
        answer = b''
import ssl
context = ssl._create_unverified_context()
context.set_alpn_protocols(['h2'])
try:
    with socket.create_connection(('seaweedfs', 18333), 5) as raw, context.wrap_socket(raw) as tls:
        tls.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes(3) + b'\\x04' + bytes(5))
        encrypted = tls.recv(64)
except (ssl.SSLError, OSError) as error:
    encrypted = b''
print(json.dumps({'plain': answer[3:4] == b'\\x04', 'encrypted': encrypted[3:4] == b'\\x04'}))
""",
    )
    assert found == {"plain": False, "encrypted": False}
