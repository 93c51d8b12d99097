import { assert, assertEquals } from "@std/assert";
import { Memory } from "../../core/memory.ts";
import { SystemError } from "../../host/libc.ts";
import { Random } from "../random.ts";
import { ASK, FrontEnd, GUEST, message, numbers, SIZE, until, USER } from "./front_end.ts";
import { belongings, LINUX, Served } from "./served.ts";

/** Connections of the long run; without CI a tenth shows the same paths. */
const CONNECTIONS = Deno.env.get("CI") ? 10_000 : 1_000;
const REQUESTS = [...Object.values(ASK), 19, 31, 44, 0, 0xffffffff];

/** Numbers at which things break. */
function odd(random: Random): bigint {
  const some = [0n, 1n, 7n, 16n, 255n, 256n, 4096n, BigInt(GUEST), BigInt(USER), BigInt(SIZE), 1n << 32n];
  const value = random.chance(0.2) ? BigInt.asUintN(64, -BigInt(random.below(100))) : random.pick(some);
  return random.chance(0.3) ? BigInt.asUintN(64, value + BigInt(random.below(9)) - 4n) : value;
}

/** A payload that is right, nearly right, or noise. */
function payload(random: Random, front: FrontEnd, ask: number): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>;
  if (ask === ASK.SET_MEM_TABLE) bytes = front.table();
  else if (ask === ASK.SET_VRING_ADDR) bytes = front.places(random.below(3));
  else if (ask === ASK.ADD_MEM_REG || ask === ASK.REM_MEM_REG) {
    bytes = numbers(0n, odd(random), odd(random), odd(random), odd(random));
  } else if (ask === ASK.SET_VRING_NUM) {
    bytes = numbers(random.below(3), random.pick([16, 16, 16, 0, 3, 65536]));
  } else if (random.chance(0.5)) bytes = numbers(random.below(3), random.below(3));
  else bytes = random.chance(0.5) ? numbers(odd(random)) : random.bytes(random.below(64));
  if (random.chance(0.15) && bytes.length > 0) bytes[random.below(bytes.length)] = random.u32() & 0xff;
  return bytes;
}

function oneMessage(random: Random, front: FrontEnd): void {
  const ask = random.pick(REQUESTS);
  const body = payload(random, front, ask);
  const bytes = message(ask, body, random.chance(0.9) ? random.pick([1, 9]) : random.below(16));
  if (random.chance(0.05)) new DataView(bytes.buffer).setUint32(8, Number(odd(random) & 0xffffffffn), true);
  const wantsFile = ask === ASK.SET_MEM_TABLE || ask === ASK.ADD_MEM_REG;
  const wantsEvent = ask === ASK.SET_VRING_KICK || ask === ASK.SET_VRING_CALL || ask === ASK.SET_VRING_ERR;
  const file = random.chance(0.9) ? front.memoryFile : front.socket.fd;
  const event = random.chance(0.9) ? front.rings[0]?.kick.fd ?? front.memoryFile : 2;
  const fds = random.chance(0.1)
    ? Array.from({ length: random.below(12) }, () => random.pick([file, event]))
    : wantsFile
    ? [file]
    : wantsEvent
    ? [event]
    : [];
  const end = random.chance(0.03) ? random.below(bytes.length) : bytes.length;
  front.socket.send(bytes.slice(0, Math.max(1, end)), fds);
}

/** Scribbles over the rings and buffers of a running device. */
function scribble(random: Random, front: FrontEnd): void {
  for (let i = random.below(40); i > 0; i--) {
    const at = random.chance(0.8) ? random.below(0x8000) : random.below(SIZE);
    if (random.chance(0.5)) front.memory.bytes[at] = random.u32() & 0xff;
    else {front.memory.view.setUint16(
        at & ~1,
        random.pick([0, 1, 2, 4, 15, 16, 0xffff, random.below(20)]),
        true,
      );}
  }
  for (const ring of front.rings) ring.kick.signal();
}

async function oneConnection(random: Random, path: string): Promise<void> {
  using front = new FrontEnd(path);
  try {
    if (random.chance(0.5)) {
      front.setUp(
        random.pick([1n << 32n, 1n << 32n | 1n << 28n | 1n << 29n, 1n << 32n | 1n << 35n | 1n << 15n]),
      );
    }
    for (let i = random.between(1, 12); i > 0; i--) {
      if (front.rings.length > 0 && random.chance(0.4)) scribble(random, front);
      else oneMessage(random, front);
      if (random.chance(0.1)) await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (error) {
    // The server has hung up on us, as it should, or its socket is full.
    if (!(error instanceof SystemError)) throw error;
  }
}

Deno.test({
  ...LINUX,
  name: "VhostUserServer survives messages and rings of any content, and keeps nothing of them",
  async fn() {
    const random = new Random(7);
    await using served = new Served({ queuePairs: 1 });
    served.port.echo = true;
    const before = belongings();
    for (let i = 0; i < CONNECTIONS; i++) {
      await oneConnection(random, served.path);
      served.port.frames.length = served.lines.length = 0;
      // The server accepts as many as its backlog holds: it must not fall behind for good.
      if (i % 8 === 7) await until(() => served.server.frontEnds >= i - 8, "the server hangs");
    }
    await until(() => served.server.frontEnds === CONNECTIONS, "not all were served");
    using front = new FrontEnd(served.path);
    front.setUp(1n << 32n);
    front.post();
    front.transmit(Uint8Array.from({ length: 60 }, (_, i) => i));
    await until(() => front.used(0) === 1, "it no longer works");
    assertEquals(front.take().length, 60);
    front.socket.close();
    const own = 2 + 6 + 1;
    await until(() => belongings().fds <= before.fds + own, "descriptors leak");
    assertEquals(belongings().mappings, before.mappings + 1);
  },
});

Deno.test({
  ...LINUX,
  name: "a running device reads any ring without a crash or a hang, whatever the profile",
  async fn() {
    for (const profile of ["strict", "linux", "qemu", "dpdk"] as const) {
      const random = new Random(11);
      await using served = new Served({ profile });
      served.port.echo = true;
      using front = new FrontEnd(served.path);
      const clean = new Memory(SIZE);
      for (let i = 0; i < 100; i++) {
        front.memory.bytes.set(clean.bytes);
        if (i === 0) front.setUp(1n << 32n | 1n << 28n | 1n << 29n);
        else for (let index = 0; index < 2; index++) front.startRing(index);
        for (let slot = 0; slot < 16; slot++) {
          const address = GUEST + random.below(SIZE);
          for (const start of [0, 0x4000]) {
            front.memory.view.setBigUint64(start + slot * 16, BigInt(address), true);
            front.memory.view.setUint32(start + slot * 16 + 8, random.below(4096), true);
            front.memory.view.setUint16(start + slot * 16 + 12, random.below(8), true);
            front.memory.view.setUint16(start + slot * 16 + 14, random.below(17), true);
            front.memory.view.setUint16(start + 0x1004 + slot * 2, random.below(17), true);
          }
        }
        front.poke(0, 0x1002, random.below(17));
        front.poke(1, 0x1002, random.below(17));
        for (const ring of front.rings) ring.kick.signal();
        for (let index = 0; index < 2; index++) {
          const base = await front.ask(ASK.GET_VRING_BASE, numbers(index, 0));
          assert(base, `profile ${profile}, round ${i}: the connection has gone`);
        }
      }
    }
  },
});
