/**
 * Chains of the descriptor table: links, order and flags.
 *
 * @module
 */
import { type Attack, MORE, only, parts, PASSES, PAYLOAD, transmitChain } from "./attack.ts";
import { BUFFERS, NOWHERE } from "./raw_net.ts";
import { NEXT, WRITE } from "./raw_ring.ts";

/** See the module. */
export const CHAIN_ATTACKS: readonly Attack[] = [
  {
    name: "D3: next names no descriptor of the ring",
    verdict: "next-out-of-range",
    attack: (net) => {
      net.tx.setDesc(0, { ...net.packet(BUFFERS, PAYLOAD), flags: NEXT, next: 8 });
      net.tx.offer(0);
    },
  },
  {
    name: "D4: a chain loops",
    verdict: "chain-too-long",
    attack: (net) => {
      const [header, payload] = parts(net);
      net.tx.setDesc(0, { ...header, flags: NEXT, next: 1 });
      net.tx.setDesc(1, { ...payload, flags: NEXT, next: 0 });
      net.tx.offer(0);
    },
  },
  {
    name: "D4: a descriptor is its own successor",
    verdict: "chain-too-long",
    attack: (net) => {
      net.tx.setDesc(3, { ...net.packet(BUFFERS, PAYLOAD), flags: NEXT, next: 3 });
      net.tx.offer(3);
    },
  },
  {
    name: "D4: a chain as long as the queue",
    size: 2,
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, ...parts(net)),
  },
  {
    name: "D10: a readable buffer behind a writable one",
    // DPDK does not look at the order, but nothing of a transmit chain may be writable.
    verdict: {
      strict: "readable-after-writable",
      linux: "readable-after-writable",
      qemu: "readable-after-writable",
      dpdk: "writable-on-transmit",
    },
    attack: (net) => {
      const [header, payload] = parts(net);
      transmitChain(net, { ...header, flags: WRITE }, payload);
    },
  },
  {
    name: "D11: a buffer of no bytes",
    verdict: { strict: "zero-length", linux: PASSES, qemu: "zero-length", dpdk: PASSES },
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      transmitChain(net, header, { addr: MORE, len: 0 }, payload);
    },
  },
  {
    name: "D11: a chain that is one buffer of no bytes",
    verdict: { strict: "zero-length", linux: "short-chain", qemu: "zero-length", dpdk: "short-chain" },
    attack: (net) => transmitChain(net, { addr: BUFFERS, len: 0 }),
  },
  {
    name: "D12: a chain of more than 2^32 bytes",
    // Where nobody adds lengths up, each buffer is still held against the map.
    verdict: only("chain-too-large", "bad-address"),
    attack: (net) => {
      const huge = { addr: NOWHERE, len: 0xffff_ffff };
      transmitChain(net, huge, huge);
    },
  },
  {
    name: "a descriptor of two chains that are both out",
    verdict: only("descriptor-shared"),
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      net.tx.setDesc(0, { ...header, flags: NEXT, next: 2 });
      net.tx.setDesc(1, { ...header, flags: NEXT, next: 2 });
      net.tx.setDesc(2, payload);
      net.tx.offer(0, 1);
    },
  },
  {
    name: "a descriptor flag that does not exist",
    verdict: only("descriptor-flags"),
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, { ...net.packet(BUFFERS, PAYLOAD), flags: 0x8000 }),
  },
];
