"""What a remote store is sent, with whose keys, and over which lines."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from quantlab_collector.storage.objects import FaultKind, StoreFault, open_objects
from storage.fault_store import (
    BUCKET,
    KEY_ID,
    SECRET,
    FaultStore,
    answer,
)

# ------------------------------------------------------------------------------------------------------ what is sent


def headers_of_a_put(store, **options):
    store.open(**options).put("k", b"data")
    return store.attempts_of("k")[-1].request.headers


def test_an_object_carries_its_hash(fault_store):
    headers_of_a_put(fault_store)
    assert fault_store.metadata["k"] == {"sha256": "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"}


def test_no_extra_is_sent_unless_it_was_asked_for(fault_store):
    headers = headers_of_a_put(fault_store)
    assert not [name for name in headers if "encryption" in name or "checksum" in name]


@pytest.mark.parametrize("body", [b"x", bytes(6 * 1024 * 1024)], ids=["small", "large"])
@pytest.mark.parametrize("how", ["put", "put_new"])
def test_encryption_and_checksum_are_asked_for_with_every_object(body, how, fault_store):
    fault_store_options = {"server_side_encryption": "AES256", "checksum": "SHA256"}
    objects = fault_store.open(**options_of(fault_store_options))
    getattr(objects, how)("k", body)
    (attempt,) = fault_store.attempts_of("k")
    assert attempt.request.headers["x-amz-server-side-encryption"] == "AES256"
    assert attempt.request.headers["x-amz-checksum-sha256"]


def test_a_key_of_the_key_service_is_named(fault_store):
    headers = headers_of_a_put(fault_store, **options_of({"server_side_encryption": "aws:kms", "kms_key_id": "key/1"}))
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key/1"


def options_of(texts):
    from quantlab_collector.storage.objects import Checksum, Encryption

    kinds = {"server_side_encryption": Encryption, "checksum": Checksum}
    return {key: kinds.get(key, str)(text) for key, text in texts.items()}


# ------------------------------------------------------------------------------------------------------- credentials


def test_credentials_of_a_file_are_read_again(fault_store, tmp_path, monkeypatch):
    path = tmp_path / "credentials"
    path.write_text(f"# rotated\nexport AWS_ACCESS_KEY_ID=old\nAWS_SECRET_ACCESS_KEY='{SECRET}'\n")
    # A token of another key must not be sent along.
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-key")
    objects = fault_store.open(credentials_file=str(path))
    for _ in range(2):
        with pytest.raises(StoreFault, match="InvalidAccessKeyId") as caught:
            objects.put("k", b"x")
        assert caught.value.kind is FaultKind.AUTH
        path.write_text(f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    objects.renew()
    objects.put("k", b"x")
    assert fault_store.objects == {"k": b"x"}
    assert not [attempt for attempt in fault_store.attempts if "x-amz-security-token" in attempt.request.headers]


@pytest.mark.parametrize(
    "content",
    [None, "", "AWS_ACCESS_KEY_ID=hunter2\n", "AWS_SECRET_ACCESS_KEY hunter2\n", "AWS_ENDPOINT=hunter2\n", b"\xffhunter2"],
)
def test_a_credentials_file_that_is_none(content, fault_store, tmp_path):
    path = tmp_path / "credentials"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreFault, match="credentials file") as caught:
        fault_store.open(credentials_file=str(path)).put("k", b"x")
    assert caught.value.kind is FaultKind.AUTH
    assert "hunter2" not in str(caught.value)
    assert not fault_store.attempts


@pytest.mark.parametrize("content", [None, '{"private_key": "hunter2", ', "{}"])
def test_a_file_of_google_that_is_none(content, fault_store, tmp_path):
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    objects = open_objects("gs://bucket", fault_store.options(region="", credentials_file=str(path)))
    with pytest.raises(StoreFault, match="the credentials file") as caught:
        objects.put("k", b"x")
    assert caught.value.kind is FaultKind.AUTH
    assert "hunter2" not in str(caught.value)


def test_no_credentials_anywhere(fault_store, monkeypatch):
    for name in fault_store.environ:
        monkeypatch.delenv(name)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for metadata in (nowhere, f"{fault_store.endpoint}/role"):  # there is none, or one that knows of no role
            monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata)
            with pytest.raises(StoreFault, match="no credentials: the environment has none") as caught:
                fault_store.open().put("k", b"x")
            assert caught.value.kind is FaultKind.AUTH


@pytest.mark.parametrize(
    ("fault", "kind"), [(answer(400), FaultKind.AUTH), (answer(503), FaultKind.TRANSIENT)], ids=["refused", "down"]
)
def test_a_token_that_is_not_given(fault, kind, fault_store, monkeypatch):
    """Azure's way to credentials: an application asks for a token elsewhere."""
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", fault_store.endpoint)
    fault_store.inject(fault, times=None)
    with pytest.raises(StoreFault) as caught:
        open_objects("az://container", fault_store.options(region="", account="acc")).put("k", b"x")
    assert caught.value.kind is kind
    assert "canary" not in str(caught.value)


def test_the_older_names_are_credentials_where_they_name_the_store(fault_store, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-something-else")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-something-else")
    monkeypatch.setenv("S3_ACCESS_KEY", KEY_ID)
    monkeypatch.setenv("S3_SECRET_KEY", SECRET)
    with pytest.raises(StoreFault, match="InvalidAccessKeyId"):
        fault_store.open().put("k", b"x")
    monkeypatch.setenv("STORAGE_BACKEND", "minio")
    fault_store.open().put("k", b"x")
    assert fault_store.objects == {"k": b"x"}


def test_no_secret_is_in_what_a_store_says_of_itself(fault_store):
    objects = fault_store.open("prefix")
    assert str(objects) == f"s3://{BUCKET}/prefix"
    assert SECRET not in f"{objects!r} {vars(objects)}"


# --------------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_of_ones_own_authority(tmp_path, monkeypatch):
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    with FaultStore(ssl_context=context) as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        store.open(ca_file=str(tmp_path / "ca.pem")).put("k", b"x")
        assert store.objects == {"k": b"x"}
        for more in ({}, {"ca_file": str(tmp_path / "other.pem")}):
            with pytest.raises(StoreFault, match="certificate is not trusted") as caught:
                store.open(**more).put("k", b"y")
            assert caught.value.kind is FaultKind.CONFIG
        assert store.objects == {"k": b"x"}
