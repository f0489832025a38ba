"""Data sets in a bucket: s3fs and an S3 server (moto's), over HTTP, in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import posetools
from tests.clustering import scheduler, workers
from tests.converting import contents, labelme_source

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
_ROOT = Path(posetools.__file__).parent.parent


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """Start the server; give the environment variables for s3fs."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
            "PYTHONPATH": str(_ROOT),
        }
    finally:
        running.stop()


def upload(server: Mapping[str, str], folder: Path, bucket: str) -> str:
    s3fs = pytest.importorskip("s3fs")
    system: Any = s3fs.S3FileSystem(
        key="somebody", secret="secret", endpoint_url=server["FSSPEC_S3_ENDPOINT_URL"], skip_instance_cache=True
    )
    system.mkdir(bucket)
    system.put(str(folder), f"{bucket}/set", recursive=True)
    return f"s3://{bucket}/set"


def posetools_run(server: Mapping[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "posetools", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **server}, timeout=120)


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name != "conversion.json"}


def test_convert_and_validate(server: Mapping[str, str], tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path, ["a.jpg", "b.png", "sub/a.jpg", "sub/x/c.jpg"])
    url = upload(server, source, "labelme")
    done = posetools_run(server, "convert", url, "--out", tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert posetools_run(server, "convert", source, "--out", tmp_path / "here").returncode == 0
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")

    cars = upload(server, tmp_path / "there", "coco")
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    posetools_run(server, "validate", tmp_path / "there", "--json", here)
    done = posetools_run(server, "validate", cars, "--json", there)
    assert done.returncode in (0, 1), done.stderr
    text = there.read_text().replace(cars, str(tmp_path / "there"))
    assert json.loads(text) == json.loads(here.read_text())
    assert posetools_run(server, "convert", cars, "--out", tmp_path / "again").returncode == 0
    assert outputs(tmp_path / "again") == outputs(tmp_path / "here")


def test_workers_of_a_cluster_read_the_bucket(server: Mapping[str, str], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    source, _ = labelme_source(tmp_path)
    url = upload(server, source, "clustered")
    with scheduler(tmp_path) as address, workers(address, tmp_path, 2, server):
        done = posetools_run(server, "convert", url, "--out", tmp_path / "there", "--cluster", address)
    assert done.returncode == 0, done.stderr
    assert posetools_run(server, "convert", source, "--out", tmp_path / "here").returncode == 0
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")


def test_faults_are_one_sentence(server: Mapping[str, str], tmp_path: Path) -> None:
    done = posetools_run(server, "convert", "s3://nosuch/set", "--out", tmp_path / "out")
    said = "error: s3://nosuch/set: SRC must be an existing file or folder, but does not exist\n"
    assert (done.returncode, done.stderr) == (2, said)
    anonymous = {**server, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    done = posetools_run(anonymous, "convert", "s3://labelme/set", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: s3://labelme/set: cannot be read: ")
    assert "Traceback" not in done.stderr
    gone = {**server, "FSSPEC_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = posetools_run(gone, "validate", "s3://labelme/set")
    assert done.returncode == 2
    assert done.stderr.startswith("error: s3://labelme/set")
    assert "Traceback" not in done.stderr


def test_workers_predict_on_images_in_a_bucket(server: Mapping[str, str], tmp_path: Path) -> None:
    for module in ("distributed", "onnx", "onnxruntime"):
        pytest.importorskip(module)
    from tests.runtime.tiny import image, png, write

    photos, bundle = tmp_path / "photos", write(tmp_path / "dots.zip", seeds=())
    (photos / "sub").mkdir(parents=True)
    for seed in range(9):
        (photos / "sub" / f"{seed}.png").write_bytes(b"no image" if seed == 4 else png(image(seed)))
    url = upload(server, photos, "photos")
    call = ("predict", "--bundle", bundle, "--save-predictions", "--output-root")
    alone = posetools_run(server, *call, tmp_path / "alone", url)
    assert alone.returncode == 1, alone.stderr
    with scheduler(tmp_path) as address, workers(address, tmp_path, 2, server):
        done = posetools_run(server, *call, tmp_path / "several", f"{url}/**/*.png", "--cluster", address)
    assert done.returncode == 1 and f"{url}/sub/4.png: image cannot be read" in done.stdout, done.stderr
    for name in ("predictions.json", "results_coco.json"):
        assert (tmp_path / "several" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
