/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Incoming: while the SYN-ACK is built, the SYN is at hand. If it carries the option and came to a
 * listener of ours, its headers go to userspace and the SYN-ACK says "understood". */
#ifndef SYNHOP_LISTEN_BPF_H
#define SYNHOP_LISTEN_BPF_H

#define IPV4_DESTINATION 16
#define IPV6_NEXT_HEADER 6
#define IPV6_DESTINATION 24

/* Marks listeners, and by BPF_F_CLONE the sockets accepted from them: the header callbacks, which
 * sockets inherit from their listener, are turned off in them. It goes with the socket, so that a
 * plain server that takes a closed node's port is none of ours. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u8);
} listener_marks SEC(".maps");

/* The addresses of our listeners. A request has no socket storage, and other attachments hang on
 * the same cgroup: this tells whose SYN it is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct synhop_listener);
	__type(value, __u8);
	__uint(max_entries, 1024);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} events SEC(".maps");

/* What the SYN carries. */
enum found {
	FOUND_NOTHING,
	FOUND_V4,
	FOUND_V6,
	/* There, with a length of no form or for both families. */
	FOUND_MALFORMED,
};

static __always_inline __u8 *listener_mark_of(struct bpf_sock_ops *skops)
{
	struct bpf_sock *sk = skops->sk;

	return sk ? bpf_sk_storage_get(&listener_marks, sk, 0, 0) : 0;
}

