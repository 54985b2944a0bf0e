"""The table ``[storage.options]``, the names of older deployments, and what goes with what."""

import json
import textwrap

import pytest

from quantlab_collector.config import ConfigError, load, masked
from quantlab_collector.storage.objects import Addressing, Encryption

SECRET = "secrets do not belong into the config: set {} in the environment, or storage.options.credentials_file"
OPEN = "is http:// to another machine, where everybody on the way can read and change; storage.options.allow_http permits it"

WRONG = {
    "types and names": (
        """
        [storage.options]
        endpoint = 5
        regoin = "eu-1"
        addressing = "host"
        allow_http = "true"
        server_side_encryption = "AES"
        checksum = "MD5"
        kms_key_id = "two words"
        ca_file = "nowhere.pem"
        credentials_file = "nowhere"
        """,
        [
            "storage.options.endpoint: must be text, not 5",
            'storage.options.addressing: "host" is not one of auto, path, virtual',
            'storage.options.allow_http: must be true or false, not "true"',
            'storage.options.server_side_encryption: "AES" is not one of none, AES256, aws:kms',
            'storage.options.checksum: "MD5" is not one of none, SHA256',
            "storage.options.regoin: unknown key; did you mean region?",
            "storage.options.kms_key_id: is not the name of a key",
            'storage.options.ca_file: "nowhere.pem" cannot be read: No such file or directory',
            "storage.options.credentials_file: cannot be read: No such file or directory",
        ],
    ),
    "no table": ("[storage]\noptions = 5", ["storage.options: must be a table, not 5"]),
    "secrets": (
        """
        [storage]
        access_key = "hunter2"
        [storage.options]
        aws_access_key_id = "hunter2"
        AWS_SECRET_ACCESS_KEY = "hunter2"
        secret_key = "hunter2"
        session-token = "hunter2"
        account_key = "hunter2"
        service_account_key = "hunter2"
        """,
        [
            f"storage.options.AWS_SECRET_ACCESS_KEY: {SECRET.format('AWS_SECRET_ACCESS_KEY')}",
            f"storage.options.account_key: {SECRET.format('AZURE_STORAGE_ACCOUNT_KEY')}",
            f"storage.options.aws_access_key_id: {SECRET.format('AWS_ACCESS_KEY_ID')}",
            f"storage.options.secret_key: {SECRET.format('AWS_SECRET_ACCESS_KEY')}",
            f"storage.options.service_account_key: {SECRET.format('GOOGLE_APPLICATION_CREDENTIALS')}",
            f"storage.options.session-token: {SECRET.format('AWS_SESSION_TOKEN')}",
            f"storage.access_key: {SECRET.format('AWS_ACCESS_KEY_ID')}",
        ],
    ),
    "an open line": (
        '[storage]\nurl = "s3://bucket"\n[storage.options]\nendpoint = "http://minio:9000"',
        [f"storage.options.endpoint: {OPEN}"],
    ),
    "what another store has": (
        """
        [storage]
        url = "gs://bucket/prefix"
        [storage.options]
        region = "eu-1"
        account = "acc"
        kms_key_id = "k"
        """,
        [
            "storage.options.region: storage.options.region goes with s3:// only",
            "storage.options.kms_key_id: storage.options.kms_key_id goes with s3:// only",
            "storage.options.account: storage.options.account goes with az:// only",
            'storage.options.kms_key_id: storage.options.kms_key_id needs server_side_encryption = "aws:kms"',
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_error_at_once_with_its_place(name, errors):
    text, expected = WRONG[name]
    told = errors(textwrap.dedent(text))
    assert told == [f"collector.toml: {line}" for line in expected]
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("minio:9000", "must begin with https:// or http://"),
        ("https://user:hunter2@minio", "must be an address without user, password and query"),
        ("https://minio?token=hunter2", "must be an address without user, password and query"),
        ("https://:1", "is not an address: its host or port cannot be read"),
        ("https://[::1", "is not an address: its host or port cannot be read"),
        ("https://minio:99999", "is not an address: its host or port cannot be read"),
    ],
)
def test_endpoints_that_are_none(endpoint, text, errors):
    assert errors(f'[storage]\nurl = "s3://bucket"\n[storage.options]\nendpoint = "{endpoint}"') == [
        f"collector.toml: storage.options.endpoint: {text}"
    ]


@pytest.mark.parametrize(
    "url",
    [
        "s3://b",
        "s3:///prefix",
        "s3:/bucket",
        "s3://bu cket",
        "s3://bucket//x",
        "s3://bucket/../x",
        "s3://bucket/a b",
        "http://bucket/x",
        "gs://",
    ],
)
def test_addresses_that_are_none(url, errors):
    (told,) = errors(f'[storage]\nurl = "{url}"')
    assert told.startswith("collector.toml: storage.url: ")


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://x.test/storage/v1/s3"]
)
def test_endpoints_that_will_do(endpoint, load_text):
    config = load_text(f'[storage]\nurl = "S3://bucket/v1/"\n[storage.options]\nendpoint = "{endpoint}"')
    assert config.storage.options.endpoint == endpoint


