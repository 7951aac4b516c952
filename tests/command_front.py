"""Asking ``tests.command_server`` for a command; run as a program, ``mimiidg`` for the shells of tests.

``python -ISB command_front.py PYTHON SOCKET WORD...`` has a command forked and stands for it: signals that come are
sent on, and as it ends, this ends. It takes 15 ms: it imports only what an interpreter has loaded already, or has in C.
"""

import _signal
import _socket
import marshal
import os
import sys

SENT_ON = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
WORKER = ["-u", "-c"]  # pytest-xdist starts its workers as ``python -u -c PROGRAM``
NOT_HERE = -1  # the answer to a command that needs an interpreter of its own


def ask(address, words, environment, folder, streams, **options):
    """Ask for a command; what is heard of it comes through the socket that is returned.

    Parameters
    ----------
    address : str
        Of the server's socket.
    words : sequence of str
    environment : dict
    folder : int
        The working directory, open: its path may be gone.
    streams : dict
        Standard stream -> the file descriptor that it is to be; one that is missing is closed.
    **options
        See ``tests.command_server.become``.
    """
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(address)
    options = {"words": list(words), "environment": dict(environment), "streams": list(streams), **options}
    request = marshal.dumps(options)
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in [folder, *streams.values()])
    server.sendmsg([len(request).to_bytes(4, "little")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    server.sendall(request)
    return server


def answer(server):
    """A number that the server says."""
    if len(said := server.recv(4)) < 4:
        raise ConnectionError("the server of commands has ended")
    return int.from_bytes(said, "little", signed=True)


def is_open(number):
    """Whether a file descriptor is."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def main(python, address, *words):
    """Run a command to its end; its status, as ``waitpid`` has it."""
    streams = {number: number for number in range(3) if is_open(number)}
    for _ in range(3 - len(streams)):
        os.open(os.devnull, os.O_RDWR)  # so that nothing opened here takes a closed stream's place
    folder = os.open(".", os.O_PATH)
    ignored = [number for number in SENT_ON if _signal.getsignal(number) == _signal.SIG_IGN]
    came = []
    for number in {*SENT_ON}.difference(ignored):
        _signal.signal(number, lambda number, frame: came.append(number))
    server = ask(address, words, os.environ, folder, streams, ignored=ignored, stands_for_it=True)
    if answer(server) == NOT_HERE:
        is_worker = list(words[:2]) == WORKER
        os.execv(python, [python, *([] if is_worker else ["-m", "mimiidg_build"]), *words])
    for number in {*SENT_ON}.difference(ignored):
        _signal.signal(number, lambda number, frame: server.send(bytes([number])))
    for number in came:
        server.send(bytes([number]))
    return answer(server)


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    if os.WIFSIGNALED(status):
        _signal.signal(os.WTERMSIG(status), _signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))
