"""How tests reach the real S3 server, if there is one: ``nox -s s3`` starts it and says in the environment where it is."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import attrs
import pytest

from quantlab_collector.storage.objects import StoreOptions, open_objects
from s3.ceph import ACCESS_KEY, BUCKET, SECRET_KEY, Ceph

VARIABLE = "QUANTLAB_TEST_S3_DIR"
WHY_NOT = "no real S3 server: nox -s s3 starts one"


class RealStore:
    """A place of its own in the real server's bucket."""

    def __init__(self):
        if not os.environ.get(VARIABLE):
            pytest.skip(WHY_NOT)
        self.server = Ceph(Path(os.environ[VARIABLE]))
        self.endpoint, self.bucket = self.server.endpoint, BUCKET
        self.prefix = f"t-{uuid.uuid4().hex}"
        self.url = f"s3://{self.bucket}/{self.prefix}"
        self.options = StoreOptions(endpoint=self.endpoint, region="us-east-1")
        self.environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def open(self, url=None, *, lanes=8, **more):
        return open_objects(url or self.url, attrs.evolve(self.options, **more), lanes=lanes)
