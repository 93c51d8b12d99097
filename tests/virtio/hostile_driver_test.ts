import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { DEVICE_FAULTS, type Profile } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { assertFault } from "./faults.ts";
import { BEHIND, BUFFERS, NOWHERE, RAM, RAM_SIZE, RawNet, READ_ONLY, WRITE_ONLY } from "./raw_net.ts";
import { INDIRECT, NEXT, RawRing, WRITE, writeDesc } from "./raw_ring.ts";

const PROFILES: readonly Profile[] = ["strict", "linux", "qemu", "dpdk"];
const PAYLOAD = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
const TABLE = BUFFERS + 0x4000;
const MORE = BUFFERS + 0x1000;
/** The chain was carried out. */
const PASSES = "passes";

interface Attack {
  /** What the driver does; starts with the check's number in the list of device checks, where it has one. */
  readonly name: string;
  /** What becomes of it: a fault's code or {@linkcode PASSES}, for all profiles or by profile. */
  readonly verdict: string | Readonly<Record<Profile, string>>;
  readonly size?: number;
  readonly features?: readonly Feature[];
  /** Writes the rings of queue 1 (transmit) unless `queue` says otherwise. */
  readonly attack: (net: RawNet) => void;
  /** The queue attacked: receive 0, transmit 1, control 2. */
  readonly queue?: number;
  /** The frame that goes to the wire if it passes. */
  readonly frame?: readonly number[];
}

/** One chain on the transmit ring, its descriptors one behind the other from 0. */
function transmitChain(net: RawNet, ...buffers: Parameters<RawNet["tx"]["chain"]>[1][]): void {
  net.tx.offer(net.tx.chain(0, ...buffers));
}

/** Header and payload apart: two readable buffers. */
function parts(net: RawNet): [{ addr: number; len: number }, { addr: number; len: number }] {
  net.packet(BUFFERS, []);
  net.put(MORE, PAYLOAD);
  return [{ addr: BUFFERS, len: 12 }, { addr: MORE, len: PAYLOAD.length }];
}

function table(net: RawNet, at: number, ...entries: Parameters<typeof writeDesc>[2][]): void {
  entries.forEach((entry, i) => writeDesc(net.memory.view, net.at(at) + 16 * i, entry));
}

const only = (strict: string, others: string = PASSES) => ({
  strict,
  linux: others,
  qemu: others,
  dpdk: others,
});

