"""Flower's SuperExec, which starts a service's ServerApps, without their tokens in a command line.

Whoever has the token of a task speaks to the SuperLink for it. Flower writes it behind `--token`, where everybody on
the machine reads it in the list of processes.
"""

import os
import subprocess
import threading

from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TASK_TYPE_TO_APPIO_API_ADDRESS_ARG, TASK_TYPE_TO_COMMAND
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

_LAUNCH = "launch"


def launch(_: SubprocessExecutor, spec: ExecutionSpec) -> LaunchResult:
    """Start the program of a task; its token lies in memory that this process and that one have, and no other user."""
    held = os.memfd_create("token")
    try:
        os.write(held, spec.token.encode())
        quiet = subprocess.DEVNULL if spec.suppress_output else None
        command = _command(spec, f"/proc/self/fd/{held}")
        started = subprocess.Popen(command, stdout=quiet, stderr=quiet, pass_fds=(held,))
    finally:
        os.close(held)
    # Else what has ended stays in the list of processes until the next one starts.
    threading.Thread(target=started.wait, daemon=True).start()
    return LaunchResult.accepted()


def _command(spec: ExecutionSpec, token: str) -> list[str]:
    """What starts a task's program, as Flower words it."""
    command = [
        TASK_TYPE_TO_COMMAND[spec.task_type],
        *(TASK_TYPE_TO_APPIO_API_ADDRESS_ARG[spec.task_type], spec.runtime_api_address),
        *("--token-file", token),
    ]
    if spec.insecure:
        command.append("--insecure")
    elif spec.root_certificates_path is not None:
        command.extend(("--root-certificates", spec.root_certificates_path))
    if spec.parent_pid is not None:
        command.extend(("--parent-pid", str(spec.parent_pid)))
    if spec.runtime_dependency_install:
        command.append("--allow-runtime-dependency-installation")
    return command


def main() -> None:
    """Run `flower-superexec` with this process's arguments."""
    setattr(SubprocessExecutor, _LAUNCH, launch)
    flower_superexec()


if __name__ == "__main__":
    main()
