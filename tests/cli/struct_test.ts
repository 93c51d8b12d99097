import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inRoot, MAILBOX, ringpipe } from "./program.ts";

const VIRTIO = ["-b", "virtio"];

/** Runs `struct verify` over vectors of the mailbox plugin that stand in a file. */
async function verify(
  vectors: unknown,
  ...flags: string[]
): Promise<{ status: number; lines: string[]; stderr: string }> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, typeof vectors === "string" ? vectors : JSON.stringify(vectors));
    const { status, text, stderr } = await ringpipe(["struct", "verify", ...MAILBOX, ...flags, file]);
    const lines = text.replaceAll(file, "FILE").trimEnd().split("\n");
    return { status, lines, stderr: stderr.replaceAll(file, "FILE") };
  } finally {
    await Deno.remove(file);
  }
}

const GOOD = {
  struct: "mailbox_slot",
  fields: { address: "0xfffffffffffff000", length: 60, owner: 1 },
  hex: "00f0ffffffffffff3c00000001000000",
};

Deno.test("struct list shows every structure of a backend, its size and what it is", async () => {
  const { text } = await ringpipe(["struct", "list", ...MAILBOX]);
  assertEquals(
    text,
    "NAME          BACKEND  BYTES  WHAT IT IS\nmailbox_slot  mailbox     16  Hands one buffer over\n",
  );
  const plain = JSON.parse((await ringpipe(["struct", "list", ...MAILBOX, "--json"])).text);
  assertEquals(plain[0].name, "mailbox_slot");
});

Deno.test("struct list without a backend has the structures of all of them", async () => {
  const { text } = await ringpipe(["struct", "list"]);
  const names = text.split("\n").map((line) => line.split(" ")[0]);
  for (const name of ["vring_desc", "gve_tx_pkt_desc", "netif_tx_request", "vhost_vring_addr"]) {
    assertEquals(names.includes(name), true, name);
  }
});

Deno.test("struct show prints where each field lies", async () => {
  const { text } = await ringpipe(["struct", "show", ...VIRTIO, "vring_avail"]);
  const rows = text.split("\n").map((line) => line.trim().split(/ {2,}/).slice(0, 4).join(" "));
  assertEquals(rows.includes("0 16 le flags"), true, text);
  assertEquals(rows.includes("4 16 le ring[]"), true, text);
  assertEquals(rows.includes("end-2 16 le used_event"), true, text);
});

Deno.test("struct show puts an array of numbers into one row", async () => {
  const { text } = await ringpipe(["struct", "show", "-b", "xen", "xen_netif_ctrl_request"]);
  assertMatch(text, /^ +4 +3 x 32 {2}le +data\[0\.\.2\] {2}/m);
});

Deno.test("struct show prints one element of an array of structures, and arrays within it", async () => {
  const { text } = await ringpipe(["struct", "show", "-b", "xen", "shared_info@x86_32"]);
  assertMatch(text, /^ +0 +32 x 64 bytes {2}.* vcpu_info\[0\.\.31\] {2}/m);
  assertMatch(text, /^ +12 +5 x 32 {2}le +vcpu_info\[0\]\.arch\.pad\[0\.\.4\] {2}/m);
  assertMatch(text, /^ +2048 +32 x 32 {2}le +evtchn_pending\[0\.\.31\] {2}/m);
  assertEquals(text.includes("vcpu_info[1]"), false);
});

Deno.test("struct show --json gives the layout as data", async () => {
  const { text } = await ringpipe(["struct", "show", ...MAILBOX, "mailbox_slot", "--json"]);
  const layout = JSON.parse(text);
  assertEquals([layout.name, layout.size, layout.order, layout.backend], [
    "mailbox_slot",
    16,
    "le",
    "mailbox",
  ]);
  assertEquals(layout.fields[2], {
    name: "owner",
    offset: 12,
    size: 4,
    shift: 0,
    width: 32,
    order: "le",
    meaning: "Who may touch slot and buffer",
    values: { DRIVER: 0, DEVICE: 1 },
  });
});

