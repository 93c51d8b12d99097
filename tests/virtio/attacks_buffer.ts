/**
 * Buffers: what is mapped, how, and what they overlap.
 *
 * @module
 */
import { type Attack, only, parts, PASSES, PAYLOAD, TABLE, table, transmitChain } from "./attack.ts";
import { BEHIND, BUFFERS, NOWHERE, RAM, READ_ONLY, WRITE_ONLY } from "./raw_net.ts";
import { INDIRECT, NEXT, WRITE } from "./raw_ring.ts";

/** The last byte of each part of each ring: of 8 entries they take 128, 22 and 70 bytes (virtio 1.4, 2.7). */
const LAST_BYTES = [["rx0", RAM], ["tx0", RAM + 0x8000], ["ctrl", RAM + 0x1_0000]].flatMap(([ring, start]) =>
  [["desc", 0x7f], ["avail", 0x4000 + 21], ["used", 0x6000 + 69]].map(([part, last]) =>
    [part, ring, start as number + (last as number)] as const
  )
);

/** See the module. */
export const BUFFER_ATTACKS: readonly Attack[] = [
  {
    name: "D13: a buffer that is not mapped",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: NOWHERE, len: 100 }),
  },
  {
    name: "D13: a buffer that ends behind its mapping",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: READ_ONLY + 0xfff, len: 100 }),
  },
  ...[[READ_ONLY - 16, "starts"], [RAM - 128, "lies"]].map(([addr, verb]): Attack => ({
    name: `D13: a transmit buffer that ${verb} before its mapping`,
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: addr as number, len: 64 }),
  })),
  ...[[WRITE_ONLY - 16, "starts"], [RAM - 128, "lies"]].map(([addr, verb]): Attack => ({
    name: `D13: a receive buffer that ${verb} before its mapping`,
    queue: 0,
    verdict: "bad-address",
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: addr as number, len: 64, flags: WRITE })),
  })),
  {
    name: "D13: a buffer that wraps round 2^64",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: 0xffff_ffff_ffff_fff0n, len: 100 }),
  },
  {
    name: "D13: an address of which only the low 32 bits are mapped",
    verdict: "bad-address",
    attack: (net) => {
      net.packet(BUFFERS, PAYLOAD);
      transmitChain(net, { addr: 0x8000_0000_0000_0000n + BigInt(BUFFERS), len: 32 });
    },
  },
  {
    name: "D13: a transmit buffer that the device may not read",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: WRITE_ONLY, len: 32 }),
  },
  {
    name: "D13: a transmit buffer across two mappings (legal)",
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => {
      const addr = BEHIND - 20;
      net.put(addr, [...new Uint8Array(12), ...PAYLOAD.subarray(0, 8)]);
      net.put(BEHIND, PAYLOAD.subarray(8));
      transmitChain(net, { addr, len: 32 });
    },
  },
  {
    name: "D13: a receive buffer that the device may not write",
    queue: 0,
    verdict: "bad-address",
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: READ_ONLY, len: 100, flags: WRITE })),
  },
  {
    name: "D13: a receive buffer that is not mapped",
    queue: 0,
    verdict: "bad-address",
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: NOWHERE, len: 100, flags: WRITE })),
  },
  {
    name: "D13: a receive buffer that ends behind its mapping, in its part that the frame needs",
    queue: 0,
    verdict: "bad-address",
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: WRITE_ONLY + 0xff0, len: 100, flags: WRITE })),
  },
  {
    name: "D13: a receive buffer across two mappings (legal)",
    queue: 0,
    verdict: PASSES,
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: BEHIND - 20, len: 100, flags: WRITE })),
  },
  ...LAST_BYTES.map(([part, ring, last]): Attack => ({
    name: `a transmit buffer that overlaps the ${part} part of ${ring}`,
    verdict: only("buffer-overlaps-ring", "header-not-negotiated"),
    attack: (net) => {
      net.put(last, [1]);
      transmitChain(net, { addr: last, len: 32 });
    },
  })),
  ...LAST_BYTES.filter(([, ring]) => ring === "ctrl").map(([part, ring, last]): Attack => ({
    name: `a receive buffer that overlaps the ${part} part of ${ring}`,
    queue: 0,
    verdict: only("buffer-overlaps-ring"),
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: last, len: 100, flags: WRITE })),
  })),
  {
    name: "a receive buffer that overlaps another ring behind what the frame needs",
    queue: 0,
    verdict: only("buffer-overlaps-ring"),
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: RAM + 0x8000 - 99, len: 100, flags: WRITE })),
  },
  {
    name: "a buffer in an indirect table that overlaps another ring",
    features: ["INDIRECT_DESC"],
    verdict: only("buffer-overlaps-ring"),
    attack: (net) => {
      const [header, payload] = parts(net);
      const inside = { addr: RAM + 0x4000, len: 4, flags: NEXT, next: 2 };
      table(net, TABLE, { ...header, flags: NEXT, next: 1 }, inside, payload);
      transmitChain(net, { addr: TABLE, len: 48, flags: INDIRECT });
    },
  },
  {
    name: "a control command whose ack lies in another ring",
    queue: 2,
    verdict: only("buffer-overlaps-ring"),
    attack: (net) => {
      const ack = { addr: RAM + 0x8000 + 0x6000 + 69, len: 1, flags: WRITE };
      net.ctrl.offer(net.ctrl.chain(0, { addr: BUFFERS, len: 3 }, ack));
    },
  },
  {
    name: "a receive buffer that overlaps its own ring",
    queue: 0,
    verdict: only("buffer-overlaps-ring"),
    attack: (net) => net.rx.offer(net.rx.chain(0, { addr: RAM + 0x4000 + 20, len: 100, flags: WRITE })),
  },
  {
    name: "a buffer between two parts of the ring (legal)",
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, net.packet(RAM + 0x8000 + 0x80, PAYLOAD)),
  },
  {
    name: "a buffer between two rings (legal)",
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, net.packet(RAM + 0x8000 - 32, PAYLOAD)),
  },
];
