/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What both directions need: configuration, counters, the header callbacks. */
#ifndef SYNHOP_COMMON_BPF_H
#define SYNHOP_COMMON_BPF_H

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

#define IPPROTO_TCP 6
#define TCP_SYNCNT 7

#define AF_INET 2
#define AF_INET6 10

/* Kind and ExID of the option, length 4: what the helpers search for, and the shortest reply. */
#define HEAD_OCTETS 4
#define EXID_HIGH 0xE5
#define EXID_LOW_V4 0xF4
#define EXID_LOW_V6 0xF6

/* Set by the loader. */
const volatile __u8 synhop_kind = 253;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, SYNHOP_COUNTERS);
} counters SEC(".maps");

static __always_inline void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &index);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

/* Whether the callback is about a connection request, for which there is no full socket yet. With
 * Fast Open there is one, and the kernel still passes the request. */
static __always_inline int is_request(struct bpf_sock_ops *skops)
{
	return !skops->is_fullsock;
}

static __always_inline int segment_is(struct bpf_sock_ops *skops, __u32 flags)
{
	return (skops->skb_tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == flags;
}

/* Asks for callbacks, BPF_SOCK_OPS_*_CB_FLAG. Returns those that were off before: they are ours to
 * turn off; negative when the kernel refuses. A program that asks for one later finds it on, and
 * the kernel has no count of who wants it: that one cannot be told from ours. */
static __always_inline int callbacks_on(struct bpf_sock_ops *skops, int wanted)
{
	int flags = skops->bpf_sock_ops_cb_flags;
	int missing = wanted & ~flags;

	if (missing && bpf_sock_ops_cb_flags_set(skops, flags | missing)) {
		count(SYNHOP_CALLBACKS_FAILED);
		return -1;
	}
	return missing;
}

static __always_inline void callbacks_off(struct bpf_sock_ops *skops, int unwanted)
{
	int flags = skops->bpf_sock_ops_cb_flags;

	if (bpf_sock_ops_cb_flags_set(skops, flags & ~unwanted))
		count(SYNHOP_CALLBACKS_FAILED);
}

#endif
