import { assert, assertInstanceOf } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { FrameBatch, PieceBatch } from "../../core/frame_batch.ts";
import type { Struct, ValuesInput } from "../../core/layout.ts";
import * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";
import { write32 } from "../../plugins/gve/registers.ts";
import { RawDriver, type RawQueue } from "./raw_driver.ts";
import { wireTo } from "./both_ways.ts";

const PAGE = 4096;
const RING = 64;
const FORMATS = ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"];
const COMMANDS = [
  [g.OPCODE.DESCRIBE_DEVICE, g.describe_device],
  [g.OPCODE.CONFIGURE_DEVICE_RESOURCES, g.configure_device_resources],
  [g.OPCODE.REGISTER_PAGE_LIST, g.register_page_list_24],
  [g.OPCODE.UNREGISTER_PAGE_LIST, g.unregister_page_list],
  [g.OPCODE.CREATE_TX_QUEUE, g.create_tx_queue],
  [g.OPCODE.CREATE_RX_QUEUE, g.create_rx_queue],
  [g.OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue],
  [g.OPCODE.DESTROY_RX_QUEUE, g.destroy_rx_queue],
  [g.OPCODE.DECONFIGURE_DEVICE_RESOURCES, g.deconfigure_device_resources],
  [g.OPCODE.CONFIGURE_RSS, g.configure_rss],
  [g.OPCODE.SET_DRIVER_PARAMETER, g.set_driver_parameter],
  [g.OPCODE.REPORT_STATS, g.report_stats],
  [g.OPCODE.REPORT_LINK_SPEED, g.report_link_speed],
  [g.OPCODE.GET_PTYPE_MAP, g.get_ptype_map],
  [g.OPCODE.VERIFY_DRIVER_COMPATIBILITY, g.verify_driver_compatibility],
  [g.OPCODE.QUERY_RSS, g.query_rss],
  [g.OPCODE.EXTENDED_COMMAND, g.describe_device],
] as const;
const GQI = [g.gve_tx_pkt_desc, g.gve_tx_seg_desc, g.gve_tx_mtd_desc];
const DQO = [g.gve_tx_pkt_desc_dqo, g.gve_tx_tso_context_desc_dqo, g.gve_tx_general_context_desc_dqo];

/** Does whatever a driver can do, right or wrong, and lets only faults be thrown. */
class Chaos {
  readonly raw: RawDriver;
  readonly random: Random;
  faults = 0;
  readonly #memory: number;
  #queues: RawQueue[] = [];
  #posted: number[] = [];

  constructor(format: string, seed: number) {
    this.random = new Random(seed);
    this.raw = new RawDriver({ format, queues: 2, profile: this.random.pick(["strict", "linux"]) });
    this.#memory = this.raw.pages(64);
    this.#start();
  }

