# The app, on the CPU:  docker build -t skinlesion . && docker run --rm -p 8501:8501 skinlesion
FROM python:3.12-slim

RUN useradd --create-home app
WORKDIR /home/app

# PyTorch first: it is large and changes rarely.
RUN pip install --no-cache-dir "torch>=2.5,<3" --index-url https://download.pytorch.org/whl/cpu
COPY . source
RUN pip install --no-cache-dir "./source[app,heif]" && rm -r source

USER 1000
# Compiled kernels are kept here between starts, if a volume is mounted.
ENV NUMBA_CACHE_DIR=/home/app/.cache/numba
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["skinlesion", "dashboard", "--address", "0.0.0.0", "--no-open-browser"]