def test_an_open_line_may_be_permitted(load_text):
    text = '[storage]\nurl = "s3://bucket"\n[storage.options]\nendpoint = "http://minio:9000"\nallow_http = true'
    assert load_text(text).storage.options.allow_http


def test_all_of_it(load_text, tmp_path):
    (tmp_path / "keys").write_text("AWS_ACCESS_KEY_ID=hunter1\nAWS_SECRET_ACCESS_KEY=hunter2\n")
    text = """
        [storage]
        url = "s3://bucket/v1"
        [storage.options]
        region = "eu-central-1"
        addressing = "virtual"
        credentials_file = "keys"
        server_side_encryption = "aws:kms"
        kms_key_id = "arn:aws:kms:eu-central-1:1:key/2"
        checksum = "SHA256"
        """
    config = load_text(text)
    assert config.storage.options.addressing is Addressing.VIRTUAL
    assert config.storage.options.server_side_encryption is Encryption.KMS
    shown = masked(config)["storage"]["options"]
    assert (shown["credentials_file"], shown["kms_key_id"]) == ("keys", "arn:aws:kms:eu-central-1:1:key/2")
    assert "hunter" not in json.dumps(masked(config)) + repr(config)


def test_a_credentials_file_is_looked_at_before_the_start(errors, tmp_path):
    (tmp_path / "keys").write_text("AWS_SECRET=hunter2\n")
    (told,) = errors('[storage]\nurl = "s3://bucket"\n[storage.options]\ncredentials_file = "keys"')
    assert told.startswith(
        "collector.toml: storage.options.credentials_file: line 1 of the credentials file is not NAME=VALUE of AWS_"
    )
    assert "hunter2" not in told


def test_simulating_is_possible_whatever_the_store(load_text):
    text = '[storage]\nurl = "az://container"\n[storage.options]\naccount = "acc"'
    assert load_text(text, {"QUANTLAB_STORAGE__URL": "./data-simulated"})


# -------------------------------------------------------------------------------------------------------- older names

OLDER = {
    "STORAGE_BACKEND": "minio",
    "S3_ENDPOINT": "http://127.0.0.1:9000",
    "S3_BUCKET": "bucket",
    "S3_PREFIX": "/v1/",
    "S3_ACCESS_KEY": "hunter1",
    "S3_SECRET_KEY": "hunter2",
}


def test_older_names(load_text):
    config = load_text("", OLDER)
    assert config.storage.url == "s3://bucket/v1"
    assert config.storage.options.endpoint == "http://127.0.0.1:9000"
    assert "hunter" not in json.dumps(masked(config)) + repr(config)


def test_the_file_and_the_newer_names_go_above_them(load_text):
    text = '[storage]\nurl = "s3://file"'
    assert load_text(text, OLDER).storage.url == "s3://file"
    newer = {"QUANTLAB_STORAGE__URL": "s3://newer", "QUANTLAB_STORAGE__OPTIONS__ENDPOINT": "https://newer"}
    storage = load_text(text, OLDER | newer).storage
    assert (storage.url, storage.options.endpoint) == ("s3://newer", "https://newer")


@pytest.mark.parametrize("backend", ["local", "", None])
def test_without_a_backend_they_mean_something_else(backend, load_text):
    environ = {name: text for name, text in OLDER.items() if name != "STORAGE_BACKEND"}
    assert load_text("", environ | ({} if backend is None else {"STORAGE_BACKEND": backend})) == load_text()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"STORAGE_BACKEND": "tape"}, ['STORAGE_BACKEND: "tape" is not one of local, s3, minio']),
        ({"S3_BUCKET": ""}, ["S3_BUCKET: must name the bucket: STORAGE_BACKEND is minio"]),
        ({"S3_BUCKET": "a/../b"}, ["S3_BUCKET: must name a bucket after s3://"]),
        ({"S3_ENDPOINT": ""}, ["S3_ENDPOINT: must be the address of the server: STORAGE_BACKEND is minio"]),
        ({"S3_ENDPOINT": "minio:9000"}, ["S3_ENDPOINT: must begin with https:// or http://"]),
        ({"S3_ENDPOINT": "http://minio:9000"}, [f"S3_ENDPOINT: {OPEN}"]),
        ({"S3_SECRET_KEY": ""}, ["S3_SECRET_KEY: must be set where S3_ACCESS_KEY is"]),
        (
            {"S3_ACCESS_KEY": "", "S3_BUCKET": "", "QUANTLAB_STATUS__PORT": "x"},
            [
                "S3_BUCKET: must name the bucket: STORAGE_BACKEND is minio",
                "S3_ACCESS_KEY: must be set where S3_SECRET_KEY is",
                'QUANTLAB_STATUS__PORT: must be a whole number, not "x"',
            ],
        ),
    ],
)
def test_errors_in_older_names(more, expected, exchanges):
    with pytest.raises(ConfigError) as caught:
        load(None, OLDER | more, exchanges=exchanges)
    assert list(caught.value.errors) == expected
    assert "hunter" not in str(caught.value)
