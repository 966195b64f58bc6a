"""The scripts of docs/scale.md, run as SLURM and Kubernetes would run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import folder_bytes

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
SRUN = 'srun() { "$@"; }; scontrol() { echo "$@" > requeued; }\n'


def _fenced(language):
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _shell(script, folder, code=0, **env):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=os.environ | {"PATH": path} | env,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("xargs"), reason="no xargs")
def test_parts_made_in_three_ways_are_one_whole(tiny_acgan, tmp_path):
    """Of four instead of eight: two by xargs, one as SLURM would start it, one as Kubernetes."""
    if not (Path(sys.executable).parent / "gen-scans").exists():
        pytest.skip("the commands are not installed")
    (xargs, sbatch), (slurm,), (job,) = (_fenced(kind) for kind in ("sh", "bash", "yaml"))
    job = yaml.safe_load(job)["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert "--array=0-7" in slurm and job["completions"] == 8 and "sbatch" in sbatch
    names = {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    pod = "scangan " + shlex.join(container["args"])
    pod = pod.replace("'$(JOB_COMPLETION_INDEX)/8'", '"$JOB_COMPLETION_INDEX/8"')
    pod = pod.replace("/models/", "").replace("s3://BUCKET/", "")
    xargs, merging = xargs.splitlines()
    assert merging in sbatch
    xargs, slurm, pod = (
        re.sub(r"--count \d+", "--count 1500", text).replace("/8", "/4")
        for text in (xargs, slurm, pod)
    )
    shutil.copy(tiny_acgan, tmp_path / "acgan.onnx")

    _shell(xargs.replace("seq 0 7", "seq 0 1"), tmp_path)
    _shell(SRUN + slurm, tmp_path, SLURM_ARRAY_TASK_ID="2")
    _shell(pod, tmp_path, JOB_COMPLETION_INDEX="3")
    assert len(list((tmp_path / "big").glob("manifest-*-of-4.jsonl"))) == 4
    assert "4500 synthetic scans, none missing" in _shell(merging, tmp_path)
    whole = re.sub(r'--shard "\S+"', "", slurm).replace("--out big", "--out whole")
    _shell(SRUN + whole, tmp_path)
    assert folder_bytes(tmp_path / "big") == folder_bytes(tmp_path / "whole")


def test_a_task_that_was_stopped_goes_back_into_the_queue(tmp_path):
    (slurm,) = _fenced("bash")
    numbers = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    for code, requeued in ((1, False), (130, True)):
        _shell(
            f"gen-scans() {{ return {code}; }}; set +e; {SRUN}{slurm}", tmp_path, code, **numbers
        )
        assert (tmp_path / "requeued").exists() == requeued
    assert (tmp_path / "requeued").read_text() == "requeue 7_2\n"
