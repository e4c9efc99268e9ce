"""Every bound of the protocol in one place; doc/protocol.md shows them, a test compares.

Lengths are bytes, times are seconds.
"""

from __future__ import annotations

from dfs.protocol.values import BLOCK, PIECE

MAX_NODE_NAME = 255  # bytes of UTF-8, also of a rack
MAX_ADDRESS = 300
MAX_SENTENCE = 2048  # an error's sentence, a job's message, an alarm
MAX_HINT = 1024
MAX_NODES = 64  # node names in an error, or to avoid
MAX_PLACEMENTS = 64
MAX_PAGE = 1000
MAX_TOKEN = 8192
MAX_JOBS = 1024  # jobs in an answer, results and running jobs in a heartbeat
MAX_INVENTORY = 8192  # replicas in a page
MAX_COMMITS = 256
MAX_TOGETHER = 64  # small files in one request
MAX_SMALL = PIECE  # bytes of a file that travels with others
MAX_BATCH = 1 << 20  # bytes of all that travel together
MAX_RECOVERED = 1024  # chunks of a file in one part of its recovery
MAX_REPLICA_PAGE = 224  # replicas with their descriptions in a page
MAX_RANGES = 1024  # digests of ranges in a comparison of inventories
MAX_CHUNK_SERVERS = 4096
MAX_META_MEMBERS = 64
MAX_ALARMS = 256
MAX_PAUSED = 64  # sentences on what is paused
MAX_VERDICTS = 256  # nodes that an explanation tells of
MAX_CHECKPOINTS = 64

MAX_BODY = 1 << 20  # body of any frame but BLOCK
MAX_HELLO_BODY = 4096  # before Hello is finished
MAX_STRANGER_BODY = 64 << 10  # from a peer that proved nothing, to a listener
MAX_BLOCK_BODY = 12 + 4 * (BLOCK // PIECE) + BLOCK

MAX_INCOMING = 256  # requests in progress for one peer; then its connection is not read
MAX_OUTGOING = 1024  # requests waiting for one peer's answers; then Busy
MAX_ONE_WAY_BUFFER = 8 << 20  # unsent bytes above which one-way messages are dropped
MAX_UNSENT = 32 << 20  # unsent bytes above which the peer is cut off: it does not read
MAX_CONNECTIONS = 2000  # of one listener

BULK_BUFFER = 1 << 20  # receive size and high-water mark of a BULK connection
CONTROL_BUFFER = 64 << 10  # of every other

HELLO_TIMEOUT = 10.0
PING_INTERVAL = 10.0  # of having sent nothing
SILENCE_TIMEOUT = 30.0  # of having received nothing while reading
FRAME_TIMEOUT = 120.0  # for one frame to become whole
STREAM_TIMEOUT = 120.0  # of a put bringing no block, at most, whatever deadline its sender named
STALL_TIMEOUT = 300.0  # of the peer taking no byte of what we have for it
ANSWER_TIMEOUT = 45.0  # of a put that was sent whole, at least: its receiver gives up sooner and says why
IDLE_BULK_TIMEOUT = 120.0  # of a pooled BULK connection not being used
CLOSE_TIMEOUT = 10.0  # for the last bytes of a connection that we close
