"""Which requests an address and its options come to."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

import pytest

from quantlab_collector.storage.objects import (
    Addressing,
    Bucket,
    FaultKind,
    Folder,
    LocalObjects,
    Scheme,
    StoreFault,
    StoreOptions,
    open_objects,
    opening,
    parse_address,
)
from storage.fault_store import BUCKET, answer

ADDRESSES = [
    ("./data", Folder(Path("data"))),
    ("/srv/data", Folder(Path("/srv/data"))),
    ("file:///a%20b/c", Folder(Path("/a b/c"))),
    ("s3://bucket", Bucket(Scheme.S3, "bucket")),
    ("S3://bucket/", Bucket(Scheme.S3, "bucket")),
    ("s3://my.bucket-1/a/b=c/_d.e/", Bucket(Scheme.S3, "my.bucket-1", "a/b=c/_d.e")),
    ("gs://bucket/v1", Bucket(Scheme.GOOGLE, "bucket", "v1")),
    ("az://container/v1", Bucket(Scheme.AZURE, "container", "v1")),
    ("memory://name/x", Bucket(Scheme.MEMORY, "name", "x")),
]


@pytest.mark.parametrize(("url", "address"), ADDRESSES)
def test_addresses(url, address):
    assert parse_address(url) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "url", ["s3://user:hunter2@bucket/x", "s3://bucket/x?token=hunter2", "gs://hunter2!/x", "ftp://hunter2/x"]
)
def test_what_is_wrong_with_an_address_never_shows_it(url):
    with pytest.raises(ValueError) as caught:
        parse_address(url)
    assert "hunter2" not in str(caught.value)


def test_opening_asks_nothing_and_needs_no_credentials():
    assert isinstance(open_objects("s3://bucket", StoreOptions(credentials_file="nowhere")), opening.RemoteObjects)


def test_a_path_is_a_folder(tmp_path):
    assert isinstance(open_objects(str(tmp_path / "data")), LocalObjects)


def test_one_name_in_memory_is_one_store():
    name = uuid.uuid4()
    open_objects(f"memory://{name}").put("k", b"x")
    assert open_objects(f"memory://{name}").get("k") == b"x"
    assert open_objects(f"memory://{uuid.uuid4()}").head("k") is None


def test_the_prefix_is_part_of_the_key(fault_store):
    fault_store.open("v1/a=b").put("k", b"x")
    assert list(fault_store.objects) == ["v1/a=b/k"]


@pytest.mark.parametrize(
    ("bucket", "options", "endpoint", "host"),
    [
        ("bucket", {}, "", True),
        ("dotted.bucket", {}, "", False),
        ("bucket", {"addressing": Addressing.PATH}, "", False),
        ("bucket", {"endpoint": "https://minio"}, "https://minio", False),
        ("bucket", {"endpoint": "https://oss", "addressing": Addressing.VIRTUAL}, "https://bucket.oss", True),
    ],
)
def test_where_the_bucket_stands(bucket, options, endpoint, host, monkeypatch):
    made = {}
    monkeypatch.setattr(opening, "S3Store", lambda name, **config: made.update(config, name=name))
    open_objects(f"s3://{bucket}/p", StoreOptions(**options), environ={})._ladder.reading()
    assert (made["name"], made.get("endpoint", ""), made["virtual_hosted_style_request"]) == (bucket, endpoint, host)


def test_the_endpoint_of_the_environment_counts_as_one(fault_store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", fault_store.endpoint)
    with pytest.raises(StoreFault, match="http:// where only https:// is allowed") as caught:
        open_objects(f"s3://{BUCKET}/p").put("k", b"x")
    assert caught.value.kind is FaultKind.CONFIG
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_objects(f"s3://{BUCKET}/p").put("k", b"x")
    assert fault_store.objects == {"p/k": b"x"}


def test_azure(fault_store, monkeypatch, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"AZURE_STORAGE_ACCOUNT_KEY={base64.b64encode(b'secret').decode()}\n")
    fault_store.inject(answer(201, headers={"ETag": '"x"'}), times=None)
    options = StoreOptions(endpoint=f"{fault_store.endpoint}/acc", account="acc", credentials_file=str(keys))
    open_objects("az://container/p", options).put_new("k=1/l", b"x")
    request = fault_store.attempts[-1].request
    assert request.path == "/acc/container/p/k=1/l"
    assert request.headers["authorization"].startswith("SharedKey acc:")
    assert request.headers["x-ms-meta-sha256"]
    assert request.creates


def test_google(fault_store, monkeypatch):
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "canary")
    fault_store.inject(answer(200, headers={"ETag": '"x"'}), times=None)
    open_objects("gs://bucket/p", StoreOptions(endpoint=fault_store.endpoint)).put_new("k=1/l", b"x")
    request = fault_store.attempts[-1].request
    assert request.path == "/bucket/p%2Fk%3D1%2Fl"
    assert request.headers["x-goog-if-generation-match"] == "0"