const attacks: readonly Attack[] = [
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
    name: "D3: next names no descriptor of the ring",
    verdict: "next-out-of-range",
    attack: (net) => {
      net.tx.setDesc(0, { ...net.packet(BUFFERS, PAYLOAD), flags: NEXT, next: 8 });
      net.tx.offer(0);
    },
  },
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
    name: "D4: a chain as long as the queue",
    size: 2,
    verdict: PASSES,
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, ...parts(net)),
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
    name: "D13: a buffer that is not mapped",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: NOWHERE, len: 100 }),
  },
  {
    name: "D13: a buffer that ends behind its mapping",
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: READ_ONLY + 0xfff, len: 100 }),
  },
  ...[[16, "starts"], [128, "lies"]].map(([before, verb]): Attack => ({
    name: `D13: a transmit buffer that ${verb} before its mapping`,
    verdict: "bad-address",
    attack: (net) => transmitChain(net, { addr: RAM - (before as number), len: 64 }),
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
    name: "D15: a chain made available twice",
    verdict: only("head-available-twice"),
    frame: [...PAYLOAD],
    attack: (net) => {
      transmitChain(net, net.packet(BUFFERS, PAYLOAD));
      net.tx.offer(0);
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
  ...(["desc", "avail", "used"] as const).map((part, i): Attack => ({
    name: `a buffer that overlaps the ${part} part of the ring`,
    verdict: only("buffer-overlaps-ring", "header-not-negotiated"),
    attack: (net) => {
      const start = RAM + 0x8000 + [0, 0x4000, 0x6000][i]!;
      const inside = [0x7f, 21, 69][i]!;
      net.put(start + inside, [1]);
      transmitChain(net, { addr: start + inside, len: 32 });
    },
  })),
  {
    name: "a receive buffer that overlaps the ring",
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
    name: "a descriptor flag that does not exist",
    verdict: only("descriptor-flags"),
    frame: [...PAYLOAD],
    attack: (net) => transmitChain(net, { ...net.packet(BUFFERS, PAYLOAD), flags: 0x8000 }),
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

/** Lets the device meet the attack; in batches, which go other ways through it, or one by one. */
function play(net: RawNet, queue: number, batches: boolean): void {
  if (queue !== 0) net.kick(queue);
  else if (batches) assertEquals(net.loop(PAYLOAD), 1);
  else assertEquals(net.arrive(PAYLOAD), 0);
}

for (const { name, verdict, size, features = [], attack, queue = 1, frame } of attacks) {
  Deno.test(`device half: ${name}`, async (t) => {
    for (
      const [profile, batches] of PROFILES.flatMap((profile) => [[profile, false], [profile, true]] as const)
    ) {
      const wanted = typeof verdict === "string" ? verdict : verdict[profile];
      await t.step(`${profile}${batches ? ", in batches" : ""}: ${wanted}`, () => {
        const net = new RawNet({ features, profile, batches, ...size && { size } });
        attack(net);
        if (wanted === PASSES) {
          play(net, queue, batches);
          if (frame) assertEquals(net.frames[0], Uint8Array.from(frame));
          assertEquals(net.device.queues[queue]!.running, true);
          return;
        }
        let fault: unknown;
        try {
          play(net, queue, batches);
        } catch (error) {
          fault = error;
        }
        assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
        assertEquals([fault.half, fault.ring, fault.code], [
          "device",
          ["rx0", "tx0", "ctrl"][queue]!,
          wanted,
        ]);
        const { running, broken } = net.device.queues[queue]!;
        assertEquals([running, broken], [false, fault]);
        // The queue serves nothing more, until it is started again.
        const used = [net.rx, net.tx, net.ctrl][queue]!.usedIdx;
        net.device.notify(queue);
        assertEquals(net.device.service(net.wire), 0);
        assertEquals([net.rx, net.tx, net.ctrl][queue]!.usedIdx, used);
        assert(net.guarded);
      });
    }
  });
}

/** Faults of a queue's set-up; all profiles agree. */
const starts:
  readonly (readonly [name: string, code: string, size: number, areas: [number, number, number]])[] = [
    ["a queue size that is no power of two", "bad-queue-size", 6, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["a queue size of 0", "bad-queue-size", 0, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["a queue size above the device's", "bad-queue-size", 16, [RAM, RAM + 0x1000, RAM + 0x2000]],
    ["D16: a descriptor table at 8 modulo 16", "misaligned-ring", 8, [RAM + 8, RAM + 0x1000, RAM + 0x2000]],
    ["D16: an available ring at an odd address", "misaligned-ring", 8, [RAM, RAM + 0x1001, RAM + 0x2000]],
    ["D16: a used ring at 2 modulo 4", "misaligned-ring", 8, [RAM, RAM + 0x1000, RAM + 0x2002]],
    ["a descriptor table that is not mapped", "bad-ring-address", 8, [NOWHERE, RAM, RAM + 0x2000]],
    ["a used ring that cannot be written", "bad-ring-address", 8, [RAM, RAM + 0x1000, READ_ONLY]],
    ["a used ring that cannot be read", "bad-ring-address", 8, [RAM, RAM + 0x1000, WRITE_ONLY]],
    ["a ring part across memories", "bad-ring-address", 8, [RAM + RAM_SIZE - 64, RAM, RAM + 0x2000]],
    ["an available ring that ends behind its mapping", "bad-ring-address", 8, [
      RAM,
      READ_ONLY + 0xff0,
      RAM + 0x2000,
    ]],
  ];

for (const [name, code, size, [desc, driver, device]] of starts) {
  Deno.test(`device half: ${name}`, () => {
    for (const profile of PROFILES) {
      const net = new RawNet({ profile });
      const queue = net.device.queues[1]!;
      queue.stop();
      let fault: unknown;
      try {
        queue.start(size, { desc, driver, device }, 1n << 32n);
      } catch (error) {
        fault = error;
      }
      assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
      assertEquals([fault.half, fault.code, queue.running], ["device", code, false]);
    }
  });
}

Deno.test("device half: a ring part that is unmapped while the queue runs is bad-ring-address", () => {
  const net = new RawNet();
  net.space.unmap(net.space.find(RAM, 0)!);
  let fault: unknown;
  try {
    net.kick(1);
  } catch (error) {
    fault = error;
  }
  assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
  assertEquals(fault.code, "bad-ring-address");
});

Deno.test("device half: avail.idx that goes back among chains already seen is avail-idx-jump", () => {
  for (const profile of PROFILES) {
    for (const back of [1, 2, 3]) {
      const net = new RawNet({ profile });
      for (let i = 0; i < 4; i++) net.tx.offer(net.tx.chain(i, net.packet(BUFFERS + 64 * i, PAYLOAD)));
      const queue = net.device.queues[1]!;
      assert(queue.pop());
      net.tx.availIdx -= back;
      assertFault(() => queue.enableNotify(), "device", "avail-idx-jump");
      assertEquals(queue.running, false);
    }
  }
});

/** virtio 1.4, 5.1.6.2: gso_type by the feature that it needs. */
Deno.test("device half: with CSUM, gso_type takes what was negotiated, and nothing else", () => {
  const kinds = [[1, "HOST_TSO4"], [4, "HOST_TSO6"], [3, "HOST_UFO"], [5, "HOST_USO"]] as const;
  for (const [gso, feature] of kinds) {
    for (
      const features of [
        [],
        [feature],
        kinds.map(([, name]) => name).filter((name) => name !== feature),
      ]
    ) {
      for (const ecn of [false, true]) {
        const net = new RawNet({ features: ["CSUM", ...features, ...ecn ? ["HOST_ECN" as const] : []] });
        const good = features.some((name) => name === feature);
        const send = (type: number) => {
          transmitChain(net, net.packet(BUFFERS, PAYLOAD));
          net.put(BUFFERS, [1, type, 54, 0, 10]);
          net.kick(1);
        };
        const tcp = gso === 1 || gso === 4;
        if (good) send(gso);
        if (good && ecn && tcp) send(0x80 | gso);
        assertEquals(net.frames.length, good ? (ecn && tcp ? 2 : 1) : 0);
        // Neither kinds that do not exist, nor ECN without its feature or with UDP.
        for (const bad of [2, 6, 0x80, ...good ? ecn && tcp ? [] : [0x80 | gso] : [gso, 0x80 | gso]]) {
          const other = new RawNet({ features: ["CSUM", ...features, ...ecn ? ["HOST_ECN" as const] : []] });
          transmitChain(other, other.packet(BUFFERS, PAYLOAD));
          other.put(BUFFERS, [1, bad, 54, 0, 10]);
          assertFault(() => other.kick(1), "device", "header-not-negotiated");
        }
      }
    }
  }
});

Deno.test("device half: the largest ring may be full; one more is avail-idx-jump, wherever its indices are", () => {
  const size = 32768;
  const host = new LocalHost({ dmaSize: 1 << 21 });
  const { start } = host.dma.region;
  const areas = { desc: start, driver: start + 0x8_0000, device: start + 0xa_0000 };
  const ring = new RawRing(host.memory.view, size, 0, 0x8_0000, 0xa_0000);
  for (let head = 0; head < size; head++) {
    ring.setDesc(head, { addr: start + 0x10_0000 + 16 * head, len: 16 });
  }
  for (const profile of PROFILES) {
    for (const first of [0, 1, 32767, 32768, 65535]) {
      const queue = new DeviceQueue("tx0", 1, size, host.space, host.space, { profile });
      const open = (ahead: number) => {
        queue.start(size, areas, 1n << 32n, first);
        for (let i = 0; i < size; i++) {
          host.memory.view.setUint16(ring.avail + 4 + 2 * ((first + i) % size), i, true);
        }
        ring.availIdx = (first + ahead) & 0xffff;
      };
      open(size + 1);
      assertFault(() => queue.pop(), "device", "avail-idx-jump");
      open(size);
      let popped = 0;
      while (queue.pop()) queue.push(queue.head, 0), popped++;
      queue.publish();
      assertEquals([popped, ring.usedIdx], [size, (first + size) & 0xffff]);
    }
  }
});

Deno.test("DEVICE_FAULTS lists what the attacks above provoke, and nothing else", () => {
  // The one that needs snapshots is provoked where those are tested.
  const provoked = new Set(["descriptor-changed", ...starts.map(([, code]) => code)]);
  for (const { verdict } of attacks) {
    for (const code of typeof verdict === "string" ? [verdict] : Object.values(verdict)) provoked.add(code);
  }
  provoked.delete(PASSES);
  assertEquals([...provoked].sort(), Object.keys(DEVICE_FAULTS).sort());
});
