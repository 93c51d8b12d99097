/**
 * Indirect tables.
 *
 * @module
 */
import { type Attack, MORE, only, parts, PASSES, PAYLOAD, TABLE, table, transmitChain } from "./attack.ts";
import { BEHIND, BUFFERS, NOWHERE, RAM, READ_ONLY } from "./raw_net.ts";
import { INDIRECT, NEXT } from "./raw_ring.ts";

/** See the module. */
export const INDIRECT_ATTACKS: readonly Attack[] = [
  {
    name: "D3: next names no descriptor of an indirect table, though one of the ring",
    features: ["INDIRECT_DESC"],
    verdict: "next-out-of-range",
    attack: (net) => {
      const [header, payload] = parts(net);
      table(net, TABLE, { ...header, flags: NEXT, next: 1 }, { ...payload, flags: NEXT, next: 2 });
      transmitChain(net, { addr: TABLE, len: 32, flags: INDIRECT });
    },
  },
  {
    name: "D4: an indirect table loops, which who reads it in order does not see",
    features: ["INDIRECT_DESC"],
    verdict: { strict: "chain-too-long", linux: PASSES, qemu: "chain-too-long", dpdk: "chain-too-long" },
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      table(net, TABLE, { ...header, flags: NEXT, next: 0 }, payload);
      transmitChain(net, { addr: TABLE, len: 32, flags: INDIRECT });
    },
  },
  {
    name: "D5: INDIRECT inside an indirect table",
    features: ["INDIRECT_DESC"],
    verdict: { strict: "indirect-nested", linux: "indirect-nested", qemu: PASSES, dpdk: PASSES },
    frame: [...PAYLOAD],
    attack: (net) => {
      table(net, TABLE, { ...net.packet(BUFFERS, PAYLOAD), flags: INDIRECT });
      transmitChain(net, { addr: TABLE, len: 16, flags: INDIRECT });
    },
  },
  ...[0, 8, 17].map((len): Attack => ({
    name: `D6: an indirect table of ${len} bytes`,
    features: ["INDIRECT_DESC"],
    verdict: len < 16 ? "indirect-length" : {
      strict: "indirect-length",
      linux: "indirect-length",
      qemu: "indirect-length",
      dpdk: PASSES,
    },
    frame: [...PAYLOAD],
    attack: (net) => {
      table(net, TABLE, net.packet(BUFFERS, PAYLOAD));
      transmitChain(net, { addr: TABLE, len, flags: INDIRECT });
    },
  })),
  {
    name: "D7: INDIRECT behind ordinary descriptors",
    features: ["INDIRECT_DESC"],
    verdict: { strict: PASSES, linux: PASSES, qemu: "indirect-not-first", dpdk: "indirect-not-first" },
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      table(net, TABLE, payload);
      transmitChain(net, header, { addr: TABLE, len: 16, flags: INDIRECT });
    },
  },
  {
    name: "D8: INDIRECT together with NEXT",
    features: ["INDIRECT_DESC"],
    // vhost goes on with the ring's chain behind the table; QEMU and DPDK look at the table alone.
    verdict: only("indirect-and-next"),
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      table(net, TABLE, { ...header, flags: NEXT, next: 1 }, payload);
      net.tx.setDesc(0, { addr: TABLE, len: 32, flags: INDIRECT | NEXT, next: 1 });
      net.tx.setDesc(1, { addr: MORE, len: 5 });
      net.tx.offer(0);
    },
  },
  {
    name: "D9: an indirect table with more entries than the queue",
    features: ["INDIRECT_DESC"],
    size: 2,
    verdict: { strict: "indirect-too-long", linux: PASSES, qemu: PASSES, dpdk: "indirect-too-long" },
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      table(
        net,
        TABLE,
        { ...header, flags: NEXT, next: 1 },
        { ...payload, len: 5, flags: NEXT, next: 2 },
        { addr: payload.addr + 5, len: 15 },
      );
      transmitChain(net, { addr: TABLE, len: 48, flags: INDIRECT });
    },
  },
  {
    name: "D9: an indirect table with 1025 entries",
    features: ["INDIRECT_DESC"],
    verdict: {
      strict: "indirect-too-long",
      linux: PASSES,
      qemu: "indirect-too-long",
      dpdk: "indirect-too-long",
    },
    frame: [...PAYLOAD],
    attack: (net) => {
      table(net, TABLE, net.packet(BUFFERS, PAYLOAD));
      transmitChain(net, { addr: TABLE, len: 16 * 1025, flags: INDIRECT });
    },
  },
  {
    name: "D9: an indirect table with 65537 entries",
    features: ["INDIRECT_DESC"],
    verdict: "indirect-too-long",
    attack: (net) => transmitChain(net, { addr: RAM, len: 16 * 65537, flags: INDIRECT }),
  },
  {
    name: "D13: an indirect table across two mappings (legal)",
    features: ["INDIRECT_DESC"],
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      table(net, BEHIND - 16, { ...header, flags: NEXT, next: 1 });
      table(net, BEHIND, payload);
      transmitChain(net, { addr: BEHIND - 16, len: 32, flags: INDIRECT });
    },
  },
  {
    name: "D13: an indirect table that is not mapped",
    features: ["INDIRECT_DESC"],
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: NOWHERE, len: 32, flags: INDIRECT }),
  },
  {
    name: "D13: an indirect table that ends behind its mapping",
    features: ["INDIRECT_DESC"],
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: READ_ONLY + 0xff0, len: 32, flags: INDIRECT }),
  },
  {
    name: "D14: INDIRECT that was not negotiated",
    verdict: only("indirect-not-negotiated"),
    frame: [...PAYLOAD],
    attack: (net) => {
      table(net, TABLE, net.packet(BUFFERS, PAYLOAD));
      transmitChain(net, { addr: TABLE, len: 16, flags: INDIRECT });
    },
  },
  {
    name: "D17: next of an indirect table is not the following entry",
    features: ["INDIRECT_DESC"],
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => {
      const [header, payload] = parts(net);
      const profile = net.profile;
      const last = { ...payload, flags: 0 };
      // vhost reads entry 1 after entry 0, the others entry 2.
      const decoy = { addr: BUFFERS, len: 1 };
      table(
        net,
        TABLE,
        { ...header, flags: NEXT, next: 2 },
        profile === "linux" ? last : decoy,
        profile === "linux" ? decoy : last,
      );
      transmitChain(net, { addr: TABLE, len: 48, flags: INDIRECT });
    },
  },
];
