FROM {{spack_runner_image}}
COPY --from=builder /opt/spack-env /opt/spack-env
COPY --from=builder /opt/software /opt/software
COPY --from=builder /opt/._view /opt/._view
COPY --from=builder /opt/spack-links/ /opt/
ENV PATH="/opt/view/bin:$PATH"