Deno.test("struct decode prints values with their names", async () => {
  const { text } = await ringpipe([
    "struct",
    "decode",
    ...VIRTIO,
    "vring_desc",
    "00f0ffff ffffffff 00100000 0300 ff7f",
  ]);
  const rows = text.trimEnd().split("\n").map((line) => line.split(/ +/).slice(0, 3));
  assertEquals(rows, [
    ["addr", "18446744073709547520", "0xfffffffffffff000"],
    ["len", "4096", "0x00001000"],
    ["flags", "3", "0x0003"],
    ["next", "32767", "0x7fff"],
  ]);
  assertStringIncludes(text, "NEXT|");
});

Deno.test("struct decode reads standard input, and an array of structures", async () => {
  const hex = "78563412000000003c00000000000000\n00000000000000004000000001000000\n";
  const { text } = await ringpipe(["struct", "decode", ...MAILBOX, "mailbox_slot", "-", "--json"], {
    stdin: hex,
  });
  assertEquals(JSON.parse(text), [
    { address: 0x12345678, length: 60, owner: 0 },
    { address: 0, length: 64, owner: 1 },
  ]);
  const table = await ringpipe(["struct", "decode", ...MAILBOX, "mailbox_slot", "-"], { stdin: hex });
  assertStringIncludes(table.text, "\nmailbox_slot[1]\naddress");
});

Deno.test("struct decode refuses what is no structure, with status 2", async () => {
  for (
    const [backend, name, hex, reason] of [
      [MAILBOX, "mailbox_slot", "00", "mailbox_slot takes 16 bytes: got 1"],
      [MAILBOX, "mailbox_slot", "00".repeat(17), "mailbox_slot takes 16 bytes, or a multiple: got 17"],
      [MAILBOX, "mailbox_slot", "0x", "mailbox_slot takes 16 bytes: got 0"],
      [MAILBOX, "mailbox_slot", "zz", 'no hexadecimal digit: "z"'],
      [VIRTIO, "vring_avail", "00".repeat(9), "vring_avail takes 8 or 10 bytes: got 9"],
    ] as const
  ) {
    const { status, stderr } = await ringpipe(["struct", "decode", ...backend, name, hex]);
    assertEquals([status, stderr], [2, `ringpipe: ${reason}\n`]);
  }
});

Deno.test("struct encode gives the bytes of numbers, names and byte arrays", async () => {
  const slot = ["struct", "encode", ...MAILBOX, "mailbox_slot"];
  assertEquals(
    (await ringpipe([...slot, "address=0x12345678", "length=60", "owner=DEVICE"])).text,
    "78563412000000003c00000001000000\n",
  );
  assertEquals((await ringpipe(slot)).text, `${"00".repeat(16)}\n`);
  const chain = ["struct", "encode", ...VIRTIO, "vring_desc", "flags=NEXT|WRITE"];
  assertEquals((await ringpipe(chain)).text, `${"00".repeat(12)}03000000\n`);
  const ring = ["struct", "encode", ...VIRTIO, "vring_avail", "ring[1]=2", "used_event=3"];
  assertEquals((await ringpipe(ring)).text, "00000000000002000300\n");
  const config = ["struct", "encode", ...VIRTIO, "virtio_net_config", "mac=52:54:00:12:34:56", "mtu=1500"];
  assertEquals((await ringpipe(config)).text.slice(0, 24), "525400123456" + "0000" + "0000" + "dc05");
});

Deno.test("struct encode refuses unknown fields and values that do not fit, with status 2", async () => {
  for (
    const [field, reason] of [
      ["lenght=1", 'mailbox_slot has no field "lenght" (did you mean "length"?)'],
      ["zzz=1", 'mailbox_slot has no field "zzz"; there are address, length, owner'],
      ["z\nz=1", 'mailbox_slot has no field "z\\x0az"; there are address, length, owner'],
      ["length=4294967296", "mailbox_slot.length has 32 bits: 4294967296 does not fit"],
      ["length=-1", "mailbox_slot.length has 32 bits: -1 does not fit"],
      ["owner=NOBODY", 'owner takes a number or DRIVER|DEVICE: got "NOBODY"'],
      ["length", 'struct encode takes FIELD=VALUE: got "length"'],
    ]
  ) {
    const { status, stderr } = await ringpipe(["struct", "encode", ...MAILBOX, "mailbox_slot", field!]);
    assertEquals([status, stderr], [2, `ringpipe: ${reason}\n`]);
  }
});

