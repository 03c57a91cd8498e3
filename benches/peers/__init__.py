"""Who is measured, hitmap first."""

from peers import afl, atheris, hitmap
from peers.peer import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in [
        hitmap.Hitmap(),
        atheris.Atheris(),
        atheris.AtherisAsan(),
        atheris.AtherisAgain(),
        afl.PythonAfl(),
        afl.AflExpert(),
    ]
}
