"""An address is taken where it is meant to be, and refused elsewhere: never taken for a local folder."""

import click
import pytest
from click.testing import CliRunner
from programs import PROGRAMS, main_of

ADDRESS = "s3://bucket/x"
TAKEN = {
    ("prep-scans", "source"), ("train-gan", "source"), ("gen-scans", "out"), ("gen-scans", "balance"),
    ("merge", "folders"), ("merge", "out"),
}  # fmt: skip


def _paths():
    """Every parameter of every command that is a path."""
    found = []
    for name in [*PROGRAMS, "merge", "strip", "info"]:
        commands = (
            [main_of(name)] if name in PROGRAMS else [main_of("scangan").get_command(None, name)]
        )
        while commands:
            command = commands.pop()
            if isinstance(command, click.Group):
                commands += [
                    command.get_command(None, verb) for verb in command.list_commands(None)
                ]
            found += [
                pytest.param(name, command, param, id=f"{command.name} {param.name}")
                for param in command.params
                if isinstance(param.type, click.Path)
            ]
    return found


@pytest.mark.parametrize(("program", "command", "param"), _paths())
@pytest.mark.parametrize("address", [ADDRESS, "s3:/bucket/x"])
def test_a_path_is_no_address(program, command, param, address):
    context = click.Context(command)
    if (program, param.name) in TAKEN and address == ADDRESS:
        assert str(param.type.convert(address, param, context)) == address
    else:
        with pytest.raises(click.UsageError, match="address"):
            param.type.convert(address, param, context)


@pytest.mark.parametrize(
    "typed",
    [
        ("prep-scans", "scans", ADDRESS),
        ("train-gan", "scans", "--out", ADDRESS),
        ("export-onnx", "run", "-o", ADDRESS),
        ("make-phantoms", ADDRESS),
        ("gen-scans", "--model", ADDRESS + ".onnx"),
        ("gen-scans", "--out", "s3:/bucket/x"),
        ("eval-scans", "quality", "scans", "more", "--out", ADDRESS),
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_a_folder_of_that_name(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    program, *words = typed
    told = CliRunner().invoke(main_of(program), words)
    assert told.exit_code and any(word in told.output for word in ("a disk", "a slash"))
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]