  /** Resets the device and brings it up as it should be. */
  #start(): void {
    const { raw } = this;
    write32(raw.device.bar0, g.gve_registers.offsetOf("adminq_pfn"), 0);
    raw.attach();
    raw.configure();
    if (raw.qpl) raw.register(1, Array.from({ length: 16 }, (_, i) => this.#memory + i * PAGE));
    this.#queues = [raw.createTx()[1], raw.createRx()[1]];
    this.#posted = [0, 0];
    for (let slot = 0; slot < RING; slot++) {
      raw.put(this.#queues[0]!.ring + slot * 16, this.#packet(slot));
      const buffer = this.#buffer(slot);
      raw.put(this.#queues[1]!.ring + slot * buffer.length, buffer);
    }
  }

  /** A descriptor of a packet that can be sent. */
  #packet(tag: number): Uint8Array {
    const { raw, random } = this;
    const length = random.between(1, 2000);
    const offset = random.below(16 * PAGE - length);
    if (!raw.dqo) {
      const seg_addr = raw.qpl ? offset : this.#memory + offset;
      return g.gve_tx_pkt_desc.encode({ desc_cnt: 1, len: length, seg_len: length, seg_addr });
    }
    const values = { dtype: g.DQO_DTYPE.PACKET, end_of_packet: 1, buf_size: length, compl_tag: tag };
    return g.gve_tx_pkt_desc_dqo.encode({ ...values, buf_addr: this.#memory + offset });
  }

  /** A slot or descriptor of a receive buffer. */
  #buffer(id: number): Uint8Array {
    const { raw, random } = this;
    const offset = random.below(31) * 2048;
    if (raw.dqo) return g.gve_rx_desc_dqo.encode({ buf_id: id, buf_addr: this.#memory + offset });
    return g.gve_rx_data_slot.encode({ addr: raw.qpl ? offset : this.#memory + offset });
  }

  /** An address that is often good, and often good for little. */
  address(): number {
    const { random } = this;
    const near = this.#memory + random.below(64) * PAGE;
    return random.pick([
      near,
      near,
      near,
      near + random.below(PAGE),
      0,
      this.raw.host.dma.region.end - 100,
      2 ** 40,
    ]);
  }

  /** A structure whose fields hold what is likely to be taken, or anything. */
  #bytes(struct: Struct, given: ValuesInput = {}): Uint8Array {
    const { random } = this;
    const bytes = random.chance(0.2) ? random.bytes(struct.size) : new Uint8Array(struct.size);
    const values: Record<string, number> = {};
    for (const { name } of struct.fields) {
      if (/addr|array/.test(name)) values[name] = this.address();
      else if (/reserved|padding|status/.test(name)) continue;
      else if (random.chance(0.7)) {
        values[name] = random.pick([0, 1, 1, 2, 3, 8, 64, 64, 256, 2048, 4096, 0xffff, random.below(70000)]);
      }
    }
    try {
      return struct.encode({ ...values, ...given });
    } catch {
      // A value that does not fit its field.
      return bytes;
    }
  }

  /** One thing after the other. */
  step(): void {
    const { raw, random } = this;
    try {
      this.#act(random.below(12));
    } catch (error) {
      assertInstanceOf(error, RingFault);
      this.faults++;
      if (random.chance(0.5)) this.#start();
      else if (random.chance(0.3)) raw.attach();
    }
  }

  #act(what: number): void {
    const { raw, random } = this;
    switch (what) {
      case 0: {
        const [opcode, struct] = random.pick(COMMANDS);
        raw.put(raw.post(opcode, struct, {}), this.#bytes(struct, { opcode }));
        return raw.ringAdmin();
      }
      case 1:
        raw.configure({ num_irq_dbs: random.below(6), irq_db_stride: random.pick([4, 64]) });
        return;
      case 2:
        raw.register(random.below(3), Array.from({ length: random.between(1, 9) }, () => this.address()));
        return;
      case 3:
      case 4: {
        const id = random.below(3);
        const values = { queue_id: random.below(2), queue_page_list_id: raw.qpl ? id : g.RAW_ADDRESSING };
        const size = random.pick([32, 64, 64, 256]);
        const [status, queue] = what === 3 ? raw.createTx(size, values) : raw.createRx(size, values);
        if (status === g.STATUS.PASSED) this.#queues.push(queue);
        return;
      }
      case 5:
      case 6:
        for (let i = random.below(8); i > 0; i--) this.#fill();
        return;
      case 7: {
        const which = random.below(this.#queues.length);
        const posted = ((this.#posted[which] ?? 0) + random.below(12)) >>> 0;
        this.#posted[which] = posted;
        const good = raw.dqo ? posted % RING : posted;
        return raw.ring(
          this.#queues[which]!,
          random.chance(0.95) ? good : random.pick([random.below(300), random.u32()]),
        );
      }
      case 8:
        raw.device.service(wireTo([], () => random.pick([0, 5, Infinity]), random.chance(0.5)));
        return;
      case 9: {
        const batch = new FrameBatch();
        batch.bytes = random.bytes(6000);
        batch.count = random.between(1, 30);
        for (let i = 0; i < batch.count; i++) batch.lengths[i] = random.pick([0, 1, 60, 1500, 6000]);
        raw.device.deliverBatch(batch, 0);
        const pieces = new PieceBatch();
        pieces.bytes = batch.bytes;
        for (; pieces.count < batch.count; pieces.count++) {
          const size = pieces.sizes[pieces.count] = Math.max(1, batch.lengths[pieces.count]!);
          pieces.lengths[pieces.count] = size;
          pieces.ends[pieces.count] = pieces.count + 1;
        }
        raw.device.deliverPieces(pieces);
        raw.deliver(random.bytes(random.pick([0, 1, 60, 1500, 100000])));
        return;
      }
      case 10:
        raw.clock.advance(random.below(70000));
        raw.device.inspect();
        raw.device.counters();
        return;
      default: {
        const bar = random.chance(0.7) ? raw.device.bar2 : raw.device.bar0;
        const offset = random.below(random.pick([48, 5000]));
        if (random.chance(0.1)) bar.write(offset, random.pick([1, 2, 4]), random.u32());
        else bar.read(offset, random.pick([1, 2, 4]));
      }
    }
  }

  /** Writes a descriptor, a slot or anything into a ring that there is. */
  #fill(): void {
    const { raw, random } = this;
    const { ring, completions } = random.pick(this.#queues);
    if (random.chance(0.02)) return raw.put(completions + random.below(64) * 16, random.bytes(16));
    const slot = random.below(RING);
    const good = random.chance(0.5) ? this.#packet(random.below(200)) : this.#buffer(random.below(100));
    const struct = random.pick(raw.dqo ? DQO : GQI);
    raw.put(ring + slot * good.length, random.chance(0.9) ? good : this.#bytes(struct));
  }
}

for (const format of FORMATS) {
  Deno.test(`whatever a driver does, the device raises faults and nothing else: ${format}`, () => {
    let faults = 0;
    let packets = 0;
    for (let seed = 0; seed < 40; seed++) {
      const chaos = new Chaos(format, seed);
      for (let step = 0; step < 400; step++) chaos.step();
      faults += chaos.faults;
      const counters = chaos.raw.device.counters();
      packets += counters["device.tx.packets"]! + counters["device.rx.packets"]!;
    }
    assert(faults > 40 && packets > 100, `${faults} faults, ${packets} packets`);
  });
}
