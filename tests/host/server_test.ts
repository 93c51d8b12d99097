import { assert, assertEquals } from "@std/assert";
import { libc } from "../../host/libc.ts";
import { UnixListener } from "../../host/unix_socket.ts";
import { ASK, AVAIL_INDEX, FrontEnd, GUEST, message, numbers, SIZE, until, USER } from "./front_end.ts";
import { belongings, KeepingPort, LINUX, Served } from "./served.ts";

const VERSION_1 = 1n << 32n;
const EVENT_IDX = 1n << 29n;
const PROTOCOL = 1n << 30n;

function frame(seed: number, length = 60): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i) & 0xff);
}

/** A test of a server and a front end, after which nothing may be left. */
function serverTest(name: string, fn: (served: Served) => Promise<void>, options = {}): void {
  Deno.test({
    ...LINUX,
    name,
    async fn() {
      const before = belongings();
      {
        await using served = new Served(options);
        await fn(served);
      }
      assertEquals(belongings(), before);
    },
  });
}

for (const [name, features] of [["flags", VERSION_1], ["event indices", VERSION_1 | EVENT_IDX]] as const) {
  serverTest(
    `VhostUserServer takes frames and gives them back, asleep in between, with ${name}`,
    async (served) => {
      served.port.echo = true;
      using front = new FrontEnd(served.path);
      front.setUp(features);
      for (let i = 0; i < 50; i++) {
        front.post();
        front.transmit(frame(i, 60 + i));
        await until(() => front.used(0) === i + 1 && front.used(1) === i + 1);
        assertEquals(front.take(), frame(i, 60 + i));
        if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      assertEquals(served.port.frames.length, 50);
      assert(front.rings[1]!.call.clear(), "the driver was called");
    },
  );
}

serverTest("VhostUserServer serves a guest of terabytes as soon as one of megabytes", async (served) => {
  served.port.echo = true;
  using front = new FrontEnd(served.path);
  const size = 2 ** 42 - SIZE;
  assertEquals(libc.ftruncate(front.memoryFile, BigInt(size)), 0);
  front.setUp(VERSION_1);
  // The same file once more: rings keep their address, buffers get another.
  front.guest = 2 ** 43;
  const places = [[GUEST, SIZE, USER, 0], [front.guest, size, USER - 2 ** 43, 0]].flat();
  front.send(ASK.SET_MEM_TABLE, numbers(2, 0, ...places.map(BigInt)), [front.memoryFile, front.memoryFile]);
  for (let i = 0; i < 20; i++) {
    front.post();
    front.transmit(frame(i));
    await until(() => front.used(0) === i + 1 && front.used(1) === i + 1);
    assertEquals(front.take(), frame(i));
  }
});

serverTest("VhostUserServer holds a frame until there is a receive buffer for it", async (served) => {
  served.port.echo = true;
  using front = new FrontEnd(served.path);
  front.setUp(VERSION_1 | EVENT_IDX);
  front.transmit(frame(1));
  await until(() => served.port.blocked);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(front.used(1), 0);
  front.post();
  await until(() => front.used(1) === 1);
  assertEquals(front.take(), frame(1));
});

serverTest("VhostUserServer throws away what a disabled ring sends, and says so", async (served) => {
  using front = new FrontEnd(served.path);
  front.setUp(VERSION_1 | PROTOCOL, 1n << 3n);
  front.transmit(frame(1));
  await until(() => front.used(1) === 1);
  assertEquals([served.port.frames.length, served.port.drops], [0, ["ring-disabled"]]);
  assertEquals((await front.ask(ASK.SET_VRING_ENABLE, numbers(1, 1), [], 9))?.getBigUint64(0, true), 0n);
  front.transmit(frame(2));
  await until(() => front.used(1) === 2);
  assertEquals(served.port.frames, [frame(2)]);
});

serverTest("VhostUserServer goes on where a ring was stopped", async (served) => {
  using front = new FrontEnd(served.path);
  front.setUp(VERSION_1);
  front.transmit(frame(1));
  await until(() => served.port.frames.length === 1);
  const base = await front.ask(ASK.GET_VRING_BASE, numbers(1, 0));
  assertEquals([base?.getUint32(0, true), base?.getUint32(4, true)], [1, 1]);
  front.transmit(frame(2));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(served.port.frames.length, 1);
  front.startRing(1, 1);
  await until(() => served.port.frames.length === 2);
  assertEquals(served.port.frames[1], frame(2));
});

serverTest(
  "VhostUserServer serves the next front end when one has gone, in the middle of anything",
  async (served) => {
    for (let i = 0; i < 5; i++) {
      using front = new FrontEnd(served.path);
      front.setUp(VERSION_1);
      front.transmit(frame(i));
      await until(() => served.port.frames.some((received) => received[0] === i));
      front.transmit(frame(99));
    }
    using half = new FrontEnd(served.path);
    half.socket.send(numbers(ASK.SET_FEATURES, 1, 8));
    half.socket.close();
    await until(() => served.lines.some((line) => line.includes("in the middle of SET_FEATURES")));
    assertEquals(served.server.frontEnds, 6);
  },
);

serverTest("VhostUserServer ends with the first front end if asked to", async (served) => {
  {
    using front = new FrontEnd(served.path);
    front.setUp(VERSION_1);
    await front.ask(ASK.GET_FEATURES);
  }
  await served.ended;
}, { once: true });

Deno.test({
  ...LINUX,
  name: "VhostUserServer connects to a front end that listens, and again when that has gone",
  async fn() {
    await using served = new Served({ connect: true });
    await until(() => served.lines.length > 0);
    for (let i = 0; i < 2; i++) {
      using listener = new UnixListener(served.path);
      let socket = listener.accept();
      await until(() => (socket ??= listener.accept()) !== undefined, "nobody connected");
      using connection = socket!;
      connection.send(numbers(ASK.GET_FEATURES, 1, 0));
      const bytes = new Uint8Array(20);
      await until(() => connection.receive(bytes, 0, 20, []) === 20);
    }
    assertEquals(served.lines, [`waiting until a front end listens at "${served.path}"`]);
  },
});

serverTest(
  "VhostUserServer stops a ring whose contents break a rule, tells of it, and lets it start anew",
  async (served) => {
    using front = new FrontEnd(served.path);
    front.setUp(VERSION_1);
    front.poke(1, AVAIL_INDEX, 500);
    front.rings[1]!.kick.signal();
    await until(() => front.rings[1]!.error.clear(), "no error event");
    assertEquals(served.lines.filter((line) => line.includes("avail-idx-jump")).length, 1);
    front.poke(1, AVAIL_INDEX, 0);
    await front.ask(ASK.GET_VRING_BASE, numbers(1, 0));
    front.startRing(1);
    front.rings[1]!.avail = 0;
    front.transmit(frame(3));
    await until(() => served.port.frames.length === 1);
  },
);

serverTest(
  "VhostUserServer ends a connection that breaks the protocol, with one line, and lives on",
  async (served) => {
    const bad: [string, (front: FrontEnd) => void][] = [
      ["version", (front) => front.send(ASK.GET_FEATURES, undefined, [], 3)],
      ["payload", (front) => front.send(ASK.SET_FEATURES, numbers(1))],
      ["0 descriptors", (front) => front.send(ASK.SET_MEM_TABLE, front.table())],
      ["too small", (front) => front.send(ASK.SET_MEM_TABLE, front.table(1 << 30), [front.memoryFile])],
      ["not an eventfd", (front) => front.send(ASK.SET_VRING_KICK, numbers(0n), [front.memoryFile])],
      ["bad-ring-address", (front) => {
        front.setUp(VERSION_1);
        front.send(ASK.SET_VRING_ADDR, front.places(0, 0x1000));
      }],
      ["10 descriptors came with SET_MEM_TABLE", (front) => {
        const bytes = message(ASK.SET_MEM_TABLE, front.table());
        for (const at of [0, 12]) {
          front.socket.send(bytes.slice(at, at + 12), Array.from({ length: 5 }, () => front.memoryFile));
        }
      }],
      [
        "64 descriptors",
        (front) => front.send(ASK.SET_OWNER, undefined, Array.from({ length: 100 }, () => front.memoryFile)),
      ],
    ];
    for (const [why, act] of bad) {
      served.lines.length = 0;
      using front = new FrontEnd(served.path);
      act(front);
      await front.gone();
      assertEquals(served.lines.length, 1, served.lines.join("\n"));
      assert(served.lines[0]!.includes(why), served.lines[0]);
    }
    using front = new FrontEnd(served.path);
    front.setUp(VERSION_1);
    front.transmit(frame(1));
    await until(() => served.port.frames.length === 1);
  },
);

serverTest("VhostUserServer looks at a ring without kicks on its own", async (served) => {
  using front = new FrontEnd(served.path);
  front.setUp(VERSION_1);
  front.send(ASK.SET_VRING_KICK, numbers(0x101n));
  await front.ask(ASK.GET_FEATURES);
  await new Promise((resolve) => setTimeout(resolve, 10));
  front.transmit(frame(1));
  await until(() => served.port.frames.length === 1);
});

Deno.test({
  ...LINUX,
  name: "VhostUserServer answers in each round while its port waits for an output, however much it feeds",
  async fn() {
    class Stuck extends KeepingPort {
      stalled = false;
      rounds = 0;
      asked = 0;
      answered = 0;

      override feed(): number {
        this.rounds++;
        if (this.asked === 0 && this.rounds === 40) {
          front.send(ASK.GET_FEATURES);
          this.asked = this.rounds;
          this.stalled = true;
        } else if (this.asked > 0 && front.socket.receive(new Uint8Array(20), 0, 20, []) > 0) {
          this.answered = this.rounds;
        }
        return this.answered === 0 ? 1 : 0;
      }
    }
    const port = new Stuck();
    await using served = new Served({ port });
    using front = new FrontEnd(served.path);
    await until(() => port.answered > 0);
    port.stalled = false;
    assertEquals(port.answered - port.asked, 1);
  },
});

serverTest("VhostUserServer does not wait for ever for the rest of a message", async (served) => {
  using front = new FrontEnd(served.path);
  // The other end of the connection goes along: that alone would keep it open when we are gone.
  front.socket.send(numbers(ASK.SET_FEATURES, 1), [front.socket.fd]);
  front.socket.close();
  await until(() => served.lines.some((line) => line.includes("stopped in the middle of a header")));
});

serverTest("VhostUserServer finishes checksums for those alone who asked for it", async (served) => {
  const unfinished = frame(1, 60);
  // NEEDS_CSUM, over all from byte 34 on, to byte 40.
  const header = [1, 0, 0, 0, 0, 0, 34, 0, 6, 0];
  {
    using front = new FrontEnd(served.path);
    front.setUp(VERSION_1 | 1n);
    front.transmit(unfinished, header);
    await until(() => served.port.frames.length === 1);
  }
  using front = new FrontEnd(served.path);
  front.setUp(VERSION_1);
  front.transmit(unfinished);
  await until(() => served.port.frames.length === 2);
  assert(served.port.frames[0]!.some((byte, i) => byte !== unfinished[i]));
  assertEquals(served.port.frames[1], unfinished);
  front.transmit(unfinished, header);
  await until(() => served.lines.some((line) => line.includes("header-not-negotiated")));
}, { features: VERSION_1 | 1n });
