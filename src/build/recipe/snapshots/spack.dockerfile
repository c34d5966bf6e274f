FROM docker.io/spack/ubuntu-jammy:0.23 AS builder
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

FROM docker.io/library/ubuntu:22.04
COPY --from=builder /opt/spack-env /opt/spack-env
COPY --from=builder /opt/software /opt/software
COPY --from=builder /opt/._view /opt/._view
COPY --from=builder /opt/spack-links/ /opt/
ENV PATH="/opt/view/bin:$PATH"
