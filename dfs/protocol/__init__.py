"""What client, metadata server and chunk server share: what is said, and how it travels.

::

    values   messages   errors   interfaces          (the contract: what is said, and through what)
        \\       |        /
      layout -> fast        wire_metadata | wire_chunks -> wire     (bytes of a message)
                                                |
      frames (bytes of a connection)   trust (keys, grants)   hello (who is there)
                 \\                         |                    /
                   requests | streams | keepalive -> connection      (the shell: one open connection)
                                         |
                       dial | listen -> link | pool | leader         (how connections come and stay)

Everything up to and including ``hello`` is pure: bytes and values in, bytes and values out.
doc/protocol.md is the specification; a test holds it against these modules.
"""
