// SPDX-License-Identifier: Apache-2.0 OR MIT
/* The sockops program: one switch, a file per direction. It puts an option that userspace made
 * into the SYN of a marked socket (mark.bpf.h) and tells userspace of SYNs that carry one
 * (listen.bpf.h). What the option means is userspace's business. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "synhop_abi.h"
#include "common.bpf.h"
#include "mark.bpf.h"
#include "listen.bpf.h"

SEC("sockops")
int synhop(struct bpf_sock_ops *skops)
{
	switch (skops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		mark_connect(skops);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		mark_established(skops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		mark_state_changes(skops);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listen_start(skops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/* A simultaneous open ends here, too. */
		mark_established(skops);
		listen_established(skops);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		/* A SYN-ACK is a request's, not yet a full socket's. */
		if (is_request(skops)) {
			listen_reserve(skops);
		} else {
			mark_reserve(skops);
			listen_child_sends(skops);
		}
		break;
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
		if (is_request(skops))
			listen_write(skops);
		else
			mark_write(skops);
		break;
	}
	/* 0 would be an error and undo what was reserved or written. */
	return 1;
}

/* The kernel wants a licence it calls GPL compatible before it gives out all helpers. Its list knows
 * "MIT" only within this string; the terms are those on top of this file, of which MIT is one. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
