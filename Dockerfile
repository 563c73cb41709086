# syntax=docker/dockerfile:1
# The image of docs/image.md. What is in it stands in image/contents.yaml, and scripts/image.ts makes it from that list: here,
# and in `npm run image`, which needs no Docker and is what the tests run. All of it is fetched by exact version and checksum
# (image/packages.lock.json, package-lock.json), so that the workshop below leaves nothing of its own in the image.
#
#   docker buildx build --platform=linux/amd64,linux/arm64 -t switchyard \
#     --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --build-arg REVISION=$(git rev-parse HEAD) .      (and CREATED: docs/image.md)

# The workshop: Debian 12 (apt-get, dpkg-deb, gzip) with npm and a Node of version 20 or newer.
ARG WORKSHOP=node:24.21.0-bookworm-slim
FROM --platform=$BUILDPLATFORM ${WORKSHOP} AS workshop
WORKDIR /switchyard
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH
ARG REVISION
RUN npm run -s image -- --root=/image --arch=$TARGETARCH

FROM scratch
COPY --from=workshop /image/system/ /
COPY --from=workshop /image/node/ /
COPY --from=workshop /image/switchyard/ /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
USER 0:0
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/switchyard"]
ARG REVISION
ARG VERSION=0.1.0
ARG CREATED
LABEL org.opencontainers.image.title="Switchyard" \
      org.opencontainers.image.description="A kube-proxy replacement for Linux: one rule graph, many backends" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.revision="${REVISION}"
