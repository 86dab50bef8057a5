# syntax=docker/dockerfile:1
#
# A small image with the one binary in it, run by a user that may do nothing else.
#
#   docker build -t claviger .
#   docker run --rm claviger key generate
#
# compose.yaml shows a whole deployment.

FROM rust:1.95.0-slim-bookworm AS build
# The image's own toolchain, so that rust-toolchain.toml fetches nothing.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bin claviger \
    && cp target/dist/claviger /claviger
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/claviger-new

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=10001:10001 /var/lib/claviger-new /var/lib/claviger
COPY --from=build /claviger /usr/local/bin/claviger

USER 10001:10001
WORKDIR /var/lib/claviger
VOLUME /var/lib/claviger

# Where it listens and keeps what belongs to the node. Everything else is said by whoever runs it;
# without a master key, a public URL and a store it does not start.
ENV CLAVIGER__SERVER__LISTEN=0.0.0.0:8080 \
    CLAVIGER__NODE__DATA=/var/lib/claviger
EXPOSE 8080

# Asks /readyz on the address it listens on; the image needs no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["claviger", "healthcheck"]

ENTRYPOINT ["claviger"]
CMD ["serve"]
