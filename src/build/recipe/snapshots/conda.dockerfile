FROM docker.io/mambaorg/micromamba:2.1.1 AS build
COPY conda.yml /tmp/conda.yml
RUN micromamba install -y -n base -f /tmp/conda.yml \
    && micromamba install -y -n base 'conda-forge::procps-ng' \
    && micromamba env export --name base --explicit > /tmp/environment.lock \
    && echo ">> CONDA_LOCK_START" \
    && cat /tmp/environment.lock \
    && echo "<< CONDA_LOCK_END" \
    && micromamba clean -a -y

FROM docker.io/library/debian:12-slim
COPY --from=build /opt/conda /opt/conda
ENV PATH="/opt/conda/bin:$PATH"
