/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the programs and userspace share. src/abi.rs says the same in Rust; both sides assert the
 * layout. The programs know no form of the option: its octets pass through them. */
#ifndef SYNHOP_ABI_H
#define SYNHOP_ABI_H

#include <linux/types.h>

#define SYNHOP_OPTION_MAX 40
/* An IPv4 header with options or an IPv6 header, and a TCP header with options. */
#define SYNHOP_HEADERS_MAX 120

/* synhop_mark.flags: put the socket's own IPv4 address and port where the option has its source. */
#define SYNHOP_FILL_SOURCE 1
/* synhop_mark.flags: tell "understood" by the socket's own TCP_SYNCNT, too. */
#define SYNHOP_PUBLISH 2

/* The TCP_SYNCNT that tells it. It counts the SYN's retransmissions and has no meaning once the
 * connection is established; nobody lets a connect() take 121 of them, which is hours. */
#define SYNHOP_PUBLISHED_UNDERSTOOD 121

/* A mark is good for one connection. Written by the program, but for the first. */
enum synhop_phase {
	SYNHOP_FRESH = 0,
	/* The handshake runs: SYNs carry the option. */
	SYNHOP_ARMED = 1,
	SYNHOP_ENDED = 2,
};

enum synhop_progress {
	SYNHOP_MARKED = 0,
	SYNHOP_SYN_SENT = 1,
	SYNHOP_SILENT = 2,
	SYNHOP_UNDERSTOOD = 3,
};

/* Hangs on a marked socket: socket storage, written by userspace before connect(). */
struct synhop_mark {
	__u8 flags;
	__u8 phase; /* enum synhop_phase */
	__u8 progress; /* enum synhop_progress */
	__u8 cookie_len; /* of the reply: 0 or 4 */
	__u8 callbacks; /* those that were off before and are on now: ours to turn off */
	__u8 zero[3];
	__u8 cookie[4];
	__u8 option[SYNHOP_OPTION_MAX]; /* kind first; option[1] is its length */
};
_Static_assert(sizeof(struct synhop_mark) == 52, "synhop_mark");
_Static_assert(__builtin_offsetof(struct synhop_mark, cookie) == 8, "synhop_mark.cookie");
_Static_assert(__builtin_offsetof(struct synhop_mark, option) == 12, "synhop_mark.option");

/* A listener's address as it is on the wire, IPv4 as ::ffff:a.b.c.d, port in host order. Any
 * IPv4 address is ::ffff:0.0.0.0, any IPv6 address is :: */
struct synhop_listener {
	__u64 netns_cookie;
	__u8 address[16];
	__u16 port;
	__u8 zero[6];
};
_Static_assert(sizeof(struct synhop_listener) == 32, "synhop_listener");
_Static_assert(__builtin_offsetof(struct synhop_listener, address) == 8, "synhop_listener.address");
_Static_assert(__builtin_offsetof(struct synhop_listener, port) == 24, "synhop_listener.port");

/* What hangs on a listener: userspace writes the first before listen(), the program answers with
 * one of the others, so that userspace knows that it is effective. */
#define SYNHOP_LISTENER_MARKED 1
/* The header callbacks are ours to turn off in the sockets that inherit them. */
#define SYNHOP_LISTENER_WATCHED 2
/* Another program had turned them on before: they are left to it. */
#define SYNHOP_LISTENER_SHARED 3

/* A SYN that carries the option and came to a listener of ours: its IP and TCP headers. */
struct synhop_event {
	__u32 len;
	__u8 headers[SYNHOP_HEADERS_MAX];
};
_Static_assert(sizeof(struct synhop_event) == 124, "synhop_event");
_Static_assert(__builtin_offsetof(struct synhop_event, headers) == 4, "synhop_event.headers");

/* Indices of the counters map. */
enum synhop_counter {
	SYNHOP_EVENTS = 0,
	SYNHOP_DROPPED = 1,
	SYNHOP_SYN_COOKIES = 2,
	SYNHOP_RESERVE_FAILED = 3,
	SYNHOP_STORE_FAILED = 4,
	SYNHOP_CALLBACKS_FAILED = 5,
	SYNHOP_SOURCE_UNAVAILABLE = 6,
	SYNHOP_MALFORMED = 7,
	SYNHOP_PUBLISH_FAILED = 8,
	SYNHOP_COUNTERS = 9,
};

#endif
