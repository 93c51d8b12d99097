/**
 * What virtio-net makes of chains: net headers, directions, control commands.
 *
 * @module
 */
import { type Attack, MORE, parts, PASSES, PAYLOAD, transmitChain } from "./attack.ts";
import { BUFFERS, NOWHERE, READ_ONLY } from "./raw_net.ts";
import { WRITE } from "./raw_ring.ts";

/** See the module. */
export const NET_ATTACKS: readonly Attack[] = [
  {
    name: "a transmit chain with a writable part",
    verdict: "writable-on-transmit",
    attack: (net) => transmitChain(net, net.packet(BUFFERS, PAYLOAD), { addr: MORE, len: 10, flags: WRITE }),
  },
  {
    name: "a receive chain with a readable part",
    queue: 0,
    verdict: "readable-on-receive",
    attack: (net) => {
      net.rx.offer(
        net.rx.chain(0, { addr: BUFFERS, len: 10 }, { addr: MORE, len: 100, flags: WRITE }),
      );
    },
  },
  {
    name: "a transmit chain shorter than the net header",
    verdict: "short-chain",
    attack: (net) => transmitChain(net, { addr: BUFFERS, len: 11 }),
  },
  {
    name: "a transmit chain that is the net header alone (legal: an empty frame)",
    verdict: PASSES,
    frame: [],
    attack: (net) => transmitChain(net, { addr: BUFFERS, len: 12 }),
  },
  {
    name: "a net header over three buffers (legal)",
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => {
      const [, payload] = parts(net);
      transmitChain(
        net,
        { addr: BUFFERS, len: 5 },
        { addr: BUFFERS + 5, len: 6 },
        { addr: BUFFERS + 11, len: 1 },
        payload,
      );
    },
  },
  {
    name: "a receive chain shorter than the net header",
    queue: 0,
    features: ["MRG_RXBUF"],
    verdict: "short-chain",
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: BUFFERS, len: 11, flags: WRITE })),
  },
  {
    name: "a receive chain that holds the net header alone, and one for the frame (legal)",
    queue: 0,
    features: ["MRG_RXBUF"],
    verdict: PASSES,
    attack: (net) => {
      for (const [head, len] of [12, 100].entries()) {
        net.rx.offer(net.rx.chain(head, { addr: BUFFERS + 512 * head, len, flags: WRITE }));
      }
    },
  },
  ...[[0, 1, "flags"], [1, 1, "gso_type"]].map(([at, value, field]): Attack => ({
    name: `a transmit header whose ${field} asks for an offload that was not negotiated`,
    verdict: "header-not-negotiated",
    attack: (net) => {
      transmitChain(net, net.packet(BUFFERS, PAYLOAD));
      net.put(BUFFERS + (at as number), [value as number]);
    },
  })),
  {
    name: "a control command without a byte for the ack",
    queue: 2,
    verdict: "control-without-ack",
    attack: (net) => net.ctrl.offer(net.ctrl.chain(0, { addr: BUFFERS, len: 3 })),
  },
  {
    name: "a control command whose ack cannot be written",
    queue: 2,
    verdict: "bad-address",
    attack: (net) =>
      net.ctrl.offer(
        net.ctrl.chain(0, { addr: BUFFERS, len: 3 }, { addr: READ_ONLY, len: 1, flags: WRITE }),
      ),
  },
  {
    name: "a control command that cannot be read",
    queue: 2,
    verdict: "bad-address",
    attack: (net) =>
      net.ctrl.offer(
        net.ctrl.chain(0, { addr: NOWHERE, len: 3 }, { addr: BUFFERS, len: 1, flags: WRITE }),
      ),
  },
];
