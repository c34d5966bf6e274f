FROM {{micromamba_image}} AS build
COPY conda.yml /tmp/conda.yml
RUN micromamba install -y -n base -f /tmp/conda.yml \
    && micromamba install -y -n base {{base_packages}} \
    && micromamba env export --name base --explicit > /tmp/environment.lock \
    && echo ">> CONDA_LOCK_START" \
    && cat /tmp/environment.lock \
    && echo "<< CONDA_LOCK_END" \
    && micromamba clean -a -y

FROM {{base_image}}
COPY --from=build /opt/conda /opt/conda
ENV PATH="/opt/conda/bin:$PATH"
{{commands}}
