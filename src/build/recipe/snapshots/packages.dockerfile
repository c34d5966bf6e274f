FROM mamba.example/m:2 AS build
COPY conda.yml /tmp/conda.yml
RUN micromamba install -y -n base -f /tmp/conda.yml \
    && micromamba install -y -n base 'a' 'b>=2' \
    && micromamba env export --name base --explicit > /tmp/environment.lock \
    && echo ">> CONDA_LOCK_START" \
    && cat /tmp/environment.lock \
    && echo "<< CONDA_LOCK_END" \
    && micromamba clean -a -y

FROM base.example/b
COPY --from=build /opt/conda /opt/conda
ENV PATH="/opt/conda/bin:$PATH"
USER me
RUN ls -l
RUN a && b