static __always_inline void listen_start(struct bpf_sock_ops *skops)
{
	__u8 *mark = listener_mark_of(skops);
	int turned_on;

	if (!mark)
		return;
	turned_on = callbacks_on(skops, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
	if (turned_on >= 0)
		*mark = turned_on ? SYNHOP_LISTENER_WATCHED : SYNHOP_LISTENER_SHARED;
}

/* Turns the header callbacks off that this socket has inherited, if they are ours. */
static __always_inline void listen_no_more(struct bpf_sock_ops *skops)
{
	__u8 *mark = listener_mark_of(skops);

	if (mark && *mark == SYNHOP_LISTENER_WATCHED)
		callbacks_off(skops, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* A connection of ours is established: no more header callbacks. With Fast Open this comes before
 * the SYN-ACK, at the SYN; they are needed once more. */
static __always_inline void listen_established(struct bpf_sock_ops *skops)
{
	if (!(skops->skb_tcp_flags & TCP_FLAG_SYN))
		listen_no_more(skops);
}

/* The first segment of a Fast Open connection behind its SYN-ACK. */
static __always_inline void listen_child_sends(struct bpf_sock_ops *skops)
{
	if (segment_is(skops, TCP_FLAG_ACK))
		listen_no_more(skops);
}

static __always_inline int is_listener(const struct synhop_listener *key)
{
	return bpf_map_lookup_elem(&listeners, key) != 0;
}

/* Whether the SYN with these headers came to a listener of ours, at its address or any. IPv6
 * extension headers are not followed. */
static __always_inline int came_to_ours(struct bpf_sock_ops *skops, const __u8 *headers)
{
	struct synhop_listener key = {
		.netns_cookie = bpf_get_netns_cookie(skops),
		.port = skops->local_port,
	};

	switch (headers[0] >> 4) {
	case 4:
		key.address[10] = 0xff;
		key.address[11] = 0xff;
		__builtin_memcpy(&key.address[12], &headers[IPV4_DESTINATION], 4);
		if (is_listener(&key))
			return 1;
		__builtin_memset(&key.address[12], 0, 4);
		return is_listener(&key);
	case 6:
		if (headers[IPV6_NEXT_HEADER] != IPPROTO_TCP)
			return 0;
		__builtin_memcpy(key.address, &headers[IPV6_DESTINATION], 16);
		if (is_listener(&key))
			return 1;
		__builtin_memset(key.address, 0, 16);
		return is_listener(&key);
	}
	return 0;
}

/* The length of the SYN's option of this family, 0 if it has none. */
static __always_inline __u8 option_len(struct bpf_sock_ops *skops, __u8 exid_low)
{
	__u8 head[HEAD_OCTETS] = { synhop_kind, HEAD_OCTETS, EXID_HIGH, exid_low };
	long found = bpf_load_hdr_opt(skops, head, sizeof(head), BPF_LOAD_HDR_OPT_TCP_SYN);

	/* -ENOSPC: longer than the head, which is all that is of interest. */
	return found > 0 || found == -28 ? head[1] : 0;
}

static __always_inline enum found find_option(struct bpf_sock_ops *skops)
{
	__u8 v4 = option_len(skops, EXID_LOW_V4);
	__u8 v6 = option_len(skops, EXID_LOW_V6);

	if (!v4 && !v6)
		return FOUND_NOTHING;
	if (v4 && v6)
		return FOUND_MALFORMED;
	/* The lengths of SPEC section 4.2. */
	switch (v4) {
	case 10: case 14: case 16: case 18: case 20:
		return FOUND_V4;
	}
	switch (v6) {
	case 20: case 22: case 24: case 26: case 40:
		return FOUND_V6;
	}
	return FOUND_MALFORMED;
}

/* What the SYN carries if it came to a listener of ours. Its headers are left in the event. */
static __always_inline enum found
examine_syn(struct bpf_sock_ops *skops, struct synhop_event *event)
{
	int len = bpf_getsockopt(skops, IPPROTO_TCP, TCP_BPF_SYN_IP, event->headers,
				 sizeof(event->headers));

	/* Fails when the SYN is gone, which ours save, and when it has IPv6 extension headers. */
	if (len <= 0 || !came_to_ours(skops, event->headers))
		return FOUND_NOTHING;
	event->len = len;
	return find_option(skops);
}

/* Whether this SYN-ACK answers a SYN that has just come, rather than being sent again. The link
 * layer's header is within reach of the first alone: TCP_SAVE_SYN with 1 saves what is above. */
static __always_inline int syn_is_new(struct bpf_sock_ops *skops)
{
	__u8 octet;

	return bpf_getsockopt(skops, IPPROTO_TCP, TCP_BPF_SYN_MAC, &octet, sizeof(octet)) != -2;
}

static __always_inline void tell(struct bpf_sock_ops *skops, struct synhop_event *event)
{
	if (!syn_is_new(skops))
		return;
	/* Wakes a reader that has read all there was, at once; one that has not is awake. Always
	 * waking would cost each SYN an interrupt. */
	if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))
		count(SYNHOP_DROPPED);
	else
		count(SYNHOP_EVENTS);
}

static __always_inline void listen_reserve(struct bpf_sock_ops *skops)
{
	struct synhop_event event;

	switch (examine_syn(skops, &event)) {
	case FOUND_NOTHING:
		return;
	case FOUND_V4:
	case FOUND_V6:
		/* The kernel keeps nothing of this SYN, so nobody could be sure at accept() that
		 * the flow is a synhop one: the client must not believe that it is understood. */
		if (skops->args[0] == BPF_WRITE_HDR_TCP_SYNACK_COOKIE) {
			count(SYNHOP_SYN_COOKIES);
			return;
		}
		/* Without a reply the client gives the connection up. */
		if (bpf_reserve_hdr_opt(skops, REPLY_OCTETS, 0)) {
			count(SYNHOP_RESERVE_FAILED);
			return;
		}
		break;
	case FOUND_MALFORMED:
		count(SYNHOP_MALFORMED);
		break;
	}
	tell(skops, &event);
}

static __always_inline void reply(struct bpf_sock_ops *skops, __u8 exid_low)
{
	__u8 option[REPLY_OCTETS] = { synhop_kind, REPLY_OCTETS, EXID_HIGH, exid_low };

	if (bpf_store_hdr_opt(skops, option, sizeof(option), 0))
		count(SYNHOP_STORE_FAILED);
}

/* The room may be another program's: the SYN is examined again. */
static __always_inline void listen_write(struct bpf_sock_ops *skops)
{
	struct synhop_event event;

	if (skops->args[0] == BPF_WRITE_HDR_TCP_SYNACK_COOKIE)
		return;
	switch (examine_syn(skops, &event)) {
	case FOUND_V4:
		reply(skops, EXID_LOW_V4);
		break;
	case FOUND_V6:
		reply(skops, EXID_LOW_V6);
		break;
	case FOUND_NOTHING:
	case FOUND_MALFORMED:
		break;
	}
}

#endif
