import { assertEquals } from "@std/assert";
import { needEvent16 } from "../../core/index.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";
import { rssConfig, virtio_notification_data, vring_desc } from "../../plugins/virtio/layout.ts";
import { notificationData } from "../../plugins/virtio/pci_driver.ts";
import { availBytes, descBytes, legacyLayout, usedBytes } from "../../plugins/virtio/ring_areas.ts";
import { address, be16, ethernet, ipv4, ipv6, tcp, udp } from "../core/packets.ts";
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

/** HASH_CONFIG with these types and this key. */
function hashConfig(types: number, key: readonly number[]): number[] {
  return [4, 2, types & 0xff, types >>> 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, key.length, ...key];
}

/** What the device reports of one frame: hash and kind. */
function reported(
  frame: Uint8Array,
  net = new RawNet({ features: ["HASH_REPORT"] }),
  command: readonly number[] = hashConfig(0x1ff, MICROSOFT_RSS_KEY),
): [hash: number, report: number] {
  if (command.length > 0) assertEquals(net.command(command), 0);
  const slot = net.rx.usedIdx % net.rx.size;
  net.rx.offer(net.rx.chain(0, { addr: BUFFERS, len: 2048, flags: WRITE }));
  assertEquals(net.arrive(frame), 0);
  assertEquals(net.rx.usedElem(slot), [0, 20 + frame.length]);
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
  const key = Array.from({ length: 40 }, (_, i) => 255 - i);
  const flow = { source: "10.1.2.3", destination: "10.3.2.1" };
  const frame = concat([ethernet(0x0800), ipv4(6, tcp(1, 2), flow)]);
  const input = concat([address(flow.source), address(flow.destination), be16(1, 2)]);
  const hash = (length: number) => new ToeplitzKey(Uint8Array.from(key)).hash(input, 0, length);
  assertEquals(reported(frame, net, hashConfig(1, key)), [hash(8), 1]);
  assertEquals(net.command(hashConfig(2, key).slice(0, 30)), 1);
  assertEquals(reported(frame, net, hashConfig(2, key)), [hash(12), 2]);
  assertEquals(reported(frame, net, hashConfig(4, key)), [0, 0]);
  assertEquals(reported(frame, net, hashConfig(0, [])), [0, 0]);
});

Deno.test("until a command enables types the device reports no hash, and a reset disables them again", () => {
  const frame = concat([ethernet(0x0800), ipv4(6, tcp(1, 2))]);
  const fresh = () => new RawNet({ features: ["HASH_REPORT"] });
  assertEquals(reported(frame, fresh(), []), [0, 0]);
  const net = fresh();
  assertEquals(reported(frame, net)[1], 2);
  net.device.setFeatures(net.device.features);
  assertEquals(reported(frame, net, []), [0, 0]);
});
