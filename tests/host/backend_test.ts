import { assert, assertEquals, assertThrows } from "@std/assert";
import { Memory } from "../../core/memory.ts";
import { Backend, MAX_MEM_SLOTS } from "../../host/vhost_user/backend.ts";
import { type Mapping, MemoryTable } from "../../host/vhost_user/memory_table.ts";
import { ProtocolError } from "../../host/vhost_user/message.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { ASK, numbers } from "./front_end.ts";

const VERSION_1 = 1n << 32n;
const PROTOCOL = 1n << 30n;
const REPLY_ACK = 1n << 3n;
const SLOTS = 1n << 15n;
const STATUS = 1n << 16n;
const MEMORY = 0x10000;

/** A back end whose kernel is made of plain objects that are counted. */
class Bench {
  readonly open = new Set<number>();
  readonly mapped = new Set<object>();
  readonly signalled: number[] = [];
  readonly lines: string[] = [];
  readonly memory = new MemoryTable();
  readonly device: VirtioNetDevice;
  readonly backend: Backend;
  fileSize = MEMORY;
  /** What stands in used.idx of every ring. */
  usedIndex = 7;
  sealed = true;
  #next = 100;

  constructor(queuePairs = 1) {
    const features = featureMask("VERSION_1", "EVENT_IDX", "INDIRECT_DESC", "MQ", "CTRL_VQ", "MAC");
    const { rings, buffers } = this.memory;
    this.device = new VirtioNetDevice({ features, rings, buffers, queuePairs, maxQueueSize: 1024 });
    this.backend = new Backend({
      device: this.device,
      features,
      queuePairs,
      memory: this.memory,
      log: (line) => this.lines.push(line),
      peripherals: {
        map: (fd, offset, size) => {
          assert(this.open.has(fd), `descriptor ${fd} did not come along`);
          if (offset + size > this.fileSize) throw new Error("its file is too small");
          const memory = new Memory(size);
          if (size === MEMORY) {
            for (const ring of [0, 0x4000]) memory.view.setUint16(ring + 0x2002, this.usedIndex, true);
          }
          const mapping: Mapping = {
            part: (offset) => ({ memory, offset }),
            sealed: this.sealed,
            close: () => this.mapped.delete(mapping),
          };
          this.mapped.add(mapping);
          return mapping;
        },
        event: (fd) => ({
          fd,
          signal: () => this.signalled.push(fd),
          clear: () => true,
          close: () => this.open.delete(fd),
        }),
        close: (fd) => this.open.delete(fd),
      },
    });
  }

  /** Sends a request; the answer's payload as a number, or `undefined` if there is none. */
  ask(
    request: number,
    payload: Uint8Array = new Uint8Array(),
    fds = 0,
    needReply = false,
  ): bigint | undefined {
    const passed = Array.from({ length: fds }, () => this.#next++);
    for (const fd of passed) this.open.add(fd);
    const answer = this.backend.handle({ request, payload, fds: passed, needReply });
    return answer && new DataView(answer.buffer).getBigUint64(12, true);
  }

  table(): void {
    this.ask(ASK.SET_MEM_TABLE, numbers(1, 0, 0x8000n, BigInt(MEMORY), 0x100000n, 0n), 1);
  }

  ring(index: number, at = 0x100000): void {
    this.ask(ASK.SET_VRING_NUM, numbers(index, 256));
    this.ask(ASK.SET_VRING_BASE, numbers(index, 7));
    this.ask(
      ASK.SET_VRING_ADDR,
      numbers(index, 0, BigInt(at), BigInt(at + 0x2000), BigInt(at + 0x1000), 0n),
    );
    this.ask(ASK.SET_VRING_KICK, numbers(BigInt(index)), 1);
  }

  running(): boolean[] {
    return this.device.queues.slice(0, 2).map((queue) => queue.running);
  }
}

Deno.test("Backend offers bit 30 and leaves to the front end what is the front end's", () => {
  const bench = new Bench();
  const offered = bench.ask(ASK.GET_FEATURES)!;
  assertEquals(offered, VERSION_1 | PROTOCOL | featureMask("EVENT_IDX", "INDIRECT_DESC", "MQ"));
  assertEquals(offered & (1n << 26n), 0n, "LOG_ALL");
  assertEquals(bench.ask(ASK.GET_PROTOCOL_FEATURES), 0x1a009n);
  assertEquals(bench.ask(ASK.GET_MAX_MEM_SLOTS), BigInt(MAX_MEM_SLOTS));
  assertEquals(new Bench(4).ask(ASK.GET_QUEUE_NUM), 4n);
});

Deno.test("Backend starts rings enabled when bit 30 is not taken", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  bench.ring(0);
  bench.ring(1, 0x104000);
  assertEquals(bench.running(), [true, true]);
  assertEquals(bench.backend.discards(0), false);
  assertEquals(bench.device.queues[0]!.availIndex, 7);
});

