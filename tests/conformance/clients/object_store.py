# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the cluster: stores objects, or reads back what an earlier run with the same TOKEN has stored.

Contents follow from token and size alone, so that the reading run knows what it must find. VERB: store, read or remove.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

SIZES = (0, 1, 4095, (8 << 20) + 1)
PART = 5 << 20
TOKEN, BUCKET, ENDPOINT = os.environ["TOKEN"], os.environ["BUCKET"], os.environ["MLFLOW_S3_ENDPOINT_URL"]
STYLE = {"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "path")}
KEYS = {name: Path(os.environ[f"{name}_FILE"]).read_text().strip() for name in ("ACCESS_KEY", "SECRET_KEY")}


def client(access: str, secret: str, **more: object):
    config = Config(retries={"max_attempts": 3}, s3=STYLE, **more)
    return boto3.client(
        "s3", endpoint_url=ENDPOINT, aws_access_key_id=access, aws_secret_access_key=secret, config=config
    )


def content(size: int) -> bytes:
    block = hashlib.sha256(f"{TOKEN} {size}".encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def key(size: int) -> str:
    return f"{TOKEN}/{size}"


def store(s3) -> None:
    for size in SIZES:
        s3.put_object(Bucket=BUCKET, Key=key(size), Body=content(size))
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=f"{TOKEN}/parts")["UploadId"]
    parts = []
    for number in (1, 2):
        part = s3.upload_part(
            Bucket=BUCKET, Key=f"{TOKEN}/parts", UploadId=upload, PartNumber=number, Body=content(PART)
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key=f"{TOKEN}/parts", UploadId=upload, MultipartUpload={"Parts": parts})


def read(s3) -> list[str]:
    problems = []
    for name, wanted in [*((key(size), content(size)) for size in SIZES), (f"{TOKEN}/parts", content(PART) * 2)]:
        found = s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        hashes = [hashlib.sha256(data).hexdigest() for data in (found, wanted)]
        print(name, len(found), hashes[0])
        if hashes[0] != hashes[1]:
            problems.append(f"{name}: {len(found)} bytes came back, not the {len(wanted)} that were stored")
    return problems


def refusals() -> list[str]:
    """Who has no key, or a wrong one, gets nothing."""
    problems = []
    nobody = client("x", "x", signature_version=UNSIGNED)
    for who, s3 in {"without a key": nobody, "with a wrong key": client(KEYS["ACCESS_KEY"], "x" * 40)}.items():
        try:
            s3.get_object(Bucket=BUCKET, Key=key(1))
            problems.append(f"{who} an object could be read")
        except ClientError:
            pass
    return problems


def remove(s3) -> None:
    for listed in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{TOKEN}/").get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=listed["Key"])


def main() -> int:
    s3, verb, problems = client(KEYS["ACCESS_KEY"], KEYS["SECRET_KEY"]), os.environ["VERB"], []
    if verb == "store":
        if os.environ.get("MAKE_BUCKET") == "true":
            s3.create_bucket(Bucket=BUCKET)
        store(s3)
        problems = read(s3) + refusals()
    else:
        problems = read(s3)
        remove(s3)
        if os.environ.get("MAKE_BUCKET") == "true":
            s3.delete_bucket(Bucket=BUCKET)
    print("\n".join(problems) or f"{verb}: as it should be")
    return 1 if problems else 0


sys.exit(main())
