import { assertEquals } from "@std/assert";
import { needEvent16 } from "../../core/index.ts";
import { ToeplitzKey } from "../../core/toeplitz.ts";
import { rssConfig, virtio_notification_data, vring_desc } from "../../plugins/virtio/layout.ts";
import { notificationData } from "../../plugins/virtio/pci_driver.ts";
import { availBytes, descBytes, legacyLayout, usedBytes } from "../../plugins/virtio/ring_areas.ts";
import { address, ethernet, ipv4, ipv6, tcp, udp } from "../core/packets.ts";
import { vectors } from "../vectors.ts";
import { BUFFERS, RawNet } from "./raw_net.ts";
import { WRITE } from "./raw_ring.ts";
import { concat } from "@std/bytes/concat";

const FILE = "virtio_behaviour.json";

/** The numbers of a vector. */
function numbers(fields: Readonly<Record<string, unknown>>): Record<string, number> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, Number(value)]));
}

Deno.test("legacyLayout agrees with vring_size() and the specification's total", () => {
  for (const { fields } of vectors(FILE, "vring_size()")) {
    // QEMU's own place of the used ring differs at alignments below 16, which no legacy device has.
    const { num, align, qemu_used_offset: _, ...wanted } = numbers(fields);
    const layout = legacyLayout(num!, align!);
    assertEquals(
      {
        vring_size: layout.size,
        avail_offset: layout.avail,
        used_offset: layout.used,
        used_event_offset: layout.avail + availBytes(num!) - 2,
        avail_event_offset: layout.used + usedBytes(num!) - 2,
        desc_bytes: descBytes(num!),
        avail_bytes: availBytes(num!),
        used_bytes: usedBytes(num!),
        spec_legacy_total: layout.total,
      },
      wanted as Record<string, number>,
      `${num} entries, aligned to ${align}`,
    );
  }
});

Deno.test("needEvent16 is vring_need_event()", () => {
  for (const { fields, bytes } of vectors(FILE, "vring_need_event()")) {
    const { event_idx, new_idx, old } = numbers(fields);
    assertEquals(needEvent16(event_idx!, new_idx!, old!), bytes[0] === 1, JSON.stringify(fields));
  }
});

Deno.test("notificationData is the queue index below the available index", () => {
  for (const { fields, bytes } of vectors(FILE, "notification data (le32)")) {
    const { vq_index, next_off, next_wrap, value } = numbers(fields);
    const availIndex = next_off! | next_wrap! << 15;
    assertEquals(notificationData(vq_index!, availIndex), value);
    assertEquals(virtio_notification_data.encode({ vqn: vq_index!, avail_idx: availIndex }), bytes);
  }
});

Deno.test("vring_desc holds the entries of an indirect table", () => {
  for (const { fields, bytes } of vectors(FILE, "indirect descriptor table")) {
    const { entries, ...rest } = numbers(fields);
    const decoded: Record<string, number> = {};
    for (let i = 0; i < entries!; i++) {
      for (const [name, value] of Object.entries(vring_desc.decode(bytes, i * vring_desc.size))) {
        decoded[`[${i}].${name}`] = Number(value);
      }
    }
    assertEquals(decoded, rest);
  }
});

Deno.test("rssConfig is what goes over the wire", () => {
  for (const { fields, bytes } of vectors(FILE, "struct virtio_net_rss_config (wire)")) {
    const { indirection_entries, ...rest } = numbers(fields);
    const struct = rssConfig(indirection_entries!);
    const values = struct.decode(bytes);
    for (const [name, value] of Object.entries(rest)) assertEquals(values[name], value, name);
    assertEquals((values.hash_key_data as number[]).length, values.hash_key_length);
    assertEquals(struct.encode(values), bytes);
  }
});