Deno.test("Backend starts rings disabled when bit 30 is taken, and throws away what a disabled one sends", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1 | PROTOCOL));
  bench.table();
  bench.ring(0);
  bench.ring(1, 0x104000);
  assertEquals(bench.running(), [false, true]);
  assertEquals(bench.backend.discards(0), true);
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 1));
  bench.ask(ASK.SET_VRING_ENABLE, numbers(1, 1));
  assertEquals(bench.running(), [true, true]);
  assertEquals(bench.backend.discards(0), false);
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 0));
  assertEquals(bench.running(), [false, true]);
  assertEquals(bench.ask(ASK.GET_VRING_BASE, numbers(0, 0)), 7n << 32n);
});

Deno.test("Backend goes on at the used index when the base is that of a ring that has not run", () => {
  const bench = new Bench();
  bench.usedIndex = 44416;
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  bench.ring(0);
  const { availIndex, usedIndex } = bench.device.queues[0]!;
  assertEquals([availIndex, usedIndex], [44416, 44416]);
  assertEquals(bench.lines, ["ring 0 goes on at used index 44416 instead of base 7"]);
});

Deno.test("Backend takes enables before rings exist, as QEMU sends them", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1 | PROTOCOL));
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 1));
  bench.table();
  bench.ring(0);
  assertEquals(bench.running(), [true, false]);
});

Deno.test("Backend stops a ring at GET_VRING_BASE until the next kick descriptor", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  bench.ring(0);
  assertEquals(bench.backend.kicks.length, 1);
  assertEquals(bench.ask(ASK.GET_VRING_BASE, numbers(0, 0)), 7n << 32n);
  assertEquals(bench.running(), [false, false]);
  assertEquals(bench.backend.kicks.length, 0);
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 1));
  assertEquals(bench.running(), [false, false]);
  bench.ask(ASK.SET_VRING_KICK, numbers(0n), 1);
  assertEquals(bench.running(), [true, false]);
});

Deno.test("Backend keeps a ring going while memory is replaced, added and removed around it", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_PROTOCOL_FEATURES, numbers(SLOTS));
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  bench.ring(0);
  bench.table();
  assertEquals(bench.running(), [true, false]);
  const other = numbers(0n, 0x80000n, 0x1000n, 0x900000n, 0n);
  bench.ask(ASK.ADD_MEM_REG, other, 1);
  assertEquals([bench.memory.size, bench.mapped.size, bench.running()[0]], [2, 2, true]);
  bench.ask(ASK.REM_MEM_REG, other, 1);
  assertEquals([bench.memory.size, bench.mapped.size, bench.running()[0]], [1, 1, true]);
  assertEquals(bench.device.queues[0]!.availIndex, 7);
  const own = numbers(0n, 0x8000n, BigInt(MEMORY), 0x100000n, 0n);
  assertThrows(() => bench.ask(ASK.REM_MEM_REG, own), ProtocolError, "bad-ring-address");
});

