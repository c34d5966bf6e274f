FROM {{spack_builder_image}} AS builder
COPY spack.yaml /opt/spack-env/spack.yaml
RUN spack -D /opt/spack-env config add config:install_tree:root:/opt/software \
    && spack -D /opt/spack-env env view enable /opt/view \
    && spack -D /opt/spack-env concretize -f \
    && spack -D /opt/spack-env install --fail-fast \
    && spack -D /opt/spack-env gc -y \
    && spack env activate --sh -d /opt/spack-env > /opt/spack-env/z10_spack_environment.sh \
    && mkdir -p /opt/spack-links \
    && cp -P /opt/view /opt/spack-links/view \
    && echo ">> SPACK_LOCK_START" \
    && cat /opt/spack-env/spack.lock \
    && echo && echo "<< SPACK_LOCK_END"
