# The image of Roadstead, in the place of registry:2 and registry:3: same ports, volume, configuration file and commands.
#
#   docker build -t roadstead .
#   docker build -t roadstead --build-arg BASE=debian-with-python:bookworm .   # any image with Python 3.11 or later
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# With --build-arg EXTRAS=otel (or acme,otel) the image can do what these extras are for.
ARG EXTRAS=
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
# An environment without pip: what builds the image is not in it.
RUN python3 -m venv --without-pip /opt/roadstead \
 && python3 -m pip --python /opt/roadstead/bin/python install --no-cache-dir --compile ".${EXTRAS:+[$EXTRAS]}" \
 && find /opt/roadstead -name tests -path '*/site-packages/*' -type d -prune -exec rm -r {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="Roadstead" \
      org.opencontainers.image.description="A read-only mirror and pull-through cache for container registries" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/roadstead /opt/roadstead
COPY deploy/docker/entrypoint /entrypoint.sh
COPY deploy/docker/config.yml /etc/docker/registry/config.yml
RUN ln -s /opt/roadstead/bin/registry /opt/roadstead/bin/roadstead /bin/ \
 && install -d -o 10001 -g 10001 /var/lib/registry
# The container starts as root to take over a volume that registry:2 wrote, and becomes this user
# before it serves; with `user:` (or runAsUser) it never is root. See docs/containers.md.
ENV ROADSTEAD_RUN_AS=10001:10001 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
VOLUME ["/var/lib/registry"]
EXPOSE 5000
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/docker/registry/config.yml"]