Deno.test("Backend takes a region that is added for every queue pair, until it is removed as often", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_PROTOCOL_FEATURES, numbers(SLOTS));
  const region = numbers(0n, 0x80000n, 0x1000n, 0x900000n, 0n);
  bench.ask(ASK.ADD_MEM_REG, region, 1);
  bench.ask(ASK.ADD_MEM_REG, region, 1);
  assertEquals([bench.memory.size, bench.mapped.size, bench.open.size], [1, 1, 0]);
  bench.ask(ASK.REM_MEM_REG, region);
  assertEquals(bench.memory.size, 1);
  bench.ask(ASK.REM_MEM_REG, region);
  assertEquals([bench.memory.size, bench.mapped.size], [0, 0]);
});

Deno.test("Backend answers requests that cannot be granted with an error, and carries on", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_PROTOCOL_FEATURES, numbers(REPLY_ACK | SLOTS | STATUS));
  const refused: [number, Uint8Array, number][] = [
    [ASK.SET_FEATURES, numbers(1n << 26n), 0],
    [ASK.SET_PROTOCOL_FEATURES, numbers(1n << 1n), 0],
    [ASK.SET_VRING_NUM, numbers(0, 3), 0],
    [ASK.SET_VRING_NUM, numbers(0, 2048), 0],
    [ASK.SET_VRING_BASE, numbers(0, 0x10000), 0],
    [ASK.SET_VRING_ENABLE, numbers(0, 2), 0],
    [ASK.SET_LOG_BASE, numbers(0n, 0n), 1],
    [ASK.REM_MEM_REG, numbers(0n, 0n, 1n, 0n, 0n), 0],
  ];
  for (const [request, payload, fds] of refused) {
    assertEquals(bench.ask(request, payload, fds, true), 1n, `request ${request}`);
    assertThrows(() => bench.ask(request, payload, fds, false), ProtocolError);
  }
  assertEquals(bench.ask(ASK.SET_OWNER, undefined, 0, true), 0n);
  assertEquals(bench.open.size, 0);
  assertEquals(bench.lines.length, refused.length);
});

Deno.test("Backend replies only if REPLY_ACK was negotiated", () => {
  const bench = new Bench();
  assertEquals(bench.ask(ASK.SET_OWNER, undefined, 0, true), undefined);
});

Deno.test("Backend refuses changes that a running ring cannot bear", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_PROTOCOL_FEATURES, numbers(REPLY_ACK));
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  bench.ring(0);
  assertEquals(bench.ask(ASK.SET_FEATURES, numbers(VERSION_1), 0, true), 0n);
  assertEquals(bench.ask(ASK.SET_FEATURES, numbers(0n), 0, true), 1n);
  assertEquals(bench.ask(ASK.SET_VRING_NUM, numbers(0, 8), 0, true), 1n);
  assertEquals(bench.ask(ASK.SET_VRING_BASE, numbers(0, 0), 0, true), 1n);
});

Deno.test("Backend ends the connection over what no honest front end sends", () => {
  const hostile: [string, (bench: Bench) => void, string][] = [
    ["ring", (b) => b.ask(ASK.SET_VRING_NUM, numbers(2, 8)), "names ring 2 of 2"],
    ["answered", (b) => b.ask(ASK.GET_VRING_BASE, numbers(9, 0), 0, true), "names ring 9"],
    ["outside", (b) => {
      b.table();
      b.ring(0, 0x200000);
    }, "bad-ring-address"],
    ["over the edge", (b) => {
      b.table();
      b.ring(0, 0x100000 + MEMORY - 0x2010);
    }, "bad-ring-address"],
    ["misaligned", (b) => {
      b.table();
      b.ring(0, 0x100001);
    }, "misaligned-ring"],
    ["small file", (b) => {
      b.fileSize = MEMORY - 1;
      b.table();
    }, "too small"],
    ["empty region", (b) => b.ask(ASK.SET_MEM_TABLE, numbers(1, 0, 0n, 0n, 0n, 0n), 1), "empty"],
    [
      "huge region",
      (b) => b.ask(ASK.SET_MEM_TABLE, numbers(1, 0, 0n, ~0n & (1n << 64n) - 1n, 0n, 0n), 1),
      "large",
    ],
    ["odd region", (b) => b.ask(ASK.SET_MEM_TABLE, numbers(1, 0, 0n, 4096n, 1n, 0n), 1), "not aligned"],
    ["overlap", (b) => {
      const region = [0n, 4096n, 0n, 0n];
      b.ask(ASK.SET_MEM_TABLE, numbers(2, 0, ...region, ...region), 2);
    }, "overlap"],
    ["status", (b) => b.ask(ASK.SET_STATUS, numbers(0x100n)), "status of 256"],
  ];
  for (const [name, act, why] of hostile) {
    const bench = new Bench();
    bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
    const error = assertThrows(() => act(bench), ProtocolError, why, name);
    assert(!error.message.includes("\n"));
    bench.backend.close();
    assertEquals([bench.open.size, bench.mapped.size], [0, 0], name);
  }
});

