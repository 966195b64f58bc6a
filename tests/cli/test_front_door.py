"""The one front door, its verbs, its help, and what the shell completes."""

import importlib.metadata
import os
import subprocess
import sys

import click.testing
import pytest
from conftest import BRAIN
from programs import PROGRAMS, main_of

from scangan.cli.command import ScanCommand
from scangan.cli.evaluate import main as evaluate
from scangan.cli.front_door import VERBS, main
from scangan.core.terminal import explain

ALL = [verb for verbs in VERBS.values() for verb in verbs]


def run(*argv):
    return click.testing.CliRunner().invoke(main, list(map(str, argv)), prog_name="scangan")


@pytest.mark.parametrize(("program", "verb"), PROGRAMS.items())
def test_a_program_and_its_verb_are_one_command(program, verb):
    command = main.get_command(click.Context(main), verb)
    assert command is main_of(program) and command.name == program


def test_the_installed_programs_are_these():
    points = importlib.metadata.entry_points(group="console_scripts")
    ours = {point.name: point.value for point in points if point.value.startswith("scangan.")}
    assert set(ours) == {"scangan", *PROGRAMS}
    for name, value in ours.items():
        assert value == f"scangan.cli.programs:{name.replace('-', '_')}"


def test_help_shows_each_verb_with_a_line():
    done = run("--help")
    assert done.exit_code == 0
    for verb in ALL:
        lines = [line for line in done.output.splitlines() if line.startswith(f"  {verb} ")]
        assert len(lines) == 1 and not lines[0].endswith("...")
    assert run().output == done.output  # without a verb too


def test_nothing_runs_in_a_folder_that_was_deleted(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = run("generate", "--count", 1)
    assert done.exit_code == 1
    assert done.output.endswith(
        "generate: the current folder was deleted; change to another one first\n"
    )


QUESTIONS = [f"evaluate {verb}" for verb in evaluate.list_commands(click.Context(evaluate))]


@pytest.mark.parametrize("verb", [v for v in ALL if v != "evaluate"] + QUESTIONS)
def test_help_has_every_option_under_one_heading(verb):
    group = main
    for name in verb.split():
        command = group = group.get_command(click.Context(group), name)
    assert isinstance(command, ScanCommand)
    names = [name for names in command.sections.values() for name in names]
    options = {p.name for p in command.params if isinstance(p, click.Option)}
    assert len(names) == len(set(names)) and set(names) <= options
    if names:
        assert options - set(names) <= {"quiet", "as_json", "debug"}
    shown = run(*verb.split(), "--help").output
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            lines = [x for x in shown.splitlines() if x.strip().startswith(parameter.opts[0])]
            assert len(lines) >= 1, parameter.opts


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["nothing"], "scangan: no command 'nothing'; choose from: prepare, train, "),
        (["--nothing"], "scangan: No such option"),
        (["generate", "--nothing"], "scangan generate: No such option"),
        (["generate", "--model"], "scangan generate: Option '--model' requires an argument"),
        (
            ["evaluate", "quality", "a", "b", "--out"],
            "scangan evaluate quality: Option '--out' req",
        ),
        (["merge"], "scangan merge: Missing argument"),
        (["strip", "0"], "scangan strip: 0 is not a strip: give two indexes"),
        (["info", "nowhere.onnx"], "scangan info: nowhere.onnx: no such model file"),
        (["bench", "nowhere.onnx"], "scangan bench: nowhere.onnx: no such model file"),
        (["doctor", "x"], "scangan doctor: Got unexpected extra argument"),
        (["train", "nowhere", "--out", "run"], "scangan train: nowhere"),
        (["prepare", "nowhere", "out"], "scangan prepare: nowhere"),
        (["export", "nowhere", "-o", "x.onnx"], "scangan export: nowhere"),
    ],
)
def test_an_error_is_one_line_that_names_the_verb(argv, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*argv)
    assert done.exit_code in (1, 2) and done.output.startswith(says)
    assert done.output.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_a_program_names_itself_in_an_error():
    done = click.testing.CliRunner().invoke(main_of("gen-scans"), ["--nothing"])
    assert done.output.startswith("gen-scans: No such option")


@pytest.mark.parametrize(
    ("verb", "module"), [("train", "torch"), ("export", "onnx"), ("prepare", "cv2")]
)
def test_a_missing_package_is_one_line_with_what_to_install(verb, module, tmp_path):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from scangan.cli.front_door import main\n"
        "main(sys.argv[1:], prog_name='scangan')"
    )
    argv = {"train": [BRAIN, "--out", "run"], "prepare": [BRAIN, "out"],
            "export": ["--verify", "x.onnx", "--against", "run"]}[verb]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, verb, *map(str, argv)], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"scangan {verb}: {module} is not installed; type: pip install ")
    assert list(tmp_path.iterdir()) == []


def completed(line, shell="bash"):
    """What the shell offers after a line that ends where the cursor stands."""
    words = line.split(" ")
    env = os.environ | {"_SCANGAN_COMPLETE": f"{shell}_complete", "COMP_WORDS": line,
                        "COMP_CWORD": str(len(words) - 1)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "scangan.cli"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    return [line.split(",", 1) for line in done.stdout.split()]


def test_the_shell_completes(tiny_acgan):
    assert completed("scangan ge") == [["plain", "generate"]]
    assert ["plain", "--truncation"] in completed("scangan generate --t")
    assert completed("scangan generate --model brain-mri-6") == [["plain", "brain-mri-64"]]
    assert completed("scangan generate --model x/")[0][0] == "file"
    assert completed("scangan generate --class gl") == [["plain", "glioma_tumor"]]
    assert completed(f"scangan generate --model {tiny_acgan} --class d") == [["plain", "dog"]]
    assert completed("scangan strip 0:1 --model nowhere.onnx --class d") == []
    assert ["plain", "stable"] in completed("scangan train --recipe s")
    assert completed("scangan train --set lr_g") == [["plain", "lr_g="]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell):
    env = os.environ | {"_SCANGAN_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-m", "scangan.cli"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and "_SCANGAN_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("resumes", "argv", "says"),
    [
        (True, [], "stopped; run the same command again to continue"),
        (True, ["--force"], "stopped; run it again without --force to continue"),
        (False, [], "stopped"),
    ],
)
def test_what_was_stopped_says_how_to_go_on(resumes, argv, says):
    @click.command("work", cls=ScanCommand, resumes=resumes)
    @click.option("--force", is_flag=True)
    def work(force):
        raise KeyboardInterrupt

    done = click.testing.CliRunner().invoke(work, argv)
    assert done.exit_code == 130 and done.stderr == f"work: {says}\n"


def test_full_memory_is_not_our_bug():
    said = explain(MemoryError("Unable to allocate 9 GiB"))
    assert said.startswith("out of memory (Unable to allocate 9 GiB); close other programs")
