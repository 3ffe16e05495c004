# Images of cataloger: docs/how-to/containers.md. The last stage, for processors, is what `docker build .` makes;
# `docker build --target gpu .` makes the one for graphics cards.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends binutils python3-pip
WORKDIR /src
COPY . .
# Where there is no package index: a folder of wheels, mounted, whose path is given with PIP_NO_INDEX=1.
ARG PIP_NO_INDEX=0
ARG PIP_FIND_LINKS=
ENV PIP_NO_INDEX=$PIP_NO_INDEX PIP_FIND_LINKS=$PIP_FIND_LINKS

FROM tools AS packages
ARG EXTRAS=postgres,mysql,review
RUN sh packaging/install.sh "$EXTRAS" --slim

FROM tools AS gpu-packages
ARG EXTRAS=torch,postgres,mysql,review
RUN sh packaging/install.sh "$EXTRAS"

FROM python AS base
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cataloger \
    && install --directory --owner 10001 --group 10001 /data
ENV PYTHONPATH=/opt/cataloger PATH=/opt/cataloger/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["cataloger"]
CMD ["--help"]

FROM base AS gpu
COPY --from=gpu-packages /opt/cataloger /opt/cataloger

FROM base AS cpu
COPY --from=packages /opt/cataloger /opt/cataloger
