"""The control connection without a control port: its octets ride in packets of our own kinds.

Where no TCP 5088 crosses, what the two ends say to each other (:mod:`agent.control`, unchanged)
travels in ESP, AH, IKE, Kerberos or ping, whichever of them crosses, in each direction its own. All
of it is sans-IO; the sockets are in :mod:`agent.linux.post` and :mod:`agent.linux.streams`, and
:mod:`agent.linux.line` makes two streams of a session, so that nobody else need know.

- :mod:`box`: authenticated encryption, keyed with the shared key. Each packet is one box.
- :mod:`carriers`: a box inside a real packet of a kind, and out again.
- :mod:`ways`: which ways there are, in the order in which they do the least harm, and which work.
- :mod:`call` (near) and :mod:`door` (far): from the shared key to a session.
- :mod:`session`: a reliable stream of octets over ways that lose, double and reorder.
- :mod:`known`: which captured packets are control messages, and no shots.

**The opening.** Near sends *openings*, sealed with the shared key, by all ways that it may use; far
answers each with *challenges*; what near seals with the key that both halves give proves that it is
there now. An opening that was seen before or is hours old, whose MAC is wrong, or that is not for a
key of far's, gets no answer at all; and until near has proved itself far sends at most
``door.FACTOR`` times the octets it got, to the address that they came from. A recorded opening
therefore begins no run.

**The truth.** Control packets are traffic like any other: on ESP's tuple they open ESP. So both
ends begin with flows of their own (a ping's identifier, a fresh port), which open nothing that a
check asks about, and go on to fixed tuples only when no answer comes. Whatever travels there is in
the flow ledger and in :class:`agent.model.Facts`, and a check on it is ``state-possible`` at best.

Each session has a secret of its own (X25519): who records one and gets hold of the shared key later
reads that there was an opening, near's address in it, and nothing of the session.
"""
