"""The host's end of the wire: Ethernet frames as datagrams, and a few peers that speak over it."""

import collections
import fcntl
import os
import select
import socket
import struct
import threading
import time

MAC = bytes.fromhex("0242ac0000fe")
ADDRESS = socket.inet_aton("10.0.0.254")
# Where the flows of `first_syn` are to go, at ADDRESS.
FLOW_PORT = 8080
BROADCAST = b"\xff" * 6
ARP, IPV4 = 0x0806, 0x0800
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class NoAnswer(Exception):
    """A peer did not answer in time."""


def checksum(octets):
    """RFC 1071."""
    if len(octets) % 2:
        octets += b"\0"
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(to, kind, payload):
    return to + MAC + struct.pack(">H", kind) + payload


def arp(operation, target_mac, target):
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + MAC + ADDRESS + target_mac + target


def ipv4(protocol, to, payload):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    head += ADDRESS + to
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def tcp(to, ports, seq, ack, flags, options=b""):
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, (20 + len(options)) // 4 << 4, flags, 64240, 0, 0)
    pseudo = ADDRESS + to + struct.pack(">BBH", 0, 6, 20 + len(options))
    sum_ = checksum(pseudo + head + options)
    return head[:16] + struct.pack(">H", sum_) + head[18:] + options


class Wire:
    """One end of `-netdev dgram`. Answers ARP for its own address while it waits."""

    def __init__(self, wire, far):
        self.wire = wire
        self.far = far
        self.neighbours = {}
        self.pump = None
        self.stop = None

    def send(self, frame):
        try:
            self.wire.sendto(frame.ljust(60, b"\0"), self.far)
        except (FileNotFoundError, ConnectionRefusedError):
            pass

    def frames(self, deadline):
        """(kind, source MAC, payload) of what comes in until `deadline`."""
        while True:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.wire], [], [], max(0, left))
            if not ready:
                return
            frame = self.wire.recv(65536)
            kind = struct.unpack_from(">H", frame, 12)[0]
            payload = frame[14:]
            if kind == ARP and payload[24:28] == ADDRESS and payload[7] == 1:
                self.send(ethernet(frame[6:12], ARP, arp(2, payload[8:14], payload[14:18])))
            yield kind, frame[6:12], payload

    def resolve(self, address, seconds):
        target = socket.inet_aton(address)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.send(ethernet(BROADCAST, ARP, arp(1, b"\0" * 6, target)))
            for kind, source, payload in self.frames(min(deadline, time.monotonic() + 0.2)):
                if kind == ARP and payload[7] == 2 and payload[14:18] == target:
                    return source, target
        raise NoAnswer(f"no ARP answer of {address} within {seconds} s")

    def ping(self, address, count, seconds):
        """Round trips in seconds of those that were answered."""
        mac, target = self.resolve(address, seconds)
        times = []
        for number in range(count):
            body = struct.pack(">HH", 77, number) + os.urandom(56)
            echo = b"\x08\0" + struct.pack(">H", checksum(b"\x08\0\0\0" + body)) + body
            begin = time.monotonic()
            self.send(ethernet(mac, IPV4, ipv4(1, target, echo)))
            for kind, _, payload in self.frames(begin + 2):
                answer = payload[20 : 24 + len(body)]
                if kind == IPV4 and payload[9] == 1 and answer[:1] == b"\0" and answer[4:] == body:
                    if checksum(answer) == 0:
                        times.append(time.monotonic() - begin)
                    break
        return times

    def handshake(self, address, port, seconds):
        """`open`, `reset` or `silent`; an open connection is reset."""
        mac, target = self.resolve(address, seconds)
        ports = (40000 + os.getpid() % 20000, port)
        isn = int.from_bytes(os.urandom(4), "big")
        mss = b"\x02\x04\x05\xb4"
        for _ in range(5):
            self.send(ethernet(mac, IPV4, ipv4(6, target, tcp(target, ports, isn, 0, 0x02, mss))))
            for kind, _, payload in self.frames(time.monotonic() + 1):
                if kind != IPV4 or payload[9] != 6 or payload[20:24] != struct.pack(">HH", *ports[::-1]):
                    continue
                seq, ack, _, flags = struct.unpack_from(">IIBB", payload, 24)
                if ack != (isn + 1) & 0xFFFFFFFF:
                    continue
                if flags & 0x04:
                    return "reset"
                if flags & 0x12 == 0x12:
                    for flag in (0x10, 0x14):
                        self.send(ethernet(mac, IPV4, ipv4(6, target, tcp(target, ports, isn + 1, seq + 1, flag))))
                    return "open"
        return "silent"

    def first_syn(self, mac, address, seconds, meanwhile):
        """Asks again and again, each 5 ms, for a flow to this end, with the option in a SYN: when the
        first onward SYN came. `meanwhile` is called in between."""
        target, ports = socket.inet_aton(address), (int.from_bytes(os.urandom(2), "big") | 0x8000, 4460)
        tuple_ = ADDRESS + ADDRESS + struct.pack(">HH", ports[0], FLOW_PORT)
        option = b"\xfd\x10\xe5\xf4" + tuple_
        isn = int.from_bytes(os.urandom(4), "big")
        syn = ethernet(mac, IPV4, ipv4(6, target, tcp(target, ports, isn, 0, 0x02, option)))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.send(syn)
            for kind, _, payload in self.frames(time.monotonic() + 0.005):
                is_syn = kind == IPV4 and payload[9] == 6 and payload[33] & 0x12 == 0x02
                if is_syn and payload[16:20] == ADDRESS and payload[22:24] == struct.pack(">H", FLOW_PORT):
                    return time.monotonic()
            meanwhile()
        raise NoAnswer(f"no onward SYN within {seconds} s")

    def join_tap(self, name, delay):
        """Hands every frame on between the wire and a TAP device of this network namespace; those
        towards the machine after `delay` seconds."""
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
        self.stop, stopped = os.pipe()
        late = collections.deque()

        def pump():
            while True:
                left = late[0][0] - time.monotonic() if late else None
                ready, _, _ = select.select([tap, self.wire, self.stop], [], [], left and max(0, left))
                if self.stop in ready:
                    os.close(tap)
                    return
                if tap in ready:
                    late.append((time.monotonic() + delay, os.read(tap, 65536)))
                if self.wire in ready:
                    os.write(tap, self.wire.recv(65536))
                while late and late[0][0] <= time.monotonic():
                    self.send(late.popleft()[1])

        self.pump = (threading.Thread(target=pump, daemon=True), stopped)
        self.pump[0].start()

    def leave_tap(self):
        """Ends what `join_tap` began."""
        if self.pump:
            thread, stopped = self.pump
            self.pump = None
            os.write(stopped, b"x")
            thread.join(5)
            os.close(self.stop)
            os.close(stopped)
