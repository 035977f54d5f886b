/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Outgoing: the SYN of a marked socket carries the mark's option, and the SYN-ACK is searched for
 * the reply. Nothing is asked of the kernel for sockets without a mark. */
#ifndef SYNHOP_MARK_BPF_H
#define SYNHOP_MARK_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct synhop_mark);
} marks SEC(".maps");

#define SOURCE_ADDRESS 4
#define SOURCE_PORT 12
#define REPLY_OCTETS 4
#define REPLY_COOKIE_OCTETS 8

static __always_inline struct synhop_mark *mark_of(struct bpf_sock_ops *skops)
{
	struct bpf_sock *sk = skops->sk;

	return sk ? bpf_sk_storage_get(&marks, sk, 0, 0) : 0;
}

/* An AF_INET6 socket that connects to ::ffff:a.b.c.d sends IPv4. */
static __always_inline int leg_is_ipv4(struct bpf_sock_ops *skops)
{
	return skops->family == AF_INET ||
	       (skops->remote_ip6[0] == 0 && skops->remote_ip6[1] == 0 &&
		skops->remote_ip6[2] == __builtin_bswap32(0xffff));
}

/* Puts the socket's address and port into the option. Returns whether the option has a source
 * then. */
static __always_inline int fill_source(struct bpf_sock_ops *skops, struct synhop_mark *mark)
{
	__u32 address;
	__u16 port;

	if (!leg_is_ipv4(skops))
		return mark->option[SOURCE_PORT] || mark->option[SOURCE_PORT + 1];
	address = skops->local_ip4; /* network order */
	port = skops->local_port; /* host order */
	__builtin_memcpy(&mark->option[SOURCE_ADDRESS], &address, sizeof(address));
	mark->option[SOURCE_PORT] = port >> 8;
	mark->option[SOURCE_PORT + 1] = port & 0xff;
	return 1;
}

/* No SYN carries the option any more, and nothing is asked of the kernel for this socket. */
static __always_inline void mark_end(struct bpf_sock_ops *skops, struct synhop_mark *mark)
{
	if (mark->callbacks)
		callbacks_off(skops, mark->callbacks);
	mark->callbacks = 0;
	mark->phase = SYNHOP_ENDED;
}

/* A socket can connect again after a failure or AF_UNSPEC. Its next peer is to hear nothing of the
 * first one's flow unless userspace marks the socket anew. */
static __always_inline void mark_forget(struct bpf_sock_ops *skops, struct synhop_mark *mark)
{
	struct bpf_sock *sk = skops->sk;

	mark_end(skops, mark);
	if (sk)
		bpf_sk_storage_delete(&marks, sk);
}

/* Before the first SYN; address and port are chosen. */
static __always_inline void mark_connect(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark = mark_of(skops);
	int turned_on;

	if (!mark)
		return;
	if (mark->phase != SYNHOP_FRESH) {
		mark_forget(skops, mark);
		return;
	}
	mark->phase = SYNHOP_ENDED;
	if ((mark->flags & SYNHOP_FILL_SOURCE) && !fill_source(skops, mark)) {
		count(SYNHOP_SOURCE_UNAVAILABLE);
		return;
	}
	turned_on = callbacks_on(skops, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG |
					BPF_SOCK_OPS_STATE_CB_FLAG);
	if (turned_on < 0)
		return;
	mark->callbacks = turned_on;
	mark->phase = SYNHOP_ARMED;
}

/* A connection that is given up, or dissolved, comes to this without being established. */
static __always_inline void mark_state_changes(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark;

	if (skops->args[1] != BPF_TCP_CLOSE)
		return;
	mark = mark_of(skops);
	if (mark && mark->phase == SYNHOP_ARMED)
		mark_end(skops, mark);
}

/* The mark whose option this segment is to carry: each SYN, retransmitted ones too. The kernel also
 * asks for other segments, and for none at all when it works out the MSS: they get nothing. */
static __always_inline struct synhop_mark *mark_for_segment(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark;

	if (!segment_is(skops, TCP_FLAG_SYN))
		return 0;
	mark = mark_of(skops);
	return mark && mark->phase == SYNHOP_ARMED ? mark : 0;
}

static __always_inline void mark_reserve(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark = mark_for_segment(skops);

	if (!mark)
		return;
	if (bpf_reserve_hdr_opt(skops, mark->option[1], 0))
		count(SYNHOP_RESERVE_FAILED);
}

static __always_inline void mark_write(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark = mark_for_segment(skops);

	if (!mark)
		return;
	/* The helper takes the length from the option itself. */
	if (bpf_store_hdr_opt(skops, mark->option, sizeof(mark->option), 0)) {
		count(SYNHOP_STORE_FAILED);
		return;
	}
	mark->progress = SYNHOP_SYN_SENT;
}

/* Searches the SYN-ACK for a reply to the option that went out. Lengths of SYN forms are a mirror's
 * and too long for the buffer, which the helper reports as an error. */
static __always_inline void read_reply(struct bpf_sock_ops *skops, struct synhop_mark *mark)
{
	__u8 reply[REPLY_COOKIE_OCTETS] = {
		synhop_kind, HEAD_OCTETS, mark->option[2], mark->option[3],
	};
	int len = bpf_load_hdr_opt(skops, reply, sizeof(reply), 0);

	switch (len) {
	case REPLY_COOKIE_OCTETS:
		__builtin_memcpy(mark->cookie, &reply[HEAD_OCTETS], sizeof(mark->cookie));
		mark->cookie_len = sizeof(mark->cookie);
		mark->progress = SYNHOP_UNDERSTOOD;
		break;
	case REPLY_OCTETS:
		mark->progress = SYNHOP_UNDERSTOOD;
		break;
	default:
		mark->progress = SYNHOP_SILENT;
	}
}

/* Leaves the outcome where whoever has the socket can read it, without privilege and without asking
 * the process that made the mark. Only the outcome that needs nobody's attention: a cookie has to
 * be fetched and kept. */
static __always_inline void publish(struct bpf_sock_ops *skops, const struct synhop_mark *mark)
{
	int sentinel = SYNHOP_PUBLISHED_UNDERSTOOD;

	if (!(mark->flags & SYNHOP_PUBLISH) || mark->progress != SYNHOP_UNDERSTOOD ||
	    mark->cookie_len)
		return;
	if (bpf_setsockopt(skops, IPPROTO_TCP, TCP_SYNCNT, &sentinel, sizeof(sentinel)))
		count(SYNHOP_PUBLISH_FAILED);
}

static __always_inline void mark_established(struct bpf_sock_ops *skops)
{
	struct synhop_mark *mark = mark_of(skops);

	if (!mark || mark->phase != SYNHOP_ARMED)
		return;
	mark_end(skops, mark);
	if (mark->progress != SYNHOP_SYN_SENT)
		return;
	read_reply(skops, mark);
	publish(skops, mark);
}

#endif
