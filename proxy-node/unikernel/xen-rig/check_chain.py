#!/usr/bin/env python3
"""Checks what a capture of the node's wire says of the flows that went through it.

    check_chain.py PCAP --node ADDR:PORT --hops N
        [--relayed DESTINATION=NEXT=COUNT]... [--direct DESTINATION=COUNT]...

--relayed: COUNT flows to DESTINATION (ADDR:PORT) are sent on to NEXT (ADDR:PORT); --direct: COUNT
flows to DESTINATION are sent on to itself. --hops: the hops left in what comes to the node. Both
sides of the node are on the one wire.

For each flow (SPEC sections 4, 6.2, 6.4, 6.5): the option is on the SYN to the node and names the
destination; the reply is on the node's SYN-ACK and has the same ExID; the onward SYN left before
the client's first ACK came, to the right place, with the right option or none; the option is on no
other segment; both legs are ended by FIN from both ends, and none by RST. Where the node first had
to ask for the next hop's Ethernet address, that question stands for the onward SYN. Says on one
line what it found, and ends with 1 if something is wrong.
"""

import argparse
import json
import socket
import statistics
import struct
import sys

KIND, EXID = 253, 0xE5F4
SYN_FORMS, REPLY_FORMS = {10, 14, 16, 18, 20}, {4, 8}
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Wrong(Exception):
    """The capture is not as it has to be."""


def packets(path):
    """(seconds, frame) of a pcap file with Ethernet frames."""
    with open(path, "rb") as file:
        octets = file.read()
    magic, link = struct.unpack_from("<I", octets)[0], struct.unpack_from("<I", octets, 20)[0]
    if magic != 0xA1B2C3D4 or link != 1:
        raise Wrong(f"{path} is no capture of Ethernet frames")
    at = 24
    while at + 16 <= len(octets):
        seconds, micros, kept, _ = struct.unpack_from("<IIII", octets, at)
        yield seconds + micros / 1e6, octets[at + 16 : at + 16 + kept]
        at += 16 + kept


class Segment:
    """A TCP segment over IPv4, and its place in the capture."""

    def __init__(self, index, at, packet):
        self.index, self.at = index, at
        header = (packet[0] & 15) * 4
        total = struct.unpack_from(">H", packet, 2)[0]
        tcp = packet[header:total]
        source, destination = struct.unpack_from(">HH", tcp)
        self.source = (socket.inet_ntoa(packet[12:16]), source)
        self.destination = (socket.inet_ntoa(packet[16:20]), destination)
        self.flags = tcp[13]
        self.option = option(tcp[20 : (tcp[12] >> 4) * 4])


class Question:
    """An ARP request: who wants whose Ethernet address."""

    def __init__(self, index, packet):
        self.index = index
        self.asker, self.wanted = socket.inet_ntoa(packet[14:18]), socket.inet_ntoa(packet[24:28])


def read(path):
    """The capture's TCP segments and ARP requests."""
    segments, questions = [], []
    for index, (at, frame) in enumerate(packets(path)):
        kind, packet = frame[12:14], frame[14:]
        if kind == b"\x08\x00" and packet[0] >> 4 == 4 and packet[9] == 6:
            segments.append(Segment(index, at, packet))
        elif kind == b"\x08\x06" and packet[6:8] == b"\x00\x01":
            questions.append(Question(index, packet))
    return segments, questions


def option(area):
    """The synhop option in a TCP header's option area, None if there is none (SPEC section 4.4)."""
    found, at = None, 0
    while at < len(area) and area[at] != 0:
        if area[at] == 1:
            at += 1
            continue
        if at + 1 >= len(area) or area[at + 1] < 2 or at + area[at + 1] > len(area):
            raise Wrong(f"a list of options is broken: {area.hex()}")
        one = area[at : at + area[at + 1]]
        if one[0] == KIND and one[2:4] == struct.pack(">H", EXID):
            if found:
                raise Wrong(f"the option is there twice: {area.hex()}")
            found = one
        at += len(one)
    return found


class Destination:
    """What the option of a SYN says, in the forms with a source."""

    def __init__(self, octets):
        if len(octets) not in (16, 18, 20):
            raise Wrong(f"a form without a source: {octets.hex()}")
        source, destination = struct.unpack_from(">HH", octets, 12)
        self.source = (socket.inet_ntoa(octets[4:8]), source)
        self.destination = (socket.inet_ntoa(octets[8:12]), destination)
        self.hops, self.flags = (octets[16], octets[17]) if len(octets) == 18 else (None, 0)


