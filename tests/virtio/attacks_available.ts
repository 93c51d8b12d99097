/**
 * The available ring: indices, heads and flags that lie.
 *
 * @module
 */
import { type Attack, only, parts, PAYLOAD, transmitChain } from "./attack.ts";
import { BUFFERS } from "./raw_net.ts";
import { NEXT } from "./raw_ring.ts";

/** See the module. */
export const AVAILABLE_ATTACKS: readonly Attack[] = [
  {
    name: "D1: avail.idx is one more than the queue size ahead",
    verdict: "avail-idx-jump",
    attack: (net) => {
      net.tx.chain(0, net.packet(BUFFERS, PAYLOAD));
      net.tx.availIdx = 9;
    },
  },
  {
    name: "D1: avail.idx goes backwards",
    verdict: "avail-idx-jump",
    attack: (net) => {
      net.tx.availIdx = 0xffff;
    },
  },
  {
    name: "D2: a head names no descriptor",
    verdict: "head-out-of-range",
    attack: (net) => net.tx.offer(8),
  },
  {
    name: "D15: a chain made available twice",
    verdict: only("head-available-twice"),
    frame: [...PAYLOAD],
    attack: (net) => {
      transmitChain(net, net.packet(BUFFERS, PAYLOAD));
      net.tx.offer(0);
    },
  },
  {
    name: "avail.flags with a bit that does not exist",
    verdict: only("avail-flags"),
    frame: [...PAYLOAD],
    attack: (net) => {
      net.tx.availFlags = 2;
      transmitChain(net, net.packet(BUFFERS, PAYLOAD));
    },
  },
  {
    name: "avail.flags that is not 0 with EVENT_IDX",
    features: ["EVENT_IDX"],
    verdict: only("avail-flags"),
    frame: [...PAYLOAD],
    attack: (net) => {
      net.tx.availFlags = 1;
      transmitChain(net, net.packet(BUFFERS, PAYLOAD));
    },
  },
  {
    name: "with IN_ORDER, a head other than the next in the table",
    features: ["IN_ORDER"],
    verdict: only("not-in-order"),
    frame: [...PAYLOAD],
    attack: (net) => net.tx.offer(net.tx.chain(1, net.packet(BUFFERS, PAYLOAD))),
  },
  {
    name: "with IN_ORDER, next that is not the following descriptor",
    features: ["IN_ORDER"],
    verdict: only("not-in-order"),
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      net.tx.setDesc(0, { ...header, flags: NEXT, next: 2 });
      net.tx.setDesc(2, payload);
      net.tx.offer(0);
    },
  },
];
