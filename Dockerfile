FROM python:3.13-slim

LABEL org.opencontainers.image.title="Parley" \
    org.opencontainers.image.description="A self-hosted HTTP service that stores chat sessions." \
    org.opencontainers.image.licenses="MIT"

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PARLEY_HOST=0.0.0.0 \
    PARLEY_DATA_DIR=/data

WORKDIR /app

# The requirements first: they change less often than the code, and so stay in the build's cache.
COPY requirements.txt requirements-postgresql.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt -r requirements-postgresql.txt

COPY . .

# Readable for all, whatever the umask of the checkout was. Compiled once here, since the running
# container may have no place to write to but /data and /tmp.
RUN chmod -R a+rX . \
    && python -m compileall -q . \
    && groupadd --gid 10001 parley \
    && useradd --uid 10001 --gid 10001 --no-create-home parley \
    && install -d -o parley -g parley -m 0700 /data

USER 10001:10001
VOLUME /data
EXPOSE 8080

HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PARLEY_PORT', 8080)}/readyz\", timeout=4)"]

CMD ["python", "app.py"]
