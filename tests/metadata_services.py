"""Metadata services of clouds on a loopback address: what each answers, and what it was asked."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

AWS = "/latest/dynamic/instance-identity/document"
AWS_TOKEN = "/latest/api/token"
ALIYUN = "/latest/meta-data"
AZURE = "/metadata/instance/compute?api-version=2021-02-01"
GCP = "/computeMetadata/v1/instance/zone"
OPENSTACK = "/openstack/latest/meta_data.json"
DIGITALOCEAN = "/metadata/v1.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """An answer, given only to requests with these headers."""

    body: str = ""
    status: int = 200
    method: str = "GET"
    wants: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The answer waits for it.
    after: threading.Event | None = None


def in_json(content: object, **options) -> Route:
    """An answer in JSON."""
    return Route(body=json.dumps(content), **options)


AWS_PLACE = {"region": "eu-west-1", "availabilityZone": "eu-west-1b", "accountId": "1"}
TOKEN = {"X-aws-ec2-metadata-token": "a-token"}
#: Cloud -> what its service answers.
CLOUDS = {
    "aws, version 1": {AWS: in_json(AWS_PLACE)},
    "aws, version 2": {
        AWS_TOKEN: Route(body="a-token", method="PUT"),
        AWS: in_json(AWS_PLACE, wants=TOKEN),
    },
    "aliyun": {
        f"{ALIYUN}/zone-id": Route(body="cn-hangzhou-b"),
        f"{ALIYUN}/region-id": Route(body="cn-hangzhou\n"),
    },
    "azure": {AZURE: in_json({"location": "westeurope", "zone": "2"}, wants={"Metadata": "true"})},
    "azure without zones": {
        AZURE: in_json({"location": "westus", "zone": ""}, wants={"Metadata": "true"})
    },
    "gcp": {
        GCP: Route(
            body="projects/123/zones/europe-west1-d",
            wants={"Metadata-Flavor": "Google", "Host": "metadata.google.internal"},
            headers={"Metadata-Flavor": "Google"},
        )
    },
    "openstack": {OPENSTACK: in_json({"uuid": "u-1", "availability_zone": "nova"})},
    "digitalocean": {DIGITALOCEAN: in_json({"droplet_id": 7, "region": "nyc3"})},
}


class MetadataService:
    """One service; `routes` may change while it runs."""

    def __init__(self, routes: Mapping[str, Route] | None = None) -> None:
        self.routes = dict(routes or {})
        #: Method and path of each request.
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(f"{self.command} {self.path}")
                route = service.routes.get(self.path)
                fits = (
                    route is not None
                    and route.method == self.command
                    and all(self.headers.get(name) == text for name, text in route.wants.items())
                )
                answer = route if fits else Route(status=404, body="not here")
                if answer.after is not None:
                    answer.after.wait(30)
                try:
                    self.send_response(answer.status)
                    for name, text in answer.headers.items():
                        self.send_header(name, text)
                    self.end_headers()
                    self.wfile.write(answer.body.encode())
                except OSError:  # nobody waited
                    pass

            do_PUT = do_GET  # noqa: N815 -- the name that the server looks for

            def log_message(self, *_) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Its base url."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