/** What the device reports of one frame: hash and kind. */
function reported(frame: Uint8Array): [hash: number, report: number] {
  const net = new RawNet({ features: ["HASH_REPORT"] });
  net.rx.offer(net.rx.chain(0, { addr: BUFFERS, len: 2048, flags: WRITE }));
  assertEquals(net.arrive(frame), 0);
  assertEquals(net.rx.usedElem(0), [0, 20 + frame.length]);
  const header = net.get(BUFFERS, 20);
  const view = new DataView(header.buffer);
  assertEquals(header.slice(0, 12), Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
  assertEquals(view.getUint16(18, true), 0);
  assertEquals(net.get(BUFFERS + 20, frame.length), frame);
  return [view.getUint32(12, true), view.getUint16(16, true)];
}

Deno.test("the device reports the published hashes of IPv4, TCP and UDP flows", () => {
  for (const { fields } of vectors(FILE, "toeplitz hash (MS key, 40 bytes)")) {
    const { sport, dport } = fields;
    const flow = { source: String(fields.src), destination: String(fields.dst) };
    const plain = ethernet(0x0800);
    const ports = [Number(sport), Number(dport)] as const;
    assertEquals(reported(concat([plain, ipv4(6, tcp(...ports), flow)])), [Number(fields.tcp4_or_udp4), 2]);
    assertEquals(reported(concat([plain, ipv4(17, udp(...ports), flow)])), [Number(fields.tcp4_or_udp4), 3]);
    assertEquals(reported(concat([plain, ipv4(1, new Uint8Array(8), flow)])), [Number(fields.ipv4), 1]);
  }
});

Deno.test("the device reports the published hash of a TCP flow over IPv6, and none for what has no flow", () => {
  // Microsoft, "Verifying the RSS Hash Calculation", first IPv6 row.
  const flow = { source: "3ffe:2501:200:1fff::7", destination: "3ffe:2501:200:3::1" };
  assertEquals(reported(concat([ethernet(0x86dd), ipv6(6, tcp(2794, 1766), flow)])), [0x40207d3d, 5]);
  assertEquals(reported(concat([ethernet(0x86dd), ipv6(59, new Uint8Array(0), flow)])), [0x2cc18cd5, 4]);
  assertEquals(reported(concat([ethernet(0x0806), new Uint8Array(28)])), [0, 0]);
});

Deno.test("a command sets the hash key and types, and the report follows", () => {
  const net = new RawNet({ features: ["HASH_REPORT"] });
  const key = Uint8Array.from({ length: 40 }, (_, i) => 255 - i);
  const command = (types: number, reserved: number) =>
    concat([new Uint8Array([4, 2, types, 0, 0, 0, reserved, 0, 0, 0, 0, 0, 0, 0, 40]), key]);
  const send = (bytes: Uint8Array) => {
    net.put(BUFFERS + 0x8000, bytes);
    net.put(BUFFERS + 0x9000, [0xee]);
    net.ctrl.offer(
      net.ctrl.chain(0, { addr: BUFFERS + 0x8000, len: bytes.length }, {
        addr: BUFFERS + 0x9000,
        len: 1,
        flags: WRITE,
      }),
    );
    net.kick(2);
    return net.get(BUFFERS + 0x9000, 1)[0];
  };
  const IPV4 = 1;
  assertEquals(send(command(IPV4, 0)), 0);
  net.rx.offer(net.rx.chain(0, { addr: BUFFERS, len: 2048, flags: WRITE }));
  const flow = { source: "10.1.2.3", destination: "10.3.2.1" };
  net.arrive(concat([ethernet(0x0800), ipv4(6, tcp(1, 2), flow)]));
  const view = new DataView(net.get(BUFFERS, 20).buffer);
  const input = concat([address(flow.source), address(flow.destination)]);
  assertEquals(view.getUint32(12, true), new ToeplitzKey(key).hash(input, 0, 8));
  assertEquals(view.getUint16(16, true), 1);
  assertEquals(send(command(IPV4, 0).subarray(0, 30)), 1);
});
