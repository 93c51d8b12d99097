import { assertEquals, assertThrows } from "@std/assert";
import {
  checkMessage,
  HEADER_SIZE,
  type Message,
  numberOf,
  parseHeader,
  ProtocolError,
  regionsOf,
  reply,
  RequestError,
  ringFdOf,
  ringPlacesOf,
} from "../../host/vhost_user/message.ts";
import { ASK, message, numbers } from "./front_end.ts";

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function check(ask: number, payload: Uint8Array, fds: number[] = []): void {
  const bytes = message(ask, payload);
  const header = parseHeader(bytes.subarray(0, HEADER_SIZE));
  checkMessage({ ...header, payload: bytes.subarray(HEADER_SIZE), fds } satisfies Message);
}

Deno.test("parseHeader() reads what QEMU sends", () => {
  // GET_FEATURES, and SET_MEM_TABLE with need_reply and two regions.
  const bytes = Uint8Array.from([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals(parseHeader(bytes), { request: 1, needReply: false, size: 0 });
  const table = Uint8Array.from([5, 0, 0, 0, 9, 0, 0, 0, 72, 0, 0, 0]);
  assertEquals(parseHeader(table), { request: 5, needReply: true, size: 72 });
});

Deno.test("parseHeader() refuses wrong versions, replies and sizes", () => {
  const bad: [number, number, number, string][] = [
    [1, 0, 0, "protocol version 0"],
    [1, 2, 0, "protocol version 2"],
    [1, 5, 0, "marked as a reply"],
    [1, 1, 8, "payload of 8 bytes"],
    [2, 1, 4, "payload of 4 bytes"],
    [2, 1, 0xffffffff, "payload of 4294967295 bytes"],
    [5, 1, 8, ""],
    [5, 1, 41, "payload of 41 bytes"],
    [5, 1, 8 + 9 * 32, "payload of 296 bytes"],
    [9, 1, 39, "payload of 39 bytes"],
    [999, 1, 0x10000, "request 999 has a payload of 65536 bytes"],
  ];
  for (const [ask, flags, size, why] of bad) {
    const header = numbers(ask, flags, size);
    if (why) assertThrows(() => parseHeader(header), ProtocolError, why);
    else parseHeader(header);
  }
});

Deno.test("checkMessage() counts descriptors", () => {
  const region = [4096n, 4096n, 4096n, 0n];
  check(ASK.SET_VRING_KICK, numbers(1n), [7]);
  check(ASK.SET_VRING_KICK, numbers(0x101n));
  check(ASK.SET_MEM_TABLE, numbers(2, 0, ...region, ...region), [7, 8]);
  check(ASK.REM_MEM_REG, numbers(0n, ...region));
  check(ASK.REM_MEM_REG, numbers(0n, ...region), [7]);
  const wrong: [number, Uint8Array, number[]][] = [
    [ASK.SET_VRING_KICK, numbers(1n), []],
    [ASK.SET_VRING_KICK, numbers(1n), [7, 8]],
    [ASK.SET_VRING_CALL, numbers(0x101n), [7]],
    [ASK.SET_MEM_TABLE, numbers(1, 0, ...region), []],
    [ASK.SET_MEM_TABLE, numbers(1, 0, ...region), [7, 8]],
    [ASK.ADD_MEM_REG, numbers(0n, ...region), []],
    [ASK.SET_FEATURES, numbers(1n), [7]],
  ];
  for (const [ask, payload, fds] of wrong) {
    assertThrows(() => check(ask, payload, fds), ProtocolError, `came with ${fds.length} descriptors`);
  }
  assertThrows(
    () => check(ASK.SET_MEM_TABLE, numbers(2, 0, ...region), [7]),
    ProtocolError,
    "announces 2 regions and has 1",
  );
});

Deno.test("checkMessage() refuses requests that are not understood, without ending the connection", () => {
  assertThrows(() => check(ASK.SET_LOG_BASE, numbers(0n, 0n), [7]), RequestError, "SET_LOG_BASE");
  assertThrows(() => check(77, new Uint8Array(3)), RequestError, "request 77");
});

Deno.test("payloads are read field by field", () => {
  assertEquals(numberOf(numbers(0x1_0000_0001n)), 0x1_0000_0001n);
  assertEquals(ringFdOf(numbers(0x103n)), { index: 3, nofd: true });
  assertEquals(ringFdOf(numbers(0xffn)), { index: 255, nofd: false });
  // The used ring comes before the available ring.
  assertEquals(ringPlacesOf(numbers(1, 0, 0x1000n, 0x2000n, 0x3000n, 0n)), {
    index: 1,
    desc: 0x1000,
    device: 0x2000,
    driver: 0x3000,
  });
  assertEquals(regionsOf(numbers(1, 0, 0x1000n, 0x2000n, 0x3000n, 0x4000n)), [
    { guest: 0x1000, size: 0x2000, user: 0x3000, offset: 0x4000 },
  ]);
});

Deno.test("addresses above 2^53 fit nowhere instead of becoming others", () => {
  assertEquals(ringPlacesOf(numbers(0, 0, 0xffff_ffff_ffff_f000n, 0n, 0n, 0n)).desc, Infinity);
});

Deno.test("reply() writes version, flags and size", () => {
  assertEquals(hex(reply(1, numbers(0x40000000n))), "0100000005000000080000000000004000000000");
});
