"""nginx: as the upstream registry, as the limit of what can be reached, and as a cache."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content import IMAGE_TAG, INDEX_TYPE, MANIFEST_TYPE, REPOSITORY, TAG
from benchmarks.peers.base import Place

ACCESS_LOG = "access.log"

_MAIN = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 4096; }}
http {{
  log_format bytes '$request_method $uri $status $bytes_sent';
  access_log {access_log};
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  sendfile on; tcp_nopush on;
  keepalive_requests 1000000;
{http}
  server {{
    listen 127.0.0.1:{port}{tls};
{server}
  }}
}}
"""

_STATIC = """
    open_file_cache max=1000 inactive=60s;
    location = /v2/ {{ default_type application/json; return 200 '{{}}'; }}
    location = /v2/{repository}/manifests/{tag} {{
      alias {directory}/index.json; default_type {media_type}; types {{ }}
      add_header Docker-Content-Digest {digest}; etag off;
    }}
    location = /v2/{repository}/manifests/{digest} {{
      alias {directory}/index.json; default_type {media_type}; types {{ }}
      add_header Docker-Content-Digest {digest}; etag off;
    }}
    location ~ ^/v2/{repository}/manifests/({image_tag}|{image_digest})$ {{
      alias {image}; default_type {image_type}; types {{ }}
      add_header Docker-Content-Digest {image_digest}; etag off;
    }}
    location /v2/{repository}/blobs/ {{
      alias {directory}/blobs/; default_type application/octet-stream; types {{ }}
    }}
"""

_CACHE_HTTP = """
  proxy_cache_path {directory}/cache keys_zone=held:10m max_size=50g use_temp_path=off;
  upstream origin {{ server {upstream}; keepalive 32; }}
"""

_CACHE_SERVER = """
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache held;
      proxy_cache_valid 200 1h;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 300s;
      proxy_cache_lock_age 300s;
    }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """One worker, over the files of the content or as a cache of the upstream."""

    name: str
    is_cache: bool = False
    logged: bool = False
    secure: bool = False
    program: str = "/usr/sbin/nginx"

    def version(self) -> str:
        """See Peer."""
        run = subprocess.run([self.program, "-v"], capture_output=True, text=True, check=True)
        return run.stderr.strip().rpartition("/")[2]

    def prepare(self, place: Place) -> list[str]:
        """See Peer."""
        http, server = self._cache(place) if self.is_cache else ("", self._static(place))
        configuration = _MAIN.format(
            # As root the worker would be another user, who may not see the directory.
            user="user root;" if os.geteuid() == 0 else "",
            access_log=f"{ACCESS_LOG} bytes" if self.logged else "off",
            http=http,
            port=place.port,
            tls=" backlog=1024" + self._tls(place),
            server=server,
        )
        file = place.directory / "nginx.conf"
        file.write_text(configuration, encoding="utf-8")
        return [self.program, "-p", str(place.directory), "-e", "error.log", "-c", str(file)]

    def _tls(self, place: Place) -> str:
        if not self.secure:
            return ""
        pair = place.content.certificate
        return f" ssl; ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key}"

    def _static(self, place: Place) -> str:
        content = place.content
        image, image_digest = content.image()
        return _STATIC.format(
            repository=REPOSITORY,
            tag=TAG,
            directory=content.directory,
            media_type=INDEX_TYPE,
            digest=content.index_digest,
            image=image,
            image_tag=IMAGE_TAG,
            image_digest=image_digest,
            image_type=MANIFEST_TYPE,
        )

    def _cache(self, place: Place) -> tuple[str, str]:
        upstream = place.upstream_url.removeprefix("http://")
        return _CACHE_HTTP.format(directory=place.directory, upstream=upstream), _CACHE_SERVER


NGINX_STATIC = Nginx(name="nginx static")
NGINX_TLS = Nginx(name="nginx static, TLS", secure=True)
NGINX_CACHE = Nginx(name="nginx cache", is_cache=True)
NGINX_ORIGIN = Nginx(name="upstream", logged=True)


class UpstreamLog:
    """Reads from the upstream's access log what was taken from it."""

    def __init__(self, file: Path) -> None:
        """Begin at the present end of ``file``."""
        self._file = file
        self._offset = file.stat().st_size

    def taken(self, path: str) -> tuple[int, int]:
        """Return how many GETs of ``path`` there were since, and how many bytes they took."""
        with self._file.open(encoding="utf-8") as log:
            log.seek(self._offset)
            lines = [line.split() for line in log]
        sent = [int(line[3]) for line in lines if line[0] == "GET" and line[1] == path]
        return len(sent), sum(sent)
