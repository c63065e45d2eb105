# The binary is static; the second stage is Debian because daemons need a place to live: memcached here,
# yours in an image of your own (FROM this one, or copy /usr/local/bin/cohort into yours).
FROM golang:1.26-bookworm AS build
# Empty by default; set them where the network needs it: docker build --build-arg GOPROXY=... .
ARG GOPROXY
ARG GONOSUMDB
ARG VERSION=container
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /cohort ./cmd/cohort

FROM debian:bookworm-slim
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends memcached \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 7400 --home-dir /data cohort \
 && mkdir /data /secret && chown cohort /data /secret && chmod 700 /data /secret
COPY --from=build /cohort /usr/local/bin/cohort
USER cohort
WORKDIR /data
VOLUME /data
EXPOSE 7400/tcp 7400/udp 8080
# 0 when each legion has a lord and each group a leader, as this node sees it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["cohort", "status", "--data", "/data"]
ENTRYPOINT ["cohort"]
CMD ["run", "/etc/cohort/cohort.ini"]