Deno.test("Backend gives everything back at the end, and at RESET_DEVICE what belongs to rings", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_PROTOCOL_FEATURES, numbers(STATUS));
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  assertEquals(bench.ask(ASK.GET_STATUS), 0n);
  for (const status of [15n, 255n]) {
    bench.ask(ASK.SET_STATUS, numbers(status));
    assertEquals(bench.ask(ASK.GET_STATUS), status);
  }
  bench.table();
  bench.ring(0);
  bench.ask(ASK.SET_VRING_CALL, numbers(0n), 1);
  bench.ask(ASK.SET_VRING_CALL, numbers(0n), 1);
  bench.ask(ASK.SET_VRING_ERR, numbers(0n), 1);
  assertEquals(bench.open.size, 3);
  bench.backend.call(0);
  assertEquals(bench.signalled.length, 1);
  bench.ask(ASK.RESET_DEVICE);
  assertEquals([bench.open.size, bench.mapped.size, bench.running()], [0, 1, [false, false]]);
  assertEquals(bench.ask(ASK.GET_STATUS), 0n);
  // Size and place are forgotten: each has to be said again before a ring starts.
  const places = numbers(0, 0, 0x100000n, 0x102000n, 0x101000n, 0n);
  for (
    const [request, payload] of [[ASK.SET_VRING_NUM, numbers(0, 256)], [ASK.SET_VRING_ADDR, places]] as const
  ) {
    bench.ask(request, payload);
    bench.ask(ASK.SET_VRING_KICK, numbers(0n), 1);
    assertEquals(bench.running(), [false, false]);
    bench.ask(ASK.RESET_DEVICE);
  }
  bench.ring(0);
  assertEquals(bench.running(), [true, false]);
  bench.backend.close();
  assertEquals(bench.mapped.size, 0);
});

Deno.test("Backend has rings wait for their enabling again after RESET_DEVICE", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1 | PROTOCOL));
  bench.table();
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 1));
  bench.ring(0);
  assertEquals(bench.running(), [true, false]);
  bench.ask(ASK.RESET_DEVICE);
  bench.ring(0);
  assertEquals(bench.running(), [false, false]);
  bench.ask(ASK.SET_VRING_ENABLE, numbers(0, 1));
  assertEquals(bench.running(), [true, false]);
});

Deno.test("Backend warns once of memory that is not sealed", () => {
  const bench = new Bench();
  bench.sealed = false;
  bench.table();
  bench.table();
  assertEquals(bench.lines.length, 1);
});

Deno.test("Backend counts the pairs that are in use", () => {
  const bench = new Bench(2);
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  assertEquals(bench.backend.activePairs, 0);
  bench.ring(0);
  assertEquals(bench.backend.activePairs, 1);
  bench.ring(2, 0x104000);
  assertEquals(bench.backend.activePairs, 2);
});

Deno.test("Backend knows rings that are polled", () => {
  const bench = new Bench();
  bench.ask(ASK.SET_FEATURES, numbers(VERSION_1));
  bench.table();
  assertEquals(bench.backend.polled, false);
  bench.ask(ASK.SET_VRING_KICK, numbers(0x101n));
  assertEquals(bench.backend.polled, true);
});