class Leg:
    """One TCP connection: who opened it, and its segments in the order of the wire."""

    def __init__(self, syn):
        self.client, self.server = syn.source, syn.destination
        self.syn, self.segments = syn, [syn]

    def name(self):
        return f"{self.client[0]}:{self.client[1]} -> {self.server[0]}:{self.server[1]}"

    def first(self, what, wanted):
        found = next((segment for segment in self.segments if wanted(segment)), None)
        if found is None:
            raise Wrong(f"{self.name()}: no {what}")
        return found

    def syn_ack(self):
        return self.first("SYN-ACK", lambda s: s.flags & (SYN | ACK) == SYN | ACK)

    def client_ack(self):
        return self.first("ACK", lambda s: s.source == self.client and s.flags & (SYN | ACK) == ACK)

    def check(self, with_option):
        """The option stands where it may, and the end was an orderly one."""
        for segment in self.segments:
            if segment.flags & RST:
                raise Wrong(f"{self.name()}: reset by {segment.source[0]}")
            may = with_option and bool(segment.flags & SYN)
            if bool(segment.option) != may:
                raise Wrong(f"{self.name()}: the option is {'not ' if may else ''}on a segment"
                            f" with flags {segment.flags:#04x}")
        for end in (self.client, self.server):
            self.first(f"FIN of {end[0]}", lambda s, end=end: s.source == end and s.flags & FIN)
        answer = self.syn_ack().option
        if with_option and len(answer) not in REPLY_FORMS:
            raise Wrong(f"{self.name()}: the reply is {answer.hex()}")


def legs(segments):
    """Every connection, by its addresses and ports as its first SYN has them."""
    found = {}
    for segment in segments:
        there, back = (segment.source, segment.destination), (segment.destination, segment.source)
        if segment.flags & (SYN | ACK) == SYN and there not in found:
            found[there] = Leg(segment)
        elif there in found:
            found[there].segments.append(segment)
        elif back in found:
            found[back].segments.append(segment)
    return list(found.values())


def onward(asked, node, all_legs, next_hop):
    """The leg that the node opened for what `asked` says."""
    if next_hop == asked.destination:
        here = [leg for leg in all_legs if leg.client[0] == node[0] and leg.server == next_hop]
    else:
        here = [
            leg for leg in all_legs
            if leg.client[0] == node[0] and leg.server == next_hop and leg.syn.option
            and Destination(leg.syn.option).source == asked.source
        ]
    if len(here) != 1:
        raise Wrong(f"{len(here)} legs to {next_hop} for the flow of {asked.source}")
    return here[0]


def check_flow(leg, asked, out, hops, questions):
    """One flow: its two legs at the node. The time from SYN to onward SYN, in seconds."""
    relayed = out.server != asked.destination
    if asked.hops != hops or asked.flags != 0:
        raise Wrong(f"{leg.name()}: {asked.hops} hops left, flags {asked.flags}")
    leg.check(True)
    out.check(relayed)
    if relayed:
        told = Destination(out.syn.option)
        if (told.destination, told.hops, told.flags) != (asked.destination, hops - 1, 0):
            raise Wrong(f"{out.name()}: sent on as {out.syn.option.hex()}")
    acted = [question.index for question in questions if leg.syn.index < question.index
             and (question.asker, question.wanted) == (out.client[0], out.server[0])]
    if not leg.syn.index < min([out.syn.index, *acted]) < leg.client_ack().index:
        raise Wrong(f"{leg.name()}: the onward SYN was not early")
    return out.syn.at - leg.syn.at


def place(text):
    address, _, port = text.partition(":")
    return address, int(port)


def check(options):
    segments, questions = read(options.pcap)
    all_legs, node = legs(segments), place(options.node)
    wanted = {}
    for text in options.relayed:
        destination, next_hop, count = text.split("=")
        wanted[place(destination)] = (place(next_hop), int(count))
    for text in options.direct:
        destination, count = text.split("=")
        wanted[place(destination)] = (place(destination), int(count))
    delays, counts = [], dict.fromkeys(wanted, 0)
    for leg in all_legs:
        if leg.server != node or not leg.syn.option:
            continue
        asked = Destination(leg.syn.option)
        if asked.destination not in wanted:
            raise Wrong(f"{leg.name()}: asks for {asked.destination}")
        out = onward(asked, node, all_legs, wanted[asked.destination][0])
        delays.append(check_flow(leg, asked, out, options.hops, questions))
        counts[asked.destination] += 1
    for destination, (_, count) in wanted.items():
        if counts[destination] != count:
            raise Wrong(f"{counts[destination]} of {count} flows to {destination}")
    return {
        "flows": len(delays),
        "SYN to onward SYN, median ms": round(statistics.median(delays) * 1000, 2),
        "most ms": round(max(delays) * 1000, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pcap")
    parser.add_argument("--node", required=True)
    parser.add_argument("--hops", type=int, required=True)
    parser.add_argument("--relayed", action="append", default=[])
    parser.add_argument("--direct", action="append", default=[])
    try:
        print("capture: " + json.dumps(check(parser.parse_args())))
    except Wrong as what:
        print(f"capture: {what}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
