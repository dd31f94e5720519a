"""What a user of S3 does with boto3: a file up in parts, and down again, as one stream and in parts. ENDPOINT FILE."""

import hashlib
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

endpoint, path = sys.argv[1:]
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="eu-central-1",
    aws_access_key_id="tester",
    aws_secret_access_key="a secret of nobody",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)
transfer = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=3)
with open(path, "rb") as file:
    expected = hashlib.sha256(file.read()).hexdigest()

s3.upload_file(path, "shop", "noise", Config=transfer)

streamed = hashlib.sha256()
for part in s3.get_object(Bucket="shop", Key="noise")["Body"].iter_chunks(1 << 16):
    streamed.update(part)
assert streamed.hexdigest() == expected, "as one stream"

s3.download_file("shop", "noise", path + ".back", Config=transfer)
with open(path + ".back", "rb") as file:
    assert hashlib.sha256(file.read()).hexdigest() == expected, "in parts"
print(expected)