Deno.test("struct decode and verify say where they cannot read from", async () => {
  for (const args of [["decode", ...VIRTIO, "vring_desc"], ["verify"]]) {
    const { code, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        '"$@" < .',
        "sh",
        Deno.execPath(),
        "run",
        "-q",
        "-A",
        "cli/main.ts",
        "struct",
        ...args,
        "-",
      ],
      cwd: inRoot("."),
    }).output();
    const words = new TextDecoder().decode(stderr);
    assertEquals([code, words], [1, "ringpipe: cannot read standard input: Is a directory\n"]);
  }
});

Deno.test("struct verify writes out what would move the cursor", async () => {
  const { lines } = await verify([{ ...GOOD, struct: "\x1b[31mred" }, { ...GOOD, fields: { "a\rb": 1 } }]);
  assert(lines.every((line) => !line.includes("\x1b") && !line.includes("\r")), lines.join("\n"));
  assertEquals(lines.length, 3);
});

Deno.test("struct verify passes vectors that agree, with any listed subset of fields", async () => {
  const some = { struct: "mailbox_slot", fields: { owner: "0x1" }, hex: GOOD.hex, note: "ignored" };
  assertEquals(await verify([GOOD, some]), {
    status: 0,
    lines: ["2 passed, 0 failed, 0 unknown"],
    stderr: "",
  });
});

Deno.test("struct verify prints field, wanted and got of every vector that fails", async () => {
  const vectors = [
    GOOD,
    { ...GOOD, fields: { length: 61, owner: 1, adress: 3 } },
    { ...GOOD, hex: GOOD.hex.slice(2) },
    { ...GOOD, hex: `${GOOD.hex}00` },
    { ...GOOD, fields: { length: [60], owner: null } },
  ];
  const { status, lines } = await verify(vectors);
  assertEquals(lines, [
    "FILE: vector 1, mailbox_slot: field length: wanted 61, got 60",
    "FILE: vector 1, mailbox_slot: field adress: wanted 3, got no such field",
    "FILE: vector 2, mailbox_slot: mailbox_slot takes 16 bytes: got 15",
    `FILE: vector 3, mailbox_slot: bytes: wanted ${GOOD.hex}00, got ${GOOD.hex}`,
    "FILE: vector 4, mailbox_slot: field length: wanted [60], got 60",
    "FILE: vector 4, mailbox_slot: field owner: wanted null, got 1",
    "1 passed, 4 failed, 0 unknown",
  ]);
  assertEquals(status, 1);
});

Deno.test("struct verify does not lose precision beyond 2^53", async () => {
  const { lines } = await verify([{ ...GOOD, fields: { address: "0xfffffffffffff001" } }]);
  assertEquals(
    lines[0],
    "FILE: vector 0, mailbox_slot: field address: wanted 0xfffffffffffff001, got 0xfffffffffffff000",
  );
});

Deno.test("struct verify counts unknown structures, and fails over them only with --strict", async () => {
  const vectors = [GOOD, { ...GOOD, struct: "mailbox_slto" }, { ...GOOD, struct: "mailbox_slto" }];
  const unknown = "FILE: unknown structure mailbox_slto, 2 vectors (nearest: mailbox_slot)";
  const lines = [unknown, "1 passed, 0 failed, 2 unknown"];
  assertEquals(await verify(vectors), { status: 0, lines, stderr: "" });
  assertEquals(await verify(vectors, "--strict"), { status: 1, lines, stderr: "" });
});

Deno.test("struct verify says in one line what is wrong with a file, with status 1", async () => {
  for (
    const [content, reason] of [
      ["{", "FILE is not JSON: "],
      ["{}", "FILE is not an array of vectors"],
      ["[{}]", 'FILE: entry 0 has no "struct", "fields" and "hex"'],
    ]
  ) {
    const { status, stderr } = await verify(content);
    assertEquals([status, stderr.split("\n").length], [1, 2]);
    assertStringIncludes(stderr, `ringpipe: ${reason}`);
  }
  const missing = await ringpipe(["struct", "verify", ...MAILBOX, "/nowhere.json"]);
  assertEquals([missing.status, missing.stderr], [1, "ringpipe: /nowhere.json: No such file or directory\n"]);
});

Deno.test("struct verify passes on every golden vector of this repository", async () => {
  const files = ["virtio", "xen", "gve"].map((name) => `fixtures/vectors/${name}.json`);
  const { status, text } = await ringpipe(["struct", "verify", "--strict", ...files]);
  assertEquals([status, text], [0, "530 passed, 0 failed, 0 unknown\n"]);
});
